"""What a step function is given: the job, its rows, the log, what the step remembers, and the right to act."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, TypeVar

from clusters.adopted import handle_of
from clusters.hosts.machine import Fence
from clusters.instances import InstanceHandle
from clusters.models import Cluster, Instance, Server
from clusters.secrets import Secret
from tasks.failpoints import failpoint
from tasks.held import Held
from tasks.models import Job, JobEvent, JobStep
from tasks.workflows.step import Canceled

if TYPE_CHECKING:
    from tasks.journal import Journal

TOKEN_FILE = ".token"  # noqa: S105  # a file name
PAUSE_SLICE = 0.2

Level = JobEvent.Level
T = TypeVar("T")


class Context:
    """One step of one job, as its function sees it.

    Every method that logs or remembers raises LeaseLost once another worker may own the job; a step never catches it.
    """

    def __init__(
        self,
        job: Job,
        journal: Journal,
        row: JobStep,
        *,
        cancelable: bool = False,
        undoing: bool = False,
        held: Held | None = None,
    ) -> None:
        self.job = job
        self.journal = journal
        self.row = row
        self.cancelable = cancelable  # false after the point of no return, and while the step is undone
        self.undoing = undoing
        self.held = held or Held()  # what this worker holds open through the steps; gone with the worker

    # -- what the job is about

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.job.params)

    @property
    def cluster(self) -> Cluster:
        return _there(self.job.cluster, "cluster")

    @property
    def instance(self) -> Instance:
        return _there(self.job.instance, "instance")

    @property
    def server(self) -> Server:
        return _there(self.job.server, "server")

    # -- the log

    def say(self, text: str) -> None:
        """One sentence of ours."""
        self.journal.add(Level.INFO, text, self.row.position)

    def warn(self, text: str) -> None:
        self.journal.add(Level.WARNING, text, self.row.position)

    def command(self, text: str) -> None:
        """A command, statement or file that is about to be used, as `Command.display()` gives it."""
        self.journal.add(Level.COMMAND, text, self.row.position)

    def output(self, line: str | bytes) -> None:
        """A line that a machine printed. It is hostile: bounded, masked and made inert before it is stored."""
        self.journal.add(Level.OUTPUT, line, self.row.position)

    def secret(self, secret: Secret) -> None:
        """One more secret that no line may show. Those of the job's cluster are known already."""
        self.journal.mask_also(secret)

    # -- what the step remembers

    @property
    def state(self) -> dict[str, Any]:
        """What earlier calls of `keep` stored, also those of a worker that died."""
        return dict(self.row.state)

    def keep(self, **values: Any) -> None:
        """Remember JSON values across workers. They are stored together with the lines logged before them, in one transaction,

        within some 20 ms; so an offset into a unit's output and the lines up to it never disagree.
        """
        self.row.state = {**self.row.state, **values}
        self.journal.remember(self.row.pk, state=self.row.state)

    def keep_now(self, **values: Any) -> None:
        """As `keep`, and stored when it returns: for what must be known before the next command is given."""
        self.keep(**values)
        self.journal.flush()

    def progress(
        self, done: float, total: float | None = None, unit: str = "", rate: float | None = None, seconds_left: float | None = None
    ) -> None:
        """How far the step is; shown on the page, not in the log."""
        self.row.progress = {"done": done, "total": total, "unit": unit, "rate": rate, "seconds_left": seconds_left}
        self.journal.remember(self.row.pk, progress=self.row.progress)

    def result(self, **values: Any) -> None:
        """Put JSON values into `Job.result`: what scripts read of a finished job."""
        self.job.result = {**self.job.result, **values}
        self.journal.remember_job(result=self.job.result)

    def choose(self, instance: Instance) -> None:
        """The instance that the job acts on from here on, where the request left it open. Stored when it returns."""
        self.job.instance, self.job.instance_name = instance, instance.name
        self.journal.remember_job(instance_id=instance.pk, instance_name=instance.name)
        self.journal.flush()

    # -- the right to act

    def check(self) -> None:
        """Call it before every side effect. Raises: LeaseLost when the lease can no longer be proven."""
        self.journal.check()

    def check_cancel(self) -> None:
        """Call it where being interrupted is safe, such as while waiting. Raises: Canceled (also LeaseLost)."""
        self.journal.check()
        if self.cancelable and self.journal.cancel_requested():
            raise Canceled

    def pause(self, seconds: float) -> None:
        """Wait. Raises as `check_cancel`, soon after the reason arises."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check_cancel()
            time.sleep(min(left, PAUSE_SLICE))
        self.check_cancel()

    def changed(self) -> None:
        """A mutating command has just ended: the fail point `<step>:inside`. Called by whoever runs the commands."""
        failpoint(f"undo.{self.row.name}" if self.undoing else self.row.name, "inside")

    def fence(self, cluster_directory: str) -> Fence:
        """The proof that a server asks for before each mutating command. Raises: LeaseLost."""
        self.check()
        return Fence(f"{cluster_directory}/{TOKEN_FILE}", self.journal.token)

    def state_of(self, step: str) -> dict[str, Any]:
        """What another step of this job remembers."""
        return dict(self.job.steps.get(name=step).state)

    def handle(self, instance: Instance) -> InstanceHandle:
        """The verbs of an instance, which log here and are fenced with this job's token."""
        return handle_of(instance, self)


def _there(row: T | None, what: str) -> T:
    if row is None:
        raise LookupError(f"this job has no {what}")
    return row
