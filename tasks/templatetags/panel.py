"""How values are written on pages: ages, bytes, durations, verdicts. Every function answers for absent values too."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from django import template
from django.contrib.auth import get_user_model
from django.forms import BoundField, Textarea
from django.template.defaultfilters import date as date_format
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from tasks.kinds import Status, StepStatus
from tasks.verdicts import is_stale

register = template.Library()

NOTHING: Final = "–"
#: A diff of at most this many lines is shown open.
OPEN_LINES: Final = 12

#: Tone -> icon. The icon's shape says what the colour says, for those who do not see it.
ICONS: Final[Mapping[str, str]] = {
    "ok": "check_circle",
    "warning": "warning",
    "failed": "error",
    "unknown": "help",
    "running": "sync",
    "queued": "schedule",
    "operator": "pan_tool",
    "undone": "undo",
}
STATUS_TONES: Final[Mapping[str, str]] = {
    Status.SCHEDULED: "queued",
    Status.QUEUED: "queued",
    Status.RUNNING: "running",
    Status.ROLLING_BACK: "undone",
    Status.DONE: "ok",
    Status.REFUSED: "warning",
    Status.FAILED: "failed",
    Status.CANCELED: "undone",
    Status.NEEDS_OPERATOR: "operator",
}
STEP_TONES: Final[Mapping[str, str]] = {
    StepStatus.PENDING: "queued",
    StepStatus.RUNNING: "running",
    StepStatus.DONE: "ok",
    StepStatus.FAILED: "failed",
    StepStatus.UNDOING: "undone",
    StepStatus.UNDONE: "undone",
}


@register.simple_tag
def icon(name: str) -> SafeString:
    """A sign for the eye only: the words beside it say the same."""
    return format_html('<span class="material-symbols-outlined" aria-hidden="true">{}</span>', name)


@register.simple_tag
def badge(tone: str, label: Any) -> SafeString:
    """A state in colour, shape and words."""
    return format_html('<span class="pg-badge pg-{}">{}<span>{}</span></span>', tone, icon(ICONS.get(tone, "help")), label)


@register.simple_tag
def status_badge(status: str, label: Any) -> SafeString:
    return badge(STATUS_TONES.get(status, "unknown"), label)


@register.filter
def step_tone(status: str) -> str:
    return STEP_TONES.get(status, "unknown")


@register.filter
def step_icon(status: str) -> str:
    return ICONS[step_tone(status)]


@register.simple_tag
def age(moment: datetime | None, *, stale: bool = True) -> SafeString:
    """How long ago, with the exact time behind it. Old observations are greyed and marked, unless `stale` is False."""
    if moment is None:
        return format_html('<span class="pg-stale">{}</span>', _("never"))
    old = stale and is_stale(moment)
    return format_html(
        '<time class="{}" datetime="{}" title="{}">{}{}</time>',
        "pg-age pg-stale" if old else "pg-age",
        moment.isoformat(),
        date_format(timezone.localtime(moment), "Y-m-d H:i:s T"),
        icon("history") if old else "",
        ago(moment),
    )


@register.simple_tag
def moment(at: datetime | None) -> SafeString:
    """A time that lies ahead or behind, with its zone: "2026-12-01 03:00 UTC (in 3 h 20 min)"."""
    if at is None:
        return format_html("{}", NOTHING)
    ahead = (at - timezone.now()).total_seconds()
    words = _("in %(time)s") % {"time": duration(ahead)} if ahead > 0 else ago(at)
    return format_html('<time datetime="{}">{} ({})</time>', at.isoformat(), date_format(timezone.localtime(at), "Y-m-d H:i T"), words)


@register.filter
def ago(moment: datetime | None) -> str:
    """ "4 min ago": one unit, rounded down; what lies ahead (a clock that runs differently) is "just now"."""
    if moment is None:
        return _("never")
    seconds = int((timezone.now() - moment).total_seconds())
    if seconds < 5:
        return _("just now")
    if seconds < 60:
        return _("%(n)d s ago") % {"n": seconds}
    if seconds < 3600:
        return _("%(n)d min ago") % {"n": seconds // 60}
    if seconds < 2 * 86_400:
        return _("%(n)d h ago") % {"n": seconds // 3600}
    days = seconds // 86_400
    return ngettext("%(n)d day ago", "%(n)d days ago", days) % {"n": days}


@register.filter
def duration(seconds: float | None) -> str:
    """ "0.3 s", "42 s", "3 min 07 s", "2 h 05 min"."""
    if seconds is None:
        return NOTHING
    if seconds < 10:
        return _("%(n)s s") % {"n": number_format(round(max(seconds, 0), 1), 1)}
    whole = int(seconds)
    if whole < 60:
        return _("%(n)s s") % {"n": whole}
    if whole < 3600:
        return _("%(m)d min %(s)02d s") % {"m": whole // 60, "s": whole % 60}
    return _("%(h)d h %(m)02d min") % {"h": whole // 3600, "m": whole % 3600 // 60}


@register.simple_tag
def took(start: datetime | None, end: datetime | None) -> str:
    """The time from `start` to `end`, or to now while it lasts."""
    return duration(((end or timezone.now()) - start).total_seconds()) if start else ""


@register.filter(name="bytes")
def bytes_filter(size: int | None) -> str:
    """In units of 1024 with pg_size_pretty's names, as `static/js/live.js` writes them too: "16.0 kB", "310 GB"."""
    if size is None:
        return NOTHING
    units, number, power = ("kB", "MB", "GB", "TB"), float(size), 0
    if number < 1024:
        return ngettext("%(n)d byte", "%(n)d bytes", size) % {"n": size}
    while number >= 1024 and power < len(units):
        number, power = number / 1024, power + 1
    return f"{number_format(round(number, 1), 1) if number < 100 else number_format(round(number))} {units[power - 1]}"


@register.filter
def lag(row: Any) -> str:
    """Bytes and seconds of anything that has `lag_bytes` and `lag_seconds`; each is named, and each may be unknown."""
    if row is None or (row.lag_bytes is None and row.lag_seconds is None):
        return NOTHING
    return f"{bytes_filter(row.lag_bytes)} · {duration(row.lag_seconds)}"


@register.filter
def step_title(title: str) -> str:
    """Step titles are docstrings; their translations are in the catalogue."""
    return _(title) if title else ""


@register.filter
def postgres_state(state: str) -> str:
    """A state as pg_stat_replication names it; PostgreSQL's own word, in every language."""
    return state or pgettext("replication state", "not streaming")


@register.filter
def is_old(moment: datetime | None) -> bool:
    return is_stale(moment)


@register.filter
def tone_icon(tone: str) -> str:
    return ICONS.get(tone, "help")


@register.filter
def percent(progress: Mapping[str, Any] | None) -> int | None:
    """Of a step's progress, rounded down, so that 100 means all of it; None where the total is not known."""
    total = (progress or {}).get("total")
    return int(100 * min(progress["done"] / total, 1)) if progress and total else None


@register.filter
def in_words(word: str, words: str) -> bool:
    return word in words.split()


@register.filter
def reasons(acts: Iterable[Any]) -> list[tuple[str, str]]:
    """Why acts are out of reach, each reason once: (reason, the acts' labels)."""
    found: dict[str, list[str]] = {}
    for act in acts:
        if act.reason:
            found.setdefault(act.reason, []).append(act.label)
    return [(reason, ", ".join(labels)) for reason, labels in found.items()]


@register.filter
def plan_shown(plan: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A plan as the template wants it: commands and statements in a row on one server stand together, files show their diff."""
    return [{"title": step["title"], "groups": _groups(step["items"])} for step in plan]


def _groups(items: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    labels = {"command": _("Command"), "sql": _("SQL"), "file": _("File")}
    icons = {"command": "terminal", "sql": "database", "file": "description"}
    rows = []
    for (kind, server, path), found in groupby(items, key=lambda item: (item["type"], item.get("server", ""), item.get("path", ""))):
        group = list(found)
        lines = [{"sign": _sign(line), "text": line} for item in group for line in item.get("diff", "").splitlines()]
        rows.append(
            {
                "icon": icons.get(kind, "bolt"),
                "label": labels.get(kind, kind),
                "server": server,
                "path": path,
                "texts": [item["text"] for item in group if "text" in item],
                "lines": lines,
                "open": len(lines) <= OPEN_LINES,
            }
        )
    return rows


def _sign(line: str) -> str:
    if line.startswith(("+++", "---", "@@")):
        return "place"
    return {"+": "added", "-": "removed"}.get(line[:1], "same")


@register.simple_tag
def described(bound: BoundField, errors: list[str], confirm: str = "") -> SafeString:
    """A field's input, tied to the sentences around it for those who hear the page."""
    identity = bound.id_for_label
    parts = [f"{identity}_name"] if confirm else []
    parts += [f"{identity}_error{number}" for number in range(1, len(errors) + 1)]
    parts += [f"{identity}_help"] if bound.help_text and not confirm else []
    extra: dict[str, Any] = {"aria-describedby": " ".join(parts)} if parts else {}
    if errors:
        extra["aria-invalid"] = "true"
    if confirm:
        extra |= {"pattern": re.escape(confirm), "autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
    if isinstance(bound.field.widget, Textarea):
        extra["rows"] = 3
    return bound.as_widget(attrs=extra)


@register.simple_tag
def first_sign_in() -> bool:
    """Whether nobody has ever signed in: then the sign-in page says where the password is."""
    return not get_user_model().objects.filter(last_login__isnull=False).exists()
