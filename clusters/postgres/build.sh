# What the programs of PostgreSQL here are made of. Sent with each request as sh -c SCRIPT pgreplica [DIRECTORY OF THE PROGRAMS]
postgres=$(command -v "${1:+$1/}postgres") || exit 1
bin=$(dirname "$(readlink -f "$postgres")")
libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || { ldd --version 2>&1 | grep -i musl >/dev/null && libc=musl; }
printf 'libc %s\n' "$libc"
ldd "$bin/postgres" 2>/dev/null | sed -n 's/.*libicui18n[^ ]*\.so\.\([0-9][0-9.]*\) .*/icu \1/p' | head -n 1

# pg_config is not in every package; Debian keeps what is shared apart from the programs.
major=$(basename "$(dirname "$bin")")
shared=$("$bin/pg_config" --sharedir 2>/dev/null)
for place in "${shared:-/nowhere}" "/usr/share/postgresql/$major" "$bin/../share/postgresql" "$bin/../share"; do
    [ -d "$place/extension" ] || continue
    for each in "$place"/extension/*.control; do
        [ ! -e "$each" ] || { each=${each##*/} && printf 'extension %s\n' "${each%.control}"; }
    done
    break
done
exit 0
