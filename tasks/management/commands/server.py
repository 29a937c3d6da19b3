from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from clusters.selectors import ServerShow, server_get, server_list, server_show
from tasks.console.adoption import DiscoveryVerbs
from tasks.console.base import actor
from tasks.console.output import pairs, table
from tasks.refusals import RequestRefused
from tasks.registration import SERVER_FIELDS, SSH_FIELDS, host_key_confirm, server_add, ssh_key_change

COLUMNS = ("name", "address", "connection", "base_directory", "run_as", "instances", "observed_at")
SEE_HOST_KEY = "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub"


class Command(DiscoveryVerbs):
    help = "Servers: add, list, show, check, discover, found; for those reached over SSH also read-host-key, confirm-host-key, new-key."

    def verbs(self, parsers: Any) -> None:
        self._add_verb(parsers)
        self.verb(parsers, "list", "All servers.")
        self.verb(parsers, "show", "One server, with what its last check found.").add_argument("name")
        self.asks(self.verb(parsers, "check", "Test the connection, and look at the server.")).add_argument("name")
        self.discovery_verbs(parsers)
        self.asks(self.verb(parsers, "read-host-key", "Read the host key that its SSH shows, without logging in.")).add_argument("name")
        confirm = self.verb(parsers, "confirm-host-key", "Say that the host key that was read is the server's own.")
        confirm.add_argument("name")
        confirm.add_argument("fingerprint", help=f"SHA256:..., as the server itself says: {SEE_HOST_KEY}")
        confirm.add_argument("--reason", default="", help="why it has another host key than the pinned one")
        confirm.add_argument("--confirm", default="", help="the server's name, where another host key is pinned")
        new_key = self.verb(parsers, "new-key", "Another key pair for the panel's login there.")
        new_key.add_argument("name")
        self._key_options(new_key)

    def _add_verb(self, parsers: Any) -> None:
        add = self.verb(parsers, "add", "Register a server; ask for its check next.")
        add.add_argument("name")
        add.add_argument("--address", required=True, help="where the other servers and the applications reach it")
        add.add_argument("--base-directory", required=True, help="every file of every cluster on it lies below this directory")
        add.add_argument("--run-as", default="", help="the user that owns the data and runs PostgreSQL")
        add.add_argument("--connection", default="", help="local or ssh; ssh where --ssh-user is given")
        add.add_argument("--runtime", default="", help="process (PostgreSQL binaries) or docker")
        add.add_argument("--ssh-user", default="", help="reach it over SSH, as this user")
        add.add_argument("--ssh-host", default="", help="where its SSH server is, if not at the address")
        add.add_argument("--ssh-port", default="", help="22 unless given")
        add.add_argument("--jump", default="", help="a registered server through which it is reached")
        self._key_options(add)

    def _key_options(self, parser: Any) -> None:
        parser.add_argument("--private-key-file", help="a private key for its login; - reads it from standard input. Else one is made")
        parser.add_argument("--passphrase-file", help="the passphrase of that key; used once and not kept")

    def verb_add(self, options: dict[str, Any]) -> None:
        given = {field: options.get(field) or "" for field in (*SERVER_FIELDS, *SSH_FIELDS)}
        given["connection"] = options["connection"] or ("ssh" if options["ssh_user"] else "local")
        server = server_add(actor=actor(), data={**given, **self._key(options)})
        shown = server_show(server.name)
        if shown["ssh"]:
            self.say(options, shown, self._next_steps(shown))
        else:
            line = _("Server %(name)s is registered. Look at it: ./pgreplica server check %(name)s --wait")
            self.say(options, shown, [line % {"name": server.name}])

    def _next_steps(self, server: ServerShow) -> list[str]:
        ssh, name = server["ssh"], {"name": server["name"]}
        assert ssh
        return [
            _("Server %(name)s is registered. Three steps are left:") % name,
            _("1. On the server, add this line to ~%(user)s/.ssh/authorized_keys:") % {"user": ssh["user"]},
            f"   {ssh['authorized_keys']}",
            _("2. Read its host key, and compare it with what the server itself says:"),
            f"   ./pgreplica server read-host-key {server['name']} --wait",
            f"   {SEE_HOST_KEY}",
            f"   ./pgreplica server confirm-host-key {server['name']} SHA256:...",
            _("3. Test the connection: ./pgreplica server check %(name)s --wait") % name,
        ]

    def _key(self, options: dict[str, Any]) -> dict[str, str]:
        files = {"private_key": options["private_key_file"], "passphrase": options["passphrase_file"]}
        return {field: self._content(field, path) for field, path in files.items() if path}

    def _content(self, field: str, path: str) -> str:
        try:
            text = sys.stdin.read() if path == "-" else Path(path).read_text()
        except (OSError, UnicodeDecodeError) as error:
            sentence = _("%(path)s cannot be read: %(said)s") % {"path": path, "said": getattr(error, "strerror", None) or error}
            raise RequestRefused({field: [sentence]}) from error
        return text.rstrip("\n") if field == "passphrase" else text

    def verb_list(self, options: dict[str, Any]) -> None:
        servers = server_list()
        self.say(options, servers, table([dict(server) for server in servers], COLUMNS))

    def verb_show(self, options: dict[str, Any]) -> None:
        server = server_show(options["name"])
        own = {key: value for key, value in server.items() if key not in ("facts", "ssh", "findings")}
        ssh = {f"ssh_{key}": value for key, value in (server["ssh"] or {}).items()}
        findings = [f"{finding['sentence']} {finding['cure']}" for finding in server["findings"]]
        self.say(options, server, [*pairs(own), *pairs(ssh), *pairs(server["facts"]), *findings])

    def verb_check(self, options: dict[str, Any]) -> None:
        self.request(options, "check_server", {"server": options["name"]})

    def verb_read_host_key(self, options: dict[str, Any]) -> None:
        self.request(options, "read_host_key", {"server": options["name"]})

    def verb_confirm_host_key(self, options: dict[str, Any]) -> None:
        asked = {field: options[field] for field in ("fingerprint", "reason", "confirm")}
        server = host_key_confirm(actor=actor(), server=server_get(options["name"]), data=asked)
        line = _("The host key of %(name)s is pinned. Test the connection: ./pgreplica server check %(name)s --wait")
        self.say(options, server_show(server.name), [line % {"name": server.name}])

    def verb_new_key(self, options: dict[str, Any]) -> None:
        server = server_get(options["name"])
        ssh_key_change(actor=actor(), server=server, data=self._key(options))
        shown = server_show(server.name)
        assert shown["ssh"]
        line = _("The panel logs in to %(name)s with another key now. On the server, add this line to ~%(user)s/.ssh/authorized_keys:")
        self.say(options, shown, [line % {"name": server.name, "user": shown["ssh"]["user"]}, f"   {shown['ssh']['authorized_keys']}"])
