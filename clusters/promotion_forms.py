"""What is asked of a person before the primary changes. The rules, and the job's first step, judge the rest from fresh facts."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.form_base import ConfirmedClusterRequest, ConfirmedInstanceRequest, RequestForm, Target, named
from clusters.form_fields import CheckedField, FlagsField, moment, seconds, yes_no
from clusters.models import Cluster, Instance
from clusters.models.cluster import Lifecycle
from clusters.postgres import names
from clusters.postgres.promotion_facts import FLAGS

FLAG_LABELS: Final = {
    "possible_data_loss": gettext_lazy("Commits that no reachable standby has may be lost."),
    "unfenced_primary": gettext_lazy("Nobody could make sure that the old primary is stopped; it may still accept writes."),
    "primary_seen_alive": gettext_lazy("Something still hears the old primary."),
    "primary_disk_full": gettext_lazy("The old primary only lacks space on its disk; freed, it would come back and lose nothing."),
    "not_most_advanced": gettext_lazy("Another standby has more WAL than the chosen one."),
    "missing_standby": gettext_lazy("A standby could not be asked how much it has."),
    "relax_sync": gettext_lazy("Fewer standbys are left than commits must wait for: let the new primary go on asynchronously."),
    "replay_delayed": gettext_lazy("The standby replays late, on purpose; what it has received is replayed first, which may take long."),
}
assert set(FLAG_LABELS) == set(FLAGS), "each flag has its sentence"
SWITCHOVER_FLAGS: Final = ("relax_sync", "replay_delayed")
STOP_SECONDS_LIMITS: Final = (5, 3600)


def _reason() -> CheckedField:
    return CheckedField(names.reason, label=gettext_lazy("Reason"), help_text=gettext_lazy("Why, for the audit trail."))


def _flags(chosen: tuple[str, ...]) -> FlagsField:
    return FlagsField(
        {flag: FLAG_LABELS[flag] for flag in chosen},
        label=gettext_lazy("Allow in spite of"),
        required=False,
        help_text=gettext_lazy("Each danger is allowed by its own name only. Leave all empty first: the refusal says which is needed."),
    )


def _at() -> CheckedField:
    return CheckedField(
        moment,
        label=gettext_lazy("Not before"),
        required=False,
        help_text=gettext_lazy("A time with its offset, for example 2026-12-01T03:00+01:00. Empty: now. The plan must be the same then."),
    )


class CandidateRequest(ConfirmedClusterRequest):
    """A request that names the standby that is to be the primary."""

    APART: ClassVar = RequestForm.APART | {"at"}

    reason = _reason()

    def __init__(self, data: Any = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.fields["to"].widget = forms.Select(choices=self._standbys)  # type: ignore[arg-type]  # callables are fine

    def _standbys(self) -> list[tuple[str, str]]:
        name = self.data.get("cluster") or self.initial.get("cluster") or ""
        rows = Instance.objects.filter(cluster__name=name, role=Instance.Role.STANDBY, lifecycle=Lifecycle.READY, quarantined_at=None)
        return [(row, row) for row in rows.order_by("name").values_list("name", flat=True)]

    def _resolve(self) -> None:
        super()._resolve()
        cluster = self.target.cluster
        self.target = Target(cluster, self._instance("to", cluster))

    def confirmation(self) -> str:
        """The cluster's name, although the candidate is what the job acts on: it is the cluster whose users feel it."""
        return self.target.cluster.name if self.target.cluster else ""

    def _check(self) -> None:
        cluster, candidate = self.target.cluster, self.target.instance
        if cluster is None or candidate is None:
            return
        old = cluster.instances.filter(role=Instance.Role.PRIMARY).first()
        if candidate.role == Instance.Role.PRIMARY:
            self.add_error("to", _("%(name)s is the primary already. Name a standby.") % {"name": candidate.name})
        elif candidate.lifecycle != Lifecycle.READY:
            self.add_error("to", _("%(name)s is not ready yet. Wait for the job that makes it.") % {"name": candidate.name})
        elif candidate.quarantined_at is not None:
            self.add_error("to", _("%(name)s is in quarantine. Rejoin it first, or name another standby.") % {"name": candidate.name})
        if old is None:
            self.add_error("cluster", _("This cluster has no declared primary."))
        else:
            self.cleaned_data["old_primary"] = old.name


class SwitchoverRequest(CandidateRequest):
    field_order = ("cluster", "to", "canary", "stop_seconds", "at", "flags")

    to = named(gettext_lazy("New primary"))
    canary = CheckedField(
        yes_no,
        label=gettext_lazy("Measure the write gap"),
        required=False,
        initial="yes",
        help_text=gettext_lazy("A canary writes a row every 5 ms into the panel's own table, as an application would."),
        widget=forms.Select(choices=[("yes", gettext_lazy("yes")), ("no", gettext_lazy("no"))]),
    )
    stop_seconds = CheckedField(
        seconds(*STOP_SECONDS_LIMITS),
        label=gettext_lazy("Longest stop in seconds"),
        required=False,
        help_text=gettext_lazy("If the primary has not stopped by then, it is started again and nobody is promoted. Empty: 30."),
    )
    at = _at()
    flags = _flags(SWITCHOVER_FLAGS)

    def _check(self) -> None:
        super()._check()
        values = self.cleaned_data
        values["canary"] = values.get("canary") is not False
        values["stop_seconds"] = values.get("stop_seconds") or 30


class FailoverRequest(CandidateRequest):
    field_order = ("cluster", "to", "power_off", "flags")

    to = named(
        gettext_lazy("New primary"),
        required=False,
        help_text=gettext_lazy("Empty: the most advanced standby, found once all of them are detached."),
    )
    power_off = named(
        gettext_lazy("Server that is powered off"),
        required=False,
        help_text=gettext_lazy("If you have seen yourself that the old primary's server is off or cut from the network: type its name."),
    )
    flags = _flags(FLAGS)

    def _standbys(self) -> list[tuple[str, str]]:
        return [("", gettext_lazy("the most advanced one")), *super()._standbys()]  # type: ignore[list-item]  # a lazy text is a text

    def _check(self) -> None:
        super()._check()
        cluster, typed = self.target.cluster, self.cleaned_data.get("power_off")
        old = cluster.instances.filter(role=Instance.Role.PRIMARY).select_related("server").first() if cluster else None
        if old is None:
            return
        self.cleaned_data["old_primary"] = old.name
        if typed and typed != old.server.name:
            sentence = _("The old primary's server is %(server)s; what was typed is not its name.") % {"server": old.server.name}
            self.add_error("power_off", sentence)


class PromoteRequest(ConfirmedInstanceRequest):
    """A standby leaves its cluster and becomes the primary of one of its own."""

    field_order = ("cluster", "instance", "new_cluster")

    new_cluster = named(gettext_lazy("Name of the new cluster"))
    reason = _reason()

    def _check(self) -> None:
        super()._check()
        instance = self.target.instance
        if instance is None:
            return
        if instance.role == Instance.Role.PRIMARY:
            self.add_error("instance", _("This is the primary. Only a standby can leave its cluster."))
        if instance.quarantined_at is not None:
            self.add_error("instance", _("This instance is in quarantine. Rejoin it first."))
        followers = instance.downstream_pairs.values_list("standby__name", flat=True)
        if followers:
            self.add_error("instance", _("%(names)s follow this standby. Let them follow another first.") % {"names": ", ".join(followers)})
        if Cluster.objects.filter(name=self.cleaned_data["new_cluster"]).exists():
            self.add_error("new_cluster", _("A cluster of this name exists already. Choose another name."))
