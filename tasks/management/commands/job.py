from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from tasks.console.base import actor
from tasks.console.output import pairs, table
from tasks.console.requests import RequestCommand, job_words
from tasks.control import job_cancel, job_resume
from tasks.kinds import KINDS, Status
from tasks.models import Job
from tasks.selectors import events_after
from tasks.sheets import job_runbook, job_with_places
from tasks.shown import job_list, job_outcome, job_show

COLUMNS = ("id", "kind", "status", "cluster", "instance", "requested_by", "created_at", "summary")


class Command(RequestCommand):
    help = "Jobs: list, show, log, runbook, cancel, resume."

    def verbs(self, parsers: Any) -> None:
        jobs = self.verb(parsers, "list", "The newest jobs first.")
        jobs.add_argument("--cluster", default="")
        jobs.add_argument("--kind", default="", choices=["", *KINDS], metavar="KIND")
        jobs.add_argument("--status", default="", choices=["", *Status.values], metavar="STATUS")
        jobs.add_argument("--limit", type=int, default=20)
        self.verb(parsers, "show", "One job, with its steps.").add_argument("id", type=int)
        log = self.verb(parsers, "log", "The events of a job.")
        log.add_argument("id", type=int)
        log.add_argument("--follow", action="store_true", help="until the job ends; the exit code tells how it ended")
        log.add_argument("--after", type=int, default=0, help="number of the event to go on after")
        self.verb(parsers, "runbook", "The plan as a shell sheet, to be done by hand.").add_argument("id", type=int)
        cancel = self._acts(self.verb(parsers, "cancel", "Cancel a job: it ends at its next safe moment."))
        cancel.add_argument("--give-up", action="store_true", help="leave everything as it is; needs a reason")
        self._acts(self.verb(parsers, "resume", "Resume a job that has stopped."))

    def _acts(self, parser: Any) -> Any:
        parser.add_argument("id", type=int)
        parser.add_argument("--reason", default="")
        parser.add_argument("--wait", action="store_true", help="follow the job to its end")
        return parser

    def verb_list(self, options: dict[str, Any]) -> None:
        jobs = job_list(cluster=options["cluster"], kind=options["kind"], status=options["status"], limit=options["limit"])
        self.say(options, jobs, table([dict(job) for job in jobs], COLUMNS))

    def verb_show(self, options: dict[str, Any]) -> None:
        job = job_show(options["id"])
        head = {key: value for key, value in job.items() if key not in ("steps", "plan")}
        self.say(options, job, [*pairs(head), "", *table(job["steps"], ("position", "title", "status", "sentence"))])

    def verb_log(self, options: dict[str, Any]) -> None:
        job = Job.objects.get(pk=options["id"])
        if options["follow"]:
            self.judge(self.wait(job.pk, after=options["after"], quiet=False))
        elif options["json"]:
            self.say(options, events_after(job.pk, options["after"], job.last_event + 1), [])
        else:
            self.print_events(job.pk, options["after"])

    def verb_runbook(self, options: dict[str, Any]) -> None:
        head, sheet = job_runbook(job_with_places(options["id"]))
        self.say(options, {"job": head.job, "plan_hash": head.plan_hash, "runbook": sheet}, sheet.splitlines())

    def verb_cancel(self, options: dict[str, Any]) -> None:
        job = Job.objects.get(pk=options["id"])
        after = job.last_event
        job = job_cancel(job=job, actor=actor(), reason=options["reason"], give_up=options["give_up"])
        if options["wait"]:
            job = self.wait(job.pk, after=after, quiet=options["json"])
        asked = _("Job #%(number)s is asked to end; it is %(status)s.") % job_words(job)
        self.say(options, job_outcome(job), [job.summary or asked])

    def verb_resume(self, options: dict[str, Any]) -> None:
        job = Job.objects.get(pk=options["id"])
        after = job.last_event
        self.follow(options, job_resume(job=job, actor=actor(), reason=options["reason"]), after)
