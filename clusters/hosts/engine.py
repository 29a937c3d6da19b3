"""What runs on a machine, read only: the containers of its Docker engine, and programs outside of any container.

The values of a container's environment never leave the server: the engine's client cuts them off there, but for the few that
are asked for by name. What comes back is hostile: each field stands in a line of its own, so that one that is too long spoils
itself alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from clusters.hosts.errors import EngineUnheard, inert
from clusters.hosts.machine import Finished, Machine

SECONDS: Final = 30.0
MOST: Final = 200
#: What `docker ps` ended with where the engine does not answer, and where there is no docker.
_SILENT: Final = 9
_ABSENT: Final = 127

_LIST: Final = (
    "command -v docker >/dev/null || exit 127; ids=$(docker ps --all --quiet --no-trunc) || exit 9; "
    '[ -n "$ids" ] || exit 0; printf "%s\\n" $ids | head -n "$2" | xargs docker inspect --type container --format "$1"; exit 0'
)
_LABELS: Final = {
    "panel": "pgreplica-admin",
    "compose_directory": "com.docker.compose.project.working_dir",
    "compose_files": "com.docker.compose.project.config_files",
    "compose_service": "com.docker.compose.service",
}
_FIELDS: Final = {
    "container": ".ID",  # as the engine's own type calls it: `.Id` would have the client fall back to JSON without its empty fields
    "name": ".Name",
    "image": ".Config.Image",
    "image_id": ".Image",
    "state": ".State.Status",
    "pid": ".State.Pid",
    "started": ".State.StartedAt",
    "restart": ".HostConfig.RestartPolicy.Name",
    "mounts": ".Mounts",
    "ports": ".NetworkSettings.Ports",
    "network": ".HostConfig.NetworkMode",
    "entrypoint": ".Config.Entrypoint",
    "stop_seconds": ".Config.StopTimeout",
}
#: A program's own number, its user, how many process namespaces it is in from here on, and its words; children of the same program
#: are left out. Whoever may not look into a process sees nothing of it, which is no error.
_RUNNING: Final = """
for each in /proc/[0-9]*; do
    read -r name 2>/dev/null <"$each/comm" && [ "$name" = "$1" ] || continue
    parent= user= spaces=0
    while read -r key first rest; do
        case $key in
            PPid:) parent=$first ;;
            Uid:) user=$first ;;
            NSpid:) spaces=$(set -- $first $rest && echo $#) ;;
        esac
    done 2>/dev/null <"$each/status"
    name=
    [ -z "$parent" ] || read -r name 2>/dev/null <"/proc/$parent/comm" || :
    [ "$name" != "$1" ] || continue
    printf '%s %s %s %s\\n' "${each#/proc/}" "$user" "$spaces" "$(tr '\\0\\n' '\\t ' 2>/dev/null <"$each/cmdline")"
done
exit 0
"""


@dataclass(frozen=True)
class Mount:
    """Something of the server, or a volume, that a container sees at `target`."""

    kind: str  # bind, volume, tmpfs
    source: str  # on the server
    target: str


@dataclass(frozen=True)
class Published:
    """A port of a container that the server listens on for it."""

    address: str
    port: int
    inner: int


@dataclass(frozen=True)
class Container:
    """One container, running or not. `env`: names of the variables that have a value; `values`: those of the ones that were asked for."""

    id: str
    name: str
    image: str = ""
    image_id: str = ""
    state: str = ""
    pid: int = 0
    started: str = ""
    restart: str = ""
    network: str = ""
    stop_seconds: int | None = None
    entrypoint: tuple[str, ...] = ()
    mounts: tuple[Mount, ...] = ()
    published: tuple[Published, ...] = ()
    env: frozenset[str] = frozenset()
    values: Mapping[str, str] = field(default_factory=dict)
    panel: str = ""  # the panel's own label
    compose_directory: str = ""
    compose_files: str = ""
    compose_service: str = ""


@dataclass(frozen=True)
class Running:
    """A program that runs on the machine itself, in no container."""

    pid: int
    uid: str
    words: tuple[str, ...]


def containers(machine: Machine, values: Sequence[str] = ()) -> list[Container]:
    """The containers of the machine's engine, at most MOST of them; none where there is no engine.

    `values`: names of environment variables (never of secrets) whose values are read. Raises: EngineUnheard.
    """
    finished = machine.run(["sh", "-c", _LIST, "pgreplica", _template(values), str(MOST)], timeout=SECONDS)
    if finished.returncode == _ABSENT:
        return []
    if not finished.ok:
        raise EngineUnheard(_last(finished))
    return list(_records(finished.stdout))


def programs_running(machine: Machine, name: str) -> list[Running]:
    """The programs of this name that are nobody's child of the same name, and run in no container."""
    finished = machine.run(["sh", "-c", _RUNNING, "pgreplica", name], timeout=SECONDS)
    found = (_running(line) for line in finished.stdout.splitlines()[:MOST])
    return [each for each in found if each]


def _last(finished: Finished) -> str:
    lines = [line for line in finished.stderr.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit status {finished.returncode}"


def _template(values: Sequence[str]) -> str:
    """The engine's own format (Go's text/template): one line a field, a name and its JSON."""
    lines = [f'{{{{println "{key}" (json {where})}}}}' for key, where in _FIELDS.items()]
    lines += [f'{{{{println "{key}" (json (index .Config.Labels "{label}"))}}}}' for key, label in _LABELS.items()]
    wanted = " ".join(f'(eq $n "{name}")' for name in values)
    kept = f'{{{{if or {wanted}}}}}{{{{println "value" (json .)}}}}{{{{end}}}}' if values else ""
    variable = '{{$n := index (split . "=") 0}}{{if ne (len .) (len (printf "%s=" $n))}}{{println "env" (json $n)}}{{end}}'
    return "".join(lines) + "{{range .Config.Env}}" + variable + kept + "{{end}}"


def _records(said: str) -> Iterable[Container]:
    """A record begins with its `container`. A line that is no JSON was cut, or is not what the engine says: it is left out."""
    record: dict[str, Any] = {}
    for line in said.splitlines():
        key, _space, text = line.partition(" ")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if key == "container":
            if record:
                yield _container(record)
            record = {"container": value, "env": [], "value": []}
        elif record and key in ("env", "value"):
            record[key].append(value)
        elif record:
            record[key] = value
    if record:
        yield _container(record)


def _container(record: Mapping[str, Any]) -> Container:
    variables = (str(each).partition("=") for each in record["value"] if isinstance(each, str))
    seconds = record.get("stop_seconds")
    return Container(
        id=_text(record, "container"),
        name=_text(record, "name").removeprefix("/"),
        image=_text(record, "image"),
        image_id=_text(record, "image_id"),
        state=_text(record, "state"),
        pid=_number(record.get("pid")),
        started=_text(record, "started"),
        restart=_text(record, "restart"),
        network=_text(record, "network"),
        stop_seconds=_number(seconds) if isinstance(seconds, int) else None,
        entrypoint=tuple(inert(word) for word in _list(record.get("entrypoint")) if isinstance(word, str)),
        mounts=tuple(_mount(each) for each in _list(record.get("mounts")) if isinstance(each, dict)),
        published=tuple(_published(record.get("ports"))),
        env=frozenset(inert(name, 100) for name in record["env"][:MOST] if isinstance(name, str)),
        values={name: inert(value) for name, _sign, value in variables},
        panel=_text(record, "panel"),
        compose_directory=_text(record, "compose_directory"),
        compose_files=_text(record, "compose_files"),
        compose_service=_text(record, "compose_service"),
    )


def _mount(given: Mapping[str, Any]) -> Mount:
    return Mount(_text(given, "Type"), _text(given, "Source"), _text(given, "Destination"))


def _published(given: Any) -> Iterable[Published]:
    """{"5432/tcp": [{"HostIp": "0.0.0.0", "HostPort": "5432"}]}"""
    ports = given if isinstance(given, dict) else {}
    for inner, places in list(ports.items())[:MOST]:
        for place in _list(places):
            if isinstance(place, dict) and (port := _number(place.get("HostPort"))):
                yield Published(_text(place, "HostIp"), port, _number(inner.partition("/")[0]))


def _running(line: str) -> Running | None:
    """None for one in a container, and for what is no such line."""
    pid, uid, spaces, *words = (line + "   ").split(" ", 3)
    if not (pid.isdigit() and uid.isdigit() and spaces in ("0", "1")):
        return None
    return Running(int(pid), uid, tuple(inert(word, 4096) for word in "".join(words).rstrip().split("\t") if word))


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record.get(key)
    return inert(value, 500) if isinstance(value, str) else ""


def _list(value: Any) -> list[Any]:
    return value[:MOST] if isinstance(value, list) else []


def _number(value: Any) -> int:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 12 else 0
