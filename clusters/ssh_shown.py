"""What is shown of a login by SSH: never the private key."""

from __future__ import annotations

from typing_extensions import TypedDict

from clusters.fingerprints import fingerprint, key_type
from clusters.models import Server, SshKey
from clusters.ssh_keys import authorized_line


class SshShow(TypedDict):
    host: str
    port: int
    user: str
    jump: str | None
    host_key: str  # fingerprint of the pinned host key; "" while none is
    host_key_type: str
    host_key_offered: str  # fingerprint of what the server showed last
    authorized_keys: str  # the line that lets the panel in
    key: str  # fingerprint of the panel's key


def ssh_shown(server: Server) -> SshShow:
    public = public_key_of(server)
    return {
        "host": server.ssh_host or server.address,
        "port": server.ssh_port,
        "user": server.ssh_user,
        "jump": server.jump.name if server.jump else None,
        "host_key": fingerprint(server.ssh_host_key),
        "host_key_type": key_type(server.ssh_host_key or server.ssh_host_key_offered),
        "host_key_offered": fingerprint(server.ssh_host_key_offered),
        "authorized_keys": authorized_line(public) if public else "",
        "key": fingerprint(public),
    }


def public_key_of(server: Server) -> str:
    """The public half; the row is read without its private one."""
    row = server.ssh_key if "ssh_key" in server._state.fields_cache else SshKey.objects.defer("private_key").filter(server=server).first()
    return row.public_key if row else ""
