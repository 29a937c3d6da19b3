from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from clusters.selectors import server_list, server_show
from tasks.console.base import actor
from tasks.console.output import pairs, table
from tasks.console.requests import RequestCommand
from tasks.registration import SERVER_FIELDS, server_add

COLUMNS = ("name", "address", "connection", "base_directory", "run_as", "instances", "observed_at")


class Command(RequestCommand):
    help = "Servers: add, list, show, check."

    def verbs(self, parsers: Any) -> None:
        add = self.verb(parsers, "add", "Register a server; ask for its check next.")
        add.add_argument("name")
        add.add_argument("--address", required=True, help="where the other servers and the applications reach it")
        add.add_argument("--base-directory", required=True, help="every file of every cluster on it lies below this directory")
        add.add_argument("--run-as", default="", help="the user that owns the data and runs PostgreSQL")
        self.verb(parsers, "list", "All servers.")
        self.verb(parsers, "show", "One server, with what its last check found.").add_argument("name")
        self.asks(self.verb(parsers, "check", "Look at a server now.")).add_argument("name")

    def verb_add(self, options: dict[str, Any]) -> None:
        server = server_add(actor=actor(), data={field: options[field] for field in SERVER_FIELDS})
        line = _("Server %(name)s is registered. Look at it: ./pgreplica server check %(name)s --wait")
        self.say(options, server_show(server.name), [line % {"name": server.name}])

    def verb_list(self, options: dict[str, Any]) -> None:
        servers = server_list()
        self.say(options, servers, table([dict(server) for server in servers], COLUMNS))

    def verb_show(self, options: dict[str, Any]) -> None:
        server = server_show(options["name"])
        own = {key: value for key, value in server.items() if key != "facts"}
        self.say(options, server, [*pairs(own), *pairs(server["facts"])])

    def verb_check(self, options: dict[str, Any]) -> None:
        self.request(options, "check_server", {"server": options["name"]})
