from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.utils.translation import gettext as _

from clusters.schedule_forms import ScheduleForm
from clusters.selectors import ClusterShow, cluster_get, cluster_list, cluster_show, cluster_slots
from tasks.board import ACTS as BOARD_ACTS
from tasks.board import BoardShown, board_show
from tasks.console.adoption import AdoptionVerbs
from tasks.console.base import Ended, Exit, actor
from tasks.console.connect import psql_run, way_to
from tasks.console.copies import CopyVerbs
from tasks.console.output import pairs, plain, table
from tasks.console.promotions import PromotionVerbs
from tasks.scheduling import schedule_change, schedules_shown

INSTANCE_COLUMNS = ("name", "server", "role", "state", "host", "port", "timeline", "upstream", "sync_state", "lag_bytes")
SLOT_COLUMNS = ("instance", "slot", "owner", "type", "active", "wal_status", "retained_bytes", "safe_bytes", "temporary", "observed_at")
SCHEDULE_COLUMNS = ("depth", "enabled", "every_minutes", "day", "at", "tables", "last_run", "next_run")
ACTS = {"start": "start_instance", "stop": "stop_instance", "restart": "restart_instance", "remove-standby": "remove_standby"}


class Command(PromotionVerbs, CopyVerbs, AdoptionVerbs):
    help = (
        "Clusters: list, show, board, create, add-standby, remove-standby, start, stop, restart, switchover, failover, promote, rejoin, "
        "copies, restore-copy, purge-copy, verify, schedule, set-sync, slots, create-slot, drop-slot, remove, adopt, "
        "take-over, forget, dsn, psql."
    )

    def verbs(self, parsers: Any) -> None:
        self.verb(parsers, "list", "All clusters.")
        self.verb(parsers, "show", "One cluster, with its instances.").add_argument("name")
        board = self.verb(parsers, "board", "Which standby could take over, and what is in the way of the others.")
        board.add_argument("name")
        board.add_argument("--act", choices=BOARD_ACTS, default=BOARD_ACTS[0])
        self._create(self.asks(self.verb(parsers, "create", "Create a cluster: its primary.")))
        self._add_standby(self.asks(self.verb(parsers, "add-standby", "Add a standby.")))
        texts = {
            "remove-standby": "Remove a standby; its data goes to quarantine.",
            "start": "Start an instance.",
            "stop": "Stop an instance.",
            "restart": "Restart an instance.",
        }
        for verb, text in texts.items():
            parser = self.asks(self.verb(parsers, verb, text), confirm=verb != "start")
            parser.add_argument("name", help="the cluster")
            parser.add_argument("instance")
        self.promotion_verbs(parsers)
        self.copy_verbs(parsers)
        self.adoption_verbs(parsers)
        self._verify(self.asks(self.verb(parsers, "verify", "Look at every pair now.")))
        self._schedule(self.verb(parsers, "schedule", "When the cluster is verified by itself; with an option, change it."))
        self._sync_and_slots(parsers)
        self.asks(self.verb(parsers, "remove", "Give up a cluster; its data goes to quarantine."), confirm=True).add_argument("name")
        self._connect(self.verb(parsers, "dsn", "Print a connection string.")).add_argument("--with-password", action="store_true")
        self._connect(self.verb(parsers, "psql", "Open psql; what follows -- is for psql.")).takes_rest = True

    def _verify(self, parser: Any) -> None:
        parser.add_argument("name")
        parser.add_argument("--depth", help="standing, deep (else) or content")
        parser.add_argument("--table", action="append", default=[], metavar="SCHEMA.TABLE", help="for content; may be given several times")

    def _schedule(self, parser: Any) -> None:
        parser.add_argument("name")
        for field in ScheduleForm.base_fields:
            many = (
                {"action": "append", "metavar": "SCHEMA.TABLE", "help": "may be given several times"} if field == "content_tables" else {}
            )
            parser.add_argument(f"--{field.replace('_', '-')}", **many)

    def _sync_and_slots(self, parsers: Any) -> None:
        parser = self.asks(self.verb(parsers, "set-sync", "Change whom commits wait for."), confirm=True)
        parser.add_argument("name", help="the cluster")
        parser.add_argument("--mode", required=True, help="async, any or first")
        parser.add_argument("--count", help="how many standbys; else 1")
        self.verb(parsers, "slots", "The replication slots on every instance.").add_argument("name")
        for verb, text in {"create-slot": "Make a physical slot.", "drop-slot": "Drop a slot that nobody uses."}.items():
            parser = self.asks(self.verb(parsers, verb, text), confirm=verb == "drop-slot")
            parser.add_argument("name", help="the cluster")
            parser.add_argument("instance", help="where the slot is")
            parser.add_argument("slot")

    def _create(self, parser: Any) -> None:
        parser.add_argument("name")
        parser.add_argument("--server", required=True)
        parser.add_argument("--database", required=True)
        parser.add_argument("--owner-role", required=True)
        parser.add_argument(
            "--owner-password-file", help="a file whose first line is the owner's password, - for standard input; else made"
        )
        parser.add_argument("--postgres-major", help="14 to 18; else the newest on the server")
        parser.add_argument("--instance", help="name of the primary")
        parser.add_argument("--client-network", action="append", default=[], metavar="CIDR", help="may be given several times")
        parser.add_argument("--setting", action="append", default=[], metavar="NAME=VALUE", help="may be given several times")
        self._place(parser)

    def _add_standby(self, parser: Any) -> None:
        parser.add_argument("name", help="the cluster")
        parser.add_argument("--server", required=True)
        parser.add_argument("--instance", help="name of the standby")
        parser.add_argument("--upstream", help="the instance it follows; else the primary")
        parser.add_argument("--max-rate", help="limit of the copy, for example 50M a second")
        self._place(parser)

    def _place(self, parser: Any) -> None:
        parser.add_argument("--port")
        parser.add_argument("--bindir", help="directory of the PostgreSQL programs, one of those found on the server")
        parser.add_argument("--image", help="image of the container, on a server with Docker; else postgres:VERSION or the upstream's")
        parser.add_argument("--network", help="an existing Docker network; else one of its own")

    def _connect(self, parser: Any) -> Any:
        parser.add_argument("name")
        parser.add_argument("--instance", default="")
        parser.add_argument("--user", default="", help="role; else the owner of the database")
        return parser

    def verb_list(self, options: dict[str, Any]) -> None:
        clusters = cluster_list()
        rows = [dict(cluster) | {"instances": len(cluster["instances"])} for cluster in clusters]
        self.say(options, clusters, table(rows, ("name", "state", "verdict", "guarantee", "primary", "instances")))

    def verb_show(self, options: dict[str, Any]) -> None:
        cluster: ClusterShow = cluster_show(options["name"])
        head = {key: value for key, value in cluster.items() if key != "instances"}
        self.say(options, cluster, [*pairs(head), "", *table([dict(row) for row in cluster["instances"]], INSTANCE_COLUMNS)])

    def verb_board(self, options: dict[str, Any]) -> None:
        """Exit code 0 where at least one standby is eligible, else 3."""
        shown = board_show(options["name"], options["act"])
        self.say(options, shown, board_lines(shown))
        if not any(standby["eligible"] for standby in shown["standbys"]):
            self.end(Exit.REFUSED)

    def verb_create(self, options: dict[str, Any]) -> None:
        fields = ("name", "server", "database", "owner_role", "postgres_major", "instance", "port", "bindir", "image", "network")
        data = {field: options[field] for field in fields}
        more = {"client_networks": options["client_network"], "settings": _settings(options["setting"])}
        self.request(options, "create_cluster", data | more | {"owner_password": _password(options["owner_password_file"])})

    def verb_add_standby(self, options: dict[str, Any]) -> None:
        data = {field: options[field] for field in ("server", "upstream", "port", "bindir", "image", "network", "max_rate")}
        self.request(options, "add_standby", data | {"cluster": options["name"], "name": options["instance"]})

    def verb_remove_standby(self, options: dict[str, Any]) -> None:
        data = {"cluster": options["name"], "instance": options["instance"]}
        self.request(options, ACTS[options["verb"]], data, target=options["instance"])

    verb_start = verb_stop = verb_restart = verb_remove_standby

    def verb_verify(self, options: dict[str, Any]) -> None:
        self.request(options, "verify", {"cluster": options["name"], "depth": options["depth"], "tables": options["table"]})

    def verb_schedule(self, options: dict[str, Any]) -> None:
        cluster = cluster_get(options["name"])
        given = {field: options[field] for field in ScheduleForm.base_fields if options[field] is not None}
        if given:
            schedule_change(actor=actor(), cluster=cluster, data=given)
        shown = schedules_shown([cluster])[cluster.pk]
        self.say(options, shown, table([dict(each) for each in shown], SCHEDULE_COLUMNS))

    def verb_set_sync(self, options: dict[str, Any]) -> None:
        data = {"cluster": options["name"], "mode": options["mode"], "count": options["count"]}
        self.request(options, "set_sync", data, target=options["name"])

    def verb_slots(self, options: dict[str, Any]) -> None:
        slots = cluster_slots(options["name"])
        self.say(options, slots, table([dict(slot) for slot in slots], SLOT_COLUMNS))

    def verb_create_slot(self, options: dict[str, Any]) -> None:
        data = {"cluster": options["name"], "instance": options["instance"], "slot": options["slot"]}
        self.request(options, options["verb"].replace("-", "_"), data, target=options["slot"])

    verb_drop_slot = verb_create_slot

    def verb_remove(self, options: dict[str, Any]) -> None:
        self.request(options, "remove_cluster", {"cluster": options["name"]}, target=options["name"])

    def verb_dsn(self, options: dict[str, Any]) -> None:
        way = way_to(cluster_get(options["name"]), options["instance"], options["user"])
        if options["with_password"]:
            password = way.password()
            way.audit("reveal_password")
            text = way.uri_with(password)
        else:
            text = way.uri
        self.say(options, {"connection_string": text}, [text])

    def verb_psql(self, options: dict[str, Any]) -> None:
        way = way_to(cluster_get(options["name"]), options["instance"], options["user"])
        code = psql_run(way, options["rest"])
        if code:
            self.end(code)


def board_lines(shown: BoardShown) -> Iterator[str]:
    """Each standby with what is in its way, then with what is not known."""
    for standby in shown["standbys"]:
        standing = "could take over" if standby["eligible"] else "cannot take over"
        best = " (the panel would choose it)" if standby["name"] == shown["best"] else ""
        flags = f", only with: {', '.join(standby['flags'])}" if standby["flags"] and standby["eligible"] else ""
        yield plain(f"{standby['name']}: {standing}{flags}{best}; looked at: {standby['observed_at'] or 'never'}")
        for rule in sorted(standby["rules"], key=lambda rule: str(rule["severity"])):  # blocks, flag, warns
            if rule["status"] == "obstacle":
                yield plain(f"  {rule['severity']:6} {rule['name']}: {rule['sentence']} {rule['cure']}")
        unknown = [rule["rule"] for rule in standby["rules"] if rule["status"] == "unknown"]
        if unknown:
            yield f"  not known: {', '.join(unknown)}"


def _settings(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    if any(not sign for _name, sign, _value in pairs):
        raise Ended(Exit.WRONG_USE, _("setting: write it as NAME=VALUE."))
    if len({name for name, _sign, _value in pairs}) < len(pairs):
        raise Ended(Exit.WRONG_USE, _("setting: give each one once."))
    return {name: value for name, _sign, value in pairs}


def _password(path: str | None) -> str | None:
    """The first line of the file; a password is never an argument, where every user of the machine could read it."""
    if path is None:
        return None
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        sentence = _("owner password file: %(path)s cannot be read (%(error)s).") % {"path": path, "error": error}
        raise Ended(Exit.WRONG_USE, sentence) from error
    return text.split("\n", 1)[0] or None
