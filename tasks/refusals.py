"""How a request for a job can be turned down. Each carries the sentence that page, API and command show."""

from __future__ import annotations

from collections.abc import Mapping

from django.db import IntegrityError
from django.utils.translation import gettext as _

from clusters.models import Cluster
from tasks.actor import Actor
from tasks.kinds import ACTIVE
from tasks.models import Job

GENERAL = "__all__"
ONE_ACTIVE = "job_one_active_mutating_per_cluster"  # the constraint that makes a cluster held


class Refusal(Exception):
    """A request was turned down; nothing was changed."""

    sentence: str

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class RequestRefused(Refusal):
    """The request is not valid, or the job's state does not allow it. `errors`: field -> sentences, "__all__" for no single field."""

    def __init__(self, errors: Mapping[str, list[str]]) -> None:
        self.errors = {field: [str(sentence) for sentence in sentences] for field, sentences in errors.items()}
        super().__init__(" ".join(sentence for sentences in self.errors.values() for sentence in sentences))


class Forbidden(Refusal):
    """The actor lacks the permission."""

    def __init__(self, permission: str) -> None:
        self.permission = permission
        sentence = _("You may not do this: it needs the permission %(permission)s. Ask an administrator.")
        super().__init__(sentence % {"permission": permission})


class Busy(Refusal):
    """Another job holds the cluster. `job` is that job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        values = {
            "cluster": job.cluster_name,
            "number": job.pk,
            "kind": job.get_kind_display(),
            "status": job.get_status_display(),
            "who": job.requested_by_name,
        }
        sentence = _("Job #%(number)s (%(kind)s, %(status)s, requested by %(who)s) holds cluster %(cluster)s. Wait for it, or cancel it.")
        super().__init__(sentence % values)


def refuse(sentence: str, field: str = GENERAL) -> RequestRefused:
    return RequestRefused({field: [sentence]})


def allow(actor: Actor, permission: str) -> None:
    """Raises: Forbidden."""
    if not actor.can(permission):
        raise Forbidden(permission)


def holder_of(cluster: Cluster | None) -> Job | None:
    """The job that holds the cluster, if any."""
    return Job.objects.filter(cluster=cluster, mutating=True, status__in=ACTIVE).first() if cluster else None


def constraint_of(error: IntegrityError) -> str:
    """The name of the violated constraint, "" where PostgreSQL gave none."""
    return getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) or ""
