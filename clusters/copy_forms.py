"""What is asked of a person before an instance returns to its cluster, and before its kept data is put back or deleted."""

from __future__ import annotations

import re
from typing import Any, Final

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.form_base import ConfirmedClusterRequest, ConfirmedInstanceRequest, Target
from clusters.form_fields import CheckedField, FlagsField
from clusters.models import Cluster, Instance, KeptCopy, ReplicationPair
from clusters.postgres.refused import NameRefused
from clusters.postgres.rejoin_facts import WAYS
from clusters.postgres.text import gettext_noop

REJOIN_FLAGS: Final = {
    "last_copy": gettext_lazy("No other standby streams: its old data may be the last good copy beside the primary."),
}


def way(text: str, field: str = "up_to") -> str:
    """One of the ways back."""
    if text not in WAYS:
        raise NameRefused(field, gettext_noop("%(field)s: choose one of %(ways)s."), ways=", ".join(WAYS))
    return text


def copy_number(text: str, field: str = "copy") -> int:
    """The number of a kept copy."""
    if not re.fullmatch(r"[0-9]{1,15}", text, re.ASCII):
        raise NameRefused(field, gettext_noop("%(field)s: this is not the number of a kept copy. See: cluster copies."))
    return int(text)


def _copy_field() -> CheckedField:
    return CheckedField(copy_number, label=gettext_lazy("Kept copy"), widget=forms.HiddenInput)


def is_astray(instance: Instance) -> bool:
    """Whether there is something to rejoin, as far as the last look tells: it is in quarantine, or does not stream."""
    pair = getattr(instance, "pair", None)
    return instance.quarantined_at is not None or pair is None or pair.state != "streaming" or instance.observed_role != "standby"


class RejoinRequest(ConfirmedInstanceRequest):
    field_order = ("cluster", "instance", "up_to", "flags")

    up_to = CheckedField(
        way,
        label=gettext_lazy("At most"),
        required=False,
        initial="rewind",
        help_text=gettext_lazy("How far the panel may go. It takes the least that is possible, and refuses what is more than this."),
        widget=forms.Select(
            choices=[
                ("direct", gettext_lazy("follow as it is")),
                ("rewind", gettext_lazy("pg_rewind, after a full copy is kept")),
                ("basebackup", gettext_lazy("a new base backup, with the old data put aside")),
            ]
        ),
    )
    flags = FlagsField(
        REJOIN_FLAGS,
        label=gettext_lazy("Allow in spite of"),
        required=False,
        help_text=gettext_lazy("Leave it empty first: the refusal says whether it is needed."),
    )

    def _check(self) -> None:
        super()._check()
        instance = self.target.instance
        self.cleaned_data["up_to"] = self.cleaned_data.get("up_to") or "rewind"
        if instance is None:
            return
        if instance.role == Instance.Role.PRIMARY:
            self.add_error("instance", _("This is the declared primary: there is nobody to rejoin. Make another one the primary first."))
        elif not ReplicationPair.objects.filter(standby=instance).exists():
            self.add_error("instance", _("It is not declared whom this instance follows."))
        elif not is_astray(instance):
            self.add_error("instance", _("It was seen streaming, and is not in quarantine: there is nothing to rejoin."))


class RestoreCopyRequest(ConfirmedInstanceRequest):
    field_order = ("cluster", "instance", "copy")

    copy = _copy_field()

    def _check(self) -> None:
        super()._check()
        instance = self.target.instance
        if instance is None:
            return
        row = kept_copy(self.cleaned_data.get("copy"), instance.cluster.name)
        if row is None or row.instance_name != instance.name or row.server_id != instance.server_id:
            self.add_error("copy", _("This instance has no such kept copy. See: cluster copies."))
        elif row.origin == KeptCopy.Origin.REMOVED:
            sentence = _("This is a whole directory of an instance that was removed; the how-to “Bring its data back” says what to do.")
            self.add_error("copy", sentence)
        followers = list(ReplicationPair.objects.filter(upstream=instance).values_list("standby__name", flat=True))
        if instance.role == Instance.Role.PRIMARY:
            self.add_error("instance", _("This is the primary: its data is not replaced. Look at the copy beside it instead."))
        elif followers:
            self.add_error("instance", _("%(names)s follow this instance. Rejoin them elsewhere first.") % {"names": ", ".join(followers)})


class PurgeCopyRequest(ConfirmedClusterRequest):
    """Its cluster, and its instance, may be gone: then the names alone say whose it was."""

    field_order = ("cluster", "copy")

    copy = _copy_field()

    def _resolve(self) -> None:
        name, number = self.cleaned_data.get("cluster"), self.cleaned_data.get("copy")
        row = kept_copy(number, name or "")
        if row is None:
            if "copy" not in self.errors and "cluster" not in self.errors:
                self.add_error("copy", _("There is no such kept copy of this cluster. See: cluster copies."))
            return
        self.target = Target(
            cluster=Cluster.objects.filter(name=row.cluster_name).first(),
            instance=Instance.objects.filter(cluster__name=row.cluster_name, name=row.instance_name).select_related("server").first(),
            server=row.server,
            cluster_name=row.cluster_name,
            instance_name=row.instance_name,
        )

    def confirmation(self) -> str:
        return str(self.cleaned_data.get("cluster") or "")


def kept_copy(number: Any, cluster: str) -> KeptCopy | None:
    """A copy that is still there."""
    rows = KeptCopy.objects.select_related("server").filter(cluster_name=cluster, gone_at=None)
    return rows.filter(pk=number).first() if isinstance(number, int) else None
