"""What every form of a request is made of: refusals as sentences, names that lead to rows, a reason, a typed confirmation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.form_fields import CheckedField, as_is, checked
from clusters.models import Cluster, Instance, Server
from clusters.models.cluster import Lifecycle
from clusters.postgres import names


@dataclass(frozen=True)
class Target:
    """The rows a job acts on."""

    cluster: Cluster | None = None
    instance: Instance | None = None
    server: Server | None = None
    # Whose it was, where the row itself is gone.
    cluster_name: str = ""
    instance_name: str = ""


class SentenceForm(forms.Form):
    """A form whose every refusal is a sentence at its field."""

    def __init__(self, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        for name, field in self.fields.items():
            field.name = name  # type: ignore[attr-defined]  # NamedField

    def messages(self) -> dict[str, list[str]]:
        """The refusals: field -> sentences, in the order of the fields. Those about no single field are at "__all__"."""
        found = self.errors.as_data()
        ordered = [field for field in (*self.fields, *found) if field in found]
        return {field: [str(text) for error in found[field] for text in error.messages] for field in ordered}


class RequestForm(SentenceForm):
    """What every request has: names that lead to rows (`target`, once valid), a reason, and for some kinds a typed confirmation."""

    #: Not parameters of the job: they have places of their own.
    APART: ClassVar = frozenset({"reason", "confirm"})

    #: The field whose value confirms, where that is not the name of a row.
    confirms: ClassVar[str] = ""

    #: What is asked first; the rest follows as declared, reason and confirmation at the end.
    field_order: Sequence[str] = ()

    reason = CheckedField(names.reason, label=gettext_lazy("Reason"), required=False)

    def __init__(self, data: Mapping[str, Any] | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        own = [name for name in self.fields if name not in ("reason", "confirm")]
        self.order_fields([*self.field_order, *own])
        self.target = Target()

    def params(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name not in self.APART}

    def declare(self) -> Target:
        return self.target

    def clean(self) -> dict[str, Any]:
        self._resolve()
        if not self.errors:
            self._check()
        if "confirm" in self.fields and not self.errors:
            self._confirm()
        return self.cleaned_data

    def confirmation(self) -> str:
        """The text a person types to confirm: the name of what is acted on."""
        if self.confirms:
            return str(self.cleaned_data.get(self.confirms, ""))
        row = self.target.instance or self.target.cluster
        return row.name if row else ""

    def _confirm(self) -> None:
        if self.cleaned_data.get("confirm") != self.confirmation():
            self.add_error("confirm", _("Type %(name)s to confirm: this was not it.") % {"name": self.confirmation()})

    def _resolve(self) -> None:
        """Rows for the names of this form."""
        server = self._row("server", Server.objects.all(), _("There is no server of this name. See: server list."))
        cluster = self._row("cluster", Cluster.objects.all(), _("There is no cluster of this name. See: cluster list."))
        self.target = Target(cluster, self._instance("instance", cluster), server)

    def _instance(self, field: str, cluster: Cluster | None) -> Instance | None:
        if cluster is None:
            return None
        rows = cluster.instances.select_related("server")
        found: Instance | None = self._row(field, rows, _("This cluster has no instance of this name. See: cluster show."))
        return found

    def _row(self, field: str, rows: Any, sentence: str) -> Any:
        name = self.cleaned_data.get(field)
        if field not in self.fields or not name:
            return None
        row = rows.filter(name=name).first()
        if row is None:
            self.add_error(field, sentence)
        return row

    def _check(self) -> None:
        """What can be refused from the rows alone."""

    def _try(self, field: str, check: Callable[..., Any], *values: Any) -> Any:
        """The result of a check; its refusal goes to `field`, or to the fields it names itself."""
        try:
            return checked(check, *values)
        except ValidationError as error:
            self.add_error(None if hasattr(error, "error_dict") else field, error)
            return None


def named(label: Any, **options: Any) -> CheckedField:
    return CheckedField(names.object_name, label=label, **options)


def hidden(label: Any) -> CheckedField:
    return named(label, widget=forms.HiddenInput)


def port_field() -> CheckedField:
    return CheckedField(
        names.port, label=gettext_lazy("Port"), required=False, help_text=gettext_lazy("Empty: the lowest free port from 5432 on.")
    )


def bindir_field() -> CheckedField:
    return CheckedField(
        names.directory,
        label=gettext_lazy("PostgreSQL programs"),
        required=False,
        help_text=gettext_lazy("Their directory, one of those found on the server. Empty: the newest of the version."),
    )


def image_field() -> CheckedField:
    return CheckedField(
        names.image,
        label=gettext_lazy("Image"),
        required=False,
        help_text=gettext_lazy("On a server with Docker, by tag or digest. Empty: postgres:VERSION, for a standby that of its upstream."),
    )


def network_field() -> CheckedField:
    return CheckedField(
        names.container_name,
        label=gettext_lazy("Docker network"),
        required=False,
        help_text=gettext_lazy("An existing network of the server's engine. Empty: the instance gets one of its own."),
    )


def servers() -> list[tuple[str, str]]:
    return [(name, name) for name in Server.objects.values_list("name", flat=True)]


def server_field() -> CheckedField:
    return named(gettext_lazy("Server"), widget=forms.Select(choices=servers))  # type: ignore[arg-type]  # callables are fine


class ServerRequest(RequestForm):
    server = server_field()


class ClusterRequest(RequestForm):
    cluster = hidden(gettext_lazy("Cluster"))


class InstanceRequest(ClusterRequest):
    instance = hidden(gettext_lazy("Instance"))

    def _check(self) -> None:
        if self.target.instance and self.target.instance.lifecycle == Lifecycle.PLANNED:
            self.add_error("instance", _("This instance is not made yet. Wait for the job that makes it, or remove the instance."))


def confirm_field() -> CheckedField:
    return CheckedField(
        as_is, label=gettext_lazy("Confirmation"), help_text=gettext_lazy("Type the name of what this acts on."), widget=forms.TextInput
    )


class ConfirmedInstanceRequest(InstanceRequest):
    confirm = confirm_field()


class ConfirmedClusterRequest(ClusterRequest):
    confirm = confirm_field()
