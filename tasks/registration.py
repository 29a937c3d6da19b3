"""Servers come and go by a person's decision, not by a job: permission, validation, row and audit entry in one place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from clusters.forms import ServerForm
from clusters.models import Server
from clusters.services import server_forget, server_register, server_update
from tasks.actor import Actor
from tasks.audit import audit_append
from tasks.refusals import GENERAL, RequestRefused, allow

SERVER_FIELDS = ("name", "address", "base_directory", "run_as")


def server_add(*, actor: Actor, data: Mapping[str, Any]) -> Server:
    """A new server; the job `check_server` is what looks at it.

    Raises: RequestRefused, Forbidden.
    """
    allow(actor, "clusters.add_server")
    values = _values(data)
    with _refusals(), transaction.atomic():
        server = server_register(**values)
        _audit(actor, "server_add", server, values)
    return server


def server_change(*, actor: Actor, server: Server, data: Mapping[str, Any]) -> Server:
    """Change what `data` gives; the name stays.

    Raises: RequestRefused, Forbidden.
    """
    allow(actor, "clusters.change_server")
    before = {field: getattr(server, field) for field in SERVER_FIELDS}
    values = _values({**before, **data, "name": server.name})
    changed = {field: value for field, value in values.items() if value != before[field]}
    with _refusals(), transaction.atomic():
        server_update(server, **changed)
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


@contextmanager
def _refusals() -> Iterator[None]:
    """Turns the ValidationError of a service into RequestRefused."""
    try:
        yield
    except ValidationError as error:
        raise RequestRefused(error.message_dict if hasattr(error, "error_dict") else {GENERAL: error.messages}) from error


def _values(data: Mapping[str, Any]) -> dict[str, str]:
    form = ServerForm(data)
    if not form.is_valid():
        raise RequestRefused(form.messages())
    return {field: form.cleaned_data[field] or "" for field in SERVER_FIELDS}


def _audit(actor: Actor, action: str, server: Server, details: Mapping[str, Any]) -> None:
    audit_append(actor=actor.name, source=actor.source, action=action, target=server.name, details=dict(details))
