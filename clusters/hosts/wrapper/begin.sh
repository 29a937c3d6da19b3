# sh -c SCRIPT pgreplica WORD ARGV...: how a command begins that was sent over SSH, in the session and process group that sshd made.
# Prints who it is on both streams, so that whatever a login shell printed before is told apart and the group can be ended later.
# The environment comes on standard input before the command's own input: what is on a command line can be read by everybody.
umask 077
cd / || exit 126

group_in() { group=$3; } # STATE PARENT GROUP ...: the fields of /proc/PID/stat after the name

word=$1 group=
shift
mark $$ || marked=-
set -f
# shellcheck disable=SC2086
[ -z "${mark_text:-}" ] || group_in ${mark_text##*') '}
set +f
group=${group:-$(ps -o pgid= -p $$ 2>/dev/null)}
printf 'pgreplica %s %s %s %s\n' "$word" $$ "${group:-0}" "$marked"
printf 'pgreplica %s\n' "$word" >&2

given=
while IFS= read -r line && [ "$line" != . ]; do
    given="$given${line#x}
"
done
[ "$line" = . ] || exit 126
unset PWD OLDPWD SHLVL
eval "$given"
exec "$@"
