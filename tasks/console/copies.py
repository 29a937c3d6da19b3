"""The verbs of `cluster` about an instance that returns, and about the data that was kept."""

from __future__ import annotations

from typing import Any

from clusters.copies import copy_owner, kept_copies
from clusters.copy_forms import REJOIN_FLAGS
from clusters.postgres.rejoin_facts import WAYS
from tasks.console.output import table
from tasks.console.requests import RequestCommand

COPY_COLUMNS = ("id", "instance", "server", "origin", "size_bytes", "age_seconds", "timeline", "end_lsn", "job", "path")


class CopyVerbs(RequestCommand):
    def copy_verbs(self, parsers: Any) -> None:
        rejoin = self.asks(self.verb(parsers, "rejoin", "Let an instance that has left its cluster follow again."), confirm=True)
        rejoin.add_argument("name", help="the cluster")
        rejoin.add_argument("instance")
        rejoin.add_argument("--up-to", choices=WAYS, help="how far this may go; the least that is possible is done (rewind)")
        rejoin.add_argument(
            "--flag", dest="flags", action="append", default=[], choices=tuple(REJOIN_FLAGS), help="allow in spite of this danger"
        )
        self.verb(parsers, "copies", "The data directories that were put aside.").add_argument("name", help="the cluster")
        texts = {"restore-copy": "Put a kept copy back into its place.", "purge-copy": "Delete a kept copy for good."}
        for verb, text in texts.items():
            parser = self.asks(self.verb(parsers, verb, text), confirm=True)
            parser.add_argument("name", help="the cluster")
            parser.add_argument("copy", type=int, help="its number; see: cluster copies")

    def verb_rejoin(self, options: dict[str, Any]) -> None:
        data = {"cluster": options["name"], "instance": options["instance"], "up_to": options["up_to"], "flags": options["flags"]}
        self.request(options, "rejoin", data, target=options["instance"])

    def verb_copies(self, options: dict[str, Any]) -> None:
        copies = kept_copies(options["name"])
        lines = [line for copy in copies for line in ("", f"# {copy['id']}", copy["start_by_hand"])]
        self.say(options, copies, [*table([dict(copy) for copy in copies], COPY_COLUMNS), *lines])

    def verb_restore_copy(self, options: dict[str, Any]) -> None:
        owner = copy_owner(options["name"], options["copy"])
        data = {"cluster": options["name"], "instance": owner, "copy": options["copy"]}
        self.request(options, "restore_copy", data, target=owner)

    def verb_purge_copy(self, options: dict[str, Any]) -> None:
        self.request(options, "purge_copy", {"cluster": options["name"], "copy": options["copy"]}, target=options["name"])
