#!/bin/bash
# Starts PostgreSQL in a container as the documentation of the official image describes: its variables, its first start, its volume.
# Written from that documentation.
set -Eeuo pipefail

fail() {
  printf 'entrypoint: %s\n' "$*" >&2
  exit 1
}

# take NAME [DEFAULT]: the variable, or what is in the file that NAME_FILE names; not both.
take() {
  local name="$1" file="$1_FILE" value="${2-}"
  if [ -n "${!name-}" ] && [ -n "${!file-}" ]; then fail "$name and $file are both set; give one of them"; fi
  if [ -n "${!name-}" ]; then
    value="${!name}"
  elif [ -n "${!file-}" ]; then
    value="$(< "${!file}")" || fail "$file names ${!file}, which cannot be read"
  fi
  export "$name=$value"
  unset "$file"
}

# Whether the words start the server, and do not only ask for its version or help.
starts_server() {
  [ "${1-}" = postgres ] || return 1
  local word
  for word in "$@"; do
    case "$word" in -\? | --help | --describe-config | -V | --version) return 1 ;; esac
  done
}

# Since 18 the volume is /var/lib/postgresql. A mount at the earlier place would be a second, empty home for the data.
refuse_earlier_place() {
  local earlier=/var/lib/postgresql/data
  if [ "$PG_MAJOR" -ge 18 ] && [ "$PGDATA" != "$earlier" ]; then
    if [ -s "$earlier/PG_VERSION" ] || grep -q " $earlier " /proc/self/mountinfo; then
      fail "there is a mount or a database at $earlier, which the images before 18 used; mount /var/lib/postgresql instead"
    fi
  fi
}

prepare_directories() {
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA" || :
  if [ -n "${POSTGRES_INITDB_WALDIR-}" ]; then
    mkdir -p "$POSTGRES_INITDB_WALDIR"
    chmod 0700 "$POSTGRES_INITDB_WALDIR"
  fi
  if [ "$(id -u)" = 0 ]; then
    find "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"} ! -user postgres -exec chown postgres:postgres {} +
  fi
}

initialise() {
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
    fail "the data directory is empty and no superuser password is given: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"
  fi
  local words=()
  eval "words=($POSTGRES_INITDB_ARGS)"
  if [ -n "${POSTGRES_INITDB_WALDIR-}" ]; then words+=(--waldir "$POSTGRES_INITDB_WALDIR"); fi
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") ${words[@]+"${words[@]}"}
  local method="${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption "${@:2}")}"
  printf '\nhost all all all %s\n' "$method" >> "$PGDATA/pg_hba.conf"
}

ask() { PGHOST='' PGHOSTADDR='' psql --no-psqlrc --no-password -v ON_ERROR_STOP=1 --username "$POSTGRES_USER" "$@"; }

make_database() {
  local found
  found="$(ask --dbname postgres -At -v name="$POSTGRES_DB" <<< "SELECT 1 FROM pg_database WHERE datname = :'name'")"
  if [ -z "$found" ]; then ask --dbname postgres -v name="$POSTGRES_DB" <<< 'CREATE DATABASE :"name"'; fi
}

run_init_files() {
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    echo "entrypoint: $file"
    case "$file" in
      *.sh)
        # shellcheck disable=SC1090  # the user's own file
        if [ -x "$file" ]; then "$file"; else . "$file"; fi
        ;;
      *.sql) ask --dbname "$POSTGRES_DB" -f "$file" ;;
      *.sql.gz) gunzip -c "$file" | ask --dbname "$POSTGRES_DB" ;;
      *.sql.xz) xz -dc "$file" | ask --dbname "$POSTGRES_DB" ;;
      *) [ ! -e "$file" ] || echo "entrypoint: $file is of no kind that is run" ;;
    esac
  done
}

# On the socket only, so that nobody sees a database that is half made.
first_start() {
  local words
  printf -v words '%q ' "${@:2}" -c listen_addresses= -p "${PGPORT:-5432}"
  PGUSER="$POSTGRES_USER" pg_ctl --pgdata "$PGDATA" --wait --options "$words" start
  make_database
  PGPASSWORD="$POSTGRES_PASSWORD" run_init_files
  PGUSER="$POSTGRES_USER" pg_ctl --pgdata "$PGDATA" --mode fast --wait stop
}

if [ "${1:0:1}" = - ]; then set -- postgres "$@"; fi
if starts_server "$@"; then
  take POSTGRES_PASSWORD  # as root still: the files may be nobody else's
  take POSTGRES_USER postgres
  take POSTGRES_DB "$POSTGRES_USER"
  take POSTGRES_INITDB_ARGS
  export POSTGRES_HOST_AUTH_METHOD="${POSTGRES_HOST_AUTH_METHOD-}"
  refuse_earlier_place
  prepare_directories
  if [ "$(id -u)" = 0 ]; then exec gosu postgres "${BASH_SOURCE[0]}" "$@"; fi
  if [ -s "$PGDATA/PG_VERSION" ]; then
    echo "entrypoint: $PGDATA holds a database; nothing is initialised"
  else
    initialise "$@"
    first_start "$@"
    echo "entrypoint: initialised; PostgreSQL starts"
  fi
fi
exec "$@"
