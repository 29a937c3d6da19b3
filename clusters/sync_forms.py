"""What is asked of a person about synchronous replication and about slots made by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.form_base import ConfirmedClusterRequest, ConfirmedInstanceRequest, InstanceRequest
from clusters.form_fields import CheckedField
from clusters.models import Cluster, Instance, ReplicationPair, SyncMode
from clusters.models.cluster import Lifecycle
from clusters.postgres import names
from clusters.postgres.refused import NameRefused, shown
from clusters.postgres.text import gettext_noop
from clusters.slots import slot_owner
from clusters.synchronous import standbys_to_count

MODES: Final = tuple(SyncMode.values)
#: Slots whose names begin so are made by the panel for its standbys.
OWN_PREFIX: Final = "pgr_"


def sync_mode(text: str, field: str) -> str:
    if text not in MODES:
        template = gettext_noop("%(field)s: “%(value)s” is none of %(modes)s. Choose one of them.")
        raise NameRefused(field, template, value=shown(text), modes=", ".join(MODES))
    return text


def sync_count(text: str, field: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 3:
        raise NameRefused(field, gettext_noop("%(field)s: “%(value)s” is not a number of standbys."), value=shown(text))
    return int(text)


class SetSyncRequest(ConfirmedClusterRequest):
    """Whom commits wait for."""

    field_order = ("cluster", "mode", "count")

    mode = CheckedField(
        sync_mode,
        label=gettext_lazy("Commits wait for"),
        widget=forms.Select(
            choices=[
                ("async", gettext_lazy("no standby (asynchronous)")),
                ("any", gettext_lazy("any of the standbys, so many of them")),
                ("first", gettext_lazy("the first standbys in order of their names, so many of them")),
            ]
        ),
        help_text=gettext_lazy("While too few standbys stream, commits wait: nothing is acknowledged until enough of them are back."),
    )
    count = CheckedField(
        sync_count,
        label=gettext_lazy("How many standbys"),
        required=False,
        help_text=gettext_lazy("From 1 to the number of standbys that follow the primary directly. Empty: 1."),
    )

    def __init__(self, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        name = "" if self.is_bound else self.initial.get("cluster")
        cluster = Cluster.objects.filter(name=name).first() if name else None
        if cluster:  # the page begins with what holds now
            self.initial = {"mode": cluster.sync_mode, "count": cluster.sync_count or None, **self.initial}

    def _check(self) -> None:
        cluster, values = self.target.cluster, self.cleaned_data
        if cluster is None or cluster.lifecycle != Lifecycle.READY:
            self.add_error("cluster", _("The cluster is not made yet. Finish the job that creates it first."))
            return
        if values["mode"] == SyncMode.ASYNC:
            if values.get("count"):
                self.add_error("count", _("Asynchronous commits wait for no standby. Leave the number empty."))
            values["count"] = 0
            return
        values["count"] = 1 if values.get("count") is None else values["count"]
        self._check_count(standbys_to_count(cluster), values["count"])

    def _check_count(self, standbys: list[Instance], count: int) -> None:
        if not standbys:
            self.add_error("count", _("No standby follows the primary directly. Add one first: a commit would wait for ever."))
        elif not 1 <= count <= len(standbys):
            words = {"limit": len(standbys), "names": ", ".join(row.name for row in standbys), "count": count}
            sentence = _("Commits cannot wait for %(count)s: give a number from 1 to %(limit)s (%(names)s follow the primary directly).")
            self.add_error("count", sentence % words)


def slot_field() -> CheckedField:
    return CheckedField(
        names.replication_slot, label=gettext_lazy("Slot"), help_text=gettext_lazy("Small letters, digits and underscores.")
    )


class CreateSlotRequest(InstanceRequest):
    field_order = ("cluster", "instance", "slot")
    slot = slot_field()

    def _check(self) -> None:
        super()._check()
        if self.cleaned_data["slot"].startswith(OWN_PREFIX):
            self.add_error("slot", _("Names that begin with pgr_ are the panel's own, for its standbys. Choose another name."))


class DropSlotRequest(ConfirmedInstanceRequest):
    field_order = ("cluster", "instance", "slot")
    confirms = "slot"
    slot = slot_field()

    def _check(self) -> None:
        super()._check()
        cluster, instance = self.target.cluster, self.target.instance
        if cluster is None or instance is None:
            return
        pairs = ReplicationPair.objects.filter(standby__cluster=cluster)
        owner = slot_owner(cluster, instance, self.cleaned_data["slot"], cluster.instances.select_related("server"), pairs)
        if owner and owner.declared:
            sentence = _("This slot belongs to %(owner)s. Remove that standby if it is gone for good: its slot goes with it.")
            self.add_error("slot", sentence % {"owner": owner.name})


def removal_refused(instance: Instance) -> str:
    """Why a standby cannot be removed under synchronous replication; "" where it can."""
    cluster: Cluster = instance.cluster
    counted: list[Any] = standbys_to_count(cluster) if cluster.sync_mode != SyncMode.ASYNC else []
    if instance not in counted or len(counted) > cluster.sync_count:
        return ""
    return _("Commits wait for %(count)s standbys, and without this one %(left)s would be left. Change synchronous replication first.") % {
        "count": cluster.sync_count,
        "left": len(counted) - 1,
    }
