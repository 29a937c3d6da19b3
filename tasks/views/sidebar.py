"""The side bar: where one can go, as far as one's permissions reach."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from tasks.alerting.selectors import counts_open
from tasks.kinds import Status
from tasks.models import Job, Severity

#: (words, icon, url name, permission), group by group.
_PLACES: Final = (
    (
        "",
        (
            (gettext_noop("Fleet"), "lan", "admin:index", ""),
            (gettext_noop("Servers"), "dns", "admin:clusters_server_changelist", "clusters.view_server"),
            (gettext_noop("Jobs"), "checklist", "admin:tasks_job_changelist", "tasks.view_job"),
            (gettext_noop("Alerts"), "notifications", "alerts", "tasks.view_alert"),
            (gettext_noop("Verifications"), "fact_check", "admin:clusters_verification_changelist", "clusters.view_verification"),
            (gettext_noop("Schedules"), "event_repeat", "schedules", "clusters.view_cluster"),
            (gettext_noop("Audit trail"), "history_edu", "admin:tasks_auditentry_changelist", "tasks.view_auditentry"),
        ),
    ),
    (
        gettext_noop("Administration"),
        (
            (gettext_noop("Users"), "person", "admin:auth_user_changelist", "auth.view_user"),
            (gettext_noop("Groups"), "group", "admin:auth_group_changelist", "auth.view_group"),
            (gettext_noop("API tokens"), "key", "admin:tasks_apitoken_changelist", "tasks.view_apitoken"),
            (
                gettext_noop("Own tasks"),
                "settings_suggest",
                "admin:django_celery_beat_periodictask_changelist",
                "django_celery_beat.view_periodictask",
            ),
            (gettext_noop("Failed sign-ins"), "lock_person", "admin:axes_accessattempt_changelist", "axes.view_accessattempt"),
        ),
    ),
)


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    """As unfold's SIDEBAR.navigation wants it."""
    return [{"title": _(title) if title else "", "separator": bool(title), "items": _items(request, places)} for title, places in _PLACES]


def _items(request: HttpRequest, places: tuple[tuple[str, str, str, str], ...]) -> list[dict[str, Any]]:
    return [
        {"title": _(words), "icon": icon, "link": reverse(name), "active": _is_here(request, reverse(name)), **_badge(name)}
        for words, icon, name, permission in places
        if not permission or request.user.has_perm(permission)
    ]


def _is_here(request: HttpRequest, address: str) -> bool:
    """The fleet is where its clusters' pages are; jobs and servers have theirs beside the admin's lists."""
    path = request.path
    if address == reverse("schedules"):
        return path == address or (path.startswith("/clusters/") and path.endswith("/schedules/"))
    if address == reverse("admin:index"):
        return path == address or (path.startswith("/clusters/") and not path.endswith("/schedules/"))
    beside = {reverse("admin:tasks_job_changelist"): "/jobs/", reverse("admin:clusters_server_changelist"): "/servers/"}
    return path.startswith((address, beside.get(address, address)))


def _badge(name: str) -> dict[str, Any]:
    """How many alerts are open, and how many jobs wait for a person, wherever one is."""
    if name == "alerts":
        open_ = counts_open()
        variant = "danger" if open_.get(Severity.CRITICAL) else "warning"
        return {"badge": sum(open_.values()), "badge_variant": variant} if open_ else {}
    if name != "admin:tasks_job_changelist":
        return {}
    number = Job.objects.filter(status=Status.NEEDS_OPERATOR).count()
    return {"badge": number, "badge_variant": "danger"} if number else {}
