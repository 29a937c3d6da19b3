# Detached commands. Receipts in the unit's directory: runner (the script), command (for readers), pid and child (who runs),
# out (both streams), rc (the exit code). pid is made by link(2): whoever makes it first runs the command, anyone else does nothing.

new_session() { # PROGRAM ARGUMENTS...: run it in a session of its own, and come back at once
    if setsid -f true 2>/dev/null; then setsid -f "$@"
    elif command -v setsid >/dev/null; then setsid "$@" &
    else perl -MPOSIX -e 'fork and exit; POSIX::setsid(); exec { $ARGV[0] } @ARGV' "$@"
    fi
}

unit_state() { # DIRECTORY: sets $state and $rc
    rc=
    if [ -e "$1/rc" ]; then state=finished
    elif [ ! -e "$1/pid" ]; then state=absent
    elif alive "$1/pid" || alive "$1/child"; then state=running
    # It may have ended between the two looks.
    elif [ -e "$1/rc" ]; then state=finished
    else state=vanished
    fi
    [ "$state" != finished ] || read -r rc <"$1/rc"
}

print_unit() { # DIRECTORY WORD
    unit_state "$1"
    pid=
    [ ! -r "$1/pid" ] || read -r pid _ <"$1/pid"
    printf '%s %s %s %s\n' "$2" "$state" "${rc:--}" "${pid:--}"
    [ -r "$1/command" ] || return 0
    while IFS= read -r line || [ -n "$line" ]; do
        printf '%s\n' "$line"
    done <"$1/command"
}

verb_unit() { # DIRECTORY
    there "$1" || surely_absent "$1"
    [ ! -e "$1" ] || [ -x "$1" ] || fail denied "$1"
    print_unit "$1" seen
}

verb_start() { # DIRECTORY RUNNER COMMAND_TEXT ARGV...
    directory=$1 runner=$2 text=$3
    shift 3
    kind_of "$directory"
    case $kind in absent | directory) ;; *) fail not-directory "$directory" ;; esac
    if [ -e "$directory/pid" ] || [ -e "$directory/rc" ]; then
        print_unit "$directory" already
        return
    fi
    command -v setsid >/dev/null || command -v perl >/dev/null || fail no-setsid
    mkdir -p "$directory" || fail mkdir "$directory"
    printf '%s\n' "$text" >"$directory/command" && printf '%s\n' "$runner" >"$directory/runner.$$" || fail write "$directory"
    mv -f "$directory/runner.$$" "$directory/runner" || fail write "$directory"
    # The substitution ends when the runner closes its standard output: right after its receipt is written. It inherits the lock until then.
    : "$(new_session sh "$directory/runner" "$directory" "$@" </dev/null 2>>"$directory/out")"
    [ -e "$directory/pid" ] || fail unit "$directory"
    print_unit "$directory" started
}

verb_output() { # DIRECTORY OFFSET LIMIT
    [ ! -e "$1/out" ] || tail -c "+$(($2 + 1))" <"$1/out" | head -c "$3"
}

# Waits while the unit runs, at most so long; then how it stands, and what it printed since. The state is looked at first: what was
# printed before the end is in the answer that tells the end.
verb_follow() { # DIRECTORY OFFSET LIMIT TENTHS
    waited=0
    unit_state "$1"
    while [ "$state" = running ] && [ "$waited" -lt "$4" ]; do
        pause
        unit_state "$1"
    done
    printf '%s %s\n' "$state" "${rc:--}"
    verb_output "$1" "$2" "$3"
}

# Signals go to the group only while its leader or the command is proven to be the one of the receipts.
signal_unit() { # DIRECTORY SIGNAL
    if alive "$1/pid" || alive "$1/child"; then
        read -r pid _ <"$1/pid"
        kill -s "$2" -- "-$pid" 2>/dev/null || kill -s "$2" "-$pid" 2>/dev/null
    fi
}

verb_stop() { # DIRECTORY TENTHS
    waited=0
    signal_unit "$1" TERM
    unit_state "$1"
    while [ "$state" = running ] && [ "$waited" -lt "$2" ]; do
        pause
        unit_state "$1"
    done
    if [ "$state" = running ]; then
        signal_unit "$1" KILL
        while [ "$state" = running ] && [ "$waited" -lt "$(($2 + 100))" ]; do
            pause
            unit_state "$1"
        done
        # The runner was killed too, so its last receipt is written here: 128 + 9.
        [ "$state" != vanished ] || { echo 137 >"$1/rc.new" && mv -f "$1/rc.new" "$1/rc"; } || fail write "$1"
    fi
    print_unit "$1" stopped
}

verb_remove_unit() { # DIRECTORY
    kind_of "$1"
    case $kind in absent) return ;; directory) ;; *) fail not-directory "$1" ;; esac
    unit_state "$1"
    [ "$state" != running ] || fail running "$1"
    cd "$1" || fail denied "$1"
    rm -f command runner runner.[0-9]* pid.[0-9]* child.[0-9]* rc.new out rc child pid && cd / && rmdir "$1" || fail remove "$1"
}
