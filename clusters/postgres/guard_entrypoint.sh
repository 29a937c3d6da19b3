
# guard/entrypoint stands in front of the image's own entrypoint. When refused it stays, so that a restart policy does not spin;
# it looks again every few seconds, and says why every minute. What is no server (psql, a shell) is none of its business.
[ $# -gt 0 ] || set -- postgres
case $1 in
    postgres | -*) ;;
    *) exec docker-entrypoint.sh "$@" ;;
esac
sleeper='' before='' said_at=0
trap '[ -z "$sleeper" ] || kill "$sleeper" 2>/dev/null; exit 143' TERM INT QUIT # what PostgreSQL is stopped with
until judged; do
    code=$?
    # Who was seen further on may be silent at the next look: silence must not lift what an answer has said, nor a restart.
    [ "$code" != 84 ] || [ -e "$state_directory/fenced" ] || printf '%s\n' "start guard: $why" >"$state_directory/fenced"
    now=$(date +%s)
    if [ "$why" != "$before" ] || [ $((now - said_at)) -ge 60 ]; then
        refused "$code"
        before=$why said_at=$now
    fi
    sleep 5 &
    sleeper=$!
    wait "$sleeper"
done
allowed
trap - TERM INT QUIT
exec docker-entrypoint.sh "$@"
