from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _

from tasks.audit import Verified, audit_verify
from tasks.console.base import Ended, Exit, NounCommand
from tasks.console.output import table
from tasks.shown import audit_list
from tasks.trail import TYPES, aware, entries_of, trail_pages

COLUMNS = ("number", "at", "actor", "source", "action", "phase", "cluster_name", "target", "job_id", "reason")


class Command(NounCommand):
    help = "The audit trail: list, export, verify."

    def verbs(self, parsers: Any) -> None:
        entries = self.verb(parsers, "list", "The newest entries first.")
        entries.add_argument("--cluster", default="")
        entries.add_argument("--before", type=int, help="number of the entry to go on from")
        entries.add_argument("--limit", type=int, default=20)
        export = self.verb(parsers, "export", "Every entry that fits, the oldest first.")
        export.add_argument("--format", default="jsonl", choices=list(TYPES))
        for name in ("cluster", "actor", "action", "phase"):
            export.add_argument(f"--{name}", default="")
        export.add_argument("--since", type=datetime.fromisoformat, metavar="TIME", help="from then on, as 2026-12-01T03:00+01:00")
        export.add_argument("--until", type=datetime.fromisoformat, metavar="TIME", help="before this time")
        self.verb(parsers, "verify", "Compute the whole chain again.")

    def verb_list(self, options: dict[str, Any]) -> None:
        entries = audit_list(cluster=options["cluster"], before=options["before"], limit=options["limit"])
        self.say(options, entries, table(entries, COLUMNS))

    def verb_export(self, options: dict[str, Any]) -> None:
        """Lines for a file: --json changes nothing, the JSON lines are the default."""
        texts = {name: options[name] for name in ("cluster", "actor", "action", "phase")}
        rows = entries_of(**texts, since=aware(options["since"]), until=aware(options["until"]))
        for text in trail_pages(rows, options["format"]):
            self.stdout.write(text, ending="")

    def verb_verify(self, options: dict[str, Any]) -> None:
        found = audit_verify()
        if isinstance(found, Verified):
            line = _("%(count)d entries, head %(head)s") % {"count": found.count, "head": found.head}
            self.say(options, {"intact": True, "entries": found.count, "head": found.head}, [line])
            return
        if options["json"]:
            self.say(options, {"intact": False, "first_fault": found.number, "sentence": found.sentence}, [])
        raise Ended(Exit.FAILED, _("The audit trail does not hold from entry %(number)d on.") % {"number": found.number}, found.sentence)
