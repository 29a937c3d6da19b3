"""The commands: what they print, for people and for programs, and what their exit codes tell a script."""

from __future__ import annotations

import io
import json
import os
import pwd
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command, execute_from_command_line
from django.db import connection

from clusters.models import Cluster, Instance, Server
from clusters.secrets import Secret
from tasks.console.output import plain
from tasks.kinds import Status
from tasks.models import ApiToken, AuditEntry, Job
from tasks.tokens import token_find
from tests.factories import EventFactory, JobFactory, ServerFactory, StepFactory, UserFactory, cluster_with_standbys
from tests.unit.clusters.postgres import pair as facts

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("stub_workflows")]


class Run:
    """One command: its exit code and what it wrote."""

    def __init__(self, *argv: str) -> None:
        out, err = io.StringIO(), io.StringIO()
        self.code = 0
        try:
            call_command(*argv, stdout=out, stderr=err)
        except SystemExit as ended:
            self.code = int(ended.code or 0)
        self.out, self.err = out.getvalue(), err.getvalue()

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def job_ends(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """While somebody waits for a job, it ends: with this status, summary and hint."""

    def ends(status: Status, summary: str = "", hint: str = "", **result: Any) -> None:
        def sleep(seconds: float) -> None:
            job = Job.objects.latest("id")
            EventFactory(job=job, seq=job.last_event + 1, text="Copied \x1b[2J1 GB.")
            Job.objects.filter(pk=job.pk).update(status=status, summary=summary, hint=hint, result=result, last_event=job.last_event + 1)

        monkeypatch.setattr("tasks.console.requests.time.sleep", sleep)

    return ends


def test_show_prints_the_contract_as_json() -> None:
    cluster_with_standbys("orders")
    shown = Run("cluster", "show", "orders", "--json").json
    assert list(shown) == [
        "name", "state", "verdict", "epoch", "guarantee", "guarantee_sentence", "connection_string", "primary", "instances",
    ]  # fmt: skip
    assert list(shown["instances"][0]) == [
        "name", "server", "role", "state", "host", "port", "timeline", "upstream", "slot", "sync_state", "lag_bytes", "lag_seconds",
        "observed_at",
    ]  # fmt: skip
    assert Run("cluster", "list", "--json").json == [shown]


def test_show_prints_a_table_for_people() -> None:
    cluster_with_standbys("orders")
    lines = Run("cluster", "show", "orders").out.splitlines()
    assert "primary: orders-1" in lines
    assert lines[-3].split()[:4] == ["NAME", "SERVER", "ROLE", "STATE"]
    assert [lines[-1].split()[0], *lines[-1].split()[2:4]] == ["orders-2", "standby", "streaming"]


def test_what_is_not_there_is_wrong_use() -> None:
    for argv in (
        ["cluster", "show", "nobody"],
        ["server", "show", "a\x00b"],
        ["job", "show", "99"],
        ["job", "log", "99999999999999999999"],
    ):
        run = Run(*argv)
        assert (run.code, run.out) == (2, "")
        assert run.err == f"There is no {argv[0]} of this name or number.\n"


def test_a_request_says_how_to_follow_its_job() -> None:
    ServerFactory(name="alpha")
    run = Run("cluster", "create", "orders", "--server", "alpha", "--database", "shop", "--owner-role", "shop", "--setting", "work_mem=8MB")
    job = Job.objects.get()
    assert (run.code, run.out) == (0, f"Job #{job.pk} (create cluster) is queued. Follow it: ./pgreplica job log {job.pk} --follow\n")
    assert (job.source, job.params["settings"], job.params["client_networks"]) == (
        "command",
        {"work_mem": "8MB"},
        ["127.0.0.1/32", "::1/128"],
    )


def test_who_asks_is_the_system_user_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "somebody")
    cluster_with_standbys("orders")
    Run("cluster", "verify", "orders")
    assert Job.objects.get().requested_by_name == pwd.getpwuid(os.getuid()).pw_name


def test_waiting_prints_the_log_and_the_outcome(job_ends) -> None:
    cluster_with_standbys("orders")
    job_ends(Status.DONE, "orders replicates.", lag_bytes=0)
    run = Run("cluster", "verify", "orders", "--wait")
    lines = run.out.splitlines()
    assert (run.code, lines[-1]) == (0, "orders replicates.")
    assert lines[-2].endswith("Copied \\u001b[2J1 GB.")
    job = Job.objects.get()
    assert Run("cluster", "verify", "orders", "--wait", "--json").json == {
        "lag_bytes": 0, "job": job.pk + 1, "kind": "verify", "status": "done", "cluster": "orders", "instance": None,
        "summary": "orders replicates.", "hint": "", "events": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code"), [(Status.DONE, 0), (Status.FAILED, 1), (Status.CANCELED, 1), (Status.REFUSED, 3), (Status.NEEDS_OPERATOR, 4)]
)
def test_the_exit_code_tells_how_the_job_ended(status: Status, code: int, job_ends) -> None:
    cluster_with_standbys("orders")
    job_ends(status, "It is as it is.", "Do this next.")
    run = Run("cluster", "verify", "orders", "--wait")
    assert run.code == code
    assert run.err == ("" if code == 0 else "It is as it is.\nDo this next.\n")
    assert Run("job", "log", str(Job.objects.get().pk), "--follow").code == code


def test_a_refused_request_is_wrong_use_and_names_each_field() -> None:
    run = Run("cluster", "create", "a;id", "--server", "alpha", "--database", "shop", "--owner-role", "pg_shop", "--port", "0x1F")
    lines = run.err.splitlines()
    assert (run.code, run.out, [line.split(":")[0] for line in lines]) == (2, "", ["name", "server", "owner role", "port"])
    assert not Cluster.objects.exists()


def test_a_held_cluster_is_refused_with_the_job_that_holds_it() -> None:
    cluster = cluster_with_standbys("orders")
    JobFactory(kind="add_standby", status="running", cluster=cluster)
    run = Run("cluster", "start", "orders", "orders-2")
    assert (run.code, run.err.startswith("Job #")) == (3, True)


def test_what_must_be_confirmed_is_not_done_without_yes(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster_with_standbys("orders")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    for argv in (
        ["stop", "orders", "orders-2"],
        ["restart", "orders", "orders-2"],
        ["remove-standby", "orders", "orders-2"],
        ["remove", "orders"],
    ):
        run = Run("cluster", *argv)
        assert (run.code, run.err.endswith("must be confirmed. Add --yes.\n")) == (2, True)
        assert Run("cluster", *argv, "--yes").code == 0
        Job.objects.all().delete()


def test_a_plan_is_printed_and_nothing_is_done() -> None:
    ServerFactory(name="alpha")
    argv = ["cluster", "create", "orders", "--server", "alpha", "--database", "shop", "--owner-role", "shop", "--plan"]
    assert Run(*argv).out.splitlines()[:2] == ["1. Look around", "   command on alpha: true"]
    shown = Run(*argv, "--json").json
    assert (shown["kind"], shown["params"]["postgres_major"], len(shown["plan_hash"])) == ("create_cluster", 18, 64)
    assert (Cluster.objects.count(), Job.objects.count(), AuditEntry.objects.count()) == (0, 0, 0)


def test_wrong_use_ends_with_2() -> None:
    with pytest.raises(SystemExit) as ended:
        execute_from_command_line(["manage.py", "cluster", "show"])
    assert ended.value.code == 2


def test_the_owners_password_comes_from_a_file_or_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ServerFactory(name="alpha")
    argv = ["--server", "alpha", "--database", "shop", "--owner-role", "shop", "--owner-password-file"]
    (tmp_path / "password").write_text("correct horse battery\n")
    Run("cluster", "create", "orders", *argv, str(tmp_path / "password"))
    monkeypatch.setattr("sys.stdin", io.StringIO("staple battery horse\nrest"))
    Run("cluster", "create", "billing", *argv, "-")
    passwords = {cluster.name: cluster.owner_password for cluster in Cluster.objects.all()}
    assert passwords == {"orders": Secret("correct horse battery"), "billing": Secret("staple battery horse")}
    assert Run("cluster", "create", "third", *argv, str(tmp_path / "none")).code == 2


def test_a_server_is_added_shown_and_checked() -> None:
    run = Run("server", "add", "alpha", "--address", "127.0.0.1", "--base-directory", "/srv/pg", "--run-as", "postgres")
    assert (run.code, Server.objects.get().run_as) == (0, "postgres")
    assert Run("server", "show", "alpha", "--json").json["facts"] == {}
    assert Run("server", "check", "alpha", "--json").json["kind"] == "check_server"
    assert Run("server", "list").out.splitlines()[1].split()[:3] == ["alpha", "127.0.0.1", "local"]
    assert list(AuditEntry.objects.values_list("action", "target")) == [("server_add", "alpha")]


def test_jobs_are_listed_shown_logged_cancelled_and_resumed() -> None:
    job = JobFactory(kind="verify", status="queued", cluster=cluster_with_standbys("orders"), last_event=2)
    StepFactory(job=job, position=1, title="Look")
    for seq in (1, 2):
        EventFactory(job=job, seq=seq, text=f"line {seq}")
    assert [found["id"] for found in Run("job", "list", "--json").json] == [job.pk]
    assert Run("job", "show", str(job.pk)).out.splitlines()[-1].split()[:3] == ["1", "Look", "pending"]
    assert [line.split()[-2:] for line in Run("job", "log", str(job.pk)).out.splitlines()] == [["line", "1"], ["line", "2"]]
    assert [event["seq"] for event in Run("job", "log", str(job.pk), "--json", "--after", "1").json] == [2]
    assert Run("job", "cancel", str(job.pk), "--json").json["status"] == "canceled"
    assert Run("job", "cancel", str(job.pk)).code == 2
    assert Run("job", "resume", str(job.pk), "--json").json["status"] == "queued"


def test_the_audit_trail_is_listed_and_verified_and_the_first_fault_is_named() -> None:
    Run("server", "add", "alpha", "--address", "127.0.0.1", "--base-directory", "/srv/pg")
    Run("server", "add", "beta", "--address", "127.0.0.1", "--base-directory", "/srv/pg")
    head = AuditEntry.objects.get(number=2).hash
    assert Run("audit", "verify").out == f"2 entries, head {head}\n"
    assert [entry["target"] for entry in Run("audit", "list", "--json").json] == ["beta", "alpha"]
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE tasks_auditentry SET actor = 'nobody' WHERE number = 1")
        cursor.execute("SET LOCAL session_replication_role = origin")
    run = Run("audit", "verify", "--json")
    assert (run.code, run.json["intact"], run.json["first_fault"]) == (1, False, 1)
    assert run.err.startswith("The audit trail does not hold from entry 1 on.")


def test_a_token_is_printed_once_listed_without_its_text_and_revoked() -> None:
    UserFactory(username="olga")
    made = Run("token", "create", "ci", "--user", "olga", "--scope", "operate", "--days", "7")
    text = made.out.strip()
    assert token_find(text) == ApiToken.objects.get()
    assert "Keep it now" in made.err
    assert text not in Run("token", "list").out + Run("token", "list", "--json").out
    assert Run("token", "revoke", "ci", "--user", "olga").code == 0
    assert token_find(text) is None
    assert Run("token", "create", "ci", "--user", "nobody").code == 2


def test_a_connection_string_has_every_host_and_no_password_unless_asked() -> None:
    cluster = cluster_with_standbys("orders")
    primary, standby = cluster.instances.order_by("name")
    both = f"postgresql://orders@192.0.2.10:{primary.port},192.0.2.10:{standby.port}/orders?target_session_attrs=read-write\n"
    assert Run("cluster", "dsn", "orders").out == both
    one = Run("cluster", "dsn", "orders", "--instance", "orders-2", "--user", "me@home").out
    assert one == f"postgresql://me%40home@192.0.2.10:{standby.port}/orders\n"
    assert not AuditEntry.objects.exists()


def test_a_revealed_password_is_in_the_audit_trail_by_name_only() -> None:
    cluster = cluster_with_standbys("orders", owner_password=Secret("p@ss/w:rd#%x"))
    run = Run("cluster", "dsn", "orders", "--instance", "orders-1", "--with-password")
    assert run.out.startswith("postgresql://orders:p%40ss%2Fw%3Ard%23%25x@192.0.2.10:")
    entry = AuditEntry.objects.get()
    assert (entry.action, entry.cluster_name, entry.target, entry.details) == ("reveal_password", "orders", "orders-1", {"role": "orders"})
    assert Run("cluster", "dsn", cluster.name, "--user", "stranger", "--with-password").code == 2


@pytest.fixture
def fake_psql(tmp_path: Path) -> Path:
    """Writes down what a program can see of its call."""
    program = tmp_path / "psql"
    seen = tmp_path / "seen"
    program.write_text(
        f'#!/bin/sh\n{{ printf "%s\\n" "$@"; echo ---; cat "$PGPASSFILE"; echo ---; stat -c %a "$PGPASSFILE" "$(dirname "$PGPASSFILE")";'
        f" echo ---; env; }} > {seen}\nexit 3\n"
    )
    program.chmod(0o755)
    return tmp_path


def test_psql_gets_its_password_through_a_file_that_is_gone_afterwards(fake_psql: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster_with_standbys("orders", owner_password=Secret("pass:word\\x"))
    Instance.objects.update(bindir=str(fake_psql))
    monkeypatch.setenv("PGPASSWORD", "left over")
    run = Run("cluster", "psql", "orders", "--instance", "orders-2", "--", "-c", "SELECT 1; -- $x")
    port = Instance.objects.get(name="orders-2").port
    arguments, passfile, modes, environment = (fake_psql / "seen").read_text().split("---\n")
    assert run.code == 3
    assert arguments.splitlines() == ["--dbname", f"postgresql://orders@192.0.2.10:{port}/orders", "--no-password", "-c", "SELECT 1; -- $x"]
    assert passfile == f"192.0.2.10:{port}:*:orders:pass\\:word\\\\x\n"
    assert modes.split() == ["600", "700"]
    assert "pass:word" not in environment
    assert "PGPASSWORD" not in environment
    path = next(line.partition("=")[2] for line in environment.splitlines() if line.startswith("PGPASSFILE="))
    assert not Path(path).exists()
    assert AuditEntry.objects.get().action == "psql"


def test_psql_that_is_not_on_this_machine_is_said_with_the_way_round() -> None:
    cluster_with_standbys("orders")
    Instance.objects.update(bindir="/nowhere")
    run = Run("cluster", "psql", "orders")
    assert (run.code, len(run.err.splitlines())) == (1, 2)
    assert not AuditEntry.objects.exists()


def test_nothing_that_is_printed_can_steer_the_terminal() -> None:
    hostile = "\x1b]52;c;aGk=\x07\u202e\r\n\x9b2J"
    assert plain(hostile) == "\\u001b]52;c;aGk=\\u0007\\u202e\\u000d\\u000a\\u009b2J"
    ServerFactory(name="alpha", facts={"hostname": hostile, "postgres": []})
    assert "\x1b" not in Run("server", "show", "alpha").out


def test_commits_are_asked_to_wait_and_slots_are_listed_made_and_dropped() -> None:
    cluster_with_standbys("orders")
    run = Run("cluster", "set-sync", "orders", "--mode", "any", "--yes")
    job = Job.objects.latest("id")
    assert (run.code, job.kind, job.params) == (0, "set_sync", {"cluster": "orders", "mode": "any", "count": 1})
    Job.objects.update(status=Status.DONE)
    run = Run("cluster", "set-sync", "orders", "--mode", "any", "--count", "2", "--yes")
    assert (run.code, "from 1 to 1 (orders-2 follow the primary directly)" in run.err) == (2, True)
    assert Run("cluster", "set-sync", "orders", "--mode", "most", "--yes").err.startswith("mode: “most” is none of async, first, any.")
    held = replace(facts.HELD, name="backup_tool", active=False, pid=None)
    Instance.objects.filter(name="orders-1").update(observed=facts.primary(slots=(held,)).as_row())
    assert [slot["slot"] for slot in Run("cluster", "slots", "orders", "--json").json] == ["backup_tool"]
    assert Run("cluster", "slots", "orders").out.splitlines()[1].split()[:4] == ["orders-1", "backup_tool", "unknown", "physical"]
    Run("cluster", "drop-slot", "orders", "orders-1", "backup_tool", "--yes")
    job = Job.objects.latest("id")
    assert (job.kind, job.params["slot"]) == ("drop_slot", "backup_tool")
    Job.objects.update(status=Status.DONE)
    assert "are the panel's own" in Run("cluster", "create-slot", "orders", "orders-1", "pgr_orders_x").err
    Run("cluster", "create-slot", "orders", "orders-1", "backup_two")
    assert Job.objects.latest("id").kind == "create_slot"
