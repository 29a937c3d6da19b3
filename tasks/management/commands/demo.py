from __future__ import annotations

import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from clusters.models import Cluster
from tasks.actor import actor_system
from tasks.first_start import CLUSTER
from tasks.kinds import ACTIVE, Status
from tasks.models import Job
from tasks.refusals import Refusal
from tasks.services import job_request

PAUSE_SECONDS = 0.3
EXIT_CODES = {Status.REFUSED: 3, Status.NEEDS_OPERATOR: 4}  # as for every command (design, section 7); else 1


class Command(BaseCommand):
    help = "demo remove: stop and remove the demo cluster of the first start."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("verb", choices=["remove"])

    def handle(self, *args: Any, **options: Any) -> None:
        cluster = Cluster.objects.filter(name=CLUSTER).first()
        if cluster is None:
            self.stdout.write("There is no demo cluster; nothing is to be removed.")
            return
        job = self._wait(self._request(cluster))
        if job.status != Status.DONE:
            raise CommandError(f"{job.summary} {job.hint}".strip(), returncode=EXIT_CODES.get(Status(job.status), 1))
        self.stdout.write(job.summary or "The demo cluster is removed.")

    def _request(self, cluster: Cluster) -> Job:
        actor = actor_system("command line", "command")
        try:
            return job_request(kind="remove_cluster", actor=actor, data={"confirm": cluster.name}, reason="demo remove", cluster=cluster)
        except Refusal as refusal:
            raise CommandError(refusal.sentence, returncode=3) from refusal

    def _wait(self, job: Job) -> Job:
        self.stdout.write(f"Job #{job.pk} removes cluster {job.cluster_name}.")
        while job.status in set(ACTIVE) - {Status.NEEDS_OPERATOR}:
            time.sleep(PAUSE_SECONDS)
            job.refresh_from_db()
        return job
