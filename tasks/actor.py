"""Who asks, from where, and with which rights. Pages, API, commands and schedules make one; only services judge it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from django.contrib.auth.models import User

EVERYTHING = "*"


@dataclass(frozen=True)
class Actor:
    """Someone who asks. `name` is a copy for the records; `source` is web, api, command, schedule or first start."""

    user: User | None
    name: str
    source: str
    permissions: frozenset[str]

    def can(self, permission: str) -> bool:
        """`permission` as Django writes it: `tasks.run_verify`."""
        return EVERYTHING in self.permissions or permission in self.permissions


def actor_of(user: User, source: str, *, only: Collection[str] | None = None) -> Actor:
    """The user with the rights they have now; with `only` (a token's scope) no more than those."""
    rights = frozenset(user.get_all_permissions()) if user.is_active else frozenset()
    if user.is_active and user.is_superuser:
        rights |= {EVERYTHING}
    if only is not None:
        rights = frozenset(only) if EVERYTHING in rights else rights & frozenset(only)
    return Actor(user, user.get_username(), source, rights)


def actor_system(name: str, source: str) -> Actor:
    """The panel itself (a schedule, the first start), or the person at its command line: every right."""
    return Actor(None, name, source, frozenset({EVERYTHING}))


SCHEDULE = actor_system("schedule", "schedule")
