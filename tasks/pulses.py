"""Whether the parts of the panel live that leave no other trace: they say so, and whoever looks sees how long ago."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from django.db.models.functions import Now

from tasks.models import Pulse

Part = Pulse.Part

#: Each says so every five seconds. One that is silent for so long does its work no more.
SILENT_AFTER: Final = timedelta(seconds=30)


def pulse_felt(part: Pulse.Part) -> None:
    """Put down that it lives. One statement."""
    Pulse.objects.bulk_create([Pulse(part=part, at=Now())], update_conflicts=True, unique_fields=["part"], update_fields=["at"])


def lives(part: Pulse.Part) -> bool:
    return Pulse.objects.filter(part=part, at__gt=Now() - SILENT_AFTER).exists()


def silent_since(part: Pulse.Part) -> datetime | None:
    """None: it lives, or it never did, as in a panel that starts."""
    return Pulse.objects.filter(part=part, at__lte=Now() - SILENT_AFTER).values_list("at", flat=True).first()


def last_round(part: Pulse.Part) -> datetime | None:
    return Pulse.objects.filter(part=part).values_list("at", flat=True).first()
