"""The page of the eligibility board: who could take over, and what is in the way of the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.http import Http404, HttpRequest, HttpResponseBase
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tasks.board import ACTS, Act, BoardShown, RuleShown, StandbyShown, board_of
from tasks.retold import retold
from tasks.views.acts import cluster_acts
from tasks.views.clusters import cluster_or_404, holder_of
from tasks.views.frame import page, render

LABELS: Final[dict[Act, str | Promise]] = {
    "switchover": gettext_lazy("Switchover"),
    "failover": gettext_lazy("Failover"),
    "promote": gettext_lazy("Leave the cluster"),
}
ABOUT: Final[dict[Act, str | Promise]] = {
    "switchover": gettext_lazy("A planned change of the primary while all works: nothing is lost."),
    "failover": gettext_lazy("The primary is gone and a standby takes its place: what no standby has is lost."),
    "promote": gettext_lazy("A standby becomes a primary of its own, outside the cluster, for tests or a migration."),
}
#: An obstacle's severity -> its tone, and the words beside it.
SEVERITIES: Final[dict[str, tuple[str, str | Promise]]] = {
    "blocks": ("failed", gettext_lazy("blocks")),
    "flag": ("operator", gettext_lazy("needs a flag")),
    "warns": ("warning", gettext_lazy("to know")),
}
_ORDER: Final = ("blocks", "flag", "warns")


@page("clusters.view_cluster")
def board_page(request: HttpRequest, name: str) -> HttpResponseBase:
    cluster = cluster_or_404(name)
    act = _act(request.GET.get("act", "switchover"))
    shown = board_of(cluster, act)
    groups = grouped(shown)
    look = next(item for item in cluster_acts(request.user, cluster, holder_of(cluster)) if item.kind.name == "verify")
    return render(
        request,
        "clusters/board.html",
        title=_("Who could take over"),
        crumbs=[(_("Fleet"), reverse("admin:index")), (cluster.name, reverse("cluster-page", args=[cluster.name]))],
        cluster=cluster,
        act=act,
        about=ABOUT[act],
        acts=[(key, LABELS[key]) for key in ACTS],
        board=shown,
        standings=[(standby, standing_of(standby)) for standby in shown["standbys"]],
        failing=groups["obstacle"],
        unknown=groups["unknown"],
        well=groups["ok"],
        look=look,
    )


def _act(given: str) -> Act:
    found = next((act for act in ACTS if act == given), None)
    if found is None:
        raise Http404(_("There is no board of this act."))
    return found


def standing_of(standby: StandbyShown) -> tuple[str, str]:
    """(tone, words): whether it could take over."""
    if not standby["eligible"]:
        return "failed", _("cannot")
    if standby["flags"]:
        return "operator", _("only with: %(flags)s") % {"flags": ", ".join(standby["flags"])}
    return "ok", _("can")


def grouped(shown: BoardShown) -> dict[str, list[dict[str, Any]]]:
    """The rules by what they say of any standby, those that block first: a rule's title and its cell for each standby."""
    groups: dict[str, list[dict[str, Any]]] = {"obstacle": [], "unknown": [], "ok": []}
    columns = [standby["rules"] for standby in shown["standbys"]]
    for cells in zip(*columns, strict=True):
        named = list(zip(shown["standbys"], cells, strict=True))
        row = {"title": cells[0]["title"], "rule": cells[0]["rule"], "cells": [_cell(standby["name"], cell) for standby, cell in named]}
        groups[_worst(cells)].append(row)
    groups["obstacle"].sort(key=lambda row: min(cell["rank"] for cell in row["cells"]))
    return groups


def _worst(cells: Sequence[RuleShown]) -> str:
    statuses = {cell["status"] for cell in cells}
    return next(status for status in ("obstacle", "unknown", "ok") if status in statuses)


def _cell(standby: str, cell: RuleShown) -> dict[str, Any]:
    severity = cell["severity"] or ""
    tone, words = SEVERITIES.get(severity, ("unknown", _("not known")) if cell["status"] == "unknown" else ("ok", _("well")))
    return {
        "standby": standby,
        "tone": tone,
        "words": words,
        "rank": _ORDER.index(severity) if severity else len(_ORDER),
        "sentence": retold(cell["sentence"] or ""),
        "cure": retold(cell["cure"] or ""),
        "value": cell["value"],
        "threshold": cell["threshold"],
    }
