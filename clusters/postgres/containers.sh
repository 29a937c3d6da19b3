# What pg_ctl does for a server without containers, with the docker command. Sent with each request as
#     sh -c SCRIPT pgreplica VERB ARGUMENTS...
# Exit code 5: the engine does not say, or a container of somebody else has the name; nothing was done then.

fail() { # SENTENCE
    printf '%s\n' "$1" >&2
    exit 1
}

# Sets $state: absent, created, running, paused, restarting, exited, dead. An engine that does not answer is no absent container.
look() { # NAME
    state=$(docker inspect --type container --format '{{.State.Status}} {{index .Config.Labels "pgreplica-admin"}}' "$1" 2>&1) || {
        case $state in
            *'No such'*) state='absent panel' ;;
            *) printf '%s\n' "$state" >&2 && exit 5 ;;
        esac
    }
    case $state in
        *' ') printf 'A container that is not the panel'"'"'s has the name %s.\n' "$1" >&2 && exit 5 ;;
    esac
    state=${state%% *}
}

up() { # NAME: it is up, or the engine brings it up again by itself
    look "$1"
    case $state in running | restarting | paused) ;; *) return 1 ;; esac
}

# Whether PostgreSQL is what runs in it: the start guard may be waiting there.
serves() { # NAME
    # shellcheck disable=SC2016  # for the shell in the container
    docker exec "$1" sh -c 'case "$(tr "\0" " " </proc/1/cmdline)" in "postgres "* | */"postgres "*) exit 0 ;; esac; exit 3'
}

in_time() { [ "$(date +%s)" -lt "$end" ]; }

# A guard that waits is ended first, so that it judges anew and says what it says now.
verb_start() { # COMPOSE_FILE NAME SECONDS SOCKET_DIRECTORY PORT REFUSED_FILE
    ! up "$2" || serves "$2" 2>/dev/null || docker stop --time 10 "$2" >/dev/null
    docker compose --file "$1" up --detach >&2 || exit
    end=$(($(date +%s) + $3))
    until docker exec "$2" pg_isready --quiet --host="$4" --port="$5" >/dev/null 2>&1; do
        look "$2"
        case $state in
            running | created) ;;
            *) docker logs --tail 5 "$2" >&2 && exit 1 ;;
        esac
        [ ! -s "$6" ] || fail "$(cat "$6")"
        in_time || { docker logs --tail 5 "$2" >&2 && exit 1; }
        sleep 0.05
    done
}

# It is asked, never killed, as `docker stop` would when its time is over; after its stop signal the engine does not start it again.
# A shell that is about to become PostgreSQL may miss the signal, so it is sent again.
verb_stop() { # NAME SIGNAL SECONDS
    end=$(($(date +%s) + $3)) looks=0
    while up "$1"; do
        in_time || fail "it was still stopping after $3 s"
        if [ "$state" = restarting ]; then
            docker stop --time 10 "$1" >/dev/null
        elif [ $((looks % 100)) -eq 0 ]; then
            docker kill --signal "$2" "$1" >/dev/null
        fi
        looks=$((looks + 1))
        sleep 0.05
    done
}

# The reader is up and waits before the server is told to stop: its start is no part of the write gap. After its first line it
# prints the control file; nothing where it waited in vain.
verb_stop_and_read() { # NAME READER...
    name=$1
    shift
    look "$name"
    if [ "$state" = restarting ]; then
        docker stop --time 10 "$name" >/dev/null
        state=exited
    fi
    "$@" "$state" | {
        read -r _ || exit 1
        case $state in running | paused) docker kill --signal INT "$name" >/dev/null || exit ;; esac
        read=$(cat)
        [ -n "$read" ] || exit 9
        printf '%s\n' "$read"
    }
}

# As pg_ctl status: 3 when PostgreSQL does not run. The container may end between the look and the question.
verb_status() { # NAME
    look "$1"
    [ "$state" != paused ] || exit 0
    [ "$state" = running ] || exit 3
    serves "$1" && exit
    [ $? -ne 3 ] || exit 3
    look "$1"
    [ "$state" = running ] || exit 3
    exit 5
}

verb_is_up() { # NAME
    up "$1" || exit 3
}

verb_kill() { # NAME: one that is down already is what is wanted
    docker kill --signal KILL "$1" >/dev/null 2>&1 || ! up "$1" || fail 'the engine could not kill it'
}

# Those that work in a directory, by what it is and not by its name, which is another in their container. Of a PostgreSQL whose
# directory may not be seen nobody knows.
at_work() { # DEVICE:INODE: sets $pids, and $hidden
    pids='' hidden='' own=$(id -u)
    for each in /proc/[0-9]*; do
        [ "$(stat -c %u "$each" 2>/dev/null)" = "$own" ] || continue
        if found=$(stat -L -c %d:%i "$each/cwd" 2>/dev/null); then
            [ "$found" != "$1" ] || pids="$pids ${each#/proc/}"
        elif [ "$(cat "$each/comm" 2>/dev/null)" = postgres ] && grep -q '^State:[[:space:]]*[^ZX[:space:]]' "$each/status" 2>/dev/null; then
            hidden="$hidden ${each#/proc/}"
        fi
    done
}

# All at once: were one left, it could still tell a client that something is committed. Where the server has left its lock file and
# nobody of it is to be seen, it is not certain that it has ended.
verb_end_processes() { # DATA
    place=$(stat -c %d:%i "$1") || exit
    at_work "$place"
    [ -z "$hidden" ] || fail "it cannot be seen where these work:$hidden"
    if [ -z "$pids" ]; then
        [ ! -e "$1/postmaster.pid" ] || fail "$1/postmaster.pid is there, and no process that works in that directory is to be seen"
        return
    fi
    end=$(($(date +%s) + 20))
    while [ -n "$pids" ]; do
        in_time || fail "these do not end:$pids"
        # shellcheck disable=SC2086  # numbers
        kill -s KILL $pids 2>/dev/null
        sleep 0.05
        at_work "$place"
    done
}

# Read back, since everything afterwards rests on it.
verb_policy() { # NAME POLICY
    look "$1"
    [ "$state" != absent ] || exit 0
    docker update --restart="$2" "$1" >/dev/null || exit
    policy=$(docker inspect --format '{{.HostConfig.RestartPolicy.Name}}' "$1") || exit
    [ "$policy" = "$2" ] || fail "its restart policy is $policy, not $2"
}

verb_remove() { # NAME
    look "$1"
    [ "$state" = absent ] || docker rm --force --volumes "$1" >/dev/null
}

verb_down() { # COMPOSE_FILE NAME
    look "$2"
    if [ -e "$1" ]; then docker compose --file "$1" down >&2 || exit; fi
    verb_remove "$2"
}

verb=$1
shift
"verb_$verb" "$@"
