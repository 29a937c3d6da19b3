from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Router, Status

from clusters.forms import REQUEST_FORMS
from clusters.selectors import ServerShow, server_get, server_list, server_show
from clusters.server_forms import HostKeyForm, ServerForm, SshKeyForm
from tasks.api.auth import actor, needs
from tasks.api.bodies import After, Limit, body_of, given
from tasks.api.requests import IdempotencyKey, requested
from tasks.registration import host_key_confirm, server_add, server_change, server_remove, ssh_key_change
from tasks.shown import PAGE_MAX, JobShown

router = Router(tags=["servers"])
NewServer = body_of("NewServer", ServerForm)
ServerChanges = body_of("ServerChanges", ServerForm, without=("name", "private_key", "passphrase"))
CheckServer = body_of("CheckServer", REQUEST_FORMS["check_server"], without=("server",))
ReadHostKey = body_of("ReadHostKey", REQUEST_FORMS["read_host_key"], without=("server",))
ConfirmHostKey = body_of("ConfirmHostKey", HostKeyForm)
NewSshKey = body_of("NewSshKey", SshKeyForm)


@router.get("/servers", auth=needs("clusters.view_server"), response=list[ServerShow])
def servers(request: HttpRequest, after: After = "", limit: Limit = PAGE_MAX) -> Any:
    """The servers by name; `after` the last name of a page gives the next page."""
    return server_list(after, limit)


@router.post("/servers", auth=needs("clusters.add_server"), response={201: ServerShow})
def register(request: HttpRequest, body: NewServer) -> Any:  # type: ignore[valid-type]
    """Register a server. Ask for its check next; over SSH, let its key in and confirm its host key first."""
    server = server_add(actor=actor(request), data=given(body))
    return Status(201, server_show(server.name))


@router.get("/servers/{name}", auth=needs("clusters.view_server"), response=ServerShow)
def server(request: HttpRequest, name: str) -> Any:
    """One server, with what its last check found."""
    return server_show(name)


@router.patch("/servers/{name}", auth=needs("clusters.change_server"), response=ServerShow)
def change(request: HttpRequest, name: str, body: ServerChanges) -> Any:  # type: ignore[valid-type]
    """Change what is given."""
    server_change(actor=actor(request), server=server_get(name), data=given(body))
    return server_show(name)


@router.delete("/servers/{name}", auth=needs("clusters.delete_server"), response={204: None})
def forget(request: HttpRequest, name: str) -> Any:
    """Forget a server on which nothing lives; nothing on the machine is touched."""
    server_remove(actor=actor(request), server=server_get(name))
    return Status(204, None)


@router.post("/servers/{name}/check", auth=needs("tasks.run_check_server"), response={202: JobShown})
def check(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    body: CheckServer,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Test the connection: what machine it is, which programs and engine it has, how full its disks are, what is missing."""
    return requested(request, response, "check_server", body, key, server=server_get(name))


@router.post("/servers/{name}/read-host-key", auth=needs("tasks.run_read_host_key"), response={202: JobShown})
def read_host_key(
    request: HttpRequest,
    response: HttpResponse,
    name: str,
    body: ReadHostKey,  # type: ignore[valid-type]
    key: IdempotencyKey = None,
) -> Any:
    """Read the host key that the server's SSH shows, without logging in."""
    return requested(request, response, "read_host_key", body, key, server=server_get(name))


@router.post("/servers/{name}/host-key", auth=needs("clusters.change_server"), response=ServerShow)
def confirm_host_key(request: HttpRequest, name: str, body: ConfirmHostKey) -> Any:  # type: ignore[valid-type]
    """Pin the offered host key, by its fingerprint. Another one than the pinned one takes a reason, and the server's name as `confirm`."""
    host_key_confirm(actor=actor(request), server=server_get(name), data=given(body))
    return server_show(name)


@router.post("/servers/{name}/ssh-key", auth=needs("clusters.change_server"), response=ServerShow)
def change_ssh_key(request: HttpRequest, name: str, body: NewSshKey) -> Any:  # type: ignore[valid-type]
    """Another key pair, made by the panel or given. The private half never comes back; `ssh.authorized_keys` is the line for the server."""
    ssh_key_change(actor=actor(request), server=server_get(name), data=given(body))
    return server_show(name)
