from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from tasks.audit import Verified, audit_verify
from tasks.console.base import Ended, Exit, NounCommand
from tasks.console.output import table
from tasks.shown import audit_list

COLUMNS = ("number", "at", "actor", "source", "action", "phase", "cluster_name", "target", "job_id", "reason")


class Command(NounCommand):
    help = "The audit trail: list, verify."

    def verbs(self, parsers: Any) -> None:
        entries = self.verb(parsers, "list", "The newest entries first.")
        entries.add_argument("--cluster", default="")
        entries.add_argument("--before", type=int, help="number of the entry to go on from")
        entries.add_argument("--limit", type=int, default=20)
        self.verb(parsers, "verify", "Compute the whole chain again.")

    def verb_list(self, options: dict[str, Any]) -> None:
        entries = audit_list(cluster=options["cluster"], before=options["before"], limit=options["limit"])
        self.say(options, entries, table(entries, COLUMNS))

    def verb_verify(self, options: dict[str, Any]) -> None:
        found = audit_verify()
        if isinstance(found, Verified):
            line = _("%(count)d entries, head %(head)s") % {"count": found.count, "head": found.head}
            self.say(options, {"intact": True, "entries": found.count, "head": found.head}, [line])
            return
        if options["json"]:
            self.say(options, {"intact": False, "first_fault": found.number, "sentence": found.sentence}, [])
        raise Ended(Exit.FAILED, _("The audit trail does not hold from entry %(number)d on.") % {"number": found.number}, found.sentence)
