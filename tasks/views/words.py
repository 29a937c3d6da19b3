"""The words that the live job page puts into its HTML, in the reader's language."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from tasks.kinds import Status, StepStatus


def live_words() -> dict[str, Any]:
    """As `static/js/live.js` wants them."""
    return {
        "status": {status.value: str(status.label) for status in Status},
        "step": {status.value: str(status.label) for status in StepStatus},
        "connection": {
            "connecting": _("connecting"),
            "live": _("live"),
            "polling": _("asking every few seconds"),
            "waiting": _("connection lost, trying again"),
            "ended": _("complete"),
            "refused": _("not allowed any more"),
        },
        "lines": {"one": _("{n} line"), "other": _("{n} lines")},
        "progress": {"of": _("{done} of {total}"), "rate": _("{rate}/s"), "left": _("{time} left")},
    }
