"""May this instance come back, and which way? One pure function a rule; the job's first step and a look beforehand run the same list.

A reason against a way blocks where the request allows no further one, and warns where it does: nothing is escalated unasked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from clusters.postgres.clone_facts import WALSENDERS_OF_A_COPY
from clusters.postgres.facts import Lsn
from clusters.postgres.obstacles import PANEL_SETTINGS, Obstacle, Severity, obstacle, size
from clusters.postgres.rejoin_facts import WAYS, RejoinFacts, Way, control_in_recovery
from clusters.postgres.settings import PARITY
from clusters.postgres.text import gettext_noop as _

RejoinRule = Callable[[RejoinFacts], Obstacle | None]

#: A full copy of the data, and a little for what comes meanwhile.
COPY_FACTOR: Final = 1.05


# -- whom it would follow


def source_unverified(facts: RejoinFacts) -> Obstacle | None:
    """The instance to follow answers, and is what it is declared to be."""
    if facts.source is not None and facts.source.in_recovery != facts.source_is_primary:
        return None
    if facts.source is None:
        sentence, value = (
            _("%(source)s, which %(target)s would follow, does not answer: %(value)s"),
            facts.source_error or "no reason given",
        )
    else:
        sentence, value = _("%(source)s, which %(target)s would follow, is a %(value)s and is declared the other."), facts.source.role
    cure = _("Bring %(source)s back first, or fail over, so that there is one primary that is verified.")
    return obstacle("source_unverified", "blocks", sentence, cure, value=value, source=facts.source_name, target=facts.target_name)


def other_primary(facts: RejoinFacts) -> Obstacle | None:
    """Nobody else accepts writes."""
    if not facts.writable:
        return None
    return obstacle(
        "other_primary",
        "blocks",
        _("Besides the declared primary %(value)s accept writes: it is not clear which data is the cluster's."),
        _("Find out which one the applications use, and stop the others. Then ask again."),
        value=", ".join(facts.writable),
    )


def epoch_newer(facts: RejoinFacts) -> Obstacle | None:
    """No server has heard of a promotion that this panel does not know."""
    if facts.epoch_seen is None or facts.epoch_seen <= facts.epoch:
        return None
    return obstacle(
        "epoch_newer",
        "blocks",
        _("A server knows of epoch %(value)s, this panel of %(threshold)s: a promotion was made that this panel does not know."),
        _("Compare with the other panel, or restore the newest copy of this panel's database."),
        value=facts.epoch_seen,
        threshold=facts.epoch,
    )


def streams_already(facts: RejoinFacts) -> Obstacle | None:
    """It does not stream as it should already."""
    if not facts.target_streams:
        return None
    sentence, cure = _("%(target)s streams from %(source)s: there is nothing to rejoin."), _("Verify the cluster to see how it stands.")
    return obstacle("streams_already", "blocks", sentence, cure, source=facts.source_name, target=facts.target_name)


# -- what its data is


def system_identifier_differs(facts: RejoinFacts) -> Obstacle | None:
    """Its data is of this cluster."""
    known = facts.system_identifier or (facts.source.system_identifier if facts.source else "")
    if facts.control is None or not known or facts.control.system_identifier == known:
        return None
    return obstacle(
        "system_identifier_differs",
        "blocks",
        _("The data of %(target)s belongs to another cluster (system identifier %(value)s, this one has %(threshold)s)."),
        _("Find out whose data it is. To make a standby at another place, add one."),
        value=facts.control.system_identifier,
        threshold=known,
        target=facts.target_name,
    )


def target_ahead(facts: RejoinFacts) -> Obstacle | None:
    """It was not promoted from the very timeline on which its upstream still is."""
    mine, theirs = facts.target_history, facts.source_history
    if mine is None or theirs is None or facts.fork is None:
        return None
    if facts.fork.timeline != theirs.timeline or not mine.descends_from(theirs.timeline):
        return None
    return obstacle(
        "target_ahead",
        "blocks",
        _("%(target)s is on timeline %(value)s, which came from timeline %(threshold)s of %(source)s: by its WAL it is the newer primary."),
        _("Find out which one the applications use. If it is %(source)s, remove %(target)s and add a new standby; its data is kept."),
        value=mine.timeline,
        threshold=theirs.timeline,
        source=facts.source_name,
        target=facts.target_name,
    )


def last_copy(facts: RejoinFacts) -> Obstacle | None:
    """Another standby receives from the cluster, so that the old data is not the last good copy beside the primary."""
    if facts.others_streaming or rejoin_way(facts) == "direct":
        return None
    return obstacle(
        "last_copy",
        "flag",
        _("No other standby streams: if %(source)s is lost meanwhile, the old data of %(target)s is the last copy there is."),
        _("Allow it by the flag last_copy, or add a standby first. The old data is kept in any case."),
        value=0,
        threshold=1,
        source=facts.source_name,
        target=facts.target_name,
    )


# -- reasons against a way


def direct_wal_gone(facts: RejoinFacts) -> Obstacle | None:
    """What it lacks is still there on its upstream."""
    if facts.diverged is not False or not _wal_gone(facts.source_wal_from, facts.target_end):
        return None
    return obstacle(
        "direct_wal_gone",
        _unless(facts, "basebackup"),
        _("%(target)s needs WAL from %(value)s on, and the oldest that %(source)s has begins at %(threshold)s."),
        _("Allow a base backup (up_to basebackup)."),
        value=str(facts.target_end),
        threshold=str(facts.source_wal_from),
        source=facts.source_name,
        target=facts.target_name,
    )


def divergence_unknown(facts: RejoinFacts) -> Obstacle | None:
    """It can be told whether its data is a part of what its upstream has."""
    if facts.diverged is not None or facts.source is None:
        return None
    return obstacle(
        "divergence_unknown",
        _unless(facts, "basebackup"),
        _("It cannot be told where the data of %(target)s left that of %(source)s (%(value)s), so it can neither follow nor be rewound."),
        _("Allow a base backup (up_to basebackup): the old data is put aside, not deleted."),
        value=_why_unknown(facts),
        source=facts.source_name,
        target=facts.target_name,
    )


def rewind_without_hints(facts: RejoinFacts) -> Obstacle | None:
    """pg_rewind can tell which pages changed: the data has checksums, or hints are logged."""
    if not _rewinds(facts) or facts.control is None or facts.control.checksums or facts.control.wal_log_hints:
        return None
    return _no_rewind(facts, "rewind_without_hints", _("the data of %(target)s has neither checksums nor wal_log_hints"))


def rewind_full_page_writes_off(facts: RejoinFacts) -> Obstacle | None:
    """The source logs full pages, without which a file that is read while it is written could not be put right."""
    if not _rewinds(facts) or facts.source is None or facts.source.settings.get("full_page_writes", "on") == "on":
        return None
    return _no_rewind(facts, "rewind_full_page_writes_off", _("full_page_writes is off on %(source)s"))


def rewind_source_is_standby(facts: RejoinFacts) -> Obstacle | None:
    """The source is the primary: a standby cannot be brought to a checkpoint of its own."""
    if not _rewinds(facts) or facts.source_is_primary:
        return None
    return _no_rewind(facts, "rewind_source_is_standby", _("%(source)s, which it follows, is a standby itself"))


def rewind_of_standby(facts: RejoinFacts) -> Obstacle | None:
    """It was stopped in a state that pg_rewind judges rightly."""
    control, fork = facts.control, facts.fork
    if not _rewinds(facts) or control is None or fork is None or fork.lsn is None or not control_in_recovery(control):
        return None
    if facts.target_running or (control.stopped_cleanly and control.minimum_recovery_end > fork.lsn):
        return None
    return _no_rewind(facts, "rewind_of_standby", _("%(target)s is a standby that has received more than it had replayed when it ended"))


def rewind_target_wal_gone(facts: RejoinFacts) -> Obstacle | None:
    """It still has its own WAL from the last checkpoint that both share."""
    if not _rewinds(facts) or facts.common_redo is not None:
        return None
    return _no_rewind(facts, "rewind_target_wal_gone", _("%(target)s has no WAL of the last checkpoint that both share any more"))


def rewind_source_wal_gone(facts: RejoinFacts) -> Obstacle | None:
    """Its upstream still has the WAL from that checkpoint on."""
    if not _rewinds(facts) or facts.common_redo is None or not _wal_gone(facts.source_wal_from, facts.common_redo):
        return None
    return _no_rewind(facts, "rewind_source_wal_gone", _("%(source)s has no WAL from %(value)s on any more"), str(facts.common_redo))


def rewind_wal_elsewhere(facts: RejoinFacts) -> Obstacle | None:
    """Its WAL lies in its data directory, so that a copy of that is whole."""
    if not _rewinds(facts) or not facts.wal_elsewhere:
        return None
    return _no_rewind(facts, "rewind_wal_elsewhere", _("pg_wal of %(target)s is a symbolic link, so a copy of its data would not be whole"))


def rewind_no_room(facts: RejoinFacts) -> Obstacle | None:
    """There is room for a full copy of its data: pg_rewind works in place, and what it undoes is gone."""
    if not _rewinds(facts) or facts.free_bytes is None or facts.target_bytes is None:
        return None
    if facts.free_bytes >= facts.target_bytes * COPY_FACTOR:
        return None
    words = {"needed": size(facts.target_bytes * COPY_FACTOR), "free": size(facts.free_bytes)}
    why = _("a copy of its data must be kept first, which takes %(needed)s, and %(free)s are free")
    return _no_rewind(facts, "rewind_no_room", why, facts.free_bytes, **words)


def way_beyond_limit(facts: RejoinFacts) -> Obstacle | None:
    """The way that is left does no more than the request allows."""
    way = rejoin_way(facts)
    if way is None or WAYS.index(way) <= WAYS.index(facts.up_to):
        return None
    return obstacle(
        "way_beyond_limit",
        "blocks",
        _("%(target)s can come back by %(value)s, and the request allows no more than %(threshold)s."),
        _("Ask again with up_to %(value)s. What only %(target)s has is gone from the cluster then (%(lost)s); a copy of it is kept."),
        value=way,
        threshold=facts.up_to,
        lost=size(facts.lost_bytes),
        target=facts.target_name,
    )


# -- what each way needs


def programs_differ(facts: RejoinFacts) -> Obstacle | None:
    """The programs on its server are of the cluster's major version."""
    if facts.source is None or (facts.target_version is not None and facts.target_version.major == facts.source.major):
        return None
    return obstacle(
        "programs_differ",
        "blocks",
        _("The programs of %(target)s are %(value)s; %(source)s runs PostgreSQL %(threshold)s."),
        _("Install PostgreSQL %(threshold)s there, or put its programs back where they were."),
        value=f"PostgreSQL {facts.target_version}" if facts.target_version else "not there",
        threshold=facts.source.major,
        source=facts.source_name,
        target=facts.target_name,
    )


def login_failed(facts: RejoinFacts) -> Obstacle | None:
    """The replication role gets in from its server."""
    if not facts.login_error or facts.source is None:
        return None
    return obstacle(
        "login_failed",
        "blocks",
        _("The replication role could not log in to %(source)s from the server of %(target)s: %(value)s"),
        _("See that it reaches that address and port, and that pg_hba.conf there admits the address it comes from."),
        value=facts.login_error.strip(),
        source=facts.source_name,
        target=facts.target_name,
    )


def no_free_walsender(facts: RejoinFacts) -> Obstacle | None:
    """Its upstream has WAL senders left."""
    if facts.source is None:
        return None
    needed = WALSENDERS_OF_A_COPY if rejoin_way(facts) == "basebackup" else 1
    free = facts.source.number("max_wal_senders") - len(facts.source.senders)
    if free >= needed:
        return None
    return obstacle(
        "no_free_walsender",
        "blocks",
        _("WAL senders left on %(source)s: %(value)s; this takes %(threshold)s."),
        _("Raise max_wal_senders in conf/postgresql.conf of every instance and restart them, or remove a standby that is not needed."),
        value=free,
        threshold=needed,
        source=facts.source_name,
    )


def no_free_slot(facts: RejoinFacts) -> Obstacle | None:
    """Its upstream has its slot, or one left."""
    if facts.source is None or facts.source.slot(facts.slot) is not None:
        return None
    free = facts.source.number("max_replication_slots") - len(facts.source.slots)
    if free >= 1:
        return None
    return obstacle(
        "no_free_slot",
        "blocks",
        _("%(source)s has no replication slot left; %(target)s needs %(threshold)s."),
        _("Drop a slot that nobody uses, or raise max_replication_slots in conf/postgresql.conf of every instance and restart them."),
        value=free,
        threshold=1,
        source=facts.source_name,
        target=facts.target_name,
    )


def slot_in_use(facts: RejoinFacts) -> Obstacle | None:
    """Nobody else uses its slot."""
    slot = facts.source.slot(facts.slot) if facts.source else None
    if slot is None or not slot.active or facts.target_running:
        return None
    return obstacle(
        "slot_in_use",
        "blocks",
        _("The slot %(value)s on %(source)s is used by another connection (process %(pid)s)."),
        _("Find who uses it (pg_stat_replication) and stop that."),
        value=facts.slot,
        pid=slot.pid,
        source=facts.source_name,
    )


def slot_lost(facts: RejoinFacts) -> Obstacle | None:
    """Its slot still keeps WAL."""
    slot = facts.source.slot(facts.slot) if facts.source else None
    if slot is None or slot.wal_status != "lost":
        return None
    sentence, cure = _("The slot %(value)s on %(source)s is lost."), _("It is dropped and made again.")
    return obstacle("slot_lost", "warns", sentence, cure, value=facts.slot, source=facts.source_name)


def no_room(facts: RejoinFacts) -> Obstacle | None:
    """A base backup has room beside the old data."""
    if rejoin_way(facts) != "basebackup" or facts.free_bytes is None or facts.needed_bytes is None:
        return None
    if facts.free_bytes >= facts.needed_bytes:
        return None
    return obstacle(
        "no_room",
        "blocks",
        _("%(free)s are free; a base backup beside the old data of %(target)s needs %(needed)s."),
        _("Free at least %(short)s: purge a kept copy that nobody needs, or remove %(target)s and add a standby on another server."),
        value=facts.free_bytes,
        threshold=facts.needed_bytes,
        free=size(facts.free_bytes),
        needed=size(facts.needed_bytes),
        short=size(facts.needed_bytes - facts.free_bytes),
        target=facts.target_name,
    )


def tablespaces_present(facts: RejoinFacts) -> Obstacle | None:
    """The cluster has no tablespaces of its own, which neither a copy of the directory nor a base backup of it would hold."""
    if facts.source is None or not facts.source.tablespaces or rejoin_way(facts) == "direct":
        return None
    return obstacle(
        "tablespaces_present",
        "blocks",
        _("%(source)s has tablespaces (%(value)s), which the panel cannot copy yet."),
        _("Move their tables to the default tablespace (ALTER TABLE ... SET TABLESPACE pg_default) and drop them."),
        value=", ".join(facts.source.tablespaces),
        source=facts.source_name,
    )


def parameters_lower(facts: RejoinFacts) -> Obstacle | None:
    """It will have no less connections, workers, senders, prepared transactions and locks than its upstream."""
    if facts.source is None:
        return None
    source = facts.source
    lower = [name for name in PARITY if name in facts.target_settings and facts.target_settings[name] < source.number(name)]
    if not lower:
        return None
    return obstacle(
        "parameters_lower",
        "blocks",
        _("%(target)s would not start: %(value)s, less than on %(source)s (%(threshold)s)."),
        _("Raise them in conf/postgresql.conf of %(target)s."),
        value=", ".join(f"{name} = {facts.target_settings[name]}" for name in lower),
        threshold=", ".join(f"{name} = {source.number(name)}" for name in lower),
        source=facts.source_name,
        target=facts.target_name,
    )


def settings_altered(facts: RejoinFacts) -> Obstacle | None:
    """No ALTER SYSTEM on its upstream outdoes what the panel writes; pg_rewind and a base backup bring it along."""
    altered = sorted(PANEL_SETTINGS & set(facts.source.altered_settings)) if facts.source else []
    if not altered or rejoin_way(facts) == "direct":
        return None
    return obstacle(
        "settings_altered",
        "blocks",
        _("ALTER SYSTEM on %(source)s set %(value)s; that would come along, and it outdoes the files of %(target)s."),
        _("Run ALTER SYSTEM RESET for each of them on %(source)s."),
        value=", ".join(altered),
        source=facts.source_name,
        target=facts.target_name,
    )


AGAINST_REWIND: Final[tuple[RejoinRule, ...]] = (
    rewind_without_hints,
    rewind_full_page_writes_off,
    rewind_source_is_standby,
    rewind_of_standby,
    rewind_target_wal_gone,
    rewind_source_wal_gone,
    rewind_wal_elsewhere,
    rewind_no_room,
)

REJOIN_RULES: Final[tuple[RejoinRule, ...]] = (
    source_unverified,
    other_primary,
    epoch_newer,
    streams_already,
    programs_differ,
    system_identifier_differs,
    target_ahead,
    divergence_unknown,
    direct_wal_gone,
    *AGAINST_REWIND,
    way_beyond_limit,
    last_copy,
    login_failed,
    no_free_walsender,
    no_free_slot,
    slot_in_use,
    slot_lost,
    no_room,
    tablespaces_present,
    parameters_lower,
    settings_altered,
)


def rejoin_obstacles(facts: RejoinFacts) -> list[Obstacle]:
    """Every reason against it, in the order of the rules."""
    return [found for rule in REJOIN_RULES if (found := rule(facts))]


def rejoin_way(facts: RejoinFacts) -> Way | None:
    """The way back that does the least and is possible, whatever the request allows; None while that cannot be told."""
    if facts.source is None:
        return None
    if facts.diverged is None:
        return "basebackup"
    if not facts.diverged:
        return "basebackup" if _wal_gone(facts.source_wal_from, facts.target_end) else "direct"
    return "basebackup" if any(rule(facts) for rule in AGAINST_REWIND) else "rewind"


# -- helpers


def _rewinds(facts: RejoinFacts) -> bool:
    """Whether pg_rewind would be the way, were nothing against it."""
    return bool(facts.diverged) and facts.source is not None


def _no_rewind(facts: RejoinFacts, name: str, why: str, value: str | int | None = None, **words: object) -> Obstacle:
    spoken = {"source": facts.source_name, "target": facts.target_name, "value": value, **words}
    return obstacle(
        name,
        _unless(facts, "basebackup"),
        _("pg_rewind is not possible: %(why)s."),
        _("Allow a base backup (up_to basebackup): the old data is put aside, not deleted."),
        value=value,
        why=why % spoken,
    )


def _unless(facts: RejoinFacts, way: Way) -> Severity:
    return "warns" if WAYS.index(facts.up_to) >= WAYS.index(way) else "blocks"


def _wal_gone(oldest: Lsn | None, needed: Lsn | None) -> bool:
    return oldest is not None and needed is not None and oldest > needed


def _why_unknown(facts: RejoinFacts) -> str:
    if facts.control is None:
        return "its control file is not there, or cannot be read"
    if facts.target_history is None or facts.target_end is None:
        return "its WAL cannot be read"
    if facts.fork is None:
        return "their timelines have nothing in common"
    if not control_in_recovery(facts.control):
        return "both were primaries on the same timeline"
    return "it is ahead on the same timeline"
