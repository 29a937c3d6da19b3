"""Findings about a pair that replicates, and about what will go wrong with it later. None of them says that it does not."""

from __future__ import annotations

from typing import Final

from clusters.postgres.obstacles import PANEL_SETTINGS, Obstacle, obstacle
from clusters.postgres.settings import PARITY
from clusters.postgres.text import gettext_noop as _
from clusters.postgres.verify_facts import VerifyFacts, VerifyRule, sides


def name_twice(facts: VerifyFacts) -> Obstacle | None:
    """Only one standby has this name."""
    same = [sender for sender in facts.upstream.senders if sender.application_name == facts.standby_name] if facts.upstream else []
    streaming = [sender for sender in same if sender.state != "backup"]
    if len(streaming) < 2:
        return None
    return obstacle(
        "name_twice",
        "warns",
        _("%(value)s standbys replicate from %(upstream)s under the name %(standby)s."),
        _("Give each its own application_name: two of one name make the synchronous state untrue."),
        value=len(streaming),
        threshold=1,
        standby=facts.standby_name,
        upstream=facts.upstream_name,
    )


def parameters_lower(facts: VerifyFacts) -> Obstacle | None:
    """The standby has no less connections, workers, senders, prepared transactions and locks than its upstream."""
    if facts.upstream is None or facts.standby is None:
        return None
    lower = [name for name in PARITY if facts.standby.number(name) < facts.upstream.number(name)]
    if not lower:
        return None
    return obstacle(
        "parameters_lower",
        "warns",
        _("%(standby)s has %(value)s, less than %(upstream)s (%(threshold)s): it pauses, and does not start again."),
        _("Raise them on the standby and restart it, before it is promoted or restarted."),
        value=", ".join(f"{name} = {facts.standby.number(name)}" for name in lower),
        threshold=", ".join(f"{name} = {facts.upstream.number(name)}" for name in lower),
        standby=facts.standby_name,
        upstream=facts.upstream_name,
    )


def checksum_failures(facts: VerifyFacts) -> Obstacle | None:
    """No page failed its checksum."""
    found = {name: side.checksum_failures for name, side in sides(facts) if side.checksum_failures}
    if not found:
        return None
    return obstacle(
        "checksum_failures",
        "warns",
        _("Damaged pages were read on %(value)s: the disk or the memory there loses data."),
        _("Do not clone from it. Read the server's log for the files, check the disk, and restore or clone from the healthy one."),
        value=", ".join(f"{name} ({count})" for name, count in found.items()),
        threshold=0,
    )


def rewind_impossible(facts: VerifyFacts) -> Obstacle | None:
    """pg_rewind is possible: checksums or wal_log_hints."""
    without = [name for name, side in sides(facts) if not side.data_checksums and side.settings.get("wal_log_hints") != "on"]
    if not without:
        return None
    return obstacle(
        "rewind_impossible",
        "warns",
        _("%(value)s has neither checksums nor wal_log_hints: after a failover it must be cloned anew, it cannot be rewound."),
        _("Set wal_log_hints = on and restart, at a quiet moment."),
        value=", ".join(without),
        threshold="on",
    )


def collation_mismatch(facts: VerifyFacts) -> Obstacle | None:
    """The system sorts text as it did when the databases were made."""
    found = {name: side.collation_mismatches for name, side in sides(facts) if side.collation_mismatches}
    if not found:
        return None
    return obstacle(
        "collation_mismatch",
        "warns",
        _("The system's collations changed since these databases were made: %(value)s. Indexes on text may be wrong there."),
        _("Use the same system on both servers; else REINDEX, then ALTER DATABASE ... REFRESH COLLATION VERSION on the primary."),
        value="; ".join(f"{name}: {', '.join(databases)}" for name, databases in found.items()),
    )


def settings_altered(facts: VerifyFacts) -> Obstacle | None:
    """No ALTER SYSTEM outdoes what the panel writes."""
    found = {name: sorted(PANEL_SETTINGS & set(side.altered_settings)) for name, side in sides(facts)}
    if not any(found.values()):
        return None
    return obstacle(
        "settings_altered",
        "warns",
        _("ALTER SYSTEM outdoes the panel's files: %(value)s."),
        _("Run ALTER SYSTEM RESET for each of them, then pg_reload_conf()."),
        value="; ".join(f"{name}: {', '.join(settings)}" for name, settings in found.items() if settings),
    )


def restart_pending(facts: VerifyFacts) -> Obstacle | None:
    """Every setting in the files is in effect."""
    found = {name: side.pending_restart for name, side in sides(facts) if side.pending_restart}
    if not found:
        return None
    return obstacle(
        "restart_pending",
        "warns",
        _("Settings wait for a restart: %(value)s."),
        _("Restart the standbys first, then the primary, when it suits."),
        value="; ".join(f"{name}: {', '.join(settings)}" for name, settings in found.items()),
    )


CARE_RULES: Final[tuple[VerifyRule, ...]] = (
    name_twice,
    parameters_lower,
    checksum_failures,
    rewind_impossible,
    collation_mismatch,
    settings_altered,
    restart_pending,
)
