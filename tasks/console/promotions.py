"""The verbs of `cluster` that change which instance is the primary."""

from __future__ import annotations

from typing import Any

from clusters.postgres.promotion_facts import FLAGS
from clusters.promotion_forms import SWITCHOVER_FLAGS
from tasks.console.requests import RequestCommand


class PromotionVerbs(RequestCommand):
    def promotion_verbs(self, parsers: Any) -> None:
        switchover = self.asks(
            self.verb(parsers, "switchover", "Let a standby and the primary change places; nothing is lost."), confirm=True
        )
        switchover.add_argument("name", help="the cluster")
        switchover.add_argument("--to", required=True, metavar="INSTANCE", help="the standby that is to be the primary")
        switchover.add_argument("--no-canary", action="store_true", help="do not measure the write gap with a canary writer")
        switchover.add_argument("--stop-seconds", help="longest stop of the primary; past it nobody is promoted (30)")
        switchover.add_argument("--at", help="not before this time, with its offset: 2026-12-01T03:00+01:00")
        self._flag(switchover, SWITCHOVER_FLAGS)
        failover = self.asks(self.verb(parsers, "failover", "Let a standby take over from a primary that is gone."), confirm=True)
        failover.add_argument("name", help="the cluster")
        failover.add_argument("--to", metavar="INSTANCE", help="else the most advanced standby")
        failover.add_argument("--power-off", metavar="SERVER", help="you have seen that this server, the old primary's, is off")
        self._flag(failover, FLAGS)
        promote = self.asks(self.verb(parsers, "promote", "Let a standby leave and become a cluster of its own."), confirm=True)
        promote.add_argument("name", help="the cluster")
        promote.add_argument("instance")
        promote.add_argument("--new-cluster", required=True, metavar="NAME", help="name of the cluster it becomes")

    def _flag(self, parser: Any, flags: tuple[str, ...]) -> None:
        parser.add_argument(
            "--flag",
            dest="flags",
            action="append",
            default=[],
            choices=flags,
            help="allow in spite of this danger; may be given several times",
        )

    def verb_switchover(self, options: dict[str, Any]) -> None:
        data = {field: options[field] for field in ("to", "stop_seconds", "at", "flags")}
        data |= {"cluster": options["name"], "canary": "no" if options["no_canary"] else "yes"}
        self.request(options, "switchover", data, target=options["name"])

    def verb_failover(self, options: dict[str, Any]) -> None:
        data = {field: options[field] for field in ("to", "power_off", "flags")}
        self.request(options, "failover", data | {"cluster": options["name"]}, target=options["name"])

    def verb_promote(self, options: dict[str, Any]) -> None:
        data = {"cluster": options["name"], "instance": options["instance"], "new_cluster": options["new_cluster"]}
        self.request(options, "promote", data, target=options["instance"])
