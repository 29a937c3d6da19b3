# Runs one detached command and keeps its receipts:  sh runner DIRECTORY ARGV...   (sent by the panel; may be deleted when done)
# It is the leader of its own session and process group. The command never starts before the receipts that name it are written.
umask 077

receipt() { # NAME PID: publish "<pid> <mark>" as one whole; fails when the receipt is there already
    mark "$2" && printf '%s %s\n' "$2" "$marked" >"$directory/$1.$2" || return 1
    ln "$directory/$1.$2" "$directory/$1" 2>/dev/null
    linked=$?
    rm -f "$directory/$1.$2"
    return "$linked"
}

if [ "$1" = --command ]; then
    directory=$2
    shift 2
    receipt child $$ || exit 126
    exec "$@"
fi
directory=$1
shift
receipt pid $$ || exit 0
# A TERM is for the command (it is of this group too); this shell stays to record how it ended.
trap : TERM INT HUP
exec >/dev/null 9>&-
sh "$directory/runner" --command "$directory" "$@" </dev/null >>"$directory/out" 2>&1
rc=$?
printf '%s\n' "$rc" >"$directory/rc.new" && { sync "$directory/rc.new" 2>/dev/null || sync; } && mv -f "$directory/rc.new" "$directory/rc"
