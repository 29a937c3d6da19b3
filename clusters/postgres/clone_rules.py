"""May this source be cloned to that place? One pure function a rule; the page, the first step and the API run the same list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clusters.postgres import parity_rules
from clusters.postgres.clone_facts import WALSENDERS_OF_A_COPY, CloneFacts
from clusters.postgres.facts import Version
from clusters.postgres.obstacles import PANEL_SETTINGS, Obstacle, obstacle, size
from clusters.postgres.settings import PARITY
from clusters.postgres.text import gettext_noop as _

CloneRule = Callable[[CloneFacts], Obstacle | None]


def programs_missing(facts: CloneFacts) -> Obstacle | None:
    """The target server has PostgreSQL programs."""
    if facts.target_version is not None:
        return None
    return obstacle(
        "programs_missing",
        "blocks",
        _("The target server has no PostgreSQL %(threshold)s programs."),
        _("Install PostgreSQL %(threshold)s on it, then check the server again."),
        threshold=facts.source.major,
    )


def major_version_differs(facts: CloneFacts) -> Obstacle | None:
    """Source and target have the same major version."""
    if facts.target_version is None or facts.target_version.major == facts.source.major:
        return None
    return obstacle(
        "major_version_differs",
        "blocks",
        _("The target server has PostgreSQL %(value)s; %(source)s runs %(threshold)s, and a physical copy needs the same major version."),
        _("Install PostgreSQL %(threshold)s on the target server, or choose its programs for the standby."),
        value=facts.target_version.major,
        threshold=facts.source.major,
        source=facts.source_name,
    )


def minor_version_older(facts: CloneFacts) -> Obstacle | None:
    """The target's minor version is not older than the source's."""
    target = facts.target_version
    if target is None or target.major != facts.source.major or target.num >= facts.source.version_num:
        return None
    return obstacle(
        "minor_version_older",
        "warns",
        _("The target server has PostgreSQL %(value)s, older than %(threshold)s of %(source)s."),
        _("It works, but update the target server: standbys are updated before their primary."),
        value=str(target),
        threshold=str(Version(facts.source.version_num)),
        source=facts.source_name,
    )


def machine_differs(facts: CloneFacts) -> Obstacle | None:
    """Source and target have the same kind of processor."""
    return parity_rules.machine_differs(facts.parity)


def libc_differs(facts: CloneFacts) -> Obstacle | None:
    """Source and target sort text alike."""
    return parity_rules.libc_differs(facts.parity)


def icu_differs(facts: CloneFacts) -> Obstacle | None:
    """Their PostgreSQL is linked with the same ICU."""
    return parity_rules.icu_differs(facts.parity)


def image_differs(facts: CloneFacts) -> Obstacle | None:
    """Both run the same image."""
    return parity_rules.image_differs(facts.parity)


def extension_missing(facts: CloneFacts) -> Obstacle | None:
    """The target has every extension on disk that databases of the source use."""
    return parity_rules.extension_missing(facts.parity)


def wal_level_too_low(facts: CloneFacts) -> Obstacle | None:
    """The source writes enough WAL for a standby."""
    level = facts.source.settings.get("wal_level", "")
    if level in ("replica", "logical"):
        return None
    return obstacle(
        "wal_level_too_low",
        "blocks",
        _("wal_level is %(value)s on %(source)s; a standby needs at least %(threshold)s."),
        _("Set wal_level = replica there and restart it."),
        value=level,
        threshold="replica",
        source=facts.source_name,
    )


def source_not_streaming(facts: CloneFacts) -> Obstacle | None:
    """A standby that is to be cloned receives WAL itself."""
    receiver = facts.source.receiver
    if not facts.source.in_recovery or (receiver is not None and receiver.status == "streaming"):
        return None
    return obstacle(
        "source_not_streaming",
        "blocks",
        _("%(source)s is a standby and its receiver is %(value)s; a copy of it would wait for WAL that does not come."),
        _("Bring %(source)s back to streaming first, or clone from the primary."),
        value=receiver.status if receiver else "absent",
        threshold="streaming",
        source=facts.source_name,
    )


def source_replay_paused(facts: CloneFacts) -> Obstacle | None:
    """A standby that is to be cloned replays what it receives."""
    state = facts.source.replay_state
    if not facts.source.in_recovery or state in (None, "not paused"):
        return None
    return obstacle(
        "source_replay_paused",
        "blocks",
        _("Replay on %(source)s does not go on (%(value)s); a base backup of it would not end."),
        _("Resume replay there: SELECT pg_wal_replay_resume()."),
        value=state,
        threshold="not paused",
        source=facts.source_name,
    )


def source_in_backup(facts: CloneFacts) -> Obstacle | None:
    """No other base backup of the source runs."""
    if not facts.source.base_backups:
        return None
    return obstacle(
        "source_in_backup",
        "warns",
        _("Other base backups of %(source)s are running (%(value)s); all will be slower."),
        _("Wait until they have ended, or go on."),
        value=facts.source.base_backups,
        threshold=0,
        source=facts.source_name,
    )


def no_free_walsender(facts: CloneFacts) -> Obstacle | None:
    """The source has WAL senders left for the copy."""
    free = facts.source.number("max_wal_senders") - len(facts.source.senders)
    if free >= WALSENDERS_OF_A_COPY:
        return None
    return obstacle(
        "no_free_walsender",
        "blocks",
        _("WAL senders left on %(source)s: %(value)s of %(limit)s; a base backup takes %(threshold)s."),
        _("Raise max_wal_senders in conf/postgresql.conf of every instance and restart them, or remove a standby that is not needed."),
        value=free,
        threshold=WALSENDERS_OF_A_COPY,
        limit=facts.source.number("max_wal_senders"),
        source=facts.source_name,
    )


def no_free_slot(facts: CloneFacts) -> Obstacle | None:
    """The source has a replication slot left for the standby (the copy uses the same one)."""
    limit = facts.source.number("max_replication_slots")
    free = limit - len(facts.source.slots)
    if free >= 1 or facts.source.slot(facts.slot) is not None:
        return None
    return obstacle(
        "no_free_slot",
        "blocks",
        _("%(source)s has no replication slot left of %(limit)s; the standby needs %(threshold)s."),
        _("Drop a slot that nobody uses, or raise max_replication_slots in conf/postgresql.conf of every instance and restart them."),
        value=free,
        threshold=1,
        limit=limit,
        source=facts.source_name,
    )


def slot_in_use(facts: CloneFacts) -> Obstacle | None:
    """Nobody uses the slot that the standby is to have."""
    slot = facts.source.slot(facts.slot)
    if slot is None or not slot.active:
        return None
    return obstacle(
        "slot_in_use",
        "blocks",
        _("The slot %(value)s on %(source)s is used by another connection (process %(pid)s)."),
        _("Find who uses it (pg_stat_replication) and stop that, or give the standby another name."),
        value=facts.slot,
        pid=slot.pid,
        source=facts.source_name,
    )


def name_in_use(facts: CloneFacts) -> Obstacle | None:
    """Nobody replicates from the source under the standby's name."""
    sender = facts.source.sender(facts.standby_name)
    if sender is None:
        return None
    return obstacle(
        "name_in_use",
        "blocks",
        _("Somebody at %(address)s replicates from %(source)s under the name %(value)s already."),
        _("Stop that standby, or give the new one another name: two of one name make the synchronous state untrue."),
        value=facts.standby_name,
        address=sender.address or "its socket",
        source=facts.source_name,
    )


def slot_cap_too_small(facts: CloneFacts) -> Obstacle | None:
    """The slot can keep the WAL that the copy will need."""
    cap = facts.source.number("max_slot_wal_keep_size") * 1024 * 1024
    if cap < 0 or facts.wal_bytes <= cap:
        return None
    return obstacle(
        "slot_cap_too_small",
        "flag",
        _("About %(needed)s of WAL are expected while the copy runs, and a slot on %(source)s keeps %(cap)s; the copy would be lost."),
        _("Raise max_slot_wal_keep_size in conf/postgresql.conf of every instance and reload them, or copy when less is written."),
        value=cap,
        threshold=facts.wal_bytes,
        cap=size(cap),
        needed=size(facts.wal_bytes),
        source=facts.source_name,
    )


def size_unknown(facts: CloneFacts) -> Obstacle | None:
    """The source's size and the target's free space are known."""
    if facts.source.size_bytes is not None and facts.free_bytes is not None:
        return None
    return obstacle(
        "size_unknown",
        "flag",
        _("It cannot be told whether the copy has room: the size of %(source)s is %(size)s, the free space on the target is %(free)s."),
        _("See why it cannot be read, or go on at your own risk."),
        value=facts.source.size_bytes,
        size="not known" if facts.source.size_bytes is None else size(facts.source.size_bytes),
        free="not known" if facts.free_bytes is None else size(facts.free_bytes),
        source=facts.source_name,
    )


def no_room(facts: CloneFacts) -> Obstacle | None:
    """The target has room for 1.2 times the source and for the WAL that comes meanwhile."""
    if facts.free_bytes is None or facts.needed_bytes is None or facts.free_bytes >= facts.needed_bytes:
        return None
    return obstacle(
        "no_room",
        "blocks",
        _("The target has %(free)s free; the copy needs %(needed)s (1.2 times the %(source_size)s of %(source)s, and WAL meanwhile)."),
        _("Free at least %(short)s on the target's disk, or choose another base directory."),
        value=facts.free_bytes,
        threshold=facts.needed_bytes,
        free=size(facts.free_bytes),
        needed=size(facts.needed_bytes),
        short=size(facts.needed_bytes - facts.free_bytes),
        source_size=size(facts.source.size_bytes or 0),
        source=facts.source_name,
    )


def tablespaces_present(facts: CloneFacts) -> Obstacle | None:
    """The source has no tablespaces of its own."""
    if not facts.source.tablespaces:
        return None
    return obstacle(
        "tablespaces_present",
        "blocks",
        _("%(source)s has tablespaces (%(value)s), which the panel cannot copy yet."),
        _("Move their tables to the default tablespace (ALTER TABLE ... SET TABLESPACE pg_default) and drop them."),
        value=", ".join(facts.source.tablespaces),
        source=facts.source_name,
    )


def login_failed(facts: CloneFacts) -> Obstacle | None:
    """The replication role can log in from the target server."""
    if facts.login_ok:
        return None
    return obstacle(
        "login_failed",
        "blocks",
        _("The replication role could not log in to %(source)s from the target server: %(value)s"),
        _("See that the target reaches that address and port, and that pg_hba.conf there admits the address it comes from."),
        value=facts.login_error.strip() or "no reason given",
        source=facts.source_name,
    )


def target_not_empty(facts: CloneFacts) -> Obstacle | None:
    """Nothing of somebody else's lies where the copy is to grow."""
    if facts.target_directory_state != "other":
        return None
    return obstacle(
        "target_not_empty",
        "blocks",
        _("%(value)s exists on the target server and is not of this job."),
        _("Look what it is; move it away or remove it by hand. The panel removes nothing that it did not make."),
        value=facts.target_directory,
    )


def port_taken(facts: CloneFacts) -> Obstacle | None:
    """The port is free on the target server."""
    if facts.port_free:
        return None
    sentence, cure = _("Port %(value)s is in use on the target server."), _("Stop what listens there, or choose another port.")
    return obstacle("port_taken", "blocks", sentence, cure, value=facts.port)


def parameters_lower(facts: CloneFacts) -> Obstacle | None:
    """The standby will have no less connections, workers, senders, prepared transactions and locks than the source."""
    lower = [name for name in PARITY if name in facts.target_settings and facts.target_settings[name] < facts.source.number(name)]
    if not lower:
        return None
    return obstacle(
        "parameters_lower",
        "blocks",
        _("The standby would not start: %(value)s, less than on %(source)s (%(threshold)s)."),
        _("Set them on %(source)s back to the values that the cluster was created with and restart it; a standby gets those."),
        value=", ".join(f"{name} = {facts.target_settings[name]}" for name in lower),
        threshold=", ".join(f"{name} = {facts.source.number(name)}" for name in lower),
        source=facts.source_name,
    )


def settings_altered(facts: CloneFacts) -> Obstacle | None:
    """No ALTER SYSTEM on the source outdoes what the panel writes; it would be copied along."""
    altered = sorted(PANEL_SETTINGS & set(facts.source.altered_settings))
    if not altered:
        return None
    return obstacle(
        "settings_altered",
        "blocks",
        _("ALTER SYSTEM on %(source)s set %(value)s; the copy would bring that along, and it outdoes the standby's own files."),
        _("Run ALTER SYSTEM RESET for each of them on %(source)s."),
        value=", ".join(altered),
        source=facts.source_name,
    )


def rewind_impossible(facts: CloneFacts) -> Obstacle | None:
    """pg_rewind will be possible later: the source has checksums or wal_log_hints."""
    if facts.source.data_checksums or facts.source.settings.get("wal_log_hints") == "on":
        return None
    return obstacle(
        "rewind_impossible",
        "warns",
        _("%(source)s has neither checksums nor wal_log_hints: after a failover the old primary must be cloned anew, not rewound."),
        _("Set wal_log_hints = on and restart, at a quiet moment."),
        value="off",
        threshold="on",
        source=facts.source_name,
    )


CLONE_RULES: Final[tuple[CloneRule, ...]] = (
    programs_missing,
    major_version_differs,
    minor_version_older,
    machine_differs,
    libc_differs,
    icu_differs,
    image_differs,
    extension_missing,
    wal_level_too_low,
    source_not_streaming,
    source_replay_paused,
    source_in_backup,
    no_free_walsender,
    no_free_slot,
    slot_in_use,
    name_in_use,
    slot_cap_too_small,
    size_unknown,
    no_room,
    tablespaces_present,
    login_failed,
    target_not_empty,
    port_taken,
    parameters_lower,
    settings_altered,
    rewind_impossible,
)


def clone_obstacles(facts: CloneFacts) -> list[Obstacle]:
    """Every reason against this clone, in the order of the rules."""
    return [found for rule in CLONE_RULES if (found := rule(facts))]
