"""What is to be said of a cluster that was found: findings about each of its instances.

"blocks": the panel cannot watch it like this. "flag": data can be lost, or somebody can come in who must not. "warns": it works,
and will hurt one day. Which step of the users' manual a finding comes from is in `MANUAL`.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from clusters.postgres.found import EVERYWHERE, Found, Group, HbaLine
from clusters.postgres.names import MAJORS
from clusters.postgres.obstacles import Obstacle, obstacle, size
from clusters.postgres.text import gettext_noop as _

AdoptionRule = Callable[[Found, Group], Obstacle | None]

#: What Docker gives a container before SIGKILL; a busy server needs longer for its last checkpoint.
GRACE_SECONDS: Final = 30
#: Of a slot that nobody reads from.
RETAINED_BYTES: Final = 64 * 1024 * 1024
_PRIVATE: Final = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fe80::/10")))
#: Names that a standby has which nobody named.
NAMELESS: Final = ("", "walreceiver")

#: Finding -> where in the users' manual it begins.
MANUAL: Final[dict[str, str]] = {
    "trust_entry": _("Primary, step 6: pg_hba.conf"),
    "network_too_wide": _("Primary, step 6: pg_hba.conf"),
    "md5_entry": _("Primary, step 6: pg_hba.conf"),
    "all_for_replication": _("Primary, step 6: pg_hba.conf"),
    "restart_unguarded": _("Primary, step 2: docker-compose.yml"),
    "published_everywhere": _("Primary, step 2: docker-compose.yml"),
    "config_without_effect": _("Primary, step 2: docker-compose.yml; standby, step 3"),
    "hba_single_file": _("Primary, step 2: docker-compose.yml; standby, step 3"),
    "init_script_missing": _("Primary, steps 1 and 2: the script has another name than the mount"),
    "password_in_environment": _("Primary, steps 2 and 4: .env"),
    "image_by_tag": _("Primary, step 2: docker-compose.yml"),
    "stop_time_short": _("Primary, step 2: docker-compose.yml"),
    "no_checksums": _("Primary, step 2: no POSTGRES_INITDB_ARGS"),
    "no_wal_log_hints": _("Primary, step 5: postgresql.conf"),
    "slot_uncapped": _("Primary, step 5: postgresql.conf"),
    "follows_without_slot": _("Standby, step 2: pg_basebackup without --slot"),
    "slot_unused": _("Primary, step 3, and standby, step 2: pg_basebackup without --slot"),
    "password_in_settings": _("Standby, step 2: pg_basebackup -R with PGPASSWORD"),
    "name_not_its_own": _("Standby, step 2: no application_name"),
    "replication_in_clear": _("Primary, step 5: postgresql.conf"),
}


# -- whether it can be watched at all


def several_primaries(found: Found, group: Group) -> Obstacle | None:
    """One instance of the cluster accepts writes, and no other."""
    others = [member.label for member in group.primaries if member is not found]
    if found not in group.primaries or not others:
        return None
    return obstacle(
        "several_primaries",
        "blocks",
        _("It accepts writes, and so does %(value)s, with the same system identifier: two primaries, or a copy beside its origin."),
        _("Find out which one applications use. Stop the other, or give it a system identifier of its own, then look again."),
        value=", ".join(others),
        threshold=1,
    )


def no_primary(found: Found, group: Group) -> Obstacle | None:
    """The primary it belongs to was found, too."""
    if group.primaries or found is not group.members[0]:
        return None
    return obstacle(
        "no_primary",
        "blocks",
        _("It is a standby, and its primary (%(value)s) was not found on the servers that were looked at."),
        _("Register the server of the primary, then look at both."),
        value=found.conninfo.get("host") or "?",
    )


def version_unsupported(found: Found, group: Group) -> Obstacle | None:
    """It is PostgreSQL 14 to 18."""
    facts = found.facts
    if facts is None or facts.major in MAJORS:
        return None
    return obstacle(
        "version_unsupported",
        "blocks",
        _("It is PostgreSQL %(value)s; the panel knows %(threshold)s."),
        _("Upgrade it first."),
        value=facts.version,
        threshold="14-18",
    )


def not_reachable(found: Found, group: Group) -> Obstacle | None:
    """Other servers can reach its port."""
    if found.outer_port:
        return None
    return obstacle(
        "not_reachable",
        "blocks",
        _("Its port %(value)s is published nowhere: neither a standby nor the panel can reach it from outside its container."),
        _("Publish the port on the address of the server, which takes a new container, then look again."),
        value=found.port,
    )


# -- who may come in


def trust_entry(found: Found, group: Group) -> Obstacle | None:
    """Nobody logs in without a password, but over the socket inside."""
    lines = [line for line in found.hba if line.method == "trust" and (line.kind != "local" or "replication" in line.databases)]
    lines += [line for line in found.hba if line.method == "trust" and line.kind == "local" and line not in lines]
    if not lines:
        return None
    return obstacle(
        "trust_entry",
        "flag" if any(line.kind != "local" for line in lines) else "warns",
        _("pg_hba.conf lets people in without a password (%(value)s): whoever reaches these addresses is any role, the superuser too."),
        _("Let each application log in once with its password, then write scram-sha-256 in the place of trust, and reload."),
        value=_lines(lines),
        threshold="scram-sha-256",
    )


def network_too_wide(found: Found, group: Group) -> Obstacle | None:
    """No entry names a network that holds addresses of the Internet."""
    lines = [line for line in found.hba if line.method != "reject" and _wide(line)]
    if not lines:
        return None
    return obstacle(
        "network_too_wide",
        "flag",
        _("pg_hba.conf admits a network with public addresses in it: %(value)s. Of 172.0.0.0/8 only 172.16.0.0/12 is private."),
        _("Write the networks that applications really come from; Docker's own are within 172.16.0.0/12."),
        value=_lines(lines),
    )


def md5_entry(found: Found, group: Group) -> Obstacle | None:
    """Passwords are checked by SCRAM."""
    lines = [line for line in found.hba if line.method in ("md5", "password")]
    if not lines:
        return None
    return obstacle(
        "md5_entry",
        "warns",
        _("pg_hba.conf checks passwords by md5 (%(value)s), which PostgreSQL 18 deprecates."),
        _("Where every role has a SCRAM password, write scram-sha-256 in its place, and reload: nobody notices."),
        value=_lines(lines),
        threshold="scram-sha-256",
    )


def password_kept_as_md5(found: Found, group: Group) -> Obstacle | None:
    """Every role's password is kept as a SCRAM verifier."""
    names = [role.name for role in found.roles if role.password == "md5"]  # noqa: S105  # a kind
    if not names:
        return None
    return obstacle(
        "password_kept_as_md5",
        "warns",
        _("The passwords of %(value)s are kept as md5 hashes: whoever reads one can log in with it."),
        _("Set password_encryption = 'scram-sha-256', then give each of these roles its password anew."),
        value=", ".join(names),
        threshold="scram-sha-256",
    )


def all_for_replication(found: Found, group: Group) -> Obstacle | None:
    """What is meant for replication says replication: the word all does not cover it."""
    replicators = {role.name for role in found.roles if role.replication and not role.superuser}
    lines = [line for line in found.hba if replicators & set(line.users) and "replication" not in line.databases]
    if not lines:
        return None
    return obstacle(
        "all_for_replication",
        "warns",
        _("pg_hba.conf admits the replication role to databases (%(value)s): `all` does not match replication, so it lets no standby in."),
        _("Have a line with the word replication for each standby, and take this one away: the role needs no database."),
        value=_lines(lines),
        threshold="replication",
    )


def superuser_replicates(found: Found, group: Group) -> Obstacle | None:
    """Standbys log in as a role that may replicate and nothing else."""
    superusers = {role.name for role in found.roles if role.superuser}
    facts = found.facts
    used = sorted({str(sender.role) for sender in facts.senders if sender.role in superusers}) if facts else []
    if not used:
        return None
    return obstacle(
        "superuser_replicates",
        "flag",
        _("A standby logs in as the superuser %(value)s: whoever has its server has this one."),
        _("Make a role that may replicate and nothing else, and let the standby use it."),
        value=", ".join(used),
    )


def published_everywhere(found: Found, group: Group) -> Obstacle | None:
    """Its port is published on one address of the server."""
    places = [port for port in found.published if port.inner == found.port and port.address in EVERYWHERE]
    if not places:
        return None
    return obstacle(
        "published_everywhere",
        "warns",
        _("Port %(value)s is published on every address of the server; Docker's own rules let it past the server's firewall."),
        _('Publish it on the one address that others use ("%(address)s:%(value)s:%(inner)s"). It takes a new container.'),
        value=places[0].port,
        threshold=found.address,
        address=found.address,
        inner=found.port,
    )


def replication_in_clear(found: Found, group: Group) -> Obstacle | None:
    """What goes to a standby is encrypted."""
    facts = found.facts
    if found.settings.get("ssl") != "off" or facts is None or not facts.senders:
        return None
    return obstacle(
        "replication_in_clear",
        "warns",
        _("ssl is off: every row travels to the standby unencrypted."),
        _("Where the network between the servers is not your own, set up TLS (ssl = on with a certificate), and hostssl in pg_hba.conf."),
        value="off",
        threshold="on",
    )


# -- where passwords lie


def password_in_environment(found: Found, group: Group) -> Obstacle | None:
    """No password is a variable of the container."""
    names = [name for name in found.env if "PASSWORD" in name.upper() and not name.upper().endswith("_FILE")]
    if not names:
        return None
    return obstacle(
        "password_in_environment",
        "warns",
        _("Passwords are variables of the container (%(value)s): everybody in the group docker reads them with docker inspect."),
        _("Give them as files (POSTGRES_PASSWORD_FILE). It takes a new container; an instance that the panel makes has them so."),
        value=", ".join(names),
    )


def password_in_settings(found: Found, group: Group) -> Obstacle | None:
    """The standby's password lies in a password file, not in a setting."""
    if not found.conninfo_password:
        return None
    return obstacle(
        "password_in_settings",
        "flag",
        _("primary_conninfo holds the password in clear (%(value)s): pg_read_all_settings lets roles read it, and copies take it along."),
        _("Give it as a password file (passfile). A take-over by the panel does so, by a reload."),
        value=found.sources.get("primary_conninfo", "").rpartition("/")[2] or "primary_conninfo",
    )


# -- slots and standbys


def follows_without_slot(found: Found, group: Group) -> Obstacle | None:
    """A standby reads through a slot of its own."""
    tie = group.tie_of(found)
    if tie is None or tie.slot:
        return None
    return obstacle(
        "follows_without_slot",
        "flag",
        _("It follows %(upstream)s without a slot: away for longer than wal_keep_size (%(value)s) lasts, it must be copied anew."),
        _("Make a slot of its own and name it in primary_slot_name. A take-over by the panel does so, by a reload."),
        value=_kept(tie.upstream),
        upstream=tie.upstream.label,
    )


def slot_unused(found: Found, group: Group) -> Obstacle | None:
    """Every slot is read from."""
    facts = found.facts
    idle = [slot for slot in facts.slots if not slot.active and slot.type == "physical"] if facts else []
    if not facts or not idle:
        return None
    kept = max((facts.lsn - slot.restart_lsn for slot in idle if slot.restart_lsn is not None), default=0)
    return obstacle(
        "slot_unused",
        "flag" if kept > RETAINED_BYTES else "warns",
        _("Nobody reads from the slot %(value)s, which keeps %(kept)s of WAL: either it protects nobody, or it fills the disk."),
        _("Let the standby that it was made for use it, or drop it."),
        value=", ".join(slot.name for slot in idle),
        kept=size(kept),
    )


def slot_uncapped(found: Found, group: Group) -> Obstacle | None:
    """A slot cannot fill the disk."""
    if found.settings.get("max_slot_wal_keep_size") != "-1":
        return None
    return obstacle(
        "slot_uncapped",
        "warns",
        _("max_slot_wal_keep_size is not set: a slot whose standby is away keeps WAL until the disk is full and the primary stops."),
        _("Set it to what the disk can spare. A take-over by the panel does so, by a reload."),
        value="-1",
    )


def name_not_its_own(found: Found, group: Group) -> Obstacle | None:
    """A standby shows itself under a name of its own."""
    tie = group.tie_of(found)
    same = [other for other in group.ties if tie and other is not tie and other.application_name == tie.application_name]
    if tie is None or not (same or tie.application_name in NAMELESS):
        return None
    return obstacle(
        "name_not_its_own",
        "warns",
        _("It shows itself to %(upstream)s as %(value)s, as any standby does that nobody named: commits cannot be told to wait for it."),
        _("Set application_name in primary_conninfo. A take-over by the panel does so, by a reload."),
        value=tie.application_name or "walreceiver",
        upstream=tie.upstream.label,
    )


def standby_not_streaming(found: Found, group: Group) -> Obstacle | None:
    """A standby streams."""
    tie = group.tie_of(found)
    if found not in group.standbys or (tie and tie.state == "streaming"):
        return None
    return obstacle(
        "standby_not_streaming",
        "flag",
        _("It does not stream (%(value)s): what is written now is on no other server."),
        _("See its log: mostly a password, a line of pg_hba.conf, or WAL that its upstream has removed."),
        value=(tie.state if tie else "") or "no connection",
        threshold="streaming",
    )


# -- safety of the data


def no_checksums(found: Found, group: Group) -> Obstacle | None:
    """Damage on disk is noticed."""
    facts = found.facts
    if facts is None or facts.data_checksums:
        return None
    return obstacle(
        "no_checksums",
        "warns",
        _("Its data has no checksums: damage by disk or memory is not noticed, and is copied to the standbys."),
        _("They are set while the server is stopped: pg_checksums --enable on the stopped standby, switch over, then on the other. "
          "Not by a take-over: it takes a restart."),
        value="off",
        threshold="on",
    )  # fmt: skip


def no_wal_log_hints(found: Found, group: Group) -> Obstacle | None:
    """pg_rewind is possible: checksums or wal_log_hints."""
    facts = found.facts
    if facts is None or facts.data_checksums or facts.settings.get("wal_log_hints") == "on":
        return None
    return obstacle(
        "no_wal_log_hints",
        "warns",
        _("It has neither checksums nor wal_log_hints: after a failover pg_rewind is impossible, and the old primary must be copied anew."),
        _("Set wal_log_hints = on, and restart at a quiet moment: the standby first, then the primary."),
        value="off",
        threshold="on",
    )


def writes_unsafe(found: Found, group: Group) -> Obstacle | None:
    """A crash loses nothing: fsync and full_page_writes are on."""
    off = [name for name in ("fsync", "full_page_writes") if found.settings.get(name) == "off"]
    if not off:
        return None
    return obstacle(
        "writes_unsafe",
        "flag",
        _("%(value)s off: after a crash or a power cut the data may be damaged beyond repair, whatever was acknowledged."),
        _("Set them on, and reload."),
        value=", ".join(off),
        threshold="on",
    )


def restart_unguarded(found: Found, group: Group) -> Obstacle | None:
    """An old primary does not come back by itself."""
    if found.restart not in ("always", "unless-stopped") or any("guard" in word for word in found.entrypoint):
        return None
    return obstacle(
        "restart_unguarded",
        "flag",
        _("restart: %(value)s and no guard before a start: after a failover a reboot brings the old primary back, and it takes writes."),
        _("Before you promote another one: docker update --restart=no %(container)s. An instance that the panel makes has a start guard."),
        value=found.restart,
        threshold="no",
        container=found.name,
    )


def stop_time_short(found: Found, group: Group) -> Obstacle | None:
    """It has time for its last checkpoint before it is killed."""
    if found.way != "container" or (found.stop_seconds or 10) >= GRACE_SECONDS:
        return None
    return obstacle(
        "stop_time_short",
        "warns",
        _("Docker kills it %(value)s seconds after asking it to stop: a busy server is not done by then, and recovers at its next start."),
        _("Set stop_grace_period: 60s in the compose file, which takes a new container; until then: docker stop --time 60."),
        value=found.stop_seconds or 10,
        threshold=60,
    )


def archive_nowhere(found: Found, group: Group) -> Obstacle | None:
    """WAL that is to be archived goes somewhere."""
    nowhere = found.settings.get("archive_command", "") in ("", "(disabled)") and not found.settings.get("archive_library")
    if found.settings.get("archive_mode", "off") == "off" or not nowhere:
        return None
    return obstacle(
        "archive_nowhere",
        "flag",
        _("archive_mode is %(value)s and there is no archive_command: WAL is kept until the disk is full."),
        _("Set archive_command, or archive_mode = off, which takes a restart."),
        value=found.settings.get("archive_mode"),
    )


# -- its files


def config_without_effect(found: Found, group: Group) -> Obstacle | None:
    """The postgresql.conf that somebody mounted is the one that is read."""
    mounts = [mount for mount in found.mounts if mount.target.endswith("/postgresql.conf") and mount.target != found.config_file]
    if not mounts:
        return None
    return obstacle(
        "config_without_effect",
        "flag",
        _("The mounted %(source)s has no effect: PostgreSQL reads %(threshold)s, nothing names %(value)s."),
        _("Compare the two files. Start it with -c config_file=..., which takes a restart, or set what you need by ALTER SYSTEM."),
        value=mounts[0].target,
        threshold=found.config_file,
        source=mounts[0].source,
    )


def hba_single_file(found: Found, group: Group) -> Obstacle | None:
    """pg_hba.conf is in a mounted directory, so that a new file is seen."""
    mount = found.mounted_at(found.hba_file)
    if mount is None:
        return None
    return obstacle(
        "hba_single_file",
        "warns",
        _("%(value)s is mounted as a single file: what an editor puts in its place is not seen inside, and the reload says nothing. "
          "Mounted into the data directory it also keeps initdb from an empty start."),
        _("Write into the same file (as a take-over by the panel does), never a new one in its place; compare with pg_hba_file_rules."),
        value=mount.source,
    )  # fmt: skip


def init_script_missing(found: Found, group: Group) -> Obstacle | None:
    """The init script that somebody mounted is a script."""
    names = [each.partition(" ")[2] for each in found.init if each.startswith("directory ")]
    if not names:
        return None
    return obstacle(
        "init_script_missing",
        "warns",
        _("%(value)s in /docker-entrypoint-initdb.d is a directory, made by Docker where no file was: the script never ran."),
        _("See whether the role and the slot that it was to make are there. The mount can go with the next container."),
        value=", ".join(names),
    )


def files_have_errors(found: Found, group: Group) -> Obstacle | None:
    """PostgreSQL can use every line of its files."""
    errors = [*found.file_errors, *(f"pg_hba.conf:{line.number} {line.error}" for line in found.hba if line.error)]
    if not errors:
        return None
    return obstacle(
        "files_have_errors",
        "flag",
        _("PostgreSQL cannot use a line of its files: %(value)s. With it in pg_hba.conf the next start fails."),
        _("Correct the line, and reload."),
        value=errors[0],
    )


# -- likeness


def images_differ(found: Found, group: Group) -> Obstacle | None:
    """Every instance runs from the same image."""
    first = group.members[0]
    same = first is found or not (found.image_id and first.image_id) or found.image_id == first.image_id
    if same:
        return None
    return obstacle(
        "images_differ",
        "flag" if found.libc != first.libc else "warns",
        _("It runs %(value)s (%(libc)s), %(first)s runs %(threshold)s (%(other)s): text may sort differently, and indexes are wrong then."),
        _("Run the same image, by its digest, on every server."),
        value=f"{found.image} {found.image_id[:19]}",
        threshold=f"{first.image} {first.image_id[:19]}",
        first=first.label,
        libc=found.libc or "?",
        other=first.libc or "?",
    )


def image_by_tag(found: Found, group: Group) -> Obstacle | None:
    """The image is named by its digest."""
    if not found.image or "@sha256:" in found.image:
        return None
    return obstacle(
        "image_by_tag",
        "warns",
        _("Its image is %(value)s, a tag that changes: the next pull on one server makes it differ from the others."),
        _("Name it by digest in the compose file: docker image inspect --format '{{.RepoDigests}}' %(value)s."),
        value=found.image,
    )


ADOPTION_RULES: Final[tuple[AdoptionRule, ...]] = (
    several_primaries,
    no_primary,
    version_unsupported,
    not_reachable,
    standby_not_streaming,
    writes_unsafe,
    archive_nowhere,
    files_have_errors,
    trust_entry,
    network_too_wide,
    password_in_settings,
    superuser_replicates,
    follows_without_slot,
    restart_unguarded,
    config_without_effect,
    images_differ,
    slot_unused,
    slot_uncapped,
    name_not_its_own,
    no_checksums,
    no_wal_log_hints,
    md5_entry,
    password_kept_as_md5,
    all_for_replication,
    password_in_environment,
    published_everywhere,
    replication_in_clear,
    hba_single_file,
    init_script_missing,
    stop_time_short,
    image_by_tag,
)
_ORDER: Final = ("blocks", "flag", "warns")


def adoption_findings(found: Found, group: Group) -> list[Obstacle]:
    """What is to be said of one instance of a cluster, the worst first."""
    made = (rule(found, group) for rule in ADOPTION_RULES)
    return sorted((each for each in made if each), key=lambda each: _ORDER.index(each.severity))


def adoption_obstacles(group: Group) -> Iterator[tuple[Found, Obstacle]]:
    """What keeps the panel from watching it."""
    for member in group.members:
        yield from ((member, each) for each in adoption_findings(member, group) if each.severity == "blocks")


# -- helpers


def _lines(lines: Sequence[HbaLine]) -> str:
    """Lines of pg_hba.conf in one: "line 3 (172.0.0.0/8), line 1 (socket)"."""
    return ", ".join(f"line {line.number} ({_where(line)})" for line in sorted(lines, key=lambda line: line.number)[:8])


def _where(line: HbaLine) -> str:
    if line.kind == "local":
        return "socket"
    network = _network(line)
    return str(network) if network else line.address or "?"


def _network(line: HbaLine) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        prefix = bin(int(ipaddress.ip_address(line.netmask))).count("1") if line.netmask else None
        return ipaddress.ip_network(f"{line.address}/{prefix}" if prefix is not None else line.address, strict=False)
    except ValueError:
        return None


def _wide(line: HbaLine) -> bool:
    """A network, not a host, that no private range holds."""
    if line.address == "all":
        return True
    network = _network(line)
    if network is None or network.num_addresses == 1 or network.is_loopback:
        return False
    return not any(network.version == private.version and network.subnet_of(private) for private in _PRIVATE)  # type: ignore[arg-type]


def _kept(upstream: Found) -> str:
    """wal_keep_size, which pg_settings has in MB."""
    text = upstream.settings.get("wal_keep_size", "")
    return f"{text} MB" if text.isdigit() else "?"
