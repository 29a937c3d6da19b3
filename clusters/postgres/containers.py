"""PostgreSQL in a container: the docker command lines that stand for pg_ctl and for each program.

One container serves (Docker Compose made it, and a person can go on with it by hand: `compose.py`); every other program runs
in a one-shot container of the same image that sees the cluster's directory under its own path, so that a path in a log means
the same on the server. Both run as the server's system user, who is in the group of the engine's socket. Source: the
official image's description, "Arbitrary --user Notes".
"""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Final

from clusters.postgres.build import SCRIPT
from clusters.postgres.command import Command, StopMode
from clusters.postgres.spec import Container, InstanceSpec

#: On everything the panel runs, for whoever looks through `docker ps`.
LABEL: Final = "pgreplica-admin"
#: What `status` ends with when the engine does not answer, which does not say that nothing runs.
NOT_SAID: Final = 5
_STOP_SIGNALS: Final[dict[StopMode, str]] = {"smart": "TERM", "fast": "INT", "immediate": "QUIT"}

#: The verbs, and the reader that a stop starts; each is explained there.
_VERBS: Final = (Path(__file__).parent / "containers.sh").read_text()
_READ: Final = (Path(__file__).parent / "reader.sh").read_text()
_END_SENDERS: Final = (
    'for each in /proc/[0-9]*; do case "$(tr "\\0" " " <"$each/cmdline" 2>/dev/null)" in '
    '"postgres: "*walsender*) kill -s TERM "${each#/proc/}" ;; esac; done'
)
#: The name that an image has of its content.
IMAGE_ID: Final = re.compile(r"sha256:[0-9a-f]{64}")
_IMAGE: Final = 'docker inspect --type=container --format={{.Image}} "$1" 2>/dev/null || docker image inspect --format={{.Id}} "$2"'
#: So that the user has a name in the container; initdb asks for it.
USERS: Final = "--mount=type=bind,source=/etc/passwd,target=/etc/passwd,readonly"


def container_of(spec: InstanceSpec) -> Container:
    assert spec.container is not None, f"{spec.name} does not run in a container"
    return spec.container


# -- programs


def one_shot(spec: InstanceSpec, program: str, *arguments: str, network: bool = False) -> tuple[str, ...]:
    """A program of the image on the cluster's directory; with `network` it comes from the server's own address, as its server does.

    --mount and not --volume: what is not there is an error, where --volume would make it, and as root.
    """
    place = spec.cluster_directory
    return _run(spec, program, *arguments, mounts=(USERS, f"--mount=type=bind,source={place},target={place}"), network=network)


def version(spec: InstanceSpec) -> tuple[str, ...]:
    """Asks the image alone: there may be no directory yet."""
    return _run(spec, "postgres", "--version")


def image(spec: InstanceSpec) -> Command:
    """The image's own name, sha256:..., of the container where there is one: a tag may have come to mean another image since."""
    container = container_of(spec)
    argv = ("sh", "-c", _IMAGE, "pgreplica", container.name, container.image)
    return Command(argv, purpose=f"Read which image {spec.name} runs")


def image_named(spec: InstanceSpec) -> Command:
    """The image that the declared name stands for on its engine now; nothing where there is none."""
    argv = ("docker", "image", "inspect", "--format={{.Id}}", container_of(spec).image)
    return Command(argv, purpose=f"Read which image {container_of(spec).image} is")


def built(spec: InstanceSpec, image: str) -> Command:
    """What the programs of this image are made of."""
    exact = replace(spec, container=replace(container_of(spec), image=image))
    return Command(_run(exact, "sh", "-c", SCRIPT), purpose=f"Read what the programs in {image} are made of")


def _run(spec: InstanceSpec, program: str, *arguments: str, mounts: tuple[str, ...] = (), network: bool = False) -> tuple[str, ...]:
    container = container_of(spec)
    return (
        *("docker", "run", "--rm", "--interactive", f"--label={LABEL}=tool", f"--network={'host' if network else 'none'}"),
        *(f"--user={container.user}", *mounts, "--env=LC_ALL=C", f"--entrypoint={program}", container.image, *arguments),
    )


def unit_container(spec: InstanceSpec, unit: str) -> str:
    """The name of the container in which a detached command runs."""
    return f"{container_of(spec).name}-{unit}"


def named(command: Command, name: str) -> Command:
    """The same one-shot container under a name, so that it can be found and ended when the one who started it is gone."""
    at = next((at for at in range(len(command.argv)) if command.argv[at : at + 2] == ("docker", "run")), None)
    if at is None:
        return command
    return replace(command, argv=(*command.argv[: at + 2], f"--name={name}", *command.argv[at + 2 :]))


def inside(spec: InstanceSpec, program: str, *arguments: str) -> tuple[str, ...]:
    """A program in the serving container."""
    return ("docker", "exec", "--interactive", "--env=LC_ALL=C", container_of(spec).name, program, *arguments)


def found(name: str) -> Command:
    """Prints the container's number where there is one of that name, whatever its state; an engine that is silent is an error."""
    argv = ("docker", "ps", "--all", "--quiet", f"--filter=name=^/{name}$")
    return Command(argv, purpose=f"Look for the container {name}")


def remove(name: str) -> Command:
    """Ends and removes a container, with the nameless volumes the engine made for it; one that is not there is no error."""
    return _verb("remove", name, purpose=f"Remove the container {name}", by_hand=f"docker rm --force --volumes {name}")


# -- what pg_ctl is for a server without containers


def start(spec: InstanceSpec, seconds: int) -> Command:
    """Makes the container where it is not as compose.yml says, starts it, and waits until PostgreSQL answers in it."""
    words = (spec.compose_file, container_of(spec).name, str(seconds), spec.seen(spec.socket_directory), str(spec.port))
    by_hand = shlex.join(("docker", "compose", "--file", spec.compose_file, "up", "--detach"))
    return _verb("start", *words, spec.refused_file, purpose=f"Start {spec.name}", by_hand=by_hand)


def stop(spec: InstanceSpec, mode: StopMode, seconds: int) -> Command:
    """It is asked only, never killed: exit code 1 where it was still stopping after `seconds`."""
    name, signal = container_of(spec).name, _STOP_SIGNALS[mode]
    return _verb("stop", name, signal, str(seconds), purpose=f"Stop {spec.name}", by_hand=f"docker kill --signal {signal} {name}")


def stop_and_read(spec: InstanceSpec, seconds: int) -> Command:
    """As `commands.stop_and_read`."""
    name, data = container_of(spec).name, spec.data_directory
    reader = one_shot(spec, "sh", "-c", _READ, "pgreplica", data, str(seconds))
    by_hand = f"docker kill --signal INT {name} && docker wait {name}; {shlex.join(one_shot(spec, 'pg_controldata', f'--pgdata={data}'))}"
    return _verb("stop_and_read", name, *reader, purpose=f"Stop {spec.name} and read where its WAL ends", by_hand=by_hand)


def status(spec: InstanceSpec) -> Command:
    """Exit code 0: PostgreSQL runs (a paused container too); 3: it does not, its start guard may wait; 5: the engine does not say."""
    return _verb("status", container_of(spec).name, purpose=f"See whether {spec.name} runs")


def is_up(spec: InstanceSpec) -> Command:
    """Exit code 0: the container is up, whatever runs in it, and PostgreSQL may come up by itself; 3: it is down; 5: as `status`."""
    return _verb("is_up", container_of(spec).name, purpose=f"See whether the container of {spec.name} is up")


def reload(spec: InstanceSpec) -> Command:
    argv = inside(spec, "pg_ctl", "reload", f"--pgdata={spec.seen(spec.data_directory)}")
    return Command(argv, purpose=f"Have {spec.name} read its files again")


def end_senders(spec: InstanceSpec) -> Command:
    """The image may have no ps; /proc it has."""
    return Command(inside(spec, "sh", "-c", _END_SENDERS), purpose=f"End the WAL senders that {spec.name} waits for")


def kill(spec: InstanceSpec) -> Command:
    name = container_of(spec).name
    return _verb("kill", name, purpose=f"Kill {spec.name}, which heeds no stop", by_hand=f"docker kill --signal=KILL {name}")


def end_processes(spec: InstanceSpec) -> Command:
    """Where the engine says nothing: ends what works in the data directory. Exit code 0: it is certain that nothing does any more."""
    data = spec.data_directory
    return _verb("end_processes", data, purpose=f"End every process that works in {data}, since the engine does not answer")


def logs(spec: InstanceSpec, lines: int) -> Command:
    """What PostgreSQL and the guard have said, on standard error as they did."""
    argv = ("docker", "logs", f"--tail={lines}", container_of(spec).name)
    return Command(argv, purpose=f"Read the end of the log of {spec.name}")


def down(spec: InstanceSpec) -> Command:
    """Removes the serving container and its own network; the files stay. By its name where compose.yml is gone."""
    words = (spec.compose_file, container_of(spec).name)
    by_hand = shlex.join(("docker", "compose", "--file", spec.compose_file, "down"))
    return _verb("down", *words, purpose=f"Remove the container of {spec.name}", by_hand=by_hand)


def restart_policy(spec: InstanceSpec, policy: str) -> Command:
    """Whether the engine starts the container again: `no` before a planned stop, so that no reboot brings an old primary back."""
    name = container_of(spec).name
    by_hand = f"docker update --restart={policy} {name}"
    return _verb("policy", name, policy, purpose=f"Set the restart policy of {spec.name} to {policy}", by_hand=by_hand)


def _verb(verb: str, *words: str, purpose: str, by_hand: str = "") -> Command:
    return Command(("sh", "-c", _VERBS, "pgreplica", verb, *words), purpose=purpose, by_hand=by_hand)
