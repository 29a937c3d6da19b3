"""Shut an older worker out of the servers before the first look: from then on none of its late commands is accepted there."""

from __future__ import annotations

from clusters.hosts.errors import HostError, TokenRefused
from clusters.hosts.machine import Fence
from clusters.machines import ask_again, machine_of
from clusters.selectors import instance_specs
from tasks.journal import Journal, Level
from tasks.models import Job
from tasks.workflows.step import LeaseLost


def servers_claimed(job: Job, journal: Journal) -> None:
    """Store this worker's token on every server of the job's cluster that has a directory of it.

    A server that does not answer is named in the log; each command for it proves the token again.
    Raises: LeaseLost when a server knows a newer worker.
    """
    if job.cluster is None or not job.mutating:
        return
    ask_again()
    for server, spec in {row.server_id: (row.server, spec) for row, spec in instance_specs(job.cluster)}.values():
        try:
            machine = machine_of(server)
            if machine.exists(spec.cluster_directory):
                machine.claim(Fence(spec.token_file, journal.token))
        except TokenRefused as refused:
            raise LeaseLost(refused.what) from refused
        except HostError as error:
            journal.add(Level.WARNING, f"{server.name} could not be told of the new worker yet: {error.what}")
