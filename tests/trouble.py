"""States of a real cluster that stand in the way of what is asked of it. Each is a context manager: made on entering, undone on leaving.

The cluster is `orders`: node1 the primary, node2 (on the server beta, which is this machine too) and node3 its standbys.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.db.models import F
from django.utils import timezone

from clusters import services
from clusters.hosts.local import LocalMachine
from clusters.instances import InstanceHandle
from clusters.models import Cluster, Instance, ReplicationPair, Server
from clusters.postgres import files
from clusters.postgres.build import Build
from clusters.postgres.promotion_facts import PromotionFacts, PromotionLimits
from clusters.postgres.spec import InstanceSpec
from clusters.selectors import instance_spec
from launcher.account import Account
from tasks import members
from tests.diverge import run
from tests.ports import free_port
from tests.stage import Stage
from tests.waiting import wait_until

#: 40 MB: more than the sockets between two servers hold, and than a switchover's limit.
MUCH = "CREATE TABLE much AS SELECT repeat('x', 1000) AS pad FROM generate_series(1, 40000)"


@dataclass
class Scene:
    stage: Stage
    account: Account | None
    port: int  # on which something may listen

    def row(self, name: str) -> Instance:
        return Instance.objects.select_related("server", "cluster").get(cluster__name="orders", name=name)

    def spec(self, name: str) -> InstanceSpec:
        return instance_spec(self.row(name))

    def shell(self, script: str) -> str:
        """As the user that owns the data."""
        return run(self.account, "sh", "-c", script)

    def ctl(self, name: str, *words: str) -> None:
        spec = self.spec(name)
        run(self.account, f"{spec.bindir}/pg_ctl", *words, "-D", spec.data_directory, "-w")

    def stop(self, name: str, mode: str = "fast") -> None:
        self.ctl(name, "stop", "-m", mode)

    def start(self, name: str) -> None:
        spec = self.spec(name)
        self.ctl(name, "start", "-l", spec.log_file, "-o", f"-c config_file={spec.config_file}")

    def restart(self, name: str) -> None:
        self.stop(name)
        self.start(name)

    def configure(self, name: str, *lines: str) -> None:
        """Lines at the end of its postgresql.conf, for good. Nobody is told."""
        path = Path(self.spec(name).config_file)
        path.write_text("\n".join([path.read_text(), *lines, ""]))

    def sql(self, name: str, *statements: str) -> Any:
        """As the superuser, each in a transaction of its own; the first value of the last answer."""
        spec, found = self.spec(name), None
        where = {"host": spec.socket_directory, "port": spec.port, "user": "postgres", "dbname": "postgres"}
        with psycopg.connect(**where, password=self.row(name).cluster.superuser_password.reveal(), autocommit=True) as session:  # type: ignore[arg-type]
            for statement in statements:
                cursor = session.execute(statement)  # type: ignore[call-overload]
                found = (cursor.fetchone() or [None])[0] if cursor.description else None
        return found

    def link(self, name: str, application: str) -> psycopg.Connection:
        """A replication connection that is none of the panel's."""
        row = self.row(name)
        return psycopg.connect(
            host="127.0.0.1", port=row.port, user="replicator", password=row.cluster.replication_password.reveal(),
            dbname="replication", replication="true", application_name=application, autocommit=True,
        )  # fmt: skip

    def streams(self, name: str) -> bool:
        return bool(self.sql(name, "SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'"))

    def until_streaming(self) -> None:
        for name in ("node2", "node3"):
            wait_until(lambda name=name: self.streams(name), f"{name} streams", 30)  # type: ignore[misc]

    def receiver(self, name: str) -> psutil.Process:
        pid = int(Path(f"{self.spec(name).data_directory}/postmaster.pid").read_text().split()[0])
        return next(child for child in psutil.Process(pid).children() if "walreceiver" in " ".join(child.cmdline()))


State = Callable[[Scene], AbstractContextManager[Any]]


def scene_made(stage: Stage, account: Account | None) -> Scene:
    server(stage, "beta")
    stage.create()
    stage.done("add_standby", cluster="orders", server="beta", name="node2", port=free_port())
    stage.standby(name="node3")
    return Scene(stage, account, free_port())


def server(stage: Stage, name: str, bindir: str = "") -> Server:
    """This machine under another name."""
    facts = stage.server.facts
    if bindir:
        facts = {"postgres": [{"major": 18, "version": "18.6", "bindir": bindir}]}
    row, _new = Server.objects.get_or_create(
        name=name,
        defaults={"address": "127.0.0.1", "base_directory": stage.server.base_directory, "run_as": stage.server.run_as, "facts": facts},
    )
    Server.objects.filter(pk=row.pk).update(observed_at=timezone.now())
    return row


def both(*states: State) -> State:
    @contextmanager
    def made(scene: Scene) -> Iterator[None]:
        with ExitStack() as stack:
            for state in states:
                stack.enter_context(state(scene))
            yield

    return made


@contextmanager
def well(scene: Scene) -> Iterator[None]:
    """Nothing is in the way, but what is asked makes no sense."""
    yield


# -- servers, processes, files


def stopped(name: str) -> State:
    @contextmanager
    def made(scene: Scene) -> Iterator[None]:
        scene.stop(name)
        yield
        scene.start(name)

    return made


@contextmanager
def read_only_primary(scene: Scene) -> Iterator[None]:
    """Somebody has put a standby.signal into the primary and restarted it."""
    signal = f"{scene.spec('node1').data_directory}/standby.signal"
    scene.stop("node1")
    scene.shell(f"touch {signal}")
    scene.start("node1")
    yield
    scene.stop("node1")
    scene.shell(f"rm {signal}")
    scene.start("node1")


@contextmanager
def conf(scene: Scene, name: str, *lines: str, which: str = "config_file") -> Iterator[None]:
    """Lines put before and after a file of the instance's; the file as it was afterwards. Nobody is told."""
    path = Path(getattr(scene.spec(name), which))
    before = path.read_text()
    path.write_text("\n".join([*lines, before]) if which == "hba_file" else "\n".join([before, *lines, ""]))
    yield
    path.write_text(before)


@contextmanager
def more_than_the_standbys(scene: Scene) -> Iterator[None]:
    """The primary has more connections and a higher wal_level than its standbys, and an archive that takes nothing."""
    waiting = f"{scene.spec('node1').data_directory}/pg_wal/archive_status"
    lines = ("max_connections = 120", "wal_level = logical", "archive_mode = on", "archive_command = '/bin/false'")
    with conf(scene, "node1", *lines):
        scene.restart("node1")
        scene.sql("node1", "SELECT pg_logical_emit_message(true, 'x', 'x')", "SELECT pg_switch_wal()")
        wait_until(lambda: list(Path(waiting).glob("*.ready")), "the first file waits")
        # The archiver never comes past the first one, which it cannot archive.
        scene.shell(f"cd {waiting} && for n in $(seq 10 29); do touch 00000001000000AA000000$n.ready; done")
        paused = "SELECT pg_get_wal_replay_pause_state() = 'paused'"
        wait_until(lambda: scene.sql("node2", paused) and scene.sql("node3", paused), "replay stops, for want of connections")
        yield
        scene.shell(f"rm {waiting}/*.ready")
    scene.restart("node1")
    for name in ("node2", "node3"):  # the record that asks for 120 is in their WAL now
        scene.configure(name, "max_connections = 120")
        scene.restart(name)
    scene.until_streaming()


def backup_of(name: str) -> State:
    """A slow base backup runs."""

    @contextmanager
    def made(scene: Scene) -> Iterator[None]:
        spec, target = scene.spec(name), f"{scene.stage.base}/backup-of-{name}"
        conninfo = f"host=127.0.0.1 port={spec.port} user=replicator passfile={spec.passfile}"
        argv = [f"{spec.bindir}/pg_basebackup", "-d", conninfo, "-D", target, "-X", "none", "-c", "fast", "--max-rate=32k", "-w"]
        options: dict[str, Any] = scene.account.popen() if scene.account else {}
        backup = subprocess.Popen(argv, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
        count = "SELECT count(*) FROM pg_stat_progress_basebackup"
        try:
            wait_until(lambda: scene.sql(name, count), "the backup runs")
            yield
        finally:
            backup.kill()
            backup.wait()
        scene.sql(name, "SELECT pg_terminate_backend(pid) FROM pg_stat_progress_basebackup")
        wait_until(lambda: not scene.sql(name, count), "the backup has ended")
        shutil.rmtree(target, ignore_errors=True)

    return made


@contextmanager
def listening(scene: Scene) -> Iterator[None]:
    """Something else listens on the port."""
    with socket.create_server(("127.0.0.1", scene.port)):
        yield


@contextmanager
def in_the_way(scene: Scene) -> Iterator[None]:
    """Somebody's files lie where the new instances would."""
    there = f"{scene.stage.base}/extra/node1 {scene.stage.base}/orders/node4"
    scene.shell(f"mkdir -p {there} && touch {scene.stage.base}/extra/node1/mine {scene.stage.base}/orders/node4/mine")
    yield
    scene.shell(f"rm -r {there}")


@contextmanager
def without_control_file(scene: Scene) -> Iterator[None]:
    """node3 is stopped, and its control file is gone."""
    path = f"{scene.spec('node3').data_directory}/global/pg_control"
    with stopped("node3")(scene):
        scene.shell(f"mv {path} {path}.away")
        yield
        scene.shell(f"mv {path}.away {path}")


def rejecting(name: str) -> State:
    """Its pg_hba.conf lets nobody replicate."""

    @contextmanager
    def made(scene: Scene) -> Iterator[None]:
        with conf(scene, name, "host replication all 0.0.0.0/0 reject", which="hba_file"):
            scene.sql(name, "SELECT pg_reload_conf()")
            yield
        scene.sql(name, "SELECT pg_reload_conf()")

    return made


@contextmanager
def fenced(scene: Scene) -> Iterator[None]:
    path = scene.spec("node2").fenced_file
    scene.shell(f"echo 'job 7: another act' > {path}")
    yield
    scene.shell(f"rm {path}")


@contextmanager
def later_epoch(scene: Scene) -> Iterator[None]:
    """The servers have heard of a promotion that the panel does not know."""
    paths = [scene.spec(name).epoch_file for name in ("node2", "node3")]
    for path in paths:
        scene.shell(f"echo 99 > {path}")
    yield
    scene.shell(f"rm {' '.join(paths)}")


@contextmanager
def other_programs(scene: Scene) -> Iterator[None]:
    """On the servers gamma and delta the programs that a check has found were exchanged, and removed."""
    directory = f"{scene.stage.base}/programs"
    script = "#!/bin/sh\\necho postgres '(PostgreSQL)' 17.6"
    scene.shell(f'mkdir {directory} && cd {directory} && printf "{script}\\n" > postgres && chmod 755 postgres')
    server(scene.stage, "gamma", directory)
    server(scene.stage, "delta", f"{directory}/gone")
    yield
    Server.objects.filter(name__in=("gamma", "delta")).delete()


# -- connections, slots, settings


def taken_senders(name: str) -> State:
    """Every WAL sender that was left is taken."""

    @contextmanager
    def made(scene: Scene) -> Iterator[None]:
        links: list[psycopg.Connection] = []
        try:
            while link := _link_or_none(scene, name, f"other{len(links)}"):
                links.append(link)
            yield
        finally:
            for link in links:
                link.close()

    return made


def _link_or_none(scene: Scene, name: str, application: str) -> psycopg.Connection | None:
    try:
        return scene.link(name, application)
    except psycopg.OperationalError as error:
        if "max_wal_senders" not in str(error):
            raise
        return None


def second_receiver(name: str) -> State:
    """Somebody else replicates from the primary under this name."""

    @contextmanager
    def made(scene: Scene) -> Iterator[None]:
        with scene.link("node1", name):
            yield

    return made


@contextmanager
def taken_slots(scene: Scene) -> Iterator[None]:
    """No slot is left on the primary; node3 is stopped, and its slot was dropped."""
    filled = "SELECT pg_create_physical_replication_slot('other' || n) FROM generate_series(1, 9) AS n"
    with stopped("node3")(scene):
        scene.sql("node1", "SELECT pg_drop_replication_slot('pgr_orders_node3')", filled)
        yield
        scene.sql(
            "node1",
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ '^other'",
            "SELECT pg_create_physical_replication_slot('pgr_orders_node3', true)",
        )


@contextmanager
def taken_slots_of_the_candidate(scene: Scene) -> Iterator[None]:
    scene.sql("node2", "SELECT pg_create_physical_replication_slot('other' || n) FROM generate_series(1, 8) AS n")
    yield
    scene.sql("node2", "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name ~ '^other'")


def used_slot(slot: str, *, made_here: bool = True) -> State:
    """Another connection streams through the slot on the primary."""

    @contextmanager
    def made(scene: Scene) -> Iterator[None]:
        if made_here:
            scene.sql("node1", f"SELECT pg_create_physical_replication_slot('{slot}', true)")
        link = scene.link("node1", "somebody")
        link.pgconn.send_query(f"START_REPLICATION SLOT {slot} PHYSICAL {scene.sql('node1', 'SELECT pg_current_wal_flush_lsn()')}".encode())
        active = f"SELECT active FROM pg_replication_slots WHERE slot_name = '{slot}'"
        wait_until(lambda: scene.sql("node1", active), "the slot is in use")
        yield
        link.close()
        wait_until(lambda: not scene.sql("node1", active), "the slot is free")
        if made_here:
            scene.sql("node1", f"SELECT pg_drop_replication_slot('{slot}')")

    return made


@contextmanager
def own_slot(scene: Scene) -> Iterator[None]:
    """A slot of somebody's, which nobody uses."""
    scene.sql("node1", "SELECT pg_create_physical_replication_slot('mine', true)")
    yield
    scene.sql("node1", "SELECT pg_drop_replication_slot('mine')")


def altered(name: str) -> State:
    """ALTER SYSTEM outdoes the panel's files."""

    @contextmanager
    def made(scene: Scene) -> Iterator[None]:
        scene.sql(name, "ALTER SYSTEM SET synchronous_standby_names = ''", "SELECT pg_reload_conf()")
        wait_until(lambda: scene.sql(name, "SELECT count(*) FROM pg_settings WHERE sourcefile ~ 'auto.conf'"), "it is heeded")
        yield
        scene.sql(name, "ALTER SYSTEM RESET synchronous_standby_names", "SELECT pg_reload_conf()")

    return made


@contextmanager
def tablespace(scene: Scene) -> Iterator[None]:
    """One in place, since all the instances are on this machine; a standby that starts on it has to know that."""
    scene.configure("node3", "allow_in_place_tablespaces = on")
    scene.sql("node1", "SET allow_in_place_tablespaces = on", "CREATE TABLESPACE fast LOCATION ''")
    yield
    scene.sql("node1", "DROP TABLESPACE fast")


@contextmanager
def no_login(scene: Scene) -> Iterator[None]:
    """The replication role may not log in any more; who has done so stays."""
    scene.sql("node1", "ALTER ROLE replicator NOLOGIN")
    yield
    scene.sql("node1", "ALTER ROLE replicator LOGIN")


# -- replication


@contextmanager
def paused(scene: Scene) -> Iterator[None]:
    scene.sql("node2", "SELECT pg_wal_replay_pause()")
    wait_until(lambda: scene.sql("node2", "SELECT pg_get_wal_replay_pause_state() = 'paused'"), "replay is paused")
    yield
    scene.sql("node2", "SELECT pg_wal_replay_resume()")


def upstream_of(scene: Scene, name: str, upstream: str) -> None:
    """Let a standby follow another instance, or nobody (""), really and in its file."""
    spec = scene.spec(name)
    assert spec.upstream is not None
    source = replace(spec.upstream, name=upstream, port=scene.spec(upstream).port) if upstream else None
    Path(spec.replication_file).write_text(files.render_replication_conf(replace(spec, upstream=source)).content)
    scene.sql(name, "SELECT pg_reload_conf()")


def cut_off(name: str) -> State:
    """Its primary_conninfo was emptied."""

    @contextmanager
    def made(scene: Scene) -> Iterator[None]:
        upstream_of(scene, name, "")
        wait_until(lambda: not scene.sql(name, "SELECT count(*) FROM pg_stat_wal_receiver"), "it receives nothing")
        yield
        upstream_of(scene, name, "node1")
        scene.until_streaming()

    return made


@contextmanager
def cascade(scene: Scene) -> Iterator[None]:
    """node3 follows node2."""
    scene.sql("node2", "SELECT pg_create_physical_replication_slot('pgr_orders_node3', true)")
    upstream_of(scene, "node3", "node2")
    ReplicationPair.objects.filter(standby__name="node3").update(upstream=scene.row("node2"))
    wait_until(lambda: scene.sql("node2", "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"), "node3 follows node2", 30)
    yield
    ReplicationPair.objects.filter(standby__name="node3").update(upstream=scene.row("node1"))
    upstream_of(scene, "node3", "node1")
    gone = "SELECT count(*) = 0 FROM pg_replication_slots WHERE active"
    wait_until(lambda: scene.sql("node2", gone), "node3 has left node2", 30)
    scene.sql("node2", "SELECT pg_drop_replication_slot('pgr_orders_node3')")


@contextmanager
def frozen_and_behind(scene: Scene) -> Iterator[None]:
    """node2's WAL receiver is frozen, and much is written. Of silence one second is enough here (else 35)."""
    receiver = scene.receiver("node2")
    receiver.suspend()
    try:
        scene.sql("node1", MUCH)
        age = "SELECT extract(epoch FROM clock_timestamp() - last_msg_receipt_time) > 1.5 FROM pg_stat_wal_receiver"
        with limits(message_age_seconds=1.0)(scene):
            wait_until(lambda: scene.sql("node2", age), "it has heard nothing for a while")
            yield
    finally:
        receiver.resume()
    scene.until_streaming()


# -- rows of the panel's


@contextmanager
def quarantined(scene: Scene) -> Iterator[None]:
    services.instance_quarantine(scene.row("node2"), "somebody has put it there meanwhile")
    yield
    services.instance_release(scene.row("node2"))


@contextmanager
def other_system(scene: Scene) -> Iterator[None]:
    """The record names another system identifier."""
    known = Cluster.objects.get(name="orders").system_identifier
    Cluster.objects.filter(name="orders").update(system_identifier="7000000000000000001")
    yield
    Cluster.objects.filter(name="orders").update(system_identifier=known)


@contextmanager
def owned_meanwhile(scene: Scene) -> Iterator[None]:
    """The slot `mine` is node3's by now."""
    pairs = ReplicationPair.objects.filter(standby__name="node3")
    pairs.update(slot="mine")
    yield
    pairs.update(slot="pgr_orders_node3")


@contextmanager
def old_look(scene: Scene) -> Iterator[None]:
    """Nobody has looked for an hour."""
    Instance.objects.update(observed_at=F("observed_at") - timedelta(hours=1))
    yield
    Instance.objects.update(observed_at=timezone.now())


@contextmanager
def moved_programs(scene: Scene) -> Iterator[None]:
    """node3 is declared with programs that are not there."""
    known = scene.row("node3").bindir
    Instance.objects.filter(name="node3").update(bindir="/nowhere/bin")
    yield
    Instance.objects.filter(name="node3").update(bindir=known)


# -- faked: one fact, at the edge to the machine


def limits(**values: float) -> State:
    """Other limits than the panel's own: the obstacle is real, only smaller."""

    @contextmanager
    def made(_scene: Scene) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(members, "PromotionFacts", partial(PromotionFacts, limits=replace(PromotionLimits(), **values)))  # type: ignore[arg-type]
            yield

    return made


@contextmanager
def full_disk(_scene: Scene) -> Iterator[None]:
    """Faked: every disk says that 1000 bytes are free."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LocalMachine, "free_bytes", lambda _machine, _path: 1000)
        yield


@contextmanager
def other_machine(scene: Scene) -> Iterator[None]:
    """Faked: the server beta, where node2 is, has another processor, another C library, and an extension less than the databases use."""
    real = InstanceHandle.build
    scene.sql("node1", "CREATE EXTENSION citext")

    def build(handle: InstanceHandle) -> Build:
        found = real(handle)
        if handle.instance.server.name != "beta":
            return found
        assert "citext" in found.extensions
        return replace(found, machine="riscv64", libc="musl", extensions=tuple(name for name in found.extensions if name != "citext"))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InstanceHandle, "build", build)
        yield
    scene.sql("node1", "DROP EXTENSION citext")


@contextmanager
def other_build(_scene: Scene) -> Iterator[None]:
    """Faked: node2 answers that it is of another major version, and that its system sorts text in another way."""
    real = InstanceHandle.observe

    def observed(handle: InstanceHandle, with_size: bool = False) -> Any:
        facts = real(handle, with_size)
        return replace(facts, version_num=170006, collation_mismatches=("shop",)) if handle.spec.name == "node2" else facts

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InstanceHandle, "observe", observed)
        yield
