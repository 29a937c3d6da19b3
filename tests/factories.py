"""Rows for tests, made by hand: one factory per model, with the cast of the house (cluster `orders` on `alpha` and `beta`).

`cluster_with_standbys` makes what a job would have left behind, so that a page can be tested without running one.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import factory
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission, User
from django.utils import timezone
from factory.django import DjangoModelFactory

from clusters.models import Cluster, Instance, ReplicationPair, Server, Verification
from clusters.postgres.layout import Layout
from clusters.secrets import Secret
from tasks.kinds import KINDS, Status, StepStatus
from tasks.models import Alert, AlertChannel, ApiToken, AuditEntry, Job, JobEvent, JobStep, Silence

GIB = 1024**3
SERVER_FACTS = {
    "system": "Linux",
    "machine": "x86_64",
    "libc": "glibc 2.36",
    "cpus": 8,
    "memory_bytes": 32 * GIB,
    "hostname": "alpha",
    "postgres": [
        {"major": 17, "version": "17.6", "bindir": "/usr/lib/postgresql/17/bin"},
        {"major": 18, "version": "18.1", "bindir": "/usr/lib/postgresql/18/bin"},
    ],
    "disks": [{"path": "/srv/pgreplica", "total_bytes": 400 * GIB, "free_bytes": 310 * GIB}],
}


class UserFactory(DjangoModelFactory):
    """A user who may sign in. `permissions=["tasks.view_job", ...]` are given one by one, as the groups would."""

    class Meta:
        model = get_user_model()
        skip_postgeneration_save = True

    username = factory.Sequence(lambda n: f"user{n}")
    is_staff = True

    @factory.post_generation
    def permissions(self: User, create: bool, extracted: list[str] | None, **kwargs: Any) -> None:
        for name in extracted or []:
            app_label, codename = name.split(".")
            self.user_permissions.add(Permission.objects.get(content_type__app_label=app_label, codename=codename))


class ServerFactory(DjangoModelFactory):
    class Meta:
        model = Server

    name = factory.Sequence(lambda n: f"server-{n:04d}")
    address = "192.0.2.10"
    base_directory = "/srv/pgreplica"
    run_as = "postgres"
    facts = factory.LazyFunction(lambda: dict(SERVER_FACTS))
    observed_at = factory.LazyFunction(timezone.now)


class ClusterFactory(DjangoModelFactory):
    class Meta:
        model = Cluster

    name = factory.Sequence(lambda n: f"cluster-{n:04d}")
    postgres_major = 18
    database = "orders"
    owner_role = "orders"
    superuser_password = factory.LazyFunction(Secret.generate)
    owner_password = factory.LazyFunction(Secret.generate)
    replication_password = factory.LazyFunction(Secret.generate)
    panel_password = factory.LazyFunction(Secret.generate)
    client_networks = ["192.0.2.0/24"]
    settings = {"shared_buffers": "512MB"}
    lifecycle = "ready"
    system_identifier = "7431889999000111222"


class InstanceFactory(DjangoModelFactory):
    class Meta:
        model = Instance

    cluster = factory.SubFactory(ClusterFactory)
    server = factory.SubFactory(ServerFactory)
    name = factory.Sequence(lambda n: f"node-{n:04d}")
    port = factory.Sequence(lambda n: 5433 + n % 50_000)
    bindir = "/usr/lib/postgresql/18/bin"
    role = "primary"
    lifecycle = "ready"
    observed_role = factory.SelfAttribute("role")
    observed_at = factory.LazyFunction(timezone.now)


class PairFactory(DjangoModelFactory):
    class Meta:
        model = ReplicationPair

    upstream = factory.SubFactory(InstanceFactory)
    standby = factory.SubFactory(InstanceFactory, role="standby", cluster=factory.SelfAttribute("..upstream.cluster"))
    slot = factory.LazyAttribute(lambda pair: f"pgr_{pair.standby.cluster.name}_{pair.standby.name}".replace("-", "_"))
    state = "streaming"
    sync_state = "async"
    lag_bytes = 0
    lag_seconds = 0.0
    observed_at = factory.LazyFunction(timezone.now)


class VerificationFactory(DjangoModelFactory):
    """`at` (a datetime) backdates it: the column itself always takes the moment of the insert."""

    class Meta:
        model = Verification
        exclude = ("at",)
        skip_postgeneration_save = True

    pair = factory.SubFactory(PairFactory)
    verdict = "ok"
    findings: list[dict[str, Any]] = []
    lag_bytes = 0
    lag_seconds = 0.0

    @factory.post_generation
    def at(self: Verification, create: bool, extracted: dt.datetime | None, **kwargs: Any) -> None:
        if extracted:
            Verification.objects.filter(pk=self.pk).update(created_at=extracted)
            self.created_at = extracted


class JobFactory(DjangoModelFactory):
    class Meta:
        model = Job

    kind = "verify"
    status = Status.DONE
    mutating = factory.LazyAttribute(lambda job: KINDS[job.kind].mutating)
    cluster = factory.SubFactory(ClusterFactory)
    cluster_name = factory.LazyAttribute(lambda job: job.cluster.name if job.cluster else "")
    instance = None
    instance_name = factory.LazyAttribute(lambda job: job.instance.name if job.instance else "")
    requested_by_name = "olga"
    source = "web"
    started_at = factory.LazyFunction(timezone.now)


class StepFactory(DjangoModelFactory):
    class Meta:
        model = JobStep

    job = factory.SubFactory(JobFactory)
    position = factory.Sequence(lambda n: n + 1)
    name = factory.LazyAttribute(lambda step: f"step_{step.position}")
    title = factory.LazyAttribute(lambda step: f"Step {step.position}")
    status = StepStatus.PENDING


class EventFactory(DjangoModelFactory):
    class Meta:
        model = JobEvent

    job = factory.SubFactory(JobFactory)
    seq = factory.Sequence(lambda n: n + 1)
    level = "info"
    text = "a line"
    at = factory.LazyFunction(timezone.now)


class AuditFactory(DjangoModelFactory):
    """An entry with made-up hashes; only `tasks.audit` writes real ones."""

    class Meta:
        model = AuditEntry

    number = factory.Sequence(lambda n: n + 1)
    at = factory.LazyFunction(timezone.now)
    actor = "olga"
    source = "web"
    action = "verify"
    phase = "single"
    previous_hash = factory.LazyAttribute(lambda entry: hashlib.sha256(f"{entry.number - 1}".encode()).hexdigest())
    hash = factory.LazyAttribute(lambda entry: hashlib.sha256(f"{entry.number}".encode()).hexdigest())


class TokenFactory(DjangoModelFactory):
    class Meta:
        model = ApiToken

    user = factory.SubFactory(UserFactory)
    name = factory.Sequence(lambda n: f"token {n}")
    prefix = "pgr_abcdef"
    digest = factory.Sequence(lambda n: hashlib.sha256(f"token {n}".encode()).hexdigest())
    expires_at = factory.LazyFunction(lambda: timezone.now() + dt.timedelta(days=30))


def cluster_with_standbys(name: str, *, standbys: int = 1, **fields: Any) -> Cluster:
    """A ready cluster: primary `<name>-1`, standbys `<name>-2` ... that follow it, each verified "ok" just now."""
    cluster = ClusterFactory(name=name, **fields)
    primary = InstanceFactory(cluster=cluster, name=f"{name}-1")
    for number in range(2, standbys + 2):
        standby = InstanceFactory(cluster=cluster, name=f"{name}-{number}", role="standby")
        VerificationFactory(pair=PairFactory(upstream=primary, standby=standby))
    return cluster


def as_adopted(cluster: Cluster) -> None:
    """The cluster as if somebody else had made it, in containers, and the panel only watched it."""
    data = "/var/lib/postgresql/data"
    layout = Layout(
        way="container", container="db", user="999:999", superuser="postgres", socket="/tmp", port=5432, bindir="", data_directory=data,
        data_source="/srv/data", config_file=f"{data}/postgresql.conf", hba_file=f"{data}/pg_hba.conf", hba_text="local all all trust\n",
        hba_source="/srv/pg_hba.conf", hba_mounted=True, image_id="sha256:aa", compose_directory="/srv", compose_files="/srv/compose.yml",
        application_name="walreceiver", seen_as="192.0.2.9",
    )  # fmt: skip
    cluster.instances.update(layout=layout.as_row(), image="postgres:16", bindir="")
    cluster.adopted_at = timezone.now()
    cluster.save(update_fields=["adopted_at"])


class AlertFactory(DjangoModelFactory):
    """Open, and raised a minute ago."""

    class Meta:
        model = Alert

    condition = "standby_down"
    severity = "warning"
    cluster = factory.SubFactory(ClusterFactory)
    cluster_name = factory.LazyAttribute(lambda alert: alert.cluster.name if alert.cluster else "")
    instance_name = "node2"
    subject = factory.Sequence(lambda n: f"node-{n}")
    sentence = "node2 gives no answer."
    cure = "See whether its server is up, and what its log says; start it if nobody stopped it on purpose."
    began_at = factory.LazyFunction(lambda: timezone.now() - dt.timedelta(minutes=2))
    raised_at = factory.LazyFunction(lambda: timezone.now() - dt.timedelta(minutes=1))
    seen_at = factory.LazyFunction(timezone.now)


class SilenceFactory(DjangoModelFactory):
    """In force for an hour, of everything."""

    class Meta:
        model = Silence

    starts_at = factory.LazyFunction(lambda: timezone.now() - dt.timedelta(minutes=1))
    ends_at = factory.LazyFunction(lambda: timezone.now() + dt.timedelta(hours=1))
    reason = "We exchange a switch."
    made_by = "olga"


class ChannelFactory(DjangoModelFactory):
    class Meta:
        model = AlertChannel

    name = factory.Sequence(lambda n: f"channel-{n}")
    service = "jsons"
    address = Secret("jsons://user:pa55word@hooks.example.com/t0k3n")
