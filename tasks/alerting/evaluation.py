"""From what holds now to rows of alerts: begun, raised once they have held long enough, ended once they have been over long enough.

One evaluation at a time: a second one that begins meanwhile does nothing. Nothing here asks a server.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction
from django.utils import timezone

from tasks.alerting.conditions import CONDITIONS
from tasks.alerting.judging import consequences, judged
from tasks.alerting.outbox import put_down
from tasks.alerting.reading import known_now
from tasks.alerting.rules import Rule, rules_read
from tasks.alerting.things import ClusterThing, Found, InstanceThing, Known
from tasks.models import Alert
from tasks.pulses import Part, pulse_felt

#: What comes and goes within this is one alert, not many.
ENDS_AFTER: Final = timedelta(seconds=15)
#: A thing that is held back counts anew where it was not seen for so long; what verifications found is looked at every 30 seconds.
UNSEEN: Final = timedelta(seconds=60)
#: Conditions of the panel's own parts.
PARTS: Final = frozenset({"monitor_dead", "workers_silent", "verification_late"})
#: While a job changes a cluster, what it does on purpose looks like trouble: that must last so much longer.
BUSY_SECONDS: Final = 120
#: Two that accept writes are what everybody fears most: no job may make that last.
BUSY_WRITABLE_SECONDS: Final = 15
KEPT: Final = timedelta(days=366)
PRUNED_AT_ONCE: Final = 5000
_LOCK: Final = 0x616C657274  # "alert"
_TEXTS: Final = ("severity", "sentence", "cure", "value", "threshold")


@dataclass
class Outcome:
    """What an evaluation has changed."""

    raised: list[Alert] = field(default_factory=list)
    ended: list[Alert] = field(default_factory=list)


def evaluate(*, everything: bool, patient: bool = False) -> Outcome:
    """Judge what is known, and tell. `everything`: also what verifications found; else alerts that rest on that stay as they are.

    `patient`: the panel's other parts may just be starting, so that nothing new is said of them.
    """
    with transaction.atomic():
        if not _alone():
            return Outcome()
        now, rules, known = timezone.now(), rules_read(), known_now(everything=everything)
        outcome = _applied(known, rules, now, everything=everything, patient=patient)
        put_down(outcome.ended, now)
        pulse_felt(Part.ALERTER)
    return outcome


def alerts_prune(now: datetime | None = None) -> int:
    """Delete alerts that ended long ago, so many at a time. How many went."""
    old = Alert.objects.filter(ended_at__lt=(now or timezone.now()) - KEPT).order_by("ended_at").values_list("pk", flat=True)
    return Alert.objects.filter(pk__in=list(old[:PRUNED_AT_ONCE])).delete()[0]


def _alone() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [_LOCK])
        return bool(cursor.fetchone()[0])


def _applied(known: Known, rules: Mapping[str, Rule], now: datetime, *, everything: bool, patient: bool) -> Outcome:
    found = judged(known, rules)
    dropped = consequences(found)
    open_ = {(row.condition, row.cluster_name, row.subject): row for row in Alert.objects.filter(ended_at=None)}
    holding = {each.key: each for each in found}
    outcome, new, kept = Outcome(), [], []
    for key, each in holding.items():
        row = open_.get(key)
        if row is None and (key in dropped or (patient and each.condition in PARTS)):
            continue
        if row is None:
            row = Alert(condition=each.condition, cluster_id=each.cluster.pk if each.cluster else None, began_at=now)
            new.append(row)
        else:
            kept.append(row)
        _see(row, each, rules[each.condition], now)
        if row.raised_at is None and key not in dropped and now - row.began_at >= _hold(each, rules[each.condition]):
            row.raised_at = now
            outcome.raised.append(row)
    over = [
        row for key, row in open_.items() if key not in holding and (_is_off(row, rules) or _is_judged(row, known, everything=everything))
    ]
    _write(new, kept)
    outcome.ended = _end(over, {cluster.name for cluster in known.clusters}, now)
    return outcome


def _see(row: Alert, found: Found, rule: Rule, now: datetime) -> None:
    row.cluster_name, row.instance_name, row.subject = found.cluster.name if found.cluster else "", found.instance, found.subject[:200]
    row.severity, row.value, row.threshold = rule.severity, found.value[:200], found.threshold[:200]
    row.sentence, row.cure = str(found.sentence), str(found.cure)
    if row.raised_at is None:
        row.began_at = min(row.began_at, now)  # the clock may have been set back
        if row.seen_at and now - row.seen_at > UNSEEN:
            row.began_at = now
    row.seen_at, row.cleared_at = now, None


def _hold(found: Found, rule: Rule) -> timedelta:
    busy = found.cluster is not None and found.cluster.busy and CONDITIONS[found.condition].source == "monitor"
    longer = BUSY_WRITABLE_SECONDS if found.condition == "several_writable" else BUSY_SECONDS
    return timedelta(seconds=rule.hold_seconds + (longer if busy else 0))


def _write(new: list[Alert], kept: list[Alert]) -> None:
    Alert.objects.bulk_create(new)
    Alert.objects.bulk_update(kept, [*_TEXTS, "seen_at", "cleared_at", "began_at", "raised_at"], batch_size=500)


def _end(over: Iterable[Alert], clusters: set[str], now: datetime) -> list[Alert]:
    """Those that have been over long enough; of a cluster that is gone, at once. What was never raised leaves nothing behind."""
    waiting, ended, forgotten = [], [], []
    for row in over:
        row.cleared_at = row.cleared_at or now
        gone = row.cluster_name != "" and row.cluster_name not in clusters
        if row.raised_at is None:
            forgotten.append(row.pk)
        elif not gone and now - row.cleared_at < ENDS_AFTER:
            waiting.append(row)
        else:
            row.ended_at = now
            ended.append(row)
    Alert.objects.bulk_update([*waiting, *ended], ["cleared_at", "ended_at"], batch_size=500)
    if forgotten:
        Alert.objects.filter(pk__in=forgotten).delete()
    return ended


# -- whether it is known that a thing is over


def _is_off(row: Alert, rules: Mapping[str, Rule]) -> bool:
    return row.condition in rules and not rules[row.condition].enabled


def _is_judged(row: Alert, known: Known, *, everything: bool) -> bool:
    """Whether the thing was looked at, so that not finding it says that it is over. What nobody can see now stays open."""
    condition = CONDITIONS.get(row.condition)
    cluster = next((each for each in known.clusters if each.name == row.cluster_name), None)
    if condition is None or (row.cluster_name and cluster is None):
        return True  # the table, or the panel, does not have it any more
    if cluster is None or row.condition == "job_needs_operator" or (row.instance_name and cluster.named(row.instance_name) is None):
        return True
    if row.condition == "verification_late":
        return everything
    if condition.source == "verification":
        return everything and (cluster.proven if row.condition == "not_promotable" else cluster.verified)
    return _is_seen(row, cluster, known)


def _is_seen(row: Alert, cluster: ClusterThing, known: Known) -> bool:
    """Of what the monitor sees."""
    if cluster.watched:
        return True  # its roles come from verifications
    if not known.monitor_lives:
        return False
    if not row.instance_name:
        return not any(each.may_write for each in cluster.instances)
    instance = cluster.named(row.instance_name)
    if instance is None or instance.quarantined:
        return instance is None or row.condition != "quarantine_running" or instance.seen
    if row.condition.startswith("disk_"):
        return instance.room is not None
    return instance.answers and _upstream_answers(instance, cluster, row.condition)


def _upstream_answers(instance: InstanceThing, cluster: ClusterThing, condition: str) -> bool:
    """What is said of a stream rests on both of its sides."""
    upstream = cluster.named(instance.upstream)
    of_stream = condition in ("not_streaming", "timeline_differs", "receiver_silent") and instance.observed_role == "standby"
    return upstream is None or upstream.answers or not of_stream
