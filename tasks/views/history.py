"""The history of a cluster's verifications: each run with everything it found."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.models import Cluster, Verification, VerificationRun
from tasks.schedule import is_overdue
from tasks.scheduling import schedules_shown
from tasks.standing import Remark, finding_remark
from tasks.views.clusters import cluster_or_404
from tasks.views.frame import page, render
from tasks.views.schedules import words_of

RUNS_ON_PAGE: Final = 25
#: A run's verdict -> tone and words; of a pair alone other words are true.
VERDICTS: Final[dict[str, tuple[str, str | Promise]]] = {
    "ok": ("ok", gettext_lazy("nothing found")),
    "warning": ("warning", gettext_lazy("to look at")),
    "failed": ("failed", gettext_lazy("not well")),
    "unknown": ("unknown", gettext_lazy("could not be observed")),
}


@page("clusters.view_verification")
def history_page(request: HttpRequest, name: str) -> HttpResponseBase:
    cluster: Any = cluster_or_404(name)
    depth = _one_of(request.GET.get("depth", ""), VerificationRun.Depth.values)
    verdict = _one_of(request.GET.get("verdict", ""), VERDICTS)
    wanted = {key: value for key, value in (("depth", depth), ("verdict", verdict)) if value}
    runs = VerificationRun.objects.filter(cluster=cluster, **wanted).order_by("-created_at")
    pages = Paginator(runs, RUNS_ON_PAGE).get_page(request.GET.get("page", "1"))
    rows = list(pages.object_list)
    of_pairs = pair_remarks_of(cluster, rows)
    return render(
        request,
        "clusters/history.html",
        title=_("Verifications of %(name)s") % {"name": cluster.name},
        crumbs=[(_("Fleet"), reverse("admin:index")), (cluster.name, reverse("cluster-page", args=[cluster.name]))],
        cluster=cluster,
        pages=pages,
        rows=[(run, VERDICTS[run.verdict], [*of_pairs.get(run.job_id or 0, []), *own_remarks(run)]) for run in rows],
        depth=depth,
        verdict=verdict,
        depths=VerificationRun.Depth.choices,
        verdicts=[(key, words) for key, (_tone, words) in VERDICTS.items()],
        query=urlencode(wanted),
        schedules=[(each, words_of(each)) for each in schedules_shown([cluster])[cluster.pk]],
        overdue=is_overdue(cluster),
        shows_jobs=request.user.has_perm("tasks.view_job"),
    )


def own_remarks(run: VerificationRun) -> list[Remark]:
    return [finding_remark(str(finding.get("instance") or ""), finding) for finding in run.findings]


def pair_remarks_of(cluster: Cluster, runs: Iterable[VerificationRun]) -> dict[int, list[Remark]]:
    """Job -> the findings of its pairs."""
    jobs = [run.job_id for run in runs if run.job_id]
    looks = Verification.objects.filter(pair__standby__cluster=cluster, job_id__in=jobs).order_by("pk")
    found: dict[int, list[Remark]] = {}
    for job, standby, findings in looks.values_list("job_id", "pair__standby__name", "findings"):
        found.setdefault(job or 0, []).extend(finding_remark(standby, finding) for finding in findings)
    return found


def _one_of(given: str, known: Iterable[str]) -> str:
    return given if given in known else ""
