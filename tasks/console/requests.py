"""Verbs that ask for a job: --plan and --runbook show it, --yes confirms it, --wait follows it to its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _

from tasks.console.base import EXIT_OF, Ended, Exit, NounCommand, actor
from tasks.console.output import event_line, plan_lines
from tasks.kinds import KINDS, UNENDED, Status
from tasks.models import Job
from tasks.selectors import events_after
from tasks.services import job_preview, job_request, job_sheet
from tasks.shown import job_outcome

POLL_SECONDS = 0.25
UNTAKEN_SECONDS = 15.0
PAGE = 500


class RequestCommand(NounCommand):
    def asks(self, parser: Any, *, confirm: bool = False) -> Any:
        """The options of a verb that asks for a job."""
        parser.add_argument("--reason", default="", help="why, for the audit trail")
        parser.add_argument("--wait", action="store_true", help="follow the job to its end; the exit code tells how it ended")
        parser.add_argument("--plan", action="store_true", help="show what would be done, and do nothing")
        parser.add_argument("--runbook", action="store_true", help="print the plan as a shell sheet to be done by hand, and do nothing")
        parser.add_argument("--idempotency-key", help="the same key again gives the same job")
        hint = "confirm without asking" if confirm else "accepted for symmetry; nothing is asked here"
        parser.add_argument("--yes", action="store_true", help=hint)
        return parser

    def request(self, options: Mapping[str, Any], kind: str, data: Mapping[str, Any], *, target: str = "") -> None:
        """`target`: the name that confirms, for kinds that want it typed. Options that were not given are left to the form."""
        given = {name: value for name, value in data.items() if value not in (None, "", [], {})}
        if options["plan"] or options["runbook"]:
            show = self._show_plan if options["plan"] else self._print_sheet
            show(options, kind, given | ({"confirm": target} if KINDS[kind].confirm else {}))
            return
        if KINDS[kind].confirm:
            given["confirm"] = target if options["yes"] else self._typed(kind, target)
        key = options["idempotency_key"]
        job = job_request(kind=kind, actor=actor(), data=given, reason=options["reason"], idempotency_key=key)
        self.follow(options, job)

    def follow(self, options: Mapping[str, Any], job: Job, after: int = 0) -> None:
        """Say that the job was requested, or with --wait how it ended."""
        if not options["wait"]:
            line = _("Job #%(number)s (%(kind)s) is %(status)s. Follow it: ./pgreplica job log %(number)s --follow")
            self.say(options, job_outcome(job), [line % job_words(job)])
            return
        job = self.wait(job.pk, after=after, quiet=options["json"])
        self.say(options, job_outcome(job), [job.summary] if job.status == Status.DONE and job.summary else [])
        self.judge(job)

    def judge(self, job: Job) -> None:
        """Raises: Ended, unless the job is done."""
        code = EXIT_OF.get(Status(job.status), Exit.FAILED)
        if code != Exit.DONE:
            raise Ended(code, job.summary or _("Job #%(number)s ended as %(status)s.") % job_words(job), job.hint)

    def wait(self, job_id: int, *, after: int = 0, quiet: bool = False) -> Job:
        """Print the job's events from `after` on until no worker works on it any more."""
        begun, warned = time.monotonic(), False
        while True:
            job = Job.objects.get(pk=job_id)
            after = self.print_events(job_id, after, quiet)
            if job.status not in UNENDED:
                return job
            if job.status == Status.QUEUED and job.started_at is None and not warned and time.monotonic() - begun > UNTAKEN_SECONDS:
                self.stderr.write(_("No worker has taken the job yet. Is the panel running? (./pgreplica up)"))
                warned = True
            time.sleep(POLL_SECONDS)

    def print_events(self, job_id: int, after: int, quiet: bool = False) -> int:
        """The number of the last event there was."""
        while events := events_after(job_id, after, PAGE):
            for event in events:
                if not quiet:
                    self.stdout.write(event_line(event))
            after = events[-1]["seq"]
        return after

    def _show_plan(self, options: Mapping[str, Any], kind: str, data: Mapping[str, Any]) -> None:
        preview = job_preview(kind=kind, actor=actor(), data=data, reason=options["reason"] or "-")
        value = {"kind": kind, "plan": preview.plan, "plan_hash": preview.plan_hash, "params": preview.params}
        self.say(options, value, [*plan_lines(preview.plan), _("Plan %(hash)s. Nothing was done.") % {"hash": preview.plan_hash}])

    def _print_sheet(self, options: Mapping[str, Any], kind: str, data: Mapping[str, Any]) -> None:
        head, sheet = job_sheet(kind=kind, actor=actor(), data=data, reason=options["reason"] or "-")
        self.say(options, {"kind": kind, "plan_hash": head.plan_hash, "runbook": sheet}, sheet.splitlines())

    def _typed(self, kind: str, target: str) -> str:
        if not sys.stdin.isatty():
            raise Ended(Exit.WRONG_USE, _("“%(kind)s” must be confirmed. Add --yes.") % {"kind": KINDS[kind].label})
        return input(_("%(kind)s: type %(name)s to confirm: ") % {"kind": KINDS[kind].label, "name": target})


def job_words(job: Job) -> dict[str, Any]:
    return {"number": job.pk, "kind": job.get_kind_display(), "status": job.get_status_display()}
