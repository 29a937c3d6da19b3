
# guard/start stands in for the program `postgres`: pg_ctl start -p <this file>, or by itself in the foreground.
judged
code=$?
if [ "$code" -eq 0 ] && [ "$1" = -D ] && [ "$(cd -P "$2" && pwd)" != "$(cd -P "$data_directory" && pwd)" ]; then
    why="This is the start guard of $data_directory, and it was asked to start $2."
    cure="Start $2 by the guard of its own instance, or a copy of the data without a guard."
    code=85
fi
if [ "$code" -ne 0 ]; then
    refused "$code"
    exit "$code"
fi
allowed
[ "$1" = -D ] || set -- -D "$data_directory" "$@"
exec "${programs}postgres" "$@"
