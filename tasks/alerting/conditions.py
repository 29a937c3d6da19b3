"""What people are told of: one table. Pages, API, documentation and tests read it; `judging` says when each one holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from tasks.models import Severity

#: Who sees it: the monitor every few seconds, verifications every few minutes, or the panel of itself.
Source = Literal["monitor", "verification", "panel"]


@dataclass(frozen=True)
class Condition:
    """`hold_seconds`: how long it must last before somebody is told. `threshold` is in `unit`, up to `most`; None: nothing to set."""

    name: str
    source: Source
    severity: Severity
    hold_seconds: int
    label: str | Promise
    says: str | Promise
    threshold: float | None = None
    unit: str | Promise = ""
    most: float = 1e9


_CRITICAL, _WARNING = Severity.CRITICAL, Severity.WARNING

CONDITIONS: Final[dict[str, Condition]] = {
    condition.name: condition
    for condition in (
        Condition(
            "several_writable", "monitor", _CRITICAL, 0, _("several primaries"),
            _("More than one instance of a cluster accepts writes, whoever made it so."),
        ),
        Condition(
            "role_differs", "monitor", _CRITICAL, 0, _("role differs"),
            _("An instance is a primary that is declared a standby, or the other way round: promoted by hand, say."),
        ),
        Condition(
            "quarantine_running", "monitor", _CRITICAL, 0, _("quarantined instance runs"),
            _("An old primary that is kept down until it is rejoined was started."),
        ),
        Condition(
            "primary_down", "monitor", _CRITICAL, 0, _("primary down"),
            _("The primary gives no answer: nobody can write."),
        ),
        Condition(
            "standby_down", "monitor", _WARNING, 15, _("standby down"),
            _("A standby gives no answer."),
        ),
        Condition(
            "timeline_differs", "monitor", _CRITICAL, 0, _("wrong timeline"),
            _("A standby is on another timeline than the instance that it follows: it cannot go on without being rewound or copied anew."),
        ),
        Condition(
            "not_streaming", "monitor", _WARNING, 15, _("standby does not stream"),
            _("Both sides answer, and the upstream sends nothing to the standby."),
        ),
        Condition(
            "receiver_silent", "monitor", _WARNING, 0, _("standby hears nothing"),
            _("The standby holds a connection to its upstream and has heard nothing for long: a frozen process or a dead network."),
            40, _("seconds"),
        ),
        Condition(
            "replay_paused", "monitor", _WARNING, 0, _("replay paused"),
            _("The standby receives, and does not replay: by hand, or because a setting is too low."),
        ),
        Condition(
            "lag_seconds", "monitor", _WARNING, 60, _("lag in seconds"),
            _("What the standby replayed last is older than this, and there is more to replay."),
            60, _("seconds"),
        ),
        Condition(
            "lag_bytes", "monitor", _WARNING, 60, _("lag in bytes"),
            _("The standby has this much WAL still to replay."),
            1024, _("MiB"),
        ),
        Condition(
            "commits_wait", "monitor", _CRITICAL, 10, _("commits wait"),
            _("Fewer standbys confirm than a commit must wait for: no commit ends."),
        ),
        Condition(
            "slot_lost", "monitor", _CRITICAL, 0, _("slot lost"),
            _("A slot has lost WAL that its standby needs: the standby must be copied anew."),
        ),
        Condition(
            "slot_retaining", "monitor", _WARNING, 60, _("slot keeps WAL"),
            _("Nobody uses a slot, and it keeps more WAL than this."),
            1024, _("MiB"),
        ),
        Condition(
            "slot_filling", "monitor", _WARNING, 300, _("slot runs out"),
            _("As WAL is written now, an idle slot is lost, or has filled the disk, before so many hours are over."),
            24, _("hours"),
        ),
        Condition(
            "disk_full", "monitor", _CRITICAL, 0, _("disk nearly full"),
            _("Less than this is free where the data directory lies."),
            5, _("percent"), 100,
        ),
        Condition(
            "disk_filling", "monitor", _WARNING, 600, _("disk fills"),
            _("As it fills now, the disk of the data directory is full before so many hours are over."),
            24, _("hours"),
        ),
        Condition(
            "connections_used", "monitor", _WARNING, 60, _("connections used up"),
            _("More than this share of max_connections is used."),
            90, _("percent"), 100,
        ),
        Condition(
            "checksum_failures", "monitor", _CRITICAL, 0, _("checksum failures"),
            _("Data pages on disk do not have the checksum that they were written with."),
        ),
        Condition(
            "verification_failed", "verification", _CRITICAL, 60, _("verification failed"),
            _("A verification found what must not be: a row that does not arrive, content that differs, a damaged relation."),
        ),
        Condition(
            "verification_warning", "verification", _WARNING, 60, _("verification warns"),
            _("A verification found what needs a look: a changed file, a setting that is too low, a slot that is missing."),
        ),
        Condition(
            "not_promotable", "verification", _WARNING, 0, _("standby not promotable"),
            _("A deep verification found something that keeps a standby from being promoted."),
        ),
        Condition(
            "job_needs_operator", "panel", _CRITICAL, 0, _("job needs an operator"),
            _("A job can go neither on nor back by itself."),
        ),
        Condition(
            "verification_late", "panel", _WARNING, 0, _("schedule does not run"),
            _("The standing verification of a cluster is switched on, and has not run for two of its intervals."),
        ),
        Condition(
            "monitor_dead", "panel", _CRITICAL, 0, _("monitor dead"),
            _("No monitor goes round: what is shown of instances grows old, and nothing new is noticed."),
        ),
        Condition(
            "workers_silent", "panel", _CRITICAL, 30, _("no worker is free"),
            _("No worker has taken up anything for half a minute: a job that is requested now, a failover too, waits."),
        ),
    )
}  # fmt: skip
MONITOR_CONDITIONS: Final = frozenset(name for name, condition in CONDITIONS.items() if condition.source == "monitor")
