"""What the panel declares of one instance, as plain values, and where its files lie.

Everything else in this package is a function of these values. Making a spec validates every value that goes into a
path, a file or a command line, so that nothing below has to doubt them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Literal

from clusters.postgres import names

Role = Literal["primary", "standby"]
#: Where the image `postgres` has its sockets.
CONTAINER_SOCKETS: Final = "/var/run/postgresql"


@dataclass(frozen=True)
class Member:
    """Where one instance of a cluster is reached."""

    name: str
    address: str
    port: int

    def __post_init__(self) -> None:
        names.object_name(self.name)
        names.host_address(self.address)
        names.port(self.port)


@dataclass(frozen=True)
class Upstream(Member):
    """Whom a standby follows, and the slot there that keeps its WAL."""

    slot: str

    def __post_init__(self) -> None:
        super().__post_init__()
        names.replication_slot(self.slot)


@dataclass(frozen=True)
class Container:
    """How an instance runs in a container. `user`: "uid:gid" of the server's system user, who owns the data."""

    name: str
    image: str
    user: str
    network: str = ""  # an external one; empty: the instance has its own
    shm_size: str = "256m"

    def __post_init__(self) -> None:
        names.container_name(self.name)
        names.image(self.image)
        names.user_and_group(self.user)
        if self.network:
            names.container_name(self.network, "network")
        names.memory_size(self.shm_size, "shm_size")


@dataclass(frozen=True)
class InstanceSpec:
    """One instance of a cluster. Raises `names.NameRefused` for a value that could not be used safely."""

    cluster: str
    name: str
    server: str
    address: str
    port: int
    base_directory: str
    bindir: str
    major: int
    database: str
    owner_role: str
    replication_role: str
    panel_role: str
    role: Role
    upstream: Upstream | None
    members: tuple[Member, ...]  # every member of the cluster, itself among them
    client_networks: tuple[str, ...] = ()
    panel_networks: tuple[str, ...] = ("127.0.0.1/32",)
    settings: Mapping[str, str] = field(default_factory=dict)
    synchronous: str = ""  # synchronous_standby_names, in force while it is a primary (`sync.standby_names`)
    system_identifier: str = ""  # of the cluster; empty until its first instance was made
    container: Container | None = None  # None: a process of the server's own programs in `bindir`
    adopted_psql: tuple[str, ...] = ()  # how psql gets in to one that the panel has not made
    adopted_data: str = ""  # where one that the panel has not made has its data, as its PostgreSQL sees it

    def __post_init__(self) -> None:
        for value, what in ((self.cluster, "cluster"), (self.name, "name"), (self.server, "server")):
            names.object_name(value, what)
        names.host_address(self.address)
        names.port(self.port)
        names.base_directory(self.base_directory)
        if self.container is None:
            names.directory(self.bindir, "bindir")
        if not self.adopted_data:  # else they are as somebody else has named them
            names.database_name(self.database)
            names.role_name(self.owner_role)
        for role in (self.replication_role, self.panel_role):
            names.role_name(role)
        for network in (*self.client_networks, *self.panel_networks):
            names.cidr(network)
        for setting, value in self.settings.items():
            names.setting(setting, value, self.major)
        names.system_identifier(self.system_identifier)

    @property
    def member(self) -> Member:
        return Member(self.name, self.address, self.port)

    @property
    def cluster_directory(self) -> str:
        return f"{self.base_directory.rstrip('/')}/{self.cluster}"

    @property
    def directory(self) -> str:
        return f"{self.cluster_directory}/{self.name}"

    @property
    def conf_directory(self) -> str:
        return f"{self.directory}/conf"

    @property
    def config_file(self) -> str:
        return f"{self.conf_directory}/postgresql.conf"

    @property
    def hba_file(self) -> str:
        return f"{self.conf_directory}/pg_hba.conf"

    @property
    def replication_file(self) -> str:
        """What belongs to this node alone; outside the data directory, so that no base backup or rewind overwrites it."""
        return f"{self.conf_directory}/replication.conf"

    @property
    def secrets_directory(self) -> str:
        return f"{self.directory}/secrets"

    @property
    def passfile(self) -> str:
        """The replication role's password for every member (libpq password file)."""
        if self.adopted_data:  # the one place that a container which somebody else has made keeps
            return f"{self.adopted_data}/pgreplica.passfile"
        return f"{self.secrets_directory}/passfile"

    @property
    def superuser_passfile(self) -> str:
        """The superuser's password for the socket of this instance (libpq password file)."""
        return f"{self.secrets_directory}/superuser_passfile"

    @property
    def pwfile(self) -> str:
        """The superuser's password as initdb reads it; its directory is there during initdb only."""
        return f"{self.directory}/initdb/password"

    @property
    def state_directory(self) -> str:
        return f"{self.directory}/state"

    @property
    def epoch_file(self) -> str:
        """The epoch of the last promotion this server heard of."""
        return f"{self.state_directory}/epoch"

    @property
    def fenced_file(self) -> str:
        """While it is there, this instance must not come up as a primary; it says why."""
        return f"{self.state_directory}/fenced"

    @property
    def refused_file(self) -> str:
        """Why the start guard refused the last start, and what to do; not there when it let it pass."""
        return f"{self.state_directory}/refused"

    @property
    def guard_directory(self) -> str:
        return f"{self.directory}/guard"

    @property
    def guard_conf(self) -> str:
        """What the start guard goes by."""
        return f"{self.guard_directory}/guard.conf"

    @property
    def guard_program(self) -> str:
        """The start guard, which pg_ctl starts in place of `postgres`."""
        return f"{self.guard_directory}/start"

    @property
    def guard_entrypoint(self) -> str:
        """The start guard in front of the entrypoint of a container."""
        return f"{self.guard_directory}/entrypoint"

    @property
    def data_directory(self) -> str:
        return self.adopted_data or data_directory(self.base_directory, self.cluster, self.name)

    @property
    def log_directory(self) -> str:
        return f"{self.directory}/log"

    @property
    def log_file(self) -> str:
        return f"{self.log_directory}/postgresql.log"

    @property
    def socket_directory(self) -> str:
        return f"{self.base_directory.rstrip('/')}/.run/{self.port}"

    @property
    def compose_file(self) -> str:
        return f"{self.directory}/compose.yml"

    @property
    def env_file(self) -> str:
        """Values of compose.yml, nothing secret."""
        return f"{self.directory}/.env"

    def seen(self, path: str) -> str:
        """A path of the instance as its serving PostgreSQL sees it; one-shot programs see the server's own paths."""
        if self.container is None or self.adopted_data:
            return path
        for outside, within in (
            (self.data_directory, "/var/lib/postgresql/data"),
            (self.conf_directory, "/etc/postgresql"),
            (self.secrets_directory, "/run/secrets"),
            (self.state_directory, "/state"),
            (self.socket_directory, CONTAINER_SOCKETS),
        ):
            if path == outside or path.startswith(f"{outside}/"):
                return within + path.removeprefix(outside)
        raise ValueError(f"{path} is not mounted in the container of {self.name}")

    def quarantine_directory(self, job_id: int | str) -> str:
        """Where the instance's directory goes when it leaves the cluster."""
        return f"{self.cluster_directory}/quarantine/{self.name}-{job_id}"

    @property
    def token_file(self) -> str:
        return f"{self.cluster_directory}/.token"

    @property
    def units_directory(self) -> str:
        return f"{self.cluster_directory}/.units"

    def clone_directory(self, job_id: int | str) -> str:
        """Where a base backup grows, beside the data directory: it is put into place by one rename."""
        return f"{self.data_directory}.clone-{job_id}"


def data_directory(base_directory: str, cluster: str, name: str) -> str:
    """Of an instance that the panel has made, on its server."""
    return f"{base_directory.rstrip('/')}/{cluster}/{name}/volumes/postgres/data"


def without(spec: InstanceSpec, name: str) -> InstanceSpec:
    """The instance as it is when the member `name` is not in its cluster."""
    return replace(spec, members=tuple(member for member in spec.members if member.name != name))
