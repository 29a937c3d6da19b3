"""How a cluster stands, in one word: the worst of what was observed, worst first.

The order of `VERDICTS` is the order of the fleet page. The database does the ranking (`clusters_ranked`), so that ten
thousand clusters are sorted without being loaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, TypedDict

from django.db.models import Case, Exists, F, IntegerField, Min, OuterRef, Q, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce, Least
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from clusters.models import Cluster, Instance, ReplicationPair, Verification
from tasks.kinds import ACTIVE, Status
from tasks.models import Job

if TYPE_CHECKING:
    from django_stubs_ext import WithAnnotations

#: An observation older than this is shown as old: three missed rounds of the standing verification.
STALE_AFTER: Final = timedelta(minutes=15)
#: Never needed to show a page, and decrypted when read.
SECRETS: Final = ("superuser_password", "owner_password", "replication_password", "panel_password")
_BEST: Final = 99


@dataclass(frozen=True)
class Verdict:
    """One way a cluster can stand. `tone` picks colour and icon: failed, warning, unknown, running or ok."""

    name: str
    tone: str
    label: str | Promise


VERDICTS: Final = (
    Verdict("roles_differ", "failed", _("roles differ from what was declared")),
    Verdict("primary_down", "failed", _("primary is down")),
    Verdict("needs_operator", "failed", _("a job needs an operator")),
    Verdict("failed", "failed", _("not replicating")),
    Verdict("standby_down", "failed", _("a standby is down")),
    Verdict("unknown", "unknown", _("could not be observed")),
    Verdict("stale", "unknown", _("not observed lately")),
    Verdict("warning", "warning", _("replicating, with warnings")),
    Verdict("alone", "warning", _("no standby")),
    Verdict("not_created", "unknown", _("not created")),
    Verdict("changing", "running", _("being created or removed")),
    Verdict("ok", "ok", _("replicating")),
)
RANK: Final = {verdict.name: rank for rank, verdict in enumerate(VERDICTS)}


class Ranked(TypedDict):
    rank: int


if TYPE_CHECKING:
    RankedCluster = WithAnnotations[Cluster, Ranked]


def is_stale(moment: datetime | None) -> bool:
    return moment is None or timezone.now() - moment > STALE_AFTER


def clusters_ranked() -> QuerySet[RankedCluster]:
    """All clusters with `rank`, the position of their verdict in `VERDICTS`, worst first."""
    observed = Least(
        _worst_instance(),
        Coalesce(_worst_pair(), Value(RANK["alone"])),
        Case(When(_has_job(status=Status.NEEDS_OPERATOR), then=RANK["needs_operator"]), default=_BEST),
        RANK["ok"],
    )
    rank = Case(
        When(Q(lifecycle="ready") | Q(_has_job(status=Status.NEEDS_OPERATOR)), then=observed),
        When(_has_job(status__in=ACTIVE), then=RANK["changing"]),
        default=RANK["not_created"],
        output_field=IntegerField(),
    )
    return Cluster.objects.defer(*SECRETS).annotate(rank=rank).order_by("rank", "name")


def _has_job(**conditions: object) -> Exists:
    return Exists(Job.objects.filter(cluster=OuterRef("pk"), mutating=True, **conditions))


def _worst_instance() -> Subquery:
    answers = Q(observed_role__in=("primary", "standby"))
    down = Q(observed_role__in=("stopped", "unreachable"))
    rank = Case(
        When(answers & ~Q(observed_role=F("role")), then=RANK["roles_differ"]),
        When(down & Q(role="primary"), then=RANK["primary_down"]),
        When(down, then=RANK["standby_down"]),
        When(Q(observed_at=None) | Q(observed_at__lt=timezone.now() - STALE_AFTER), then=RANK["stale"]),
        default=_BEST,
        output_field=IntegerField(),
    )
    ready = Instance.objects.filter(cluster=OuterRef("pk"), lifecycle="ready").order_by()
    return Subquery(ready.values("cluster").annotate(worst=Min(rank)).values("worst"))


def _worst_pair() -> Subquery:
    """The worst of the last looks at each pair; NULL where a cluster has no pair at all."""
    by_verdict = {"failed": RANK["failed"], "unknown": RANK["unknown"], "warning": RANK["warning"]}
    rank = Case(*[When(verdict=verdict, then=rank) for verdict, rank in by_verdict.items()], default=_BEST, output_field=IntegerField())
    latest = Verification.objects.filter(pair=OuterRef("pk")).order_by("-created_at").annotate(rank=rank).values("rank")[:1]
    ready = ReplicationPair.objects.filter(standby__cluster=OuterRef("pk"), standby__lifecycle="ready").order_by()
    worst = Min(Coalesce(Subquery(latest), Value(RANK["stale"])))
    return Subquery(ready.values("standby__cluster").annotate(worst=worst).values("worst"))
