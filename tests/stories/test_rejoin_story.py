"""An old primary returns: by the least way that is possible, its writes counted before they go, its data kept and readable."""

from __future__ import annotations

import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from clusters.copies import kept_copies
from clusters.models import KeptCopy
from launcher.account import Account
from tasks.models import AuditEntry, Job
from tasks.workflows import rejoin as workflow
from tests.diverge import Split, pair_made, panel, run, split
from tests.rounds import rounds
from tests.stage import Stage, log_of
from tests.waiting import wait_until

#: How often the story of a rewind is told.
REJOINS = rounds(2, 20)
FLAGS = ["last_copy"]


def rejoin(stage: Stage, name: str = "node1", **data: Any) -> Job:
    return stage.run("rejoin", cluster="orders", instance=name, confirm=name, **{"flags": FLAGS, **data})


def done(job: Job) -> Job:
    assert job.status == "done", f"{job.status}: {job.summary} {job.hint}\n{log_of(job)}"
    return job


def follows(made: Split) -> None:
    """The old one streams, and has what the new one has and nothing else."""
    row = made.row(made.old)
    assert (row.role, row.quarantined_at, row.pair.upstream.name, row.pair.state) == ("standby", None, made.new, "streaming")
    assert made.rows(made.old) == made.rows(made.new)
    assert not [text for text in made.rows(made.old) if text.startswith("lost")]
    assert not Path(made.spec(made.old).fenced_file).exists()
    assert sorted(path.name for path in Path(made.spec(made.old).data_directory).parent.iterdir()) == ["data"]
    assert list(made.stage.base.glob("orders/.units/*")) == []


def read_copy(made: Split, copy: KeptCopy) -> list[str]:
    """Start the kept copy by the command that is shown, beside the running cluster, and read it."""
    shown = next(one for one in kept_copies("orders") if one["id"] == copy.pk)
    start, _sign, psql = shown["start_by_hand"].rpartition(" && ")
    run(made.account, "sh", "-c", start)
    psql = psql.replace("dbname=postgres", "dbname=shop")
    options: dict[str, Any] = made.account.popen() if made.account else {}
    password = made.row(made.old).cluster.superuser_password.reveal()
    env = {"PATH": "/usr/bin:/bin", "PGPASSWORD": password, "HOME": "/nonexistent"}
    try:
        argv = ["sh", "-c", f"{psql} -Atc 'SELECT text FROM t ORDER BY text'"]
        read = subprocess.run(argv, env=env, cwd="/", capture_output=True, text=True, check=True, timeout=60, **options).stdout
    finally:
        run(made.account, f"{made.spec(made.old).bindir}/pg_ctl", "stop", "-m", "fast", "-D", f"{copy.path}/data")
    return read.split("\n")[:-1]


def said(job: Job) -> set[str]:
    texts = (item.get("text") or item.get("diff", "") for step in job.plan for item in step["items"])
    return {line for text in texts for line in text.replace("@job", str(job.pk)).splitlines() if line.strip()}


def unsaid(job: Job) -> list[str]:
    """Lines of the log's commands that the plan does not have; what differs each time is left out."""
    lines = {line for event in job.events.filter(level="command") for line in event.text.splitlines() if line.strip()}
    return sorted(line for line in lines - said(job) if not line.startswith(("@@", "+", "-", " ")) and "pgreplica.marker" not in line)


@pytest.fixture
def pair(stage: Stage) -> Stage:
    pair_made(stage)
    return stage


def it_rewinds_an_old_primary_and_keeps_all_that_it_had(pair: Stage, account: Account | None) -> None:
    made = split(pair, account, rows=7)
    before = sorted(["shared", *(f"lost 2.{number}" for number in range(7))])
    job = done(rejoin(pair))
    follows(made)
    lost = job.result["lost_writes"]
    assert (job.result["way"], lost["commits"], lost["xids"]) == ("rewind", 7, made.xids), log_of(job)
    assert [(row["database"], row["relation"]) for row in lost["relations"]] == [("shop", "public.t")]
    assert lost["first_commit"] < lost["last_commit"]
    copy = KeptCopy.objects.get()
    assert (copy.origin, copy.timeline, copy.end_lsn, copy.job_id) == ("diverged", 1, lost["to_lsn"], job.pk)
    assert json.loads(Path(f"{copy.path}/lost-writes.json").read_text())["xids"] == made.xids
    assert read_copy(made, copy) == before
    closed = AuditEntry.objects.get(job_id=job.pk, phase="closed")
    assert closed.details["result"]["lost_writes"]["commits"] == 7
    assert unsaid(job) == []


def it_keeps_a_readable_copy_each_time(pair: Stage, account: Account | None) -> None:
    old, new = "node1", "node2"
    for number in range(REJOINS):
        made = split(pair, account, rows=3, old=old, new=new, after="immediate" if number % 2 else "fast")
        job = done(rejoin(pair, old))
        assert (job.result["way"], job.result["lost_writes"]["xids"]) == ("rewind", made.xids), number
        copy = KeptCopy.objects.get(job_id=job.pk)
        assert len([text for text in read_copy(made, copy) if text.startswith("lost")]) == 3, number
        assert not [text for text in made.rows(old) if text.startswith("lost")], number
        old, new = new, old


def it_follows_directly_where_nothing_has_diverged(pair: Stage, account: Account | None) -> None:
    for stop in ("fast", "immediate"):
        made = split(
            pair, account, rows=0, stop=stop, old="node1" if stop == "fast" else "node2", new="node2" if stop == "fast" else "node1"
        )
        job = done(rejoin(pair, made.old, up_to="direct", flags=[]))
        assert (job.result["way"], job.result["lost_writes"], job.result["kept_copy"]) == ("direct", None, None)
        follows(made)
    assert not KeptCopy.objects.exists()


def it_makes_a_base_backup_and_puts_the_old_data_aside(pair: Stage, account: Account | None) -> None:
    made = split(pair, account, rows=4, meanwhile=without_wal)
    refused = rejoin(pair)
    assert refused.status == "refused", log_of(refused)
    assert {"rewind_target_wal_gone", "way_beyond_limit"} <= {one["name"] for one in refused.result["obstacles"]}
    assert not Path(made.spec("node1").fenced_file).exists()
    job = done(rejoin(pair, up_to="basebackup"))
    follows(made)
    assert job.result["way"] == "basebackup"
    copy = KeptCopy.objects.get()
    assert copy.origin == "replaced"
    assert len(read_copy(made, copy)) == 5
    assert unsaid(job) == []


def without_wal(made: Split) -> None:
    """Fault 39: the old primary wrote so much that its own WAL of the fork is gone."""
    wal_moved_on(made, made.old)


def wal_moved_on(made: Split, name: str) -> None:
    """Enough is written, and little enough is kept, that the WAL of before is gone."""
    spec = made.spec(name)
    run(made.account, "sh", "-c", f"echo 'wal_keep_size = 0' >> {spec.config_file}; echo \"max_wal_size = 32MB\" >> {spec.config_file}")
    made.ctl(name, "reload")
    sql = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
    superuser(made, name, sql)
    for _round in range(4):
        superuser(
            made, name, "CREATE TABLE IF NOT EXISTS pad (x text)", "INSERT INTO pad SELECT repeat('x', 1000) FROM generate_series(1, 20000)"
        )
        superuser(made, name, "SELECT pg_switch_wal()", "CHECKPOINT")


def superuser(made: Split, name: str, *statements: str) -> None:
    spec = made.spec(name)
    where = f"host={spec.socket_directory} port={spec.port} user=postgres dbname=shop passfile={spec.superuser_passfile}"
    words = [word for statement in statements for word in ("-c", statement)]
    run(made.account, f"{spec.bindir}/psql", "-X", where, *words)


def it_refuses_to_be_the_last_copy_without_the_flag(pair: Stage, account: Account | None) -> None:
    made = split(pair, account)
    job = rejoin(pair, flags=[])
    assert (job.status, [one["name"] for one in job.result["obstacles"]]) == ("refused", ["last_copy"])
    assert not Path(made.spec("node1").fenced_file).exists()


def it_refuses_the_newer_branch_and_finds_the_dead_one(pair: Stage, account: Account | None) -> None:
    """Fault 40: two standbys were promoted on their own; both are on timeline 2, and it is not the same one."""
    pair.standby(name="node3")
    made = split(pair, account, rows=0, stop="fast")
    third = made.row("node3")
    with panel(third) as session:
        session.execute("SELECT pg_promote(false)")
        wait_until(lambda: session.execute("SELECT NOT pg_is_in_recovery()").fetchone()[0], "node3 is promoted too")
    with pair.connect(third) as session:
        session.execute("INSERT INTO t VALUES ('lost on the dead branch')")
    made.ctl("node3", "stop", "-m", "fast")
    done(rejoin(pair, up_to="direct", flags=[]))
    job = rejoin(pair, "node3")
    assert job.status in ("refused", "failed"), log_of(job)
    assert "divergence_unknown" in {one["name"] for one in job.result["obstacles"]}, log_of(job)
    job = done(rejoin(pair, "node3", up_to="basebackup"))
    assert job.result["way"] == "basebackup"
    assert made.rows("node3") == made.rows("node2")


def it_stops_an_old_primary_that_runs_again(pair: Stage, account: Account | None) -> None:
    made = split(pair, account, rows=3, after="")
    assert pair.writable() == ["node1", "node2"]
    job = done(rejoin(pair))
    assert (job.result["way"], job.result["lost_writes"]["xids"]) == ("rewind", made.xids)
    assert pair.writable() == ["node2"]
    follows(made)


def it_brings_back_a_standby_whose_wal_is_gone(pair: Stage, account: Account | None) -> None:
    """Fault 39, the other way round: the primary has not got any more what the standby lacks."""
    made = Split(pair, account, old="node2", new="node1")
    made.ctl("node2", "stop", "-m", "fast")
    wal_moved_on(made, "node1")
    pair.done("verify", cluster="orders")
    job = rejoin(pair, "node2")
    assert (job.status, {"direct_wal_gone", "way_beyond_limit"} <= {one["name"] for one in job.result["obstacles"]}) == ("refused", True)
    job = done(rejoin(pair, "node2", up_to="basebackup"))
    assert (job.result["way"], job.result["lost_writes"]) == ("basebackup", None)
    follows(made)


#: How often pg_rewind is killed at a random moment (fault 38).
KILLS = rounds(3, 20)


@pytest.fixture
def killed_rewinds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kills each pg_rewind a random moment after its start; the list has those that were still running then."""
    real, killed, moments = workflow.unit_run, [], random.Random(38)

    def killing(ctx: Any, handle: Any, what: str, command: Any, **options: Any) -> Any:
        if what == workflow.REWIND:
            name = f"job-{ctx.job.pk}-{what}"
            handle.unit_start(name, command)
            time.sleep(moments.uniform(0, 0.15))
            unit = handle.unit(name)
            if unit.state == "running" and unit.pid:
                for process in psutil.Process(unit.pid).children(recursive=True):
                    killed.append(process.pid)
                    process.kill()
        return real(ctx, handle, what, command, **options)

    monkeypatch.setattr(workflow, "unit_run", killing)
    return killed


def it_puts_the_old_data_back_when_pg_rewind_is_killed(pair: Stage, account: Account | None, killed_rewinds: list[int]) -> None:
    made = split(pair, account, rows=3)
    for number in range(KILLS):
        before = len(killed_rewinds)
        job = rejoin(pair, made.old)
        if len(killed_rewinds) == before:  # it was faster this time
            done(job)
            made = split(pair, account, rows=3, old=made.new, new=made.old)
            continue
        assert (job.status, job.result["failed_step"]) == ("failed", "data_rewound"), (number, log_of(job))
        if number % 5 == 0:
            untouched(made, 3)
    assert killed_rewinds


def it_makes_a_base_backup_when_pg_rewind_is_killed(pair: Stage, account: Account | None, killed_rewinds: list[int]) -> None:
    made = split(pair, account, rows=3)
    job = done(rejoin(pair, up_to="basebackup"))
    assert killed_rewinds, log_of(job)
    follows(made)
    assert len([text for text in read_copy(made, KeptCopy.objects.get(gone_at=None)) if text.startswith("lost")]) == 3


def untouched(made: Split, rows: int) -> None:
    """As it was: stopped, fenced, its own data in place and readable; nothing of the job is left."""
    assert not KeptCopy.objects.filter(gone_at=None).exists()
    assert Path(made.spec(made.old).fenced_file).exists()
    assert [*made.stage.base.glob("orders/quarantine/*"), *made.stage.base.glob("orders/.units/*")] == []
    assert [path.name for path in Path(made.spec(made.old).data_directory).parent.iterdir()] == ["data"]
    made.start(made.old)
    assert len([text for text in made.rows(made.old) if text.startswith("lost")]) == rows
    made.ctl(made.old, "stop", "-m", "fast")


def it_restores_a_kept_copy_and_purges_one(pair: Stage, account: Account | None) -> None:
    made = split(pair, account, rows=2)
    done(rejoin(pair))
    copy = KeptCopy.objects.get()
    pair.done("restore_copy", cluster="orders", instance="node1", copy=copy.pk, confirm="node1")
    row = made.row("node1")
    assert row.quarantined_at is not None
    made.start("node1")
    assert len([text for text in made.rows("node1") if text.startswith("lost")]) == 2
    made.ctl("node1", "stop")
    replaced = KeptCopy.objects.get(gone_at=None)
    assert (replaced.origin, KeptCopy.objects.get(pk=copy.pk).gone_how) == ("replaced", "restored")
    assert not Path(copy.path).exists()
    pair.done("purge_copy", cluster="orders", copy=replaced.pk, confirm="orders")
    assert not Path(replaced.path).exists()
    assert not KeptCopy.objects.filter(gone_at=None).exists()
    done(rejoin(pair))
    follows(made)


def it_purges_what_a_removed_cluster_left(pair: Stage) -> None:
    pair.done("remove_cluster", cluster="orders", confirm="orders")
    copies = list(KeptCopy.objects.filter(gone_at=None))
    assert {(copy.instance_name, copy.origin) for copy in copies} == {("node1", "removed"), ("node2", "removed")}
    for copy in copies:
        job = pair.done("purge_copy", cluster="orders", copy=copy.pk, confirm="orders")
        assert (job.cluster, job.cluster_name) == (None, "orders")
    assert list(pair.base.glob("orders/quarantine/*")) == []
