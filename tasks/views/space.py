"""The table "Space and time": how much room there is, how fast it goes and when it is gone, with what to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from clusters.postgres.forecast import Forecast
from clusters.postgres.text import Text
from tasks.forecasts import InstanceForecast, SlotForecast

#: What ends sooner is shown as bad, and as worth a look.
BAD_SECONDS, SOON_SECONDS = 3600.0, 86_400.0
_UNITS: Final = ((86_400.0, 2 * 86_400.0), (3600.0, 5400.0), (60.0, 60.0))  # seconds of a unit, and from where on it is used


def space_rows(found: Iterable[InstanceForecast]) -> list[dict[str, Any]]:
    """Each instance's disk, and each of its slots, in that order."""
    rows = []
    for one in found:
        rows.append({**_row(one, one.disk), "slot": "", "free": one.disk_free_bytes, "total": one.disk_total_bytes, "at": one.disk_at})
        rows += [_slot_row(one, slot) for slot in one.slots]
    return rows


def _slot_row(one: InstanceForecast, slot: SlotForecast) -> dict[str, Any]:
    return {**_row(one, slot.forecast), "slot": slot.seen.name, "kept": slot.seen.retained_bytes, "at": one.answered_at}


def _row(one: InstanceForecast, forecast: Forecast) -> dict[str, Any]:
    return {
        "cluster": one.cluster,
        "instance": one.instance,
        "tone": tone(forecast),
        "label": label(forecast),
        "sentence": translated(forecast.sentence),
        "cures": [translated(cure) for cure in forecast.cures],
        "rate": None if forecast.rate is None else round(abs(forecast.rate)),
        "freed": forecast.rate is not None and forecast.rate < 0,
        "outlook": forecast.outlook,
    }


def tone(forecast: Forecast) -> str:
    if forecast.outlook == "filling" and forecast.seconds is not None:
        return "failed" if forecast.seconds < BAD_SECONDS else "warning" if forecast.seconds < SOON_SECONDS else "ok"
    return {"over": "failed", "steady": "ok"}.get(forecast.outlook, "unknown")


def label(forecast: Forecast) -> str:
    if forecast.outlook == "filling" and forecast.seconds is not None:
        return about(forecast.seconds)
    return {"over": _("now"), "steady": _("not in sight")}.get(forecast.outlook, _("not known"))


def about(seconds: float) -> str:
    """ "in about 3 hours": as exact as a forecast is."""
    unit = next((unit for unit, since in _UNITS if seconds >= since), None)
    if unit is None:
        return _("in less than a minute")
    count = round(seconds / unit)
    if unit == _UNITS[0][0]:
        return ngettext("in about %(n)d day", "in about %(n)d days", count) % {"n": count}
    if unit == _UNITS[1][0]:
        return ngettext("in about %(n)d hour", "in about %(n)d hours", count) % {"n": count}
    return ngettext("in about %(n)d minute", "in about %(n)d minutes", count) % {"n": count}


def translated(text: Text) -> str:
    return _(text.template) % text.values if text.values else _(text.template)
