# The wrapper. It is never installed: the panel sends it with each request as
#     sh -c SCRIPT pgreplica FENCE TOKEN PATIENCE VERB ARGUMENTS...
# FENCE is the cluster's token file, or empty when nothing is changed. Under its lock an older TOKEN than the stored one is refused
# (exit 75, nothing done), an equal one accepted, a newer one stored durably. Short commands keep the lock until they end; detached
# ones (units) until their receipt is written. Refusals of the wrapper are one line on standard error, marked, exit 75 or 76.
umask 077
cd / || exit 76

fail() { # WORD DETAIL
    printf 'pgreplica-wrapper: %s\n' "$*" >&2
    exit 76
}

# A tenth of a second; a whole one where sleep takes no fractions. Counts tenths in $waited.
pause() {
    if sleep 0.1 2>/dev/null; then waited=$((waited + 1)); else sleep 1; waited=$((waited + 10)); fi
}

# durable PATH: what was written to PATH survives a power cut. Old `sync` programs take no path and write everything back.
durable() {
    sync "$1" 2>/dev/null && return
    sync / 2>/dev/null && fail fsync "$1"
    sync
}

parent_of() { # PATH: sets $parent
    parent=${1%/*}
    parent=${parent:-/}
}

busy() { # FILE that names the holder first
    holder='?'
    [ ! -r "$1" ] || read -r holder _ <"$1"
    fail busy "$1: process $holder"
}

lock_by_flock() { # FILE
    true >>"$1" || fail lock "$1"
    exec 9>>"$1"
    until flock -n 9; do
        [ $? = 1 ] || fail lock "$1" # 1: held by another; anything else is no answer
        [ "$waited" -lt "$patience" ] || busy "$1"
        pause
    done
    printf '%s\n' "$$" >"$1"
}

# orphaned FILE: it is there and names a process that is not. A file that is gone is not orphaned: its next holder may be making it.
orphaned() {
    read -r holder holder_mark 2>/dev/null <"$1" || return 1
    ! { mark "$holder" && [ "$marked" = "$holder_mark" ]; }
}

# An orphaned lock is taken away by one process at a time: between another's look and its rm, it may have a new holder.
take_away() {
    if ln "$lock_file.$$" "$lock_file.taking" 2>/dev/null; then
        ! orphaned "$lock_file" || rm -f "$lock_file"
        rm -f "$lock_file.taking"
    elif orphaned "$lock_file.taking"; then
        rm -f "$lock_file.taking"
    else
        pause
    fi
}

# Without flock: a file that is made by link(2), complete from the first moment, and names its holder.
lock_by_link() { # FILE
    lock_file="$1.held"
    mark $$ && printf '%s %s\n' "$$" "$marked" >"$lock_file.$$" || fail lock "$1"
    trap 'rm -f "$lock_file.$$"' EXIT
    trap 'exit 143' TERM INT HUP
    until ln "$lock_file.$$" "$lock_file" 2>/dev/null; do
        [ "$waited" -lt "$patience" ] || busy "$lock_file"
        if orphaned "$lock_file"; then take_away; else pause; fi
    done
    trap 'rm -f "$lock_file" "$lock_file.$$"' EXIT
    # What was killed while it waited left its own file.
    for left in "$lock_file".[0-9]*; do
        ! orphaned "$left" || rm -f "$left"
    done
}

store_token() {
    printf '%s\n' "$token" >"$fence.new" && durable "$fence.new" && mv -f "$fence.new" "$fence" || fail token-file "$fence"
    durable "$parent"
}

guard() {
    waited=0
    parent_of "$fence"
    [ -d "$parent" ] || mkdir -p "$parent" || fail lock "$fence"
    if command -v flock >/dev/null; then lock_by_flock "$fence.lock"; else lock_by_link "$fence.lock"; fi
    stored=
    if [ -e "$fence" ]; then
        read -r stored <"$fence" || fail token-file "$fence"
        case $stored in '' | *[!0-9]*) fail token-file "$fence" ;; esac
        if [ "$token" -lt "$stored" ]; then
            printf 'pgreplica-wrapper: token %s\n' "$stored" >&2
            exit 75
        fi
    fi
    [ "$token" = "$stored" ] || store_token
}

# exec in a subshell: a program is run, never a builtin or a function of this script, and it does not inherit the lock.
# A TERM is for the command; this shell keeps the lock until it has ended.
verb_run() {
    trap : TERM INT HUP
    (exec "$@" 9>&-)
}

# The guard alone: the token is stored, and every command that was let in before it has ended.
verb_claim() { :; }
