"""Servers come and go by a person's decision, not by a job: permission, validation, row and audit entry in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from django.core.exceptions import ValidationError
from django.db import transaction

from clusters.fingerprints import fingerprint
from clusters.models import Server
from clusters.server_forms import HostKeyForm, ServerForm, SshKeyForm
from clusters.services import host_key_pin, server_forget, server_register, server_update, ssh_key_set
from clusters.ssh_keys import KeyPair, key_pair_made
from tasks.actor import Actor
from tasks.audit import audit_append
from tasks.refusals import GENERAL, RequestRefused, allow

F = TypeVar("F", ServerForm, SshKeyForm, HostKeyForm)

#: What is asked of every server, and what of those reached over SSH.
SERVER_FIELDS = ("name", "address", "base_directory", "run_as", "connection", "runtime")
SSH_FIELDS = ("ssh_user", "ssh_host", "ssh_port", "jump")


def server_add(*, actor: Actor, data: Mapping[str, Any]) -> Server:
    """A new server; the job `check_server` is what looks at it, after `read_host_key` and a person's word where it is reached over SSH.

    Raises: RequestRefused, Forbidden.
    """
    allow(actor, "clusters.add_server")
    form = _valid(ServerForm(data))
    values = _values(form)
    with _refusals(), transaction.atomic():
        server = server_register(**{**values, "jump": form.jump_row})
        if server.connection == Server.Connection.SSH:
            pair = form.pasted or key_pair_made(server.name)
            ssh_key_set(server, pair)
            values |= _key_details(pair, form.pasted)
        _audit(actor, "server_add", server, {field: value for field, value in values.items() if value not in ("", None)})
    return server


def server_change(*, actor: Actor, server: Server, data: Mapping[str, Any]) -> Server:
    """Change what `data` gives; the name stays, and so does the key pair (`ssh_key_change`).

    Raises: RequestRefused, Forbidden.
    """
    allow(actor, "clusters.change_server")
    before = server_values(server)
    form = _valid(ServerForm({**before, **data, "name": server.name}))
    values = _values(form)
    changed = {field: value for field, value in values.items() if value != before[field]}
    rows = {field: form.jump_row if field == "jump" else value for field, value in changed.items()}
    with _refusals(), transaction.atomic():
        server_update(server, **rows)
        if server.connection == Server.Connection.SSH and before["connection"] != server.connection:
            ssh_key_set(server, key_pair_made(server.name))
        _audit(actor, "server_change", server, {field: [before[field], value] for field, value in changed.items()})
    return server


def server_remove(*, actor: Actor, server: Server) -> None:
    """Forget a server on which nothing lives. Nothing on the machine is touched.

    Raises: RequestRefused, Forbidden.
    """
    allow(actor, "clusters.delete_server")
    with _refusals(), transaction.atomic():
        _audit(actor, "server_remove", server, {})
        server_forget(server)


def ssh_key_change(*, actor: Actor, server: Server, data: Mapping[str, Any]) -> str:
    """Another key pair in the place of the present one, made or pasted; its public half. The server must be told of it.

    Raises: RequestRefused, Forbidden.
    """
    allow(actor, "clusters.change_server")
    if server.connection != Server.Connection.SSH:
        raise RequestRefused({GENERAL: [f"{server.name} is not reached over SSH: it has no key."]})
    form = _valid(SshKeyForm(data, server=server))
    pair = form.pair()
    with transaction.atomic():
        ssh_key_set(server, pair)
        _audit(actor, "ssh_key_change", server, _key_details(pair, form.pasted))
    return pair.public


def host_key_confirm(*, actor: Actor, server: Server, data: Mapping[str, Any]) -> Server:
    """Pin the host key that the server offered, on a person's word that its fingerprint is the server's own.

    Raises: RequestRefused, Forbidden.
    """
    allow(actor, "clusters.change_server")
    with transaction.atomic():
        row = Server.objects.select_for_update().get(pk=server.pk)
        form = _valid(HostKeyForm(data, server=row))
        before = fingerprint(row.ssh_host_key)
        if row.ssh_host_key != row.ssh_host_key_offered:
            host_key_pin(row)
            details = {"pinned": fingerprint(row.ssh_host_key), "before": before}
            _audit(actor, "host_key_pin", row, details, form.cleaned_data.get("reason") or "")
    return row


def server_values(server: Server) -> dict[str, Any]:
    """A server's fields as its form has them."""
    values = {field: getattr(server, field) for field in (*SERVER_FIELDS, *SSH_FIELDS)}
    return {**values, "jump": server.jump.name if server.jump else ""}


@contextmanager
def _refusals() -> Iterator[None]:
    """Turns the ValidationError of a service into RequestRefused."""
    try:
        yield
    except ValidationError as error:
        raise RequestRefused(error.message_dict if hasattr(error, "error_dict") else {GENERAL: error.messages}) from error


def _valid(form: F) -> F:
    if not form.is_valid():
        raise RequestRefused(form.messages())
    return form


def _values(form: ServerForm) -> dict[str, Any]:
    values = {field: form.cleaned_data.get(field) or "" for field in (*SERVER_FIELDS, *SSH_FIELDS)}
    return {**values, "ssh_port": values["ssh_port"] or 22}


def _key_details(pair: KeyPair, pasted: KeyPair | None) -> dict[str, str]:
    return {"ssh_key": fingerprint(pair.public), "ssh_key_from": "pasted" if pasted else "made"}


def _audit(actor: Actor, action: str, server: Server, details: Mapping[str, Any], reason: str = "") -> None:
    audit_append(actor=actor.name, source=actor.source, action=action, target=server.name, reason=reason, details=dict(details))
