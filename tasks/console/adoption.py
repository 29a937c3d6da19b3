"""The verbs about PostgreSQL that the panel has not made."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from clusters.adoption_report import DiscoveryShow, FoundShow, discovery_get, discovery_show
from tasks.console.output import plain
from tasks.console.requests import RequestCommand


class AdoptionVerbs(RequestCommand):
    """Of the noun `cluster`."""

    def adoption_verbs(self, parsers: Any) -> None:
        adopt = self.asks(self.verb(parsers, "adopt", "Put a cluster that was found under watch; nothing on its servers is changed."))
        adopt.add_argument("name", help="what the panel is to call it")
        adopt.add_argument("--discovery", required=True, help="the number of the job that found it")
        adopt.add_argument("--system-identifier", help="which one, where that job found several")
        adopt.add_argument("--database", help="the application's; else the largest")
        take = self.asks(self.verb(parsers, "take-over", "Let the panel act on an adopted cluster; nothing restarts."), confirm=True)
        take.add_argument("name")
        forget = self.asks(self.verb(parsers, "forget", "Stop watching an adopted cluster; it runs on as it does."), confirm=True)
        forget.add_argument("name")

    def verb_adopt(self, options: dict[str, Any]) -> None:
        data = {field: options[field] for field in ("name", "discovery", "system_identifier", "database")}
        self.request(options, "adopt_cluster", data | {"system_identifier": options["system_identifier"] or _only(options["discovery"])})

    def verb_take_over(self, options: dict[str, Any]) -> None:
        self.request(options, "take_over", {"cluster": options["name"]}, target=options["name"])

    def verb_forget(self, options: dict[str, Any]) -> None:
        self.request(options, "forget_cluster", {"cluster": options["name"]}, target=options["name"])


class DiscoveryVerbs(RequestCommand):
    """Of the noun `server`."""

    def discovery_verbs(self, parsers: Any) -> None:
        discover = self.asks(self.verb(parsers, "discover", "Find PostgreSQL that the panel has not made; nothing is changed."))
        discover.add_argument("names", nargs="*", help="the servers; else all")
        self.verb(parsers, "found", "What a job found, and what is to be said of it.").add_argument("number", type=int)

    def verb_discover(self, options: dict[str, Any]) -> None:
        self.request(options, "discover", {"servers": options["names"]})

    def verb_found(self, options: dict[str, Any]) -> None:
        shown = discovery_show(discovery_get(options["number"]))
        self.say(options, shown, [plain(line) for line in found_lines(shown)])


def _only(discovery: str) -> str:
    """The system identifier where there is but one; else nothing, and the form says what is missing."""
    found = discovery_show(discovery_get(int(discovery)))["clusters"] if discovery.isdecimal() else []
    return found[0]["system_identifier"] if len(found) == 1 else ""


def found_lines(shown: DiscoveryShow) -> Iterator[str]:
    for server, sentences in shown["servers"].items():
        yield from (f"{server}: {sentence}" for sentence in sentences)
    for group in shown["clusters"]:
        managed = f", {group['managed_as']} of this panel" if group["managed_as"] else ""
        yield f"Cluster {group['system_identifier']}{managed}:"
        for row in group["instances"]:
            yield from _instance_lines(row)
    for row in shown["others"]:
        yield f"{row['label']}: {row['own'] or row['error'] or row['state']}"


def _instance_lines(row: FoundShow) -> Iterator[str]:
    follows = f", follows {row['upstream']}" if row["upstream"] else ""
    yield f"  {row['label']}: {row['role']}, PostgreSQL {row['version']}, port {row['port']}{follows}"
    for finding in row["findings"]:
        yield f"    {finding['severity']:6} {finding['name']}: {finding['sentence']} {finding['cure']}"
