"""What leads the page of a cluster when its primary does not answer, or when more than one instance accepts writes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.http import HttpRequest

from clusters.models import Cluster, Instance
from clusters.selectors import monitor_watches
from tasks.adopted import adopted_reason
from tasks.board import BoardShown, board_of
from tasks.kinds import KINDS, Status
from tasks.members import Members
from tasks.models import Job
from tasks.standing import facts_of
from tasks.views.acts import Act, busy_reason, instance_reason, permission_reason, request_url
from tasks.views.eligibility import Loss, loss_of

_DEAD: Final = (Instance.Observed.STOPPED, Instance.Observed.UNREACHABLE)


@dataclass(frozen=True)
class DeadPrimary:
    """The declared primary was not found running at the last look. The acts stand in the order in which they should be tried."""

    instance: Instance
    stopped: bool  # its server answers, PostgreSQL does not run there; else nobody gets an answer
    still_heard: list[str]  # standbys that received from it at their last look
    last_lsn: str
    timeline: int | None
    best: str | None
    flags: list[str]  # which a failover to the best would need
    loss: Loss | None
    look: Act
    start: Act
    failover: Act
    board: BoardShown


def dead_primary(request: HttpRequest, cluster: Cluster, members: Members, holder: Job | None) -> DeadPrimary | None:
    row = next((row for row in members.instances if row.role == Instance.Role.PRIMARY), None)
    if row is None or row.lifecycle != "ready" or row.observed_role not in _DEAD:
        return None
    shown = board_of(cluster, "failover")
    best = next((standby for standby in shown["standbys"] if standby["name"] == shown["best"]), None)
    facts = facts_of(row)
    return DeadPrimary(
        instance=row,
        stopped=row.observed_role == Instance.Observed.STOPPED,
        still_heard=_heard(members, row),
        last_lsn=str(facts.lsn) if facts else "",
        timeline=facts.timeline if facts else None,
        best=shown["best"],
        flags=best["flags"] if best else [],
        loss=loss_of(cluster, shown, best) if best else None,
        look=_act(request, "verify", cluster, holder),
        start=_act(request, "start_instance", cluster, holder, row),
        failover=_act(request, "failover", cluster, holder, to=shown["best"] or ""),
        board=shown,
    )


def _heard(members: Members, primary: Instance) -> list[str]:
    """A look at a standby from before the primary was found dead says nothing."""
    found = max((moment for moment in (_silent_since(primary), primary.observed_at) if moment), default=None)
    direct = [pair.standby for pair in members.pairs if pair.upstream_id == primary.pk]
    standbys = [row for row in direct if row.observed_role == Instance.Observed.STANDBY]
    seen = [(row.name, facts_of(row)) for row in standbys if found and row.observed_at and row.observed_at >= found]
    return [name for name, facts in seen if facts and facts.receiver and facts.receiver.status == "streaming"]


def _silent_since(primary: Instance) -> datetime | None:
    """By the monitor, while one watches: what one wrote that is gone may not hold any more."""
    state = getattr(primary, "state", None)
    if state is None or state.role != Instance.Observed.UNREACHABLE or state.missed < 2 or not monitor_watches():
        return None
    return state.since  # type: ignore[no-any-return]  # getattr: not every instance has one


def _act(request: HttpRequest, name: str, cluster: Cluster, holder: Job | None, instance: Instance | None = None, *, to: str = "") -> Act:
    kind = KINDS[name]
    url = request_url(kind, cluster=cluster.name, instance=instance.name if instance else "") + (f"?to={to}" if to else "")
    reason = permission_reason(request.user, kind) or busy_reason(kind, holder) or adopted_reason(kind, cluster)
    return Act(kind, url, reason or (instance_reason(kind, instance, ()) if instance else ""))


def writable(members: Members) -> list[Instance]:
    """Those that were last seen accepting writes, where there is more than one."""
    rows = [row for row in members.instances if row.observed_role == Instance.Observed.PRIMARY]
    return rows if len(rows) > 1 else []


@dataclass(frozen=True)
class Appointment:
    """A job that waits for its time."""

    job: Job
    at: datetime
    may_cancel: bool


def appointments(request: HttpRequest, cluster: Cluster) -> list[Appointment]:
    rows = Job.objects.filter(cluster=cluster, status=Status.SCHEDULED).defer("plan", "result").order_by("not_before")
    return [Appointment(job, job.not_before, _may(request.user, job)) for job in rows if job.not_before]


def _may(user: Any, job: Job) -> bool:
    return bool(user.has_perm("tasks.view_job") and user.has_perm(KINDS[job.kind].permission))
