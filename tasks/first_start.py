"""The first start: this machine becomes a server, and the demo cluster is requested. Ordinary requests, ordinary jobs.

The demo is a chain of three jobs (look at the server, create the cluster, add the standby), and each is requested when the
one before is done, because only then is it known what it asks for. Each has an idempotency key, so it is requested once for
good: a restart goes on where the chain stands, and a demo that was removed stays removed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import transaction

from clusters.models import Server
from clusters.services import server_register
from tasks.actor import actor_system
from tasks.kinds import ACTIVE, Status
from tasks.models import Job
from tasks.services import job_request

SERVER: Final = "local"
CLUSTER: Final = "demo"
ACTOR: Final = actor_system("first start", "first start")


@dataclass(frozen=True)
class Link:
    """One job of the chain."""

    kind: str
    data: Mapping[str, Any]
    ports: int = 0  # how many it takes of the ports that were found free

    @property
    def key(self) -> str:
        return f"first-start-{self.kind}"


CHAIN: Final = (
    Link("check_server", {"server": SERVER}),
    Link("create_cluster", {"name": CLUSTER, "server": SERVER, "database": CLUSTER, "owner_role": CLUSTER}, ports=1),
    Link("add_standby", {"cluster": CLUSTER, "server": SERVER}, ports=1),
)


def machine_register(*, base_directory: str, run_as: str, demo: bool) -> None:
    """Register this machine as the first server and have it looked at. Where there is a server already, nothing is done.

    Without `demo` its look has no key of the chain, so that the chain never begins.
    """
    if Server.objects.exists():
        return
    with transaction.atomic():
        server_register(name=SERVER, address="127.0.0.1", base_directory=base_directory, run_as=run_as)
        first = CHAIN[0]
        job_request(kind=first.kind, actor=ACTOR, data=first.data, idempotency_key=first.key if demo else None)


def demo_pending() -> bool:
    """Whether the chain has begun and something of it is still to come."""
    return _job(CHAIN[0]) is not None and _next() is not None


def demo_advance(ports: Sequence[int]) -> bool:
    """Request the next job of the chain if it is its turn. Returns whether something is still to come.

    Raises: the refusals of `tasks.services.job_request`; then the chain ends here.
    """
    position = _next()
    if position is None:
        return False
    link = CHAIN[position]
    if _job(link) is None:
        taken = sum(earlier.ports for earlier in CHAIN[:position])
        port = {"port": ports[taken]} if link.ports else {}
        job_request(kind=link.kind, actor=ACTOR, data={**link.data, **port}, idempotency_key=link.key)
    return position < len(CHAIN) - 1


def _next() -> int | None:
    """Where the chain stands: the position of the job that is not there yet, or is not done; None at its end or where it broke."""
    for position, link in enumerate(CHAIN):
        job = _job(link)
        if job is None:
            return position
        if job.status != Status.DONE:
            last = position == len(CHAIN) - 1
            return position if job.status in ACTIVE and not last else None
    return None


def _job(link: Link) -> Job | None:
    return Job.objects.filter(idempotency_key=link.key).first()
