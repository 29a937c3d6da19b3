# sh -c SCRIPT pgreplica TOOLS COUNT DIRECTORIES...
# Prints a line "<version>NUL<directory>NUL" for each directory that holds all TOOLS, each of them saying the same version.
# The first COUNT directories come before the usual places, the rest after them.

look_at() { # DIRECTORY
    [ -x "$1/postgres" ] || return 0
    real=$(cd -P "$1" && pwd) || return 0
    case $seen in *":$real:"*) return 0 ;; esac
    seen="$seen$real:"
    version=
    for tool in $tools; do
        { [ -f "$1/$tool" ] && [ -x "$1/$tool" ] && said=$("$1/$tool" --version 2>/dev/null </dev/null); } || return 0
        said=${said#*"("}
        version=${version:-$said}
        [ "$said" = "$version" ] || return 0
    done
    printf '(%s\0%s\0\n' "$version" "$1"
}

tools=$1 count=$2
shift 2
seen=:
while [ "$count" -gt 0 ]; do
    look_at "$1"
    shift
    count=$((count - 1))
done
for place in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin /usr/local/pgsql/bin /opt/postgresql*/bin "$@"; do
    look_at "$place"
done
