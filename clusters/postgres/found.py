"""PostgreSQL as it was found on a server, whoever made it: what was seen of one instance, and the clusters that several of them form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from clusters.postgres.facts import InstanceFacts, ReplicationRow, Unreadable

#: Where a port of a container is published for everybody.
EVERYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104  # compared with, not listened on


@dataclass(frozen=True)
class Mounted:
    """Something of the server, or a volume, that the container sees at `target`."""

    kind: str
    source: str
    target: str


@dataclass(frozen=True)
class Port:
    """A port of the container that its server publishes."""

    address: str
    port: int
    inner: int


@dataclass(frozen=True)
class HbaLine:
    """A line of pg_hba.conf as PostgreSQL has read it."""

    number: int
    kind: str
    databases: tuple[str, ...]
    users: tuple[str, ...]
    address: str
    netmask: str
    method: str
    error: str


@dataclass(frozen=True)
class RoleSeen:
    """A role that can log in. `password`: what kind it has (scram, md5, none), never what it is."""

    name: str
    superuser: bool
    replication: bool
    password: str


@dataclass(frozen=True)
class Found:
    """One PostgreSQL on one server: how it runs, and, where it could be asked, what it says of itself."""

    server: str
    address: str  # the server's
    way: str  # container, process
    name: str  # of the container; else the data directory
    state: str  # as the engine says; of a process: running
    error: str = ""  # why it could not be asked
    own: str = ""  # the panel's own instance (cluster/instance)
    image: str = ""
    image_id: str = ""
    restart: str = ""
    entrypoint: tuple[str, ...] = ()
    stop_seconds: int | None = None
    network: str = ""
    started: str = ""
    pid: int = 0
    published: tuple[Port, ...] = ()
    mounts: tuple[Mounted, ...] = ()
    env: tuple[str, ...] = ()  # names of variables that have a value
    compose_directory: str = ""
    compose_files: str = ""
    compose_service: str = ""
    user: str = ""  # uid:gid of who owns the data
    superuser: str = ""
    data_directory: str = ""  # as PostgreSQL sees it
    socket: str = ""
    port: int = 0  # as PostgreSQL has it
    bindir: str = ""  # of a process
    libc: str = ""
    init: tuple[str, ...] = ()  # "directory name", "file name" in /docker-entrypoint-initdb.d
    observed: Mapping[str, Any] = field(default_factory=dict)  # InstanceFacts as a row
    settings: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)  # setting -> the file, or whatever else, that it comes from
    conninfo: Mapping[str, str] = field(default_factory=dict)  # words of primary_conninfo; the password is not among them
    conninfo_password: bool = False
    hba: tuple[HbaLine, ...] = ()
    hba_text: str = ""
    file_errors: tuple[str, ...] = ()
    roles: tuple[RoleSeen, ...] = ()
    databases: tuple[tuple[str, str], ...] = ()  # (name, owner), the largest first

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Found:
        """What `as_row` has written."""
        made: dict[str, Any] = {
            **row,
            "published": tuple(Port(**each) for each in row["published"]),
            "mounts": tuple(Mounted(**each) for each in row["mounts"]),
            "hba": tuple(HbaLine(**{**each, "databases": tuple(each["databases"]), "users": tuple(each["users"])}) for each in row["hba"]),
            "roles": tuple(RoleSeen(**each) for each in row["roles"]),
            "databases": tuple((str(name), str(owner)) for name, owner in row["databases"]),
        }
        values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in made.items()}
        return cls(**values)

    def as_row(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def label(self) -> str:
        return f"{self.server}/{self.name.rpartition('/')[2] if self.way == 'process' else self.name}"

    @property
    def facts(self) -> InstanceFacts | None:
        """None where it could not be asked."""
        try:
            return InstanceFacts.from_row(self.observed) if self.observed else None
        except Unreadable:
            return None

    @property
    def outer_port(self) -> int:
        """The port at which others reach it on its server; 0 where they cannot."""
        if self.way == "process" or self.network == "host":
            return self.port
        return next((each.port for each in self.published if each.inner == self.port), 0)

    @property
    def config_file(self) -> str:
        return self.settings.get("config_file", "")

    @property
    def hba_file(self) -> str:
        return self.settings.get("hba_file", "")

    def mounted_at(self, path: str) -> Mounted | None:
        """What is mounted exactly there."""
        return next((mount for mount in self.mounts if mount.target == path), None)

    def outside(self, path: str) -> str:
        """A path of its own as its server has it; empty where no mount leads there."""
        if self.way == "process":
            return path
        for mount in sorted(self.mounts, key=lambda mount: -len(mount.target)):
            if path == mount.target or path.startswith(f"{mount.target.rstrip('/')}/"):
                return mount.source + path.removeprefix(mount.target)
        return ""


@dataclass(frozen=True)
class Tie:
    """A standby and whom it follows; `slot` and `application_name` as they are now, `seen_as` the address its upstream sees."""

    upstream: Found
    standby: Found
    slot: str
    application_name: str
    seen_as: str
    state: str


@dataclass(frozen=True)
class Group:
    """Instances of one system identifier: a cluster."""

    system_identifier: str
    members: tuple[Found, ...]  # the primary first
    ties: tuple[Tie, ...] = ()

    @property
    def primaries(self) -> tuple[Found, ...]:
        return tuple(member for member in self.members if (facts := member.facts) and not facts.in_recovery)

    @property
    def standbys(self) -> tuple[Found, ...]:
        return tuple(member for member in self.members if (facts := member.facts) and facts.in_recovery)

    @property
    def major(self) -> int:
        facts = self.members[0].facts
        return facts.major if facts else 0

    def tie_of(self, standby: Found) -> Tie | None:
        return next((tie for tie in self.ties if tie.standby == standby), None)


def groups(found: Iterable[Found]) -> list[Group]:
    """The clusters that they form. Those of the panel, and those that could not be asked, are in none."""
    kin: dict[str, list[Found]] = {}
    for each in found:
        facts = each.facts
        if facts and not each.own:
            kin.setdefault(facts.system_identifier, []).append(each)
    return [_group(identifier, members) for identifier, members in sorted(kin.items())]


def _group(identifier: str, members: Sequence[Found]) -> Group:
    ordered = sorted(members, key=lambda member: (member.facts is not None and member.facts.in_recovery, member.label))
    group = Group(identifier, tuple(ordered))
    ties = tuple(tie for member in group.standbys if (tie := _tie(group, member)))
    return replace(group, ties=ties)


def _tie(group: Group, standby: Found) -> Tie | None:
    """Whom it follows: by the address it asks for, else by who is seen to send to it, else the only primary."""
    others = [member for member in group.members if member is not standby]
    upstream = next((member for member in others if _asks(standby, member)), None)
    upstream = upstream or next((member for member in others if _sender(member, standby)), None)
    upstream = upstream or (group.primaries[0] if len(group.primaries) == 1 else None)
    facts = standby.facts
    if upstream is None or facts is None:
        return None
    sender = _sender(upstream, standby)
    slot = (facts.receiver.slot if facts.receiver else None) or facts.settings.get("primary_slot_name", "")
    return Tie(
        upstream=upstream,
        standby=standby,
        slot=slot or "",
        application_name=sender.application_name if sender else standby.conninfo.get("application_name", ""),
        seen_as=(sender.address if sender else None) or "",
        state=sender.state if sender else "",
    )


def _asks(standby: Found, upstream: Found) -> bool:
    facts = standby.facts
    receiver = facts.receiver if facts else None
    host = (receiver.host if receiver else None) or standby.conninfo.get("host", "")
    port = (str(receiver.port) if receiver and receiver.port else "") or standby.conninfo.get("port", "5432")
    return host == upstream.address and port == str(upstream.outer_port)


def _sender(upstream: Found, standby: Found) -> ReplicationRow | None:
    """The connection through which the upstream sends to it: from its server's address; else the only one there is."""
    facts = upstream.facts
    senders = [sender for sender in facts.senders if sender.state != "backup"] if facts else []
    near = [sender for sender in senders if sender.address == standby.address]
    return near[0] if near else senders[0] if len(senders) == 1 else None
