"""What the clock asks for, and the monitor when something has changed: verifications, as ordinary jobs.

A message of the clock only knocks: what is done is decided here, from the rows. What a knock could not ask for (too many jobs
were waiting, nobody took the message) is caught up, the oldest first.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db.models import Max, Min, OuterRef, QuerySet, Subquery
from django.utils import timezone

from clusters.models import Cluster, Instance, VerificationRun
from clusters.models.cluster import Lifecycle
from clusters.schedules import Schedule, schedules_enabled, schedules_of
from tasks.actor import SCHEDULE
from tasks.kinds import ACTIVE, Status
from tasks.models import Job
from tasks.refusals import Refusal
from tasks.services import job_request

logger = logging.getLogger(__name__)


#: A cluster whose instances come and go is not verified more often than this because of it.
CLOSER_LOOK_AFTER: Final = timedelta(seconds=30)
#: More verifications do not wait for a worker at one time: what a person asks for would stand behind them.
QUEUED_AT_ONCE: Final = 50
#: A run of each depth is one of every depth before it too.
DEPTHS: Final[tuple[str, ...]] = tuple(VerificationRun.Depth.values)
#: Beyond the period: so late, a run is caught up; and so late, the schedule counts as not running.
CAUGHT_UP_AFTER: Final[Mapping[str, timedelta]] = {
    "standing": timedelta(seconds=60),
    "deep": timedelta(minutes=15),
    "content": timedelta(minutes=15),
}
OVERDUE_AFTER: Final = timedelta(seconds=30)


def verify_cluster(cluster_id: int, depth: str, tables: Sequence[str] = ()) -> list[Job]:
    """The clock knocks for one cluster: a job, unless one as deep is under way, or too many wait."""
    return _verify(Cluster.objects.filter(pk=cluster_id), depth, tables)


def verify_late() -> list[Job]:
    """Ask for what the knocks have not led to, the one that waits longest first."""
    now, runs, jobs = timezone.now(), last_runs(), []
    late = [(_due(schedule, runs), schedule) for schedule in schedules_enabled() if schedule.cluster_id in runs]
    late = [(due, each) for due, each in late if now - due > CAUGHT_UP_AFTER[each.planned.depth]]
    for _due_at, schedule in sorted(late, key=lambda item: item[0]):
        if not _room():
            break
        lately = Job.objects.filter(
            kind="verify",
            cluster=schedule.cluster_id,
            params__depth=schedule.planned.depth,
            created_at__gt=now - min(schedule.planned.period, timedelta(hours=1)),
        )
        if not lately.exists():  # else one that fails would be asked for again and again
            jobs += verify_cluster(schedule.cluster_id, schedule.planned.depth, schedule.planned.tables)
    return jobs


def overdue() -> dict[int, datetime]:
    """Clusters whose standing verification is switched on and has not run for more than two of its intervals: key -> its last run.

    Where none has run yet: since when it should have. Two queries, whatever the number of clusters.
    """
    return overdue_of(schedules_enabled(), last_runs())


def is_overdue(cluster: Cluster) -> bool:
    """The same for one cluster."""
    schedules = [each for each in schedules_of([cluster.pk]).get(cluster.pk, {}).values() if each.planned.enabled]
    return cluster.pk in overdue_of(schedules, last_runs(pk=cluster.pk))


def overdue_of(schedules: Iterable[Schedule], runs: Mapping[int, Mapping[str, datetime | None]]) -> dict[int, datetime]:
    """The same of schedules that are switched on and `last_runs`, for those who have read both already."""
    now, found = timezone.now(), {}
    for schedule in schedules:
        if schedule.planned.depth != DEPTHS[0] or schedule.cluster_id not in runs:
            continue
        due = _due(schedule, runs)
        if now - due > schedule.planned.period + OVERDUE_AFTER:
            found[schedule.cluster_id] = due - schedule.planned.period
    return found


def _due(schedule: Schedule, runs: Mapping[int, Mapping[str, datetime | None]]) -> datetime:
    """When it should have run again: its period after its last run, or after it was put down where that was later."""
    last = runs[schedule.cluster_id][schedule.planned.depth]
    return max(last or schedule.since, schedule.since) + schedule.planned.period


def last_runs(**of: object) -> dict[int, dict[str, datetime | None]]:
    """Of each ready cluster: when it was last verified at least as deep as each depth."""
    mine = VerificationRun.objects.filter(cluster=OuterRef("pk")).order_by("-created_at").values("created_at")
    last = {depth: Subquery(mine.filter(depth=depth)[:1]) for depth in DEPTHS}
    rows = Cluster.objects.filter(lifecycle=Lifecycle.READY, **of).order_by().annotate(**last).values("pk", *DEPTHS)
    return {row["pk"]: {depth: _latest(row, DEPTHS[number:]) for number, depth in enumerate(DEPTHS)} for row in rows}


def _latest(row: Mapping[str, datetime | None], depths: Sequence[str]) -> datetime | None:
    return max((moment for depth in depths if (moment := row[depth])), default=None)


def _room() -> int:
    """How many more verifications may wait."""
    return max(0, QUEUED_AT_ONCE - Job.objects.filter(kind="verify", status=Status.QUEUED).count())


def verify_changed(changed: Mapping[int, datetime]) -> set[int]:
    """The same for the clusters of these instances, whose roles are not what they were, each since its moment. Not while a job is at work.

    Returns those that nothing is left to do for: a job has looked after the change, or a verification asked for after it will.
    """
    rows = Instance.objects.filter(pk__in=changed, cluster__lifecycle=Lifecycle.READY)
    cluster_of = dict(rows.values_list("pk", "cluster"))
    looked_at = _looks(set(cluster_of.values()))
    open_ = {pk for pk, cluster in cluster_of.items() if not any(look and look > changed[pk] for look in looked_at[cluster])}
    lately = Job.objects.filter(kind="verify", created_at__gt=timezone.now() - CLOSER_LOOK_AFTER, cluster__isnull=False)
    held = Job.objects.filter(mutating=True, status__in=ACTIVE, cluster__isnull=False)
    clusters = Cluster.objects.filter(pk__in={cluster_of[pk] for pk in open_})
    jobs = _verify(clusters.exclude(pk__in=lately.values("cluster")).exclude(pk__in=held.values("cluster")))
    requested = {job.cluster_id for job in jobs}
    return set(changed) - {pk for pk in open_ if cluster_of[pk] not in requested}


def _looks(clusters: set[int]) -> dict[int, tuple[datetime | None, datetime | None]]:
    """Of each cluster: when the last verification was asked for, and when the instance that was looked at least lately was."""
    verified = Job.objects.filter(kind="verify", cluster__in=clusters).order_by().values("cluster").annotate(at=Max("created_at"))
    seen = (
        Instance.objects.filter(cluster__in=clusters, lifecycle=Lifecycle.READY)
        .order_by()
        .values("cluster")
        .annotate(at=Min("observed_at"))
    )
    asked, looked = ({row["cluster"]: row["at"] for row in rows} for rows in (verified, seen))
    return {cluster: (asked.get(cluster), looked.get(cluster)) for cluster in clusters}


def _verify(clusters: QuerySet[Cluster], depth: str = DEPTHS[0], tables: Sequence[str] = ()) -> list[Job]:
    under_way = Job.objects.filter(kind="verify", status__in=ACTIVE, cluster__isnull=False)
    if depth != DEPTHS[0]:
        under_way = under_way.filter(params__depth__in=DEPTHS[DEPTHS.index(depth) :])
    jobs: list[Job] = []
    room = _room()
    for cluster in clusters.filter(lifecycle=Lifecycle.READY).exclude(pk__in=under_way.values("cluster")):
        if len(jobs) >= room:
            logger.warning("%d verifications wait already: that of %s is asked for later.", QUEUED_AT_ONCE, cluster.name)
            break
        data = {"depth": depth, **({"tables": list(tables)} if tables else {})}
        try:
            jobs.append(job_request(kind="verify", actor=SCHEDULE, data=data, cluster=cluster))
        except Refusal as refusal:
            logger.warning("Cluster %s is not verified this time: %s", cluster.name, refusal.sentence)
    return jobs
