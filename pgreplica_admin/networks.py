"""Networks from the environment: a mistake stops the start, with a sentence that says what to write."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from django.core.exceptions import ImproperlyConfigured


def networks_checked(texts: Iterable[str]) -> list[str]:
    """As `ipaddress` writes them. Raises: ImproperlyConfigured."""
    return [_network(text.strip()) for text in texts if text.strip()]


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ImproperlyConfigured(
            f"PGREPLICA_ALERT_NETWORKS: {text!r} is no network ({error}). Write networks in CIDR form, separated by commas: 10.0.0.0/8."
        ) from error
