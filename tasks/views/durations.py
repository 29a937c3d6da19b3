"""How long jobs take."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.translation import gettext as _

from tasks.durations import COUNTED, counted_after, kinds_times, label_of, over_time, strip_of
from tasks.views.frame import page, render


@page("tasks.view_job")
def durations_page(request: HttpRequest) -> HttpResponseBase:
    after = counted_after()
    kinds = kinds_times(after)
    names = [row.kind for row in kinds]
    asked = request.GET.get("kind", "")
    kind = asked if asked in names else next(iter(names), "")
    dots, strip = strip_of(after, kind) if kind else ([], None)
    return render(
        request,
        "tasks/durations.html",
        title=_("Durations"),
        crumbs=[(_("Fleet"), reverse("admin:index")), (_("Jobs"), reverse("admin:tasks_job_changelist"))],
        kinds=kinds,
        kind=kind,
        label=label_of(kind),
        times=over_time(after, kind) if kind else None,
        dots=dots,
        strip=strip,
        counted=COUNTED,
    )
