"""Who may do what: three groups, made from Django's permissions. This table is the source; `manage.py access_setup` writes it down.

viewer         looks at everything but users and tokens of others
operator       also requests jobs, and silences alerts
administrator  also registers servers, adopts, takes over and gives up clusters, purges kept copies, and manages users, tokens, schedules,
               alert rules and channels
"""

from __future__ import annotations

from typing import Final

from django.contrib.auth.models import Group, Permission
from django.db import transaction
from django.db.models import Q

from tasks.kinds import KINDS

#: Every permission that only looks.
VIEW: Final = frozenset(
    f"{app}.view_{model}"
    for app, models in {
        "clusters": ("server", "cluster", "instance", "replicationpair", "verification", "discovery"),
        "tasks": ("job", "jobstep", "jobevent", "auditentry", "alert", "alertrule", "silence"),
    }.items()
    for model in models
)
#: Kinds of jobs that an administrator alone may request.
ADMINISTRATORS_KINDS: Final = frozenset({"remove_cluster", "purge_copy", "adopt_cluster", "take_over", "forget_cluster"})

_OPERATE = frozenset(kind.permission for kind in KINDS.values() if kind.name not in ADMINISTRATORS_KINDS) | frozenset(
    {"tasks.add_silence", "tasks.change_silence"}
)
_ADMINISTER = (
    frozenset(kind.permission for kind in KINDS.values())
    | frozenset(f"clusters.{verb}_server" for verb in ("add", "change", "delete"))
    | frozenset(f"auth.{verb}_user" for verb in ("view", "add", "change", "delete"))
    | frozenset({"auth.view_group"})
    | frozenset(f"tasks.{verb}_alertchannel" for verb in ("view", "add", "change", "delete"))
    | frozenset({"tasks.view_notification", "tasks.change_alertrule"})
    | frozenset(f"tasks.{verb}_apitoken" for verb in ("view", "add", "delete"))
    | frozenset(f"django_celery_beat.{verb}_periodictask" for verb in ("view", "change"))
    | frozenset(f"django_celery_beat.view_{model}" for model in ("intervalschedule", "crontabschedule"))
    | frozenset(f"axes.view_{model}" for model in ("accessattempt", "accesslog", "accessfailurelog"))
    | frozenset({"axes.delete_accessattempt"})
)

#: Group -> its permissions, as `app.codename`.
ROLES: Final[dict[str, frozenset[str]]] = {
    "viewer": VIEW,
    "operator": VIEW | _OPERATE,
    "administrator": VIEW | _OPERATE | _ADMINISTER,
}


def access_setup() -> dict[str, tuple[list[str], list[str]]]:
    """Make the groups have exactly these permissions. Group -> (added, taken away); both empty when it was so already.

    Raises: LookupError when a permission does not exist (the migrations have not run).
    """
    with transaction.atomic():
        return {name: _group_set(name, wanted) for name, wanted in ROLES.items()}


def _group_set(name: str, wanted: frozenset[str]) -> tuple[list[str], list[str]]:
    group, _created = Group.objects.get_or_create(name=name)
    had = {_dotted(permission) for permission in group.permissions.select_related("content_type")}
    group.permissions.set(_permissions(wanted))
    return sorted(wanted - had), sorted(had - wanted)


def _permissions(dotted: frozenset[str]) -> list[Permission]:
    wanted = Q(pk=None)
    for name in dotted:
        app, _, codename = name.partition(".")
        wanted |= Q(content_type__app_label=app, codename=codename)
    found = list(Permission.objects.select_related("content_type").filter(wanted))
    missing = dotted - {_dotted(permission) for permission in found}
    if missing:
        raise LookupError(f"These permissions do not exist: {', '.join(sorted(missing))}. Run the migrations first.")
    return found


def _dotted(permission: Permission) -> str:
    return f"{permission.content_type.app_label}.{permission.codename}"
