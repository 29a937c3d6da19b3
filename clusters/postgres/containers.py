"""PostgreSQL in a container: the docker command lines that stand for pg_ctl and for each program.

One container serves (Docker Compose made it, and a person can go on with it by hand: `compose.py`); every other program runs
in a one-shot container of the same image that sees the cluster's directory under its own path, so that a path in a log means
the same on the server. Both run as the server's system user, who is in the group of the engine's socket. Source: the
official image's description, "Arbitrary --user Notes".
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from typing import Final

from clusters.postgres.command import Command, StopMode
from clusters.postgres.spec import Container, InstanceSpec

#: On everything the panel runs, for whoever looks through `docker ps`.
LABEL: Final = "pgreplica-admin"
_STOP_SIGNALS: Final[dict[StopMode, str]] = {"smart": "TERM", "fast": "INT", "immediate": "QUIT"}

#: state NAME: sets $said. An engine that does not answer is no container that is absent.
_STATE: Final = (
    'state() { said=$(docker inspect --type container --format "{{.State.Status}}" "$1" 2>&1) && return; '
    'case $said in *"No such"*) said=absent ;; *) printf "%s\\n" "$said" >&2; exit 5 ;; esac; }; '
)
#: COMPOSE_FILE NAME SECONDS SOCKET_DIRECTORY PORT REFUSED_FILE
_START: Final = (
    f'{_STATE}docker compose --file "$1" up --detach >&2 || exit; end=$(($(date +%s) + $3)); '
    'until docker exec "$2" pg_isready --quiet --host="$4" --port="$5" >/dev/null 2>&1; do state "$2"; '
    'case $said in running | created) ;; *) docker logs --tail 5 "$2" >&2; exit 1 ;; esac; '
    '[ ! -s "$6" ] || { cat "$6" >&2; exit 1; }; '
    '[ "$(date +%s)" -lt "$end" ] || { docker logs --tail 5 "$2" >&2; exit 1; }; sleep 0.05; done'
)
#: NAME SIGNAL SECONDS. `docker stop` would kill it when its time is over; after its stop signal the engine does not start it again.
_STOP: Final = (
    f'{_STATE}state "$1"; case $said in running | restarting | paused) ;; *) exit 0 ;; esac; '
    'docker kill --signal "$2" "$1" >/dev/null || exit; end=$(($(date +%s) + $3)); '
    'while state "$1"; case $said in running | restarting | paused) ;; *) exit 0 ;; esac; do '
    '[ "$(date +%s)" -lt "$end" ] || { echo "it was still stopping after $3 s" >&2; exit 1; }; sleep 0.05; done'
)
#: NAME READER. The reader is up and waits before the server is told to stop: its start is no part of the write gap. What it prints
#: after its first line is the control file; nothing where it waited in vain.
_STOP_AND_READ: Final = (
    f'{_STATE}name=$1; shift; state "$name"; '
    '"$@" "$said" | { read -r ready || exit 1; [ "$said" != running ] || docker kill --signal INT "$name" >/dev/null || exit; '
    'read=$(cat); [ -n "$read" ] || exit 9; printf "%s\\n" "$read"; }'
)
#: DATA SECONDS STATE, in a container of its own. The lock file goes last, after the shutdown checkpoint: sooner than the container ends.
_READ: Final = (
    'echo ready; end=$(($(date +%s) + $2)); while [ "$3" = running ] && [ -e "$1/postmaster.pid" ]; do sleep 0.005; looks=$((looks + 1)); '
    '[ $((looks % 50)) -ne 0 ] || [ "$(date +%s)" -lt "$end" ] || exit 9; done; exec pg_controldata --pgdata="$1"'
)
#: NAME DATA. As pg_ctl status: 0 runs, 3 does not; 5: the engine does not say.
_STATUS: Final = (
    f'{_STATE}state "$1"; case $said in running) docker exec "$1" pg_ctl status --pgdata="$2" ;; paused) exit 0 ;; *) exit 3 ;; esac'
)
_END_SENDERS: Final = (
    'for each in /proc/[0-9]*; do case "$(tr "\\0" " " <"$each/cmdline" 2>/dev/null)" in '
    '*walsender*) kill -s TERM "${each#/proc/}" ;; esac; done'
)
#: As wrapper/files.sh asks a server.
_LIBC: Final = "getconf GNU_LIBC_VERSION 2>/dev/null || { ldd --version 2>&1 | grep -i musl >/dev/null && echo musl; }"
#: NAME POLICY. Read back, since everything afterwards rests on it.
_POLICY: Final = (
    f'{_STATE}state "$1"; [ "$said" != absent ] || exit 0; docker update --restart="$2" "$1" >/dev/null || exit; '
    'policy=$(docker inspect --format "{{.HostConfig.RestartPolicy.Name}}" "$1") || exit; '
    '[ "$policy" = "$2" ] || { echo "its restart policy is $policy, not $2" >&2; exit 1; }'
)
#: COMPOSE_FILE NAME
_DOWN: Final = (
    f'{_STATE}if [ -e "$1" ]; then docker compose --file "$1" down >&2 || exit; fi; '
    'state "$2"; [ "$said" = absent ] || docker rm --force --volumes "$2" >/dev/null'
)
#: So that the user has a name in the container; initdb asks for it.
_USERS: Final = "--mount=type=bind,source=/etc/passwd,target=/etc/passwd,readonly"
_REMOVE: Final = f'{_STATE}state "$1"; [ "$said" = absent ] || docker rm --force --volumes "$1" >/dev/null'


def container_of(spec: InstanceSpec) -> Container:
    assert spec.container is not None, f"{spec.name} does not run in a container"
    return spec.container


# -- programs


def one_shot(spec: InstanceSpec, program: str, *arguments: str, network: bool = False) -> tuple[str, ...]:
    """A program of the image on the cluster's directory; with `network` it comes from the server's own address, as its server does.

    --mount and not --volume: what is not there is an error, where --volume would make it, and as root.
    """
    place = spec.cluster_directory
    return _run(spec, program, *arguments, mounts=(_USERS, f"--mount=type=bind,source={place},target={place}"), network=network)


def version(spec: InstanceSpec) -> tuple[str, ...]:
    """Asks the image alone: there may be no directory yet."""
    return _run(spec, "postgres", "--version")


def libc(spec: InstanceSpec) -> Command:
    """The C library that PostgreSQL in the image sorts text with: "glibc 2.36", or "musl" (Alpine)."""
    return Command(_run(spec, "sh", "-c", _LIBC), purpose=f"Read which C library {container_of(spec).image} has")


def _run(spec: InstanceSpec, program: str, *arguments: str, mounts: tuple[str, ...] = (), network: bool = False) -> tuple[str, ...]:
    container = container_of(spec)
    return (
        *("docker", "run", "--rm", "--interactive", f"--label={LABEL}=tool", f"--network={'host' if network else 'none'}"),
        *(f"--user={container.user}", *mounts, "--env=LC_ALL=C", f"--entrypoint={program}", container.image, *arguments),
    )


def named(command: Command, name: str) -> Command:
    """The same one-shot container under a name, so that it can be found and ended when the one who started it is gone."""
    at = next((at for at in range(len(command.argv)) if command.argv[at : at + 2] == ("docker", "run")), None)
    if at is None:
        return command
    return replace(command, argv=(*command.argv[: at + 2], f"--name={name}", *command.argv[at + 2 :]))


def inside(spec: InstanceSpec, program: str, *arguments: str) -> tuple[str, ...]:
    """A program in the serving container."""
    return ("docker", "exec", "--interactive", "--env=LC_ALL=C", container_of(spec).name, program, *arguments)


def remove(name: str) -> Command:
    """Ends and removes a container, with the nameless volumes the engine made for it; one that is not there is no error."""
    return _script(_REMOVE, name, purpose=f"Remove the container {name}", by_hand=f"docker rm --force --volumes {name}")


# -- what pg_ctl is for a server without containers


def start(spec: InstanceSpec, seconds: int) -> Command:
    """Makes the container where it is not as compose.yml says, starts it, and waits until PostgreSQL answers in it."""
    words = (spec.compose_file, container_of(spec).name, str(seconds), spec.seen(spec.socket_directory), str(spec.port))
    by_hand = shlex.join(("docker", "compose", "--file", spec.compose_file, "up", "--detach"))
    return _script(_START, *words, spec.refused_file, purpose=f"Start {spec.name}", by_hand=by_hand)


def stop(spec: InstanceSpec, mode: StopMode, seconds: int) -> Command:
    """It is asked only, never killed: exit code 1 where it was still stopping after `seconds`."""
    name, signal = container_of(spec).name, _STOP_SIGNALS[mode]
    return _script(_STOP, name, signal, str(seconds), purpose=f"Stop {spec.name}", by_hand=f"docker kill --signal {signal} {name}")


def stop_and_read(spec: InstanceSpec, seconds: int) -> Command:
    """As `commands.stop_and_read`."""
    name, data = container_of(spec).name, spec.data_directory
    reader = one_shot(spec, "sh", "-c", _READ, "pgreplica", data, str(seconds))
    by_hand = f"docker kill --signal INT {name} && docker wait {name}; {shlex.join(one_shot(spec, 'pg_controldata', f'--pgdata={data}'))}"
    return _script(_STOP_AND_READ, name, *reader, purpose=f"Stop {spec.name} and read where its WAL ends", by_hand=by_hand)


def status(spec: InstanceSpec) -> Command:
    """Exit code 0: PostgreSQL runs (a paused container too); 3: it does not; 5: the engine does not say."""
    words = (container_of(spec).name, spec.seen(spec.data_directory))
    return _script(_STATUS, *words, purpose=f"See whether {spec.name} runs")


def reload(spec: InstanceSpec) -> Command:
    argv = inside(spec, "pg_ctl", "reload", f"--pgdata={spec.seen(spec.data_directory)}")
    return Command(argv, purpose=f"Have {spec.name} read its files again")


def end_senders(spec: InstanceSpec) -> Command:
    """The image may have no ps; /proc it has."""
    return Command(inside(spec, "sh", "-c", _END_SENDERS), purpose=f"End the WAL senders that {spec.name} waits for")


def kill(spec: InstanceSpec) -> Command:
    return Command(("docker", "kill", "--signal=KILL", container_of(spec).name), purpose=f"Kill {spec.name}, which heeds no stop")


def logs(spec: InstanceSpec, lines: int) -> Command:
    """What PostgreSQL and the guard have said, on standard error as they did."""
    argv = ("docker", "logs", f"--tail={lines}", container_of(spec).name)
    return Command(argv, purpose=f"Read the end of the log of {spec.name}")


def down(spec: InstanceSpec) -> Command:
    """Removes the serving container and its own network; the files stay. By its name where compose.yml is gone."""
    words = (spec.compose_file, container_of(spec).name)
    by_hand = shlex.join(("docker", "compose", "--file", spec.compose_file, "down"))
    return _script(_DOWN, *words, purpose=f"Remove the container of {spec.name}", by_hand=by_hand)


def restart_policy(spec: InstanceSpec, policy: str) -> Command:
    """Whether the engine starts the container again: `no` before a planned stop, so that no reboot brings an old primary back."""
    name = container_of(spec).name
    by_hand = f"docker update --restart={policy} {name}"
    return _script(_POLICY, name, policy, purpose=f"Set the restart policy of {spec.name} to {policy}", by_hand=by_hand)


def _script(script: str, *words: str, purpose: str, by_hand: str = "") -> Command:
    return Command(("sh", "-c", script, "pgreplica", *words), purpose=purpose, by_hand=by_hand)
