"""The one table of job kinds and the one table of statuses. Buttons, checks, API, commands, docs and tests all read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.db.models import TextChoices
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class Status(TextChoices):
    """Where a job stands."""

    SCHEDULED = "scheduled", _("scheduled")  # it waits for its time, and does not hold its cluster until then
    QUEUED = "queued", _("queued")  # requested; no worker has it yet
    RUNNING = "running", _("running")  # a worker holds its lease
    ROLLING_BACK = "rolling_back", _("rolling back")  # a step failed or a person cancelled; the steps are being undone
    DONE = "done", _("done")  # every step's goal was seen to hold
    REFUSED = "refused", _("refused")  # an obstacle was found before anything was changed
    FAILED = "failed", _("failed")  # it failed, and what it had done has been undone
    CANCELED = "canceled", _("canceled")  # a person cancelled it, and what it had done has been undone
    NEEDS_OPERATOR = "needs_operator", _("needs an operator")  # it cannot go on or back by itself; the hint says why


#: A job in one of these holds its cluster: no other mutating job may start.
ACTIVE: Final = (Status.QUEUED, Status.RUNNING, Status.ROLLING_BACK, Status.NEEDS_OPERATOR)
#: A worker works on a job in one of these, or should.
RUNNABLE: Final = (Status.QUEUED, Status.RUNNING, Status.ROLLING_BACK)
#: It goes on by itself: a worker works on it, should, or will when its time comes.
UNENDED: Final = (Status.SCHEDULED, *RUNNABLE)
#: A person may resume a job in one of these.
RESUMABLE: Final = (Status.REFUSED, Status.FAILED, Status.CANCELED, Status.NEEDS_OPERATOR)
#: A person may ask to cancel a job in one of these.
CANCELABLE: Final = (Status.SCHEDULED, Status.QUEUED, Status.RUNNING, Status.NEEDS_OPERATOR)


class StepStatus(TextChoices):
    PENDING = "pending", _("pending")
    RUNNING = "running", _("running")
    DONE = "done", _("done")
    FAILED = "failed", _("failed")
    UNDOING = "undoing", _("being undone")
    UNDONE = "undone", _("undone")


@dataclass(frozen=True)
class Kind:
    """One kind of job."""

    name: str  # also the permission: `tasks.run_<name>`
    label: str | Promise
    workflow: str  # dotted path of its `Workflow`
    mutating: bool = True  # takes the cluster for itself
    confirm: bool = False  # the name of the target is typed before it runs
    target: str = "cluster"  # what it acts on: "server", "cluster" or "instance"
    adopted: str = ""  # what it may act on of what the panel has not made: "" nothing, "watched" any, "taken_over" what it manages

    @property
    def permission(self) -> str:
        return f"tasks.run_{self.name}"


KINDS: Final[dict[str, Kind]] = {
    kind.name: kind
    for kind in (
        Kind("check_server", _("test connection"), "tasks.workflows.check_server.WORKFLOW", mutating=False, target="server"),
        Kind("read_host_key", _("read host key"), "tasks.workflows.read_host_key.WORKFLOW", mutating=False, target="server"),
        Kind("discover", _("find PostgreSQL"), "tasks.workflows.discover.WORKFLOW", mutating=False, target="server"),
        Kind("adopt_cluster", _("adopt cluster"), "tasks.workflows.adopt_cluster.WORKFLOW", adopted="watched"),
        Kind("take_over", _("take over"), "tasks.workflows.take_over.WORKFLOW", confirm=True, adopted="watched"),
        Kind("forget_cluster", _("stop watching"), "tasks.workflows.forget_cluster.WORKFLOW", confirm=True, adopted="watched"),
        Kind("create_cluster", _("create cluster"), "tasks.workflows.create_cluster.WORKFLOW"),
        Kind("add_standby", _("add standby"), "tasks.workflows.add_standby.WORKFLOW", target="instance"),
        Kind("verify", _("verify"), "tasks.workflows.verify.WORKFLOW", mutating=False, adopted="watched"),
        Kind("start_instance", _("start instance"), "tasks.workflows.power.START", target="instance"),
        Kind("stop_instance", _("stop instance"), "tasks.workflows.power.STOP", confirm=True, target="instance"),
        Kind("restart_instance", _("restart instance"), "tasks.workflows.power.RESTART", confirm=True, target="instance"),
        Kind("switchover", _("switchover"), "tasks.workflows.switchover.WORKFLOW", confirm=True),
        Kind("failover", _("failover"), "tasks.workflows.failover.WORKFLOW", confirm=True),
        Kind("promote", _("promote"), "tasks.workflows.promote.WORKFLOW", confirm=True, target="instance"),
        Kind("rejoin", _("rejoin"), "tasks.workflows.rejoin.WORKFLOW", confirm=True, target="instance"),
        Kind("set_sync", _("change synchronous replication"), "tasks.workflows.set_sync.WORKFLOW", confirm=True),
        Kind("create_slot", _("create slot"), "tasks.workflows.own_slots.CREATE", target="instance"),
        Kind("drop_slot", _("drop slot"), "tasks.workflows.own_slots.DROP", confirm=True, target="instance", adopted="taken_over"),
        Kind("restore_copy", _("restore kept copy"), "tasks.workflows.kept_copies.RESTORE", confirm=True, target="instance"),
        Kind("purge_copy", _("purge kept copy"), "tasks.workflows.kept_copies.PURGE", confirm=True, target="instance"),
        Kind("remove_standby", _("remove standby"), "tasks.workflows.remove_standby.WORKFLOW", confirm=True, target="instance"),
        Kind("remove_cluster", _("remove cluster"), "tasks.workflows.remove_cluster.WORKFLOW", confirm=True),
    )
}

KIND_CHOICES: Final = [(kind.name, kind.label) for kind in KINDS.values()]
RUN_PERMISSIONS: Final = tuple((f"run_{kind.name}", f"Can run: {kind.name.replace('_', ' ')}") for kind in KINDS.values())
