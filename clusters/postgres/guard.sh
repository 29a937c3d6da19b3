#!/bin/sh
# The start guard of a PostgreSQL instance, written by pgreplica-admin; what it goes by is in guard.conf beside it. It needs no panel.
# An instance with standby.signal starts freely. One without it would accept writes: it starts only where nobody has taken over.
# Exit codes of a refusal: 81 no usable data directory, 82 data of another cluster, 83 fenced, 84 another member has gone on or
# accepts writes, 85 the guard itself cannot look. Why, and what to do, is in the server's log and in the file state/refused.

here=${0%/*}
[ "$here" != "$0" ] || here=.
hex='[0-9A-F][0-9A-F][0-9A-F][0-9A-F][0-9A-F][0-9A-F][0-9A-F][0-9A-F]'

say() { # SENTENCE
    printf '%s [%s] start guard: %s\n' "$(date -u '+%Y-%m-%d %H:%M:%S UTC')" "$$" "$1" >&2
}

number() { case $1 in '' | *[!0-9]*) return 1 ;; esac; }

# Kept for whoever asks later: the first line says why, the second what to do.
refused() { # CODE
    say "REFUSED (exit code $1): $why"
    say "what to do: $cure"
    [ -z "$state_directory" ] || (
        umask 022
        printf '%s\n%s\n' "$why" "$cure" >"$state_directory/refused.new" && mv -f "$state_directory/refused.new" "$state_directory/refused"
    )
}

allowed() {
    say "$note"
    rm -f "$state_directory/refused"
}

configured() {
    instance='' directory='' system_identifier='' data_directory='' state_directory='' programs='' passfile='' role='' database='' peers=''
    why="The start guard cannot read $here/guard.conf, so it cannot tell whether this instance may start."
    cure="Start the instance from the panel, which writes that file anew. To start it without the guard, see the panel's document \"Start guard\"."
    [ -r "$here/guard.conf" ] || return 1
    while IFS=' ' read -r key value; do
        case $key in
            instance) instance=$value ;;
            directory) directory=$value ;;
            system_identifier) system_identifier=$value ;;
            data_directory) data_directory=$value ;;
            state_directory) state_directory=$value ;;
            programs) programs=${value:+$value/} ;;
            passfile) passfile=$value ;;
            role) role=$value ;;
            database) database=$value ;;
            peer) peers="$peers$value
" ;;
        esac
    done <"$here/guard.conf"
    [ -n "$instance" ] && [ -n "$data_directory" ] && [ -n "$state_directory" ]
}

# Without this check the image's own entrypoint would make a new, empty primary where a volume is not mounted.
initialised() {
    why="$data_directory holds no PostgreSQL data (there is no PG_VERSION), so $instance is not started."
    cure="If it is on a disk of its own, mount that first. If the data is lost, make the instance again from the panel."
    [ -s "$data_directory/PG_VERSION" ]
}

control_read() {
    system='' timeline=0
    if ! control=$(LC_ALL=C "${programs}pg_controldata" -D "$data_directory" 2>&1); then
        why="The control file of $data_directory cannot be read, so $instance is not started as a primary: $control"
        cure="Put that right first. If the data directory is damaged, rejoin the instance from the panel, or make it again."
        return 1
    fi
    while IFS=: read -r key value; do
        value=${value##* }
        case $key in
            'Database system identifier') system=$value ;;
            "Latest checkpoint's TimeLineID" | "Min recovery ending loc's timeline") newer "$value" ;;
        esac
    done <<END
$control
END
    # Right after a promotion the control file still tells the timeline before it; the names of the WAL files do not.
    for segment in "$data_directory"/pg_wal/$hex$hex$hex; do :; done
    segment=${segment##*/}
    case $segment in *[!0-9A-F]*) ;; *) newer $((0x${segment%????????????????})) ;; esac
}

newer() { # TIMELINE
    if number "$1" && [ "$1" -gt "$timeline" ]; then timeline=$1; fi
}

of_this_cluster() {
    why="$data_directory holds the data of another cluster (system identifier $system, not $system_identifier), so $instance is not started."
    cure="Find out who put it there (a wrong mount, a restored backup?), and put the data of $instance back, or make the instance again."
    [ -z "$system_identifier" ] || [ "$system" = "$system_identifier" ]
}

unfenced() {
    [ -e "$state_directory/fenced" ] || return 0
    mark=$(head -c 500 "$state_directory/fenced" 2>/dev/null | tr '\000-\037\177' ' ')
    why="$instance is fenced (${mark% }), so it is not started as a primary."
    cure="See which instance is the primary now, then rejoin this one from the panel. If it is to be the primary itself, and no other is: rm $directory/state/fenced, and start it again."
    return 1
}

questions() {
    cat <<'SQL'
SELECT 'system ' || system_identifier FROM pg_catalog.pg_control_system();
SELECT 'recovery ' || pg_catalog.pg_is_in_recovery();
SELECT 'timeline ' || CASE WHEN pg_catalog.pg_is_in_recovery()
    THEN greatest((SELECT timeline_id FROM pg_catalog.pg_control_checkpoint()),
                  (SELECT min_recovery_end_timeline FROM pg_catalog.pg_control_recovery()))
    ELSE ('x' || pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8))::bit(32)::int END;
SELECT 'timeline ' || max(('x' || pg_catalog.substr(name, 1, 8))::bit(32)::int)
FROM pg_catalog.pg_ls_dir('pg_wal', true, false) AS file (name),
     (SELECT pg_catalog.pg_wal_lsn_diff(greatest(pg_catalog.pg_last_wal_receive_lsn(),
             pg_catalog.pg_last_wal_replay_lsn()), '0/0')::bigint - 1 AS at,
             (SELECT setting::bigint FROM pg_catalog.pg_settings WHERE name = 'wal_segment_size') AS size) AS last
WHERE pg_catalog.pg_is_in_recovery() AND name ~ '^[0-9A-F]{24}$' AND pg_catalog.substr(name, 9) = pg_catalog.upper(
    pg_catalog.lpad(pg_catalog.to_hex(last.at / 4294967296), 8, '0')
    || pg_catalog.lpad(pg_catalog.to_hex(last.at % 4294967296 / last.size), 8, '0'));
SELECT 'epoch ' || max(epoch) FROM pgreplica.marker;
SQL
}

# Each statement answers for itself: one that the role may not run leaves the others.
asked() { # ADDRESS PORT: what psql prints
    questions | env -i PATH="$PATH" LC_ALL=C PGPASSFILE="$passfile" PGCONNECT_TIMEOUT=2 PGOPTIONS='-c statement_timeout=2000 -c search_path=pg_catalog' \
        PGAPPNAME="$instance-start-guard" $limit "${programs}psql" --no-psqlrc --no-password --quiet --tuples-only --no-align \
        --host="$1" --port="$2" --username="$role" --dbname="$database" 2>&1
}

# A member that is still starting is asked again for a while: it may be the new primary, after a reboot of both.
answer() { # NAME ADDRESS PORT: one line, `who|system|recovery|timeline|epoch` or `who|silent|error`
    tries=0
    until said=$(asked "$2" "$3"); do
        case $said in
            *'database system is starting up'* | *'not yet accepting connections'* | *'database system is in recovery mode'*) ;;
            *) break ;;
        esac
        [ "$tries" -lt 8 ] || break
        tries=$((tries + 1))
        sleep 1
    done
    peer_system='' peer_recovery='' timeline=0 peer_epoch=0 error=''
    while read -r key value; do
        case $key in
            system) peer_system=$value ;;
            recovery) case $value in true | false) peer_recovery=$value ;; esac ;;
            timeline) newer "$value" ;;
            epoch) ! number "$value" || peer_epoch=$value ;;
            '') ;;
            *) error=${error:-$key $value} ;;
        esac
    done <<END
$said
END
    if number "$peer_system" && [ -n "$peer_recovery" ]; then
        printf '%s\n' "$1 ($2:$3)|$peer_system|$peer_recovery|$timeline|$peer_epoch"
    else
        printf '%s\n' "$1 ($2:$3)|silent|$(printf %s "${error:-no answer in time}" | tr '\000-\037\177' ' ' | cut -c 1-200)"
    fi
}

answers() {
    while read -r name address port; do
        [ -z "$port" ] || answer "$name" "$address" "$port" &
    done <<END
$peers
END
    wait
}

nobody_took_over() {
    epoch=1 ahead='' beside='' heard=''
    if [ -e "$state_directory/epoch" ]; then
        read -r epoch <"$state_directory/epoch"
        number "$epoch" || epoch=0
    fi
    limit=''
    ! command -v timeout >/dev/null || limit='timeout 5'
    while IFS='|' read -r who peer_system peer_recovery peer_timeline peer_epoch; do
        case $peer_system in
            '') continue ;;
            silent) heard="$heard; $who does not answer: $peer_recovery" && continue ;;
            "$system") ;;
            *) heard="$heard; $who is another cluster's, and is not heeded" && continue ;;
        esac
        does="is a standby on timeline $peer_timeline, epoch $peer_epoch"
        [ "$peer_recovery" = true ] || does="accepts writes on timeline $peer_timeline, epoch $peer_epoch"
        heard="$heard; $who $does"
        if [ "$peer_timeline" -gt "$timeline" ] || [ "$peer_epoch" -gt "$epoch" ]; then
            ahead="${ahead:+$ahead; }$who $does"
        elif [ "$peer_recovery" != true ] && [ "$peer_timeline" -eq "$timeline" ]; then
            beside="${beside:+$beside; }$who $does"
        fi
    done <<END
$(answers | sort)
END
    note="$instance may start as a primary, on timeline $timeline, epoch $epoch$heard."
    if [ -n "$ahead" ]; then
        why="$ahead. $instance is on timeline $timeline, epoch $epoch: the cluster has gone on without it, so it is not started as a primary."
        cure="Leave it stopped, and rejoin it as a standby from the panel. If it is to be the primary all the same, stop those first, and start it again."
        return 1
    fi
    why="$beside. $instance has no standby.signal and would accept writes beside it, so it is not started."
    cure="If standby.signal was deleted by mistake, make the empty file $directory/volumes/postgres/data/standby.signal again, and start it. If it is to be the primary, ask the panel for a switchover, or stop the other one first."
    [ -z "$beside" ]
}

able_to_ask() {
    why="The start guard cannot run ${programs}psql, so it cannot ask the other members whether one of them has taken over."
    cure="Put the PostgreSQL programs back, or correct the line \"programs\" in $here/guard.conf, and start it again."
    [ -z "$peers" ] || command -v "${programs}psql" >/dev/null
}

# 0 when the server may start ($note says why); else the exit code of the refusal, with $why and $cure.
judged() {
    configured || return 85
    initialised || return 81
    note="$instance starts as a standby: standby.signal is there."
    [ ! -e "$data_directory/standby.signal" ] || return 0
    control_read || return 81
    of_this_cluster || return 82
    unfenced || return 83
    able_to_ask || return 85
    nobody_took_over || return 84
}
