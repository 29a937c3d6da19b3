"""What holds in the lab after every fault, whatever it was: invariants I1 to I6 (safety.md section 2).

    assert_invariants(lab_stage, writers)

It looks at the cluster as the panel does (a verification), at the servers themselves, and at what both have written down.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
from django.db import connection
from psycopg.conninfo import make_conninfo

from clusters.models import Cluster, Instance, KeptCopy, ReplicationPair, SshKey
from clusters.models.cluster import Lifecycle
from tasks.audit import Verified, audit_verify
from tasks.kinds import ACTIVE, KINDS, Status
from tasks.members import members_of
from tasks.models import AuditEntry, Job
from tasks.standing import remarks
from tests.lab.server import LabServer
from tests.lab.stories.stage import BASE, LabStage
from tests.stage import log_of
from tests.waiting import wait_until
from tests.writers import Writers

PROMOTING = ("switchover", "failover", "promote")
#: What a cluster's directory holds besides its instances.
OF_THE_CLUSTER = {".token", ".token.lock", ".units", "quarantine"}
WHERE_LOGS_ARE = ("/var/log", "/var/lib/docker/containers", BASE)


class Knocker:
    """An application that knows one instance only and tries to write to it, again and again. What it accepts is remembered."""

    def __init__(self, stage: LabStage, name: str, cluster: str = "orders") -> None:
        row = Instance.objects.select_related("server", "cluster").get(cluster__name=cluster, name=name)
        self.dsn = make_conninfo(
            host=row.server.address, port=row.port, user="shop", dbname="shop", password=row.cluster.owner_password.reveal(),
            connect_timeout=2, tcp_user_timeout=2000,
        )  # fmt: skip
        self.refused = 0
        self.accepted: list[int] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._knock, daemon=True)

    def __enter__(self) -> Knocker:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._ended.set()
        self._thread.join(30)

    def goes_on(self, times: int = 20) -> None:
        """Wait until it was refused so many times more."""
        before = self.refused
        wait_until(lambda: self.refused >= before + times or self.accepted, f"{times} more tries to write")

    def _knock(self) -> None:
        number = 0
        while not self._ended.is_set():
            number += 1
            try:
                with psycopg.connect(self.dsn, autocommit=True) as session:
                    session.execute("INSERT INTO written (writer, number) VALUES (-1, %s)", (number,))
                self.accepted.append(number)
            except psycopg.Error:
                self.refused += 1
                self._ended.wait(0.01)


def assert_invariants(
    stage: LabStage, writers: Writers | None = None, *, cluster: str = "orders", may_lose: int = 0, knockers: tuple[Knocker, ...] = ()
) -> None:
    """I1 to I6. `may_lose`: so many acknowledged rows a failover has said beforehand that it may lose. Ends the writers."""
    job = stage.done("verify", cluster=cluster)
    if writers is not None:
        lost = writers.lost()
        assert len(lost) <= may_lose, f"I1: {len(lost)} acknowledged rows are gone, {sorted(lost)[:5]} ..."
        _never_two(writers, cluster)
    assert not [knocker.accepted for knocker in knockers if knocker.accepted], "I2: an instance that must not has accepted writes"
    _panel_knows(stage, cluster, job)
    _no_orphans(stage, cluster)
    _decisions_recorded()
    _nothing_secret(stage, cluster)


def _never_two(writers: Writers, cluster: str) -> None:
    """I2. Two that acknowledge at the same time would take turns more often than anybody was promoted."""
    promoted = Job.objects.filter(cluster_name=cluster, kind__in=PROMOTING, status=Status.DONE).count()
    assert len(writers.reigns()) <= 1 + promoted, f"I2: {writers.reigns()} have acknowledged by turns, and {promoted} were promoted"


def _panel_knows(stage: LabStage, cluster: str, job: Job) -> None:
    """I3. Each instance is what the panel shows, or the panel shows that something is wrong with it."""
    row = Cluster.objects.get(name=cluster)
    alarms = {remark.about for remark in remarks(members_of([row])[row.pk])}
    for instance in row.instances.exclude(lifecycle=Lifecycle.PLANNED).select_related("server", "cluster"):  # shown as not made yet
        standby = stage.answer(instance, "SELECT pg_is_in_recovery()")
        really = {None: "none", True: "standby", False: "primary"}[standby]
        shown = instance.observed_role if instance.observed_role in ("primary", "standby") else "none"
        assert really == shown, f"I3: {instance.name} is {really}, and shown as {shown}\n{log_of(job)}"
        assert really == instance.role or instance.name in alarms, f"I3: {instance.name} is {really}, and nothing is said about it"


def _no_orphans(stage: LabStage, cluster: str) -> None:
    """I4. What a killed worker has started may take a moment to end."""
    for row in Instance.objects.filter(cluster__name=cluster):
        owned = set(ReplicationPair.objects.filter(upstream=row).values_list("slot", flat=True))
        assert stage.slots(row.name, cluster) <= owned, f"I4: slots of nobody on {row.name}"
    for server in stage.lab.servers.values():
        if server.is_on():
            left = lambda server=server: not list(_orphans(server))  # noqa: E731
            try:
                wait_until(left, "I4: nothing of nobody", 15)
            except AssertionError:
                raise AssertionError(f"I4: left on {server.name}: {list(_orphans(server))}") from None


def _orphans(server: LabServer) -> Iterator[str]:
    """Containers, directories, half copies and receipts on a server that belong to no instance and no job under way."""
    rows = list(Instance.objects.filter(server__name=server.name).select_related("cluster"))
    named = server.docker("ps", "--all", "--filter", "label=pgreplica-admin", "--format", "{{.Names}}").stdout.split()
    yield from sorted(set(named) - {f"pgr_{row.cluster.name}_{row.name}" for row in rows})
    known = {f"{BASE}/{row.cluster.name}/{row.name}" for row in rows} | {f"{BASE}/.run/{row.port}" for row in rows}
    known |= {f"{BASE}/{cluster}/{name}" for cluster in {row.cluster.name for row in rows} for name in OF_THE_CLUSTER}
    listed = server.run(["find", BASE, "-mindepth", "2", "-maxdepth", "2"], check=False).stdout.split()
    clusters_gone = {path for path in listed if path.rsplit("/", 1)[-1] in OF_THE_CLUSTER}  # the token refuses a late worker for good
    yield from sorted(set(listed) - known - clusters_gone)
    copies = set(KeptCopy.objects.filter(gone_at=None).values_list("path", flat=True))
    for pattern in ("*/.units/*", "*/*/volumes/postgres/data.*", "*/*/initdb", "*/quarantine/*"):
        found = server.run(["sh", "-c", f'for each in "$0"/{pattern}; do [ ! -e "$each" ] || echo "$each"; done', BASE]).stdout.split()
        yield from sorted(set(found) - copies)


def _decisions_recorded() -> None:
    """I5. Each request is opened once and closed once when it is over; the chain holds."""
    assert isinstance(audit_verify(), Verified), "I5: the trail does not hold"
    for job in Job.objects.filter(kind__in=[kind.name for kind in KINDS.values() if kind.mutating]):
        entries = AuditEntry.objects.filter(job_id=job.pk, action=job.kind)
        opened, closed = (entries.filter(phase=phase).count() for phase in ("opened", "closed"))
        asked = 1 + entries.filter(phase="opened", details__resumed=True).count()
        assert opened == asked, f"I5: job {job.pk} was requested {asked} times and opened {opened} times"
        assert closed == opened - (job.status in ACTIVE), f"I5: job {job.pk} ({job.status}) was closed {closed} times of {opened}"


def _nothing_secret(stage: LabStage, cluster: str) -> None:
    """I6. In no log, container, command line, environment or file but those that are for secrets, and in no row of the panel."""
    secrets = _secrets(cluster)
    rows = list(_rows_with(secrets))
    assert rows == [], f"I6: a secret is in {rows}"
    for server in stage.lab.servers.values():
        if server.is_on():
            assert _places_with(server, secrets) == [], f"I6: a secret is on {server.name}"


def _secrets(cluster: str) -> list[str]:
    row = Cluster.objects.get(name=cluster)
    passwords = [row.superuser_password, row.owner_password, row.replication_password, row.panel_password]
    keys = [line for key in SshKey.objects.all() for line in key.private_key.reveal().splitlines() if _only_in_a_private_key(line)]
    return [password.reveal() for password in passwords] + keys


def _only_in_a_private_key(line: str) -> bool:
    return len(line) >= 60 and "-----" not in line and not line.startswith("b3BlbnNzaC1rZXktdjE")  # its first line is every key's


def _rows_with(secrets: list[str]) -> Iterator[str]:
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            words: list[Any] = [f"%{secret}%" for secret in secrets]
            cursor.execute(f'SELECT count(*) FROM "{table}" AS one WHERE one::text LIKE ANY(%s)', [words])
            row = cursor.fetchone()
            if row and row[0]:
                yield table


def _places_with(server: LabServer, secrets: list[str]) -> list[str]:
    """Files of logs, containers and instances that hold a secret; and processes, by their command line or environment."""
    given = "\n".join(secrets).encode()
    options = ["--recursive", "--fixed-strings", "--files-with-matches", "--no-messages", "--file=-"]
    apart = ["--exclude-dir=secrets", "--exclude-dir=data", "--exclude-dir=quarantine"]
    found = server.run(["grep", *options, *apart, *WHERE_LOGS_ARE], check=False, given=given).stdout.split()
    asked = "cat >/tmp/.words; grep -lF -f /tmp/.words /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; rm /tmp/.words"
    return found + server.run(["sh", "-c", asked], check=False, given=given).stdout.split()
