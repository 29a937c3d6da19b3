"""What people and programs say of a server: where it is, how the panel logs in, which host key it has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from clusters.fingerprints import fingerprint
from clusters.form_base import SentenceForm, ServerRequest, named
from clusters.form_fields import CheckedField, NamedField, as_is, as_text, checked, choice, owner_user, system_user
from clusters.models import Server
from clusters.postgres import names
from clusters.secrets import Secret
from clusters.ssh_keys import MAX_BYTES, KeyPair, key_pair_made, key_pair_read


def ssh_servers() -> list[tuple[str, Any]]:
    rows = Server.objects.filter(connection=Server.Connection.SSH).values_list("name", flat=True)
    return [("", gettext_lazy("none")), *((name, name) for name in rows)]


class HiddenText(NamedField):
    """A secret of several lines or one, of which a page never gets anything back. Its clean value is a `Secret` or None."""

    def read(self, value: Any) -> Secret | None:
        text = as_text(value or "", self.name)
        return Secret(text) if text else None

    def prepare_value(self, value: Any) -> Any:
        return ""


def key_field() -> HiddenText:
    return HiddenText(
        label=gettext_lazy("Private key"),
        required=False,
        widget=forms.Textarea(attrs={"autocomplete": "off", "spellcheck": "false", "maxlength": MAX_BYTES}),
        help_text=gettext_lazy(
            "Empty: the panel makes a pair for this server alone. Else a private key as OpenSSH writes it; it is never shown again."
        ),
    )


def passphrase_field() -> HiddenText:
    return HiddenText(
        label=gettext_lazy("Passphrase"),
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy("Of the pasted key, where it has one. Used once and not kept."),
    )


class KeyedForm(SentenceForm):
    """A form with which a key pair is given, or left to the panel."""

    #: Never among what is stored, shown or audited.
    SECRETS: ClassVar = ("private_key", "passphrase")

    pasted: KeyPair | None = None

    def _read_key(self, name: str) -> None:
        values = self.cleaned_data
        given, passphrase = values.pop("private_key", None), values.pop("passphrase", None)
        if given is None and passphrase is None:
            return
        try:
            self.pasted = checked(key_pair_read, given.reveal() if given else "", passphrase, name)
        except ValidationError as error:
            self.add_error("passphrase" if passphrase or "passphrase" in str(error) else "private_key", error)


class ServerForm(KeyedForm):
    """A server to register, or the changes to one."""

    name = named(gettext_lazy("Name"))
    address = CheckedField(
        names.host_address,
        label=gettext_lazy("Address"),
        help_text=gettext_lazy("IP address or host name at which the other servers and the applications reach this server."),
    )
    connection = CheckedField(
        choice(Server.Connection.values),
        label=gettext_lazy("Connection"),
        required=False,
        initial=Server.Connection.LOCAL,
        widget=forms.Select(choices=Server.Connection.choices),
        help_text=gettext_lazy("How the panel reaches it."),
    )
    runtime = CheckedField(
        choice(Server.Runtime.values),
        label=gettext_lazy("Runtime"),
        required=False,
        initial=Server.Runtime.PROCESS,
        widget=forms.Select(choices=Server.Runtime.choices),
        help_text=gettext_lazy("How PostgreSQL runs there."),
    )
    base_directory = CheckedField(
        names.base_directory,
        label=gettext_lazy("Base directory"),
        help_text=gettext_lazy("Every file of every cluster on this server lies below this directory."),
    )
    run_as = CheckedField(
        owner_user,
        label=gettext_lazy("System user"),
        required=False,
        help_text=gettext_lazy("The user that owns the data and runs PostgreSQL. Empty: the user the panel connects as."),
    )
    ssh_user = CheckedField(
        system_user,
        label=gettext_lazy("SSH user"),
        required=False,
        help_text=gettext_lazy("The user the panel logs in as: root, the system user, or one that sudo lets become it."),
    )
    ssh_host = CheckedField(
        names.host_address,
        label=gettext_lazy("SSH host"),
        required=False,
        help_text=gettext_lazy("Where the panel reaches its SSH server. Empty: the address."),
    )
    ssh_port = CheckedField(names.port, label=gettext_lazy("SSH port"), required=False, help_text=gettext_lazy("Empty: 22."))
    jump = named(
        gettext_lazy("Jump server"),
        required=False,
        widget=forms.Select(choices=ssh_servers),  # type: ignore[arg-type]  # callables are fine
        help_text=gettext_lazy("A registered server through which this one is reached."),
    )
    private_key = key_field()
    passphrase = passphrase_field()

    #: Of a connection by SSH alone.
    SSH: ClassVar = ("ssh_user", "ssh_host", "ssh_port", "jump")
    jump_row: Server | None = None

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        values["connection"] = values.get("connection") or Server.Connection.LOCAL
        values["runtime"] = values.get("runtime") or Server.Runtime.PROCESS
        self._read_key(str(values.get("name", "")))
        if values["connection"] == Server.Connection.SSH:
            self._clean_ssh(values)
        else:
            self._refuse_ssh(values)
        return values

    def _clean_ssh(self, values: dict[str, Any]) -> None:
        if not values.get("ssh_user") and "ssh_user" not in self.errors:
            self.add_error("ssh_user", _("ssh_user: this is missing. Say as which user the panel logs in."))
        jump = values.get("jump")
        if jump:
            self.jump_row = Server.objects.filter(name=jump, connection=Server.Connection.SSH).first()
            if self.jump_row is None or jump == values.get("name"):
                self.add_error("jump", _("jump: give the name of another registered server that is reached over SSH."))
            elif values.get("name") in _jumps_of(self.jump_row):
                self.add_error("jump", _("jump: that server is itself reached through this one. Choose another."))

    def _refuse_ssh(self, values: Mapping[str, Any]) -> None:
        given = [field for field in self.SSH if values.get(field) and not (field == "ssh_port" and values[field] == 22)]
        for field in (*given, *(("private_key",) if self.pasted else ())):
            self.add_error(field, _("%(field)s: this is for a server that is reached over SSH. Leave it empty.") % {"field": field})


def _jumps_of(server: Server) -> list[str]:
    """The names of the servers through which it is reached."""
    found: list[str] = []
    while server.jump and server.jump.name not in found:
        server = server.jump
        found.append(server.name)
    return found


class OfServerForm(SentenceForm):
    """A form about a server that is there."""

    def __init__(self, data: Mapping[str, Any] | None = None, *, server: Server | None = None, **options: Any) -> None:
        super().__init__(data, **options)
        self.server = server or Server()  # none where the form only describes itself


class SshKeyForm(OfServerForm, KeyedForm):
    """A new key pair in the place of the one the panel has."""

    private_key = key_field()
    passphrase = passphrase_field()

    def clean(self) -> dict[str, Any]:
        self._read_key(self.server.name)
        return self.cleaned_data

    def pair(self) -> KeyPair:
        return self.pasted or key_pair_made(self.server.name)


class HostKeyForm(OfServerForm):
    """The word of a person that the host key which the server offered is the server's own."""

    fingerprint = CheckedField(
        as_is,
        label=gettext_lazy("Fingerprint"),
        help_text=gettext_lazy("As it was read on the server itself: SHA256:…"),
    )
    reason = CheckedField(names.reason, label=gettext_lazy("Reason"), required=False)
    confirm = CheckedField(
        as_is,
        label=gettext_lazy("Confirmation"),
        required=False,
        help_text=gettext_lazy("Type the name of the server."),
        widget=forms.TextInput,
    )

    @property
    def is_change(self) -> bool:
        """Another key is pinned: then a reason and a typed confirmation are asked for."""
        return bool(self.server.ssh_host_key) and self.server.ssh_host_key != self.server.ssh_host_key_offered

    def clean(self) -> dict[str, Any]:
        values, offered = self.cleaned_data, self.server.ssh_host_key_offered
        if not offered:
            self.add_error(None, _("No host key has been read from this server yet. Read it first."))
        elif values.get("fingerprint") not in (None, fingerprint(offered)):
            self.add_error(
                "fingerprint",
                _("fingerprint: the server offered another key: %(offered)s. If that is not what the server itself says, do not trust it.")
                % {"offered": fingerprint(offered)},
            )
        if self.is_change and not self.errors:
            if not values.get("reason"):
                self.add_error("reason", _("reason: say why the server has another host key now. It goes into the audit trail."))
            if values.get("confirm") != self.server.name:
                self.add_error("confirm", _("Type %(name)s to confirm: this was not it.") % {"name": self.server.name})
        return values


class SshServerRequest(ServerRequest):
    """A request that is about a login by SSH."""

    def _check(self) -> None:
        if self.target.server and self.target.server.connection != Server.Connection.SSH:
            self.add_error("server", _("This server is not reached over SSH: it has no host key to read."))
