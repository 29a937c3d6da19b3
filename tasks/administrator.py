"""The first person who may sign in."""

from __future__ import annotations

from django.contrib.auth.models import User

from clusters.secrets import Secret


def administrator_ensure(name: str, password: Secret) -> bool:
    """Make the first administrator. Returns False, and does nothing, where there is a user already."""
    if User.objects.exists():
        return False
    User.objects.create_superuser(name, password=password.reveal())
    return True
