"""Read the host key that a server's SSH shows, without logging in: a person compares it before anything is sent there."""

from __future__ import annotations

from clusters import services
from clusters.fingerprints import fingerprint, key_type
from clusters.hosts.ssh_connection import offered_host_key
from clusters.machines import place_of
from tasks.context import Context
from tasks.workflows.step import Step, Workflow


def host_key_read(ctx: Context) -> str:
    """Read the host key without logging in"""
    server = ctx.server
    offered = offered_host_key(place_of(server))
    shown = fingerprint(offered)
    services.host_key_record(server, offered)
    ctx.result(server=server.name, host_key_type=key_type(offered), fingerprint=shown)
    if not server.ssh_host_key:
        return f"The SSH server shows the key {shown} ({key_type(offered)}). Compare it with the server's own, then confirm it on its page."
    if server.ssh_host_key == offered:
        return f"The SSH server shows the pinned key {shown}."
    ctx.warn(f"Pinned is {fingerprint(server.ssh_host_key)}. Nothing is sent to the server until a person has said which one is right.")
    return f"The SSH server shows ANOTHER key than the pinned one: {shown} ({key_type(offered)})."


WORKFLOW = Workflow(steps=(Step(host_key_read),))
