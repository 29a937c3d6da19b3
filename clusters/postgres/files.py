"""The files that the panel writes on a server, as text. They read as a person would have written them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from clusters.postgres.names import SUPERUSER, cidr
from clusters.postgres.quoting import conf_value, conninfo, hba_address, hba_token, pgpass_line
from clusters.postgres.settings import PARITY
from clusters.postgres.spec import InstanceSpec
from clusters.secrets import MASK, Secret

#: Around what the panel adds to a pg_hba.conf that is not its own.
ADMITTED: Final = "# pgreplica-admin begins: it stands first, since the first line that fits decides"
ADMITTED_END: Final = "# pgreplica-admin ends"


@dataclass(frozen=True)
class File:
    """A file as it should be. `secret`: its content is never shown, in no plan, log or diff."""

    path: str
    content: str
    mode: int
    secret: bool = False

    def __repr__(self) -> str:
        content = MASK if self.secret else self.content
        return f"File(path={self.path!r}, content={content!r}, mode={self.mode:#o}, secret={self.secret})"

    def diff(self, old: str | None) -> str:
        """What writing it would change; for a secret file only that it would."""
        if self.secret:
            return "" if old == self.content else f"{self.path}: a secret, not shown\n"
        return diff(self.path, old, self.content)


@dataclass(frozen=True)
class Setting:
    """One line of postgresql.conf: the value as it stands in the file (quoted where needed), and why it is there."""

    name: str
    value: str
    why: str = ""


#: What every member of a cluster gets unless the cluster's settings say otherwise: title of the section, its settings.
#: The same on all members, so that a standby can start (it may not have less than its primary) and be promoted.
DEFAULTS: Final[tuple[tuple[str, tuple[Setting, ...]], ...]] = (
    (
        "Connections and memory",
        (
            Setting("max_connections", "100", "a standby may not have less than its primary, nor of the next three"),
            Setting("max_worker_processes", "8"),
            Setting("max_prepared_transactions", "0"),
            Setting("max_locks_per_transaction", "64"),
            Setting("shared_buffers", "128MB"),
        ),
    ),
    (
        "Replication",
        (
            Setting("max_wal_senders", "10", "each standby takes one, each base backup two more"),
            Setting("max_replication_slots", "10", "each standby takes one"),
            Setting("max_slot_wal_keep_size", "10GB", "a standby that stays away must not fill this disk; past it, it is cloned again"),
            Setting("wal_keep_size", "1GB", "kept even without a slot, for pg_rewind and a late standby"),
            Setting("max_wal_size", "1GB", "checkpoints are timed, not forced, until this much WAL"),
            Setting("wal_retrieve_retry_interval", "1s", "a standby asks again soon after its upstream was away"),
            Setting("hot_standby_feedback", "off", "queries on a standby must not keep dead rows on the primary"),
        ),
    ),
    (
        "Log",
        (
            Setting("log_line_prefix", "'%m [%p] %q%u@%d %a '", "time, process, user, database, application"),
            Setting("log_checkpoints", "on"),
            Setting("log_lock_waits", "on"),
            Setting("log_replication_commands", "on", "who replicates, and who takes a base backup"),
            Setting("log_timezone", "'UTC'"),
            Setting("timezone", "'UTC'"),
        ),
    ),
)


def parity_of(spec: InstanceSpec) -> dict[str, int]:
    """What a standby may not have less of than its upstream, as it stands in this instance's postgresql.conf."""
    written = {setting.name: setting.value for _title, settings in DEFAULTS for setting in settings} | _chosen_settings(spec)
    return {name: int(written[name]) for name in PARITY}


def files_of(spec: InstanceSpec, replication_password: Secret) -> list[File]:
    """Every file that an instance needs to run, in the order in which they are written."""
    return [
        render_passfile(spec, replication_password),
        render_pg_hba(spec),
        render_replication_conf(spec),
        render_postgresql_conf(spec),
    ]


def render_postgresql_conf(spec: InstanceSpec) -> File:
    """postgresql.conf. The data directory is not in it: `pg_ctl -D` gives it, so that a clone may start elsewhere."""
    lines = [*_head(spec), *_own(spec), *_safety(), *_defaults(spec), *_chosen(spec), *_include()]
    return File(spec.config_file, "\n".join(lines) + "\n", 0o600)


def _head(spec: InstanceSpec) -> Iterator[str]:
    yield f"# Settings of the PostgreSQL instance {spec.name} of the cluster {spec.cluster}, written by pgreplica-admin."
    yield "# To change one, edit it here on every instance, then reload or restart. No job of this release rewrites this file."
    yield "# Nothing here needs the panel. To start this instance by hand:"
    if spec.container:
        yield f"#   docker compose -f {spec.compose_file} up -d"
        return
    options = f"-l {spec.log_file} -o '-c config_file={spec.config_file}'"
    yield f"#   {spec.bindir}/pg_ctl start -p {spec.guard_program} -D {spec.data_directory} {options}"
    yield "# The guard that -p names refuses where another instance has taken over; the log then says why, and what to do."


def _own(spec: InstanceSpec) -> Iterator[str]:
    yield from _section("This instance")
    published = Setting("listen_addresses", "'*'", "the container's own; compose.yml publishes one address only")
    yield from _lines(
        published if spec.container else Setting("listen_addresses", conf_value(spec.address), "this address only, never '*'"),
        Setting("port", str(spec.port)),
        Setting("unix_socket_directories", conf_value(spec.seen(spec.socket_directory))),
        Setting("unix_socket_permissions", "0700", "only the system user that owns the data"),
        Setting("hba_file", conf_value(spec.seen(spec.hba_file)), "outside the data directory: no base backup or rewind overwrites it"),
        Setting("cluster_name", conf_value(f"{spec.cluster}/{spec.name}"), "shown by ps"),
        Setting("logging_collector", "off", "the log goes to docker logs" if spec.container else f"the log goes to {spec.log_file}"),
    )


def _safety() -> Iterator[str]:
    yield from _section("What replication and its safety rest on")
    yield from _lines(
        Setting("wal_level", "replica"),
        Setting("hot_standby", "on", "a standby answers queries, so it can be watched"),
        Setting("wal_log_hints", "on", "pg_rewind needs it (or checksums)"),
        Setting("full_page_writes", "on", "pg_rewind and crash safety need it"),
        Setting("fsync", "on"),
        Setting("restart_after_crash", "on"),
        Setting("recovery_target_timeline", "'latest'", "a standby follows its upstream through a promotion"),
        Setting("password_encryption", "'scram-sha-256'"),
        Setting("lc_messages", "'C'", "the panel and most advice read English"),
    )


def _defaults(spec: InstanceSpec) -> Iterator[str]:
    for title, settings in DEFAULTS:
        yield from _section(title)
        for line, setting in zip(_lines(*settings), settings, strict=True):
            yield f"#{line}" if setting.name in _chosen_settings(spec) else line


def _chosen(spec: InstanceSpec) -> Iterator[str]:
    if spec.settings:
        yield from _section("Chosen for this cluster (the lines above that they replace are commented out)")
        yield from _lines(*(Setting(name, conf_value(value)) for name, value in sorted(_chosen_settings(spec).items())))


def _chosen_settings(spec: InstanceSpec) -> dict[str, str]:
    return {name.lower(): value for name, value in spec.settings.items()}


def _include() -> Iterator[str]:
    yield from _section("Whom this instance follows")
    yield "include 'replication.conf'"


def _section(title: str) -> Iterator[str]:
    yield ""
    yield f"# {title}"


def _lines(*settings: Setting) -> Iterator[str]:
    for setting in settings:
        assignment = f"{setting.name} = {setting.value}"
        yield f"{assignment:<42}  # {setting.why}" if setting.why else assignment


def render_replication_conf(spec: InstanceSpec) -> File:
    """replication.conf: whom a standby follows, and whom commits wait for. The password is in the passfile, never here.

    synchronous_standby_names stands in every member's file: a standby heeds it from the moment it is promoted, so that no
    commit is acknowledged with less than the cluster's guarantee in between.
    """
    if spec.upstream is None:
        lines = [f"# {spec.name} is a primary: it follows nobody.", "primary_conninfo = ''", "primary_slot_name = ''"]
    else:
        lines = [
            f"# {spec.name} follows {spec.upstream.name}. The password is in the passfile.",
            f"primary_conninfo = {conf_value(primary_conninfo(spec))}",
            f"primary_slot_name = {conf_value(spec.upstream.slot)}",
        ]
    lines.append(f"synchronous_standby_names = {conf_value(spec.synchronous)}")
    return File(spec.replication_file, "\n".join(lines) + "\n", 0o600)


def primary_conninfo(spec: InstanceSpec) -> str:
    """How a standby reaches its upstream; its own name is what the upstream shows of it (application_name)."""
    assert spec.upstream is not None, f"{spec.name} has no upstream"
    return conninfo(
        {
            "host": spec.upstream.address,
            "port": spec.upstream.port,
            "user": spec.replication_role,
            "passfile": spec.seen(spec.passfile),
            "application_name": spec.name,
            "connect_timeout": 10,
        }
    )


def render_pg_hba(spec: InstanceSpec) -> File:
    """pg_hba.conf: scram-sha-256 for those who must connect, and for each only from where; everybody else is rejected."""
    lines = [
        f"# Who may connect to {spec.name} of the cluster {spec.cluster}; written by pgreplica-admin. The first line that fits decides.",
        "# TYPE  DATABASE  USER  ADDRESS  METHOD",
        *(line for title, entries in _admitted(spec) for line in ("", f"# {title}", *entries)),
        "",
        "# Nobody else",
        "local  all          all  reject",
        "local  replication  all  reject",
        "host   all          all  all  reject",
        "host   replication  all  all  reject",
    ]
    return File(spec.hba_file, "\n".join(lines) + "\n", 0o600)


def _admitted(spec: InstanceSpec) -> Iterator[tuple[str, list[str]]]:
    yield "The superuser, over the socket of this machine only", [f"local  all  {hba_token(SUPERUSER)}  scram-sha-256"]
    yield from _panel_admitted(spec)
    if spec.client_networks:
        yield "Applications", _entries(hba_token(spec.database), spec.owner_role, [_network(network) for network in spec.client_networks])


def _panel_admitted(spec: InstanceSpec) -> Iterator[tuple[str, list[str]]]:
    here = hba_address(spec.address)
    peers = sorted({hba_address(member.address) for member in (*spec.members, spec.member)})
    panel = list(dict.fromkeys([*map(_network, spec.panel_networks), here]))
    yield "The panel, also when it comes through this server", _entries(hba_token(SUPERUSER), spec.panel_role, panel)
    yield "The members of the cluster, this one too: streaming and base backups", _entries("replication", spec.replication_role, peers)
    yield "The same for pg_rewind, which needs an ordinary database", _entries(hba_token(SUPERUSER), spec.replication_role, peers)


def admitted_too(spec: InstanceSpec, text: str) -> str:
    """Somebody else's pg_hba.conf with the panel and the members admitted by its first lines. May be made of its own outcome."""
    before, begin, after = text.partition(f"{ADMITTED}\n")
    rest = before + after.partition(f"{ADMITTED_END}\n")[2] if begin else text
    lines = [line for title, entries in _panel_admitted(spec) for line in (f"# {title}", *entries)]
    return "\n".join([ADMITTED, *lines, ADMITTED_END, rest])


def _network(network: str) -> str:
    return hba_token(cidr(network))


def _entries(database: str, role: str, addresses: list[str]) -> list[str]:
    return [f"host  {database}  {hba_token(role)}  {address}  scram-sha-256" for address in addresses]


def render_passfile(spec: InstanceSpec, replication_password: Secret) -> File:
    """The password file that primary_conninfo, pg_basebackup and pg_rewind name: one line for each member."""
    hosts = sorted({(member.address, member.port) for member in (*spec.members, spec.member)})
    lines = [pgpass_line(address, port, "*", spec.replication_role, replication_password) for address, port in hosts]
    return File(spec.passfile, "\n".join(lines) + "\n", 0o600, secret=True)


def render_superuser_passfile(spec: InstanceSpec, superuser_password: Secret) -> File:
    """The password file with which psql reaches the superuser over this instance's socket."""
    line = pgpass_line(spec.seen(spec.socket_directory), spec.port, "*", SUPERUSER, superuser_password)
    return File(spec.superuser_passfile, f"{line}\n", 0o600, secret=True)


def render_pwfile(spec: InstanceSpec, superuser_password: Secret) -> File:
    """The superuser's password for initdb; take it away afterwards."""
    return File(spec.pwfile, f"{superuser_password.reveal()}\n", 0o600, secret=True)


def standby_signal(data_directory: str) -> File:
    """Makes the server that starts in `data_directory` a standby."""
    return File(f"{data_directory}/standby.signal", "", 0o600)


def epoch_file(spec: InstanceSpec, epoch: int) -> File:
    """The epoch that this server has heard of; a panel that knows of a lower one must not act."""
    return File(spec.epoch_file, f"{epoch}\n", 0o600)


def fenced_file(spec: InstanceSpec, why: str) -> File:
    """Says that this instance must not come up as a primary, and why."""
    return File(spec.fenced_file, f"{why}\n", 0o600)


def diff(path: str, old: str | None, new: str) -> str:
    """A unified diff for people; "" when nothing changes. `old` None: the file does not exist yet."""
    if old is None and new == "":
        return f"--- /dev/null\n+++ {path}\n"  # an empty file is a file: standby.signal is one
    before = "" if old is None else old
    lines = difflib.unified_diff(before.splitlines(), new.splitlines(), "/dev/null" if old is None else path, path, lineterm="")
    return "".join(f"{line}\n" for line in lines)
