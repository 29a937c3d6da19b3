# What lies around a PostgreSQL, read only. Runs where its files are: in its container, or on its server. Sent with each request as
#     sh -c SCRIPT pgreplica DATA_DIRECTORY
printf 'owner %s\n' "$(stat -c %u:%g "$1")"
read -r version 2>/dev/null <"$1/PG_VERSION" && printf 'version %s\n' "$version"
while read -r line; do printf 'pidfile %s\n' "$line"; done 2>/dev/null <"$1/postmaster.pid"
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || { ldd --version 2>&1 | grep -qi musl && libc=musl; }
printf 'libc %s\n' "$libc"
for each in /docker-entrypoint-initdb.d/*; do
    [ ! -d "$each" ] || printf 'init directory %s\n' "${each##*/}"
    [ ! -f "$each" ] || printf 'init file %s\n' "${each##*/}"
done
exit 0
