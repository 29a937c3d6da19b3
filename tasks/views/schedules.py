"""When clusters are verified by themselves: the list, and the page on which one cluster's schedules are changed."""

from __future__ import annotations

from typing import Any, Final

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from clusters.models import Cluster
from clusters.schedule_forms import DAYS, ScheduleForm
from tasks.actor import actor_of
from tasks.refusals import RequestRefused
from tasks.schedule import overdue
from tasks.scheduling import CHANGE, ScheduleShown, schedule_change, schedule_values, schedules_shown
from tasks.verdicts import SECRETS
from tasks.views.clusters import cluster_or_404
from tasks.views.frame import page, render
from tasks.views.requests import METHODS

CLUSTERS_ON_PAGE: Final = 50
#: The parts of the form by the beginning of its fields' names.
PARTS: Final = ("standing", "deep", "content")


@page("clusters.view_cluster")
def schedules_page(request: HttpRequest) -> HttpResponseBase:
    pages = Paginator(Cluster.objects.defer(*SECRETS).order_by("name"), CLUSTERS_ON_PAGE).get_page(request.GET.get("page", "1"))
    clusters = list(pages.object_list)
    shown, late = schedules_shown(clusters), overdue()
    return render(
        request,
        "clusters/schedules.html",
        title=_("Schedules"),
        crumbs=[(_("Fleet"), reverse("admin:index"))],
        pages=pages,
        rows=[(cluster, [(each, words_of(each)) for each in shown[cluster.pk]], late.get(cluster.pk)) for cluster in clusters],
        may_change=request.user.has_perm(CHANGE),
        may_see_own=request.user.has_perm("django_celery_beat.view_periodictask"),
    )


def words_of(schedule: ScheduleShown) -> str:
    """When it runs, in words."""
    if not schedule["enabled"]:
        return _("switched off")
    if schedule["every_minutes"]:
        return _("every %(number)s min") % {"number": schedule["every_minutes"]}
    if schedule["day"] is None:
        return _("every day at %(at)s") % {"at": schedule["at"]}
    return _("%(day)s at %(at)s") % {"day": dict(DAYS)[str(schedule["day"])], "at": schedule["at"]}


@page(CHANGE, METHODS)
def cluster_schedules_page(request: HttpRequest, name: str) -> HttpResponseBase:
    cluster: Any = cluster_or_404(name)
    given = {field: request.POST[field] for field in ScheduleForm.base_fields if field in request.POST}
    errors: dict[str, list[str]] = {}
    if request.method == "POST":
        if not request.user.is_authenticated:
            raise PermissionDenied
        try:
            changed = schedule_change(actor=actor_of(request.user, "web"), cluster=cluster, data=given)
        except RequestRefused as refused:
            errors = dict(refused.errors)
        else:
            messages.success(request, _("The schedules were changed.") if changed else _("The schedules are as they were."))
            return redirect("schedules")
    form = ScheduleForm(initial=schedule_values(cluster) | given)
    fields = [{"field": form[field], "errors": errors.get(field, []), "name": field} for field in form.fields]
    return render(
        request,
        "clusters/cluster_schedules.html",
        title=_("Schedules of %(name)s") % {"name": cluster.name},
        crumbs=[(_("Fleet"), reverse("admin:index")), (cluster.name, reverse("cluster-page", args=[cluster.name]))],
        parts=[(part, [item for item in fields if str(item["name"]).startswith(part)]) for part in PARTS],
        errors=errors,
        back_url=reverse("schedules"),
    )
