"""The pages on which a server is registered, changed, and trusted: the only ones that change rows without a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.translation import gettext as _

from clusters.models import Server
from clusters.server_forms import HostKeyForm, ServerForm, SshKeyForm
from clusters.ssh_shown import ssh_shown
from tasks.actor import Actor, actor_of
from tasks.refusals import Refusal, RequestRefused
from tasks.registration import host_key_confirm, server_add, server_change, server_values, ssh_key_change
from tasks.services import job_request
from tasks.views.frame import Crumb, page, render
from tasks.views.requests import METHODS
from tasks.views.servers import see_host_key, server_or_404

#: The parts of the form: (heading, fields).
PARTS: Final = ("", "ssh", "key")
OF_SSH: Final = ("ssh_user", "ssh_host", "ssh_port", "jump")
OF_KEY: Final = ("private_key", "passphrase")


@page("clusters.add_server", METHODS)
def server_register_page(request: HttpRequest) -> HttpResponseBase:
    given = _given(request, ServerForm)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        try:
            server = server_add(actor=_actor(request), data=given)
        except RequestRefused as refused:
            errors = refused.errors
        else:
            messages.success(request, _("Server %(name)s is registered.") % {"name": server.name})
            _read_host_key(request, server)
            return redirect("server-page", server.name)
    # Whoever registers a second server on a page has it elsewhere.
    elsewhere = Server.objects.filter(connection=Server.Connection.LOCAL).exists()
    form = ServerForm(initial={"connection": Server.Connection.SSH if elsewhere else Server.Connection.LOCAL} | given)
    return _form_page(request, _("Register server"), form, errors, _servers_crumbs(), button=_("Register"), icon="add")


@page("clusters.change_server", METHODS)
def server_change_page(request: HttpRequest, name: str) -> HttpResponseBase:
    server = server_or_404(name)
    given, errors = _given(request, ServerForm), {}
    if request.method == "POST":
        try:
            server_change(actor=_actor(request), server=server, data={name: given[name] for name in given if name not in OF_KEY})
        except RequestRefused as refused:
            errors = dict(refused.errors)
            server = server_or_404(name)
        else:
            messages.success(request, _("The server was changed."))
            return redirect("server-page", server.name)
    form = ServerForm(initial=server_values(server) | given)
    for field in ("name", *OF_KEY):
        del form.fields[field]
    title = _("Change server %(name)s") % {"name": server.name}
    return _form_page(request, title, form, errors, _crumbs(server), button=_("Change"), icon="edit", server=server)


@page("clusters.change_server", METHODS)
def ssh_key_page(request: HttpRequest, name: str) -> HttpResponseBase:
    server = _over_ssh(name)
    errors: Mapping[str, list[str]] = {}
    if request.method == "POST":
        try:
            ssh_key_change(actor=_actor(request), server=server, data=_given(request, SshKeyForm))
        except RequestRefused as refused:
            errors = refused.errors
        else:
            messages.success(request, _("The panel has another key. Add its line on the server."))
            return redirect("server-page", server.name)
    title = _("New SSH key for %(name)s") % {"name": server.name}
    warning = _("The panel cannot log in until the new key's line is on the server. The old key is forgotten at once.")
    form = SshKeyForm(server=server)
    return _form_page(request, title, form, errors, _crumbs(server), button=_("Change the key"), icon="key", server=server, warning=warning)


@page("clusters.change_server", METHODS)
def host_key_page(request: HttpRequest, name: str) -> HttpResponseBase:
    server = _over_ssh(name)
    given, errors = _given(request, HostKeyForm), {}
    if request.method == "POST":
        try:
            host_key_confirm(actor=_actor(request), server=server, data=given)
        except RequestRefused as refused:
            errors = dict(refused.errors)
            server = _over_ssh(name)
        else:
            messages.success(request, _("The host key is pinned."))
            return redirect("server-page", server.name)
    form = HostKeyForm(initial=given, server=server)
    ssh = ssh_shown(server)
    return render(
        request,
        "clusters/server_host_key.html",
        title=_("Host key of %(name)s") % {"name": server.name},
        crumbs=_crumbs(server),
        server=server,
        ssh=ssh,
        see_host_key=see_host_key(ssh["host_key_type"]),
        is_change=form.is_change,
        is_pinned=bool(server.ssh_host_key) and not form.is_change,
        fields=[_shown(form, field, errors, server.name) for field in form.fields if field != "fingerprint"],
        errors=errors,
        general=_general(form, errors) + list(errors.get("fingerprint", [])),
        back_url=reverse("server-page", args=[server.name]),
    )


def _over_ssh(name: str) -> Server:
    server = server_or_404(name)
    if server.connection != Server.Connection.SSH:
        raise Http404(_("This server is not reached over SSH."))
    return server


def _read_host_key(request: HttpRequest, server: Server) -> None:
    """The next step, taken at once: nothing is logged in to by it. Where it cannot be, the page has a button for it."""
    if server.connection == Server.Connection.SSH and request.user.has_perm("tasks.run_read_host_key"):
        try:
            job = job_request(kind="read_host_key", actor=_actor(request), data={"server": server.name})
        except Refusal as refusal:
            messages.warning(request, refusal.sentence)
        else:
            messages.info(request, _("Job #%(number)s reads its host key.") % {"number": job.pk})


def _actor(request: HttpRequest) -> Actor:
    if not request.user.is_authenticated:
        raise PermissionDenied
    return actor_of(request.user, "web")


def _given(request: HttpRequest, form: type[forms.Form]) -> dict[str, Any]:
    if request.method != "POST":
        return {}
    return {name: request.POST[name] for name in form.base_fields if name in request.POST}


def _servers_crumbs() -> list[Crumb]:
    return [(_("Fleet"), reverse("admin:index")), (_("Servers"), reverse("admin:clusters_server_changelist"))]


def _crumbs(server: Server) -> list[Crumb]:
    return [*_servers_crumbs(), (server.name, reverse("server-page", args=[server.name]))]


def _form_page(
    request: HttpRequest,
    title: str,
    form: forms.Form,
    errors: Mapping[str, list[str]],
    crumbs: list[Crumb],
    *,
    button: str,
    icon: str,
    server: Server | None = None,
    warning: str = "",
) -> HttpResponseBase:
    place: Callable[[str], str] = lambda name: "ssh" if name in OF_SSH else "key" if name in OF_KEY else ""  # noqa: E731
    return render(
        request,
        "clusters/server_form.html",
        title=title,
        crumbs=crumbs,
        parts=[(part, [_shown(form, name, errors) for name in form.fields if place(name) == part]) for part in PARTS],
        errors=errors,
        general=_general(form, errors),
        button=button,
        icon_name=icon,
        warning=warning,
        back_url=reverse("server-page", args=[server.name]) if server else reverse("admin:clusters_server_changelist"),
    )


def _shown(form: forms.Form, name: str, errors: Mapping[str, list[str]], confirm: str = "") -> dict[str, Any]:
    """A field as `tasks/field.html` takes it."""
    bound = form[name]
    return {
        "name": name,
        "flags": None,
        "field": bound,
        "errors": errors.get(name, []),
        "long": isinstance(bound.field.widget, forms.Textarea),
        "confirm": confirm if name == "confirm" else "",
    }


def _general(form: forms.Form, errors: Mapping[str, list[str]]) -> list[str]:
    return [sentence for name, sentences in errors.items() if name not in form.fields for sentence in sentences]
