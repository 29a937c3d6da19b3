"""The plan as a sheet for a shell: a shell can read it, no line of it runs by accident, and no secret is in it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client

from clusters.models import Cluster
from clusters.postgres.files import diff
from clusters.services import instance_quarantine
from tasks.actor import actor_system
from tasks.kinds import KINDS, Status
from tasks.models import Job
from tasks.runbook import Head, Machine, Places, filename, runbook
from tasks.services import job_request, job_sheet
from tests.factories import ServerFactory, cluster_with_standbys
from tests.unit.clusters.postgres.cast import alpha_spec
from tests.unit.tasks.test_plans import DATA, adoption_begun, kept_copy

HEAD = Head("switchover of orders", datetime(2026, 12, 1, 3, tzinfo=UTC), "ab" * 32, 7)
NODE1 = alpha_spec()
PLACES = Places({"alpha": Machine("192.0.2.10", "postgres")}, {NODE1.name: NODE1})
ON = f"alpha ({NODE1.name})"


def sheet(*items: dict[str, Any], title: str = "Do it", head: Head = HEAD) -> str:
    return runbook([{"step": "do", "title": title, "items": list(items)}], head, PLACES)


def read_by_a_shell(text: str) -> str:
    """What `sh -n` complains about; "" where nothing."""
    return subprocess.run(["sh", "-n"], input=text, capture_output=True, text=True, check=False).stderr


def code_of(text: str) -> list[str]:
    """The lines that are no comment, behind the guard."""
    return [line for line in text.partition("\numask 077\n")[2].split("\n") if line and not line.startswith("#")]


def it_says_what_it_is_and_where_everything_is() -> None:
    text = sheet()
    for part in (
        "# Runbook: switchover of orders, job #7",
        "2026-12-01T03:00:00+00:00",
        "ab" * 32,
        "Written to be done by hand when the panel is off. Read all of it before you run any line",
        "Secrets are not in it.",
        "# server alpha: 192.0.2.10, system user postgres",
        f"# instance {NODE1.name} on {NODE1.server}: {NODE1.address}:{NODE1.port}",
    ):
        assert part in text
    assert filename(HEAD) == "runbook-7-switchover-of-orders.sh"


def it_does_nothing_when_it_is_run_as_a_whole() -> None:
    text = sheet({"type": "command", "server": "alpha", "text": "echo it ran"})
    ended = subprocess.run(["sh"], input=text, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (64, "")
    assert "do not run it as a whole" in ended.stderr


def it_gives_commands_as_they_stand() -> None:
    line = "/usr/lib/postgresql/18/bin/pg_ctl reload --pgdata=/srv/data"
    assert code_of(sheet({"type": "command", "server": "alpha", "text": line})) == [line]


def it_gives_what_a_command_reads_in_a_way_that_every_shell_knows() -> None:
    assert code_of(sheet({"type": "command", "server": "alpha", "text": "psql 'a <<< b' <<< 'SELECT 1;\n'"})) == [
        "printf '%s\\n' 'SELECT 1;",
        "' | psql 'a <<< b'",
    ]


def it_asks_for_a_secret_instead_of_holding_it() -> None:
    assert code_of(sheet({"type": "command", "server": "alpha", "text": "initdb <<< ********"})) == [
        "printf '%s\\n' \"${SECRET:?}\" | initdb"
    ]
    assert code_of(sheet({"type": "sql", "server": ON, "text": "ALTER ROLE shop PASSWORD '********'"})) == []
    text = sheet({"type": "file", "server": "alpha", "path": "/srv/passfile", "diff": "/srv/passfile: a secret, not shown\n"})
    assert (code_of(text), "# Write /srv/passfile; its content is a secret" in text) == ([], True)


def it_runs_statements_through_psql_on_the_instances_own_socket() -> None:
    lines = code_of(sheet({"type": "sql", "server": ON, "text": "SELECT pg_catalog.pg_promote(false)"}))
    assert lines[0].startswith(f"{NODE1.bindir}/psql ")
    assert f"host={NODE1.socket_directory} port={NODE1.port} user=postgres dbname=postgres" in lines[0]
    assert lines[1:] == ["SET search_path = pg_catalog;", "SELECT pg_catalog.pg_promote(false);", "END"]


def it_makes_a_slot_over_the_replication_protocol() -> None:
    line = code_of(sheet({"type": "sql", "server": ON, "text": 'CREATE_REPLICATION_SLOT "x" PHYSICAL RESERVE_WAL'}))[0]
    assert f"user={NODE1.replication_role}" in line
    assert "replication=true" in line


def it_does_not_guess_where_an_instance_is() -> None:
    text = sheet({"type": "sql", "server": "alpha (gone)", "text": "CHECKPOINT"})
    assert (code_of(text), "#     CHECKPOINT" in text) == ([], True)


@pytest.mark.parametrize("content", ["", "one\n", "END\nEND_\n$(reboot) `reboot` $HOME\n", "no end of line", "a\n\n\nb\n"])
def it_writes_a_new_file_with_exactly_its_content(content: str, tmp_path: Any) -> None:
    place = tmp_path / "a file"
    text = sheet({"type": "file", "server": "alpha", "path": str(place), "diff": diff(str(place), None, content)})
    subprocess.run(["sh", "-e"], input="\n".join(text.partition("\numask 077\n")[2].split("\n")), text=True, check=True)
    assert place.read_text().rstrip("\n") == content.rstrip("\n")


def it_says_what_to_change_in_a_file_that_is_there() -> None:
    long = "".join(f"{n}\n" for n in range(20))
    for old, new in ((f"a\n{long}", f"b\n{long}"), (f"{long}a\n", f"{long}b\n"), (f"a\n{long}a\n", f"b\n{long}b\n")):
        text = sheet({"type": "file", "server": "alpha", "path": "/srv/hba", "diff": diff("/srv/hba", old, new)})
        assert code_of(text) == []
        assert "#     -a" in text
        assert "#     +b" in text


def it_writes_a_short_file_anew_where_its_change_shows_all_of_it() -> None:
    for old, new in (("a\nb\n", "a\nc\n"), ("a\n1\n2\n", "b\n1\n2\n"), ("1\n2\n3\na\n", "1\n2\n3\n")):
        item = {"type": "file", "server": "alpha", "path": "/srv/f", "diff": diff("/srv/f", old, new)}
        assert code_of(sheet(item)) == ["cat > /srv/f <<'END'", *new.splitlines(), "END"]


def it_marks_the_point_of_no_return() -> None:
    plan = [{"step": name, "title": name, "items": []} for name in ("stop", "promote")]
    head = Head("switchover of orders", HEAD.made_at, HEAD.plan_hash, None, "promote")
    text = runbook(plan, head, PLACES)
    assert text.index("1. stop") < text.index("POINT OF NO RETURN") < text.index("2. promote")


def it_names_the_job_where_there_is_one() -> None:
    item = {"type": "command", "server": "alpha", "text": "mkdir /srv/clone-@job"}
    assert code_of(sheet(item)) == ["mkdir /srv/clone-7"]
    assert code_of(sheet(item, head=Head("x", HEAD.made_at, ""))) == ["mkdir /srv/clone-by-hand"]


@pytest.mark.parametrize("hostile", ["x\nreboot", "x\r\nreboot\x00", "`reboot` $(reboot)", "x\u2028reboot", "'\"\\"])
def it_keeps_hostile_names_in_comments(hostile: str) -> None:
    text = sheet({"type": "file", "server": hostile, "path": hostile, "diff": hostile}, title=hostile)
    assert code_of(text) == []
    assert read_by_a_shell(text) == ""


@pytest.mark.django_db
@pytest.mark.parametrize("kind", list(KINDS))
def it_can_be_read_by_a_shell_for_every_kind_of_job(kind: str) -> None:
    ServerFactory(name="alpha")
    ServerFactory(name="far", connection="ssh", ssh_user="panel")
    cluster = cluster_with_standbys("orders", standbys=2)
    if kind == "rejoin":
        instance_quarantine(cluster.instances.get(name="orders-2"), "it was the primary")
    adoption_begun(kind, cluster)
    data = {"cluster": "orders", **DATA[kind], **({"copy": kept_copy(cluster)} if DATA[kind].get("copy") else {})}
    if kind == "create_cluster":
        data = {**DATA[kind], "name": "billing"}
    head, text = job_sheet(kind=kind, actor=actor_system("tests", "command"), data=data)
    assert read_by_a_shell(text) == ""
    assert head.what.startswith(kind.replace("_", " "))
    assert "is not recorded any more" not in text
    assert "<<< " not in text
    secrets = [cluster.superuser_password, cluster.owner_password, cluster.replication_password, cluster.panel_password]
    assert not [secret for secret in secrets if secret.reveal() in text]
    assert "correct horse" not in text
    assert not Job.objects.exists()
    assert Cluster.objects.count() == 1


@pytest.mark.django_db
def it_is_given_out_by_the_api_and_the_commands(bearer: Callable[..., Client], capsys: pytest.CaptureFixture[str]) -> None:
    cluster_with_standbys("orders")
    job = job_request(kind="switchover", actor=actor_system("olga", "web"), data={**DATA["switchover"], "cluster": "orders"})
    viewer = bearer("vera", "read")
    answer = viewer.get(f"/api/v1/jobs/{job.pk}/runbook")
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/x-shellscript; charset=utf-8")
    assert answer["Content-Disposition"] == f'attachment; filename="runbook-{job.pk}-switchover-of-orders-orders-2.sh"'
    text = answer.content.decode()
    assert re.search(r"POINT OF NO RETURN.*\n.*\n\n.*\n# 8\. Promote the candidate", text)
    assert "THE PROOF" in text
    assert read_by_a_shell(text) == ""
    assert viewer.get("/api/v1/jobs/999999/runbook").status_code == 404
    call_command("job", "runbook", str(job.pk))
    assert f"# Runbook: switchover of orders/orders-2, job #{job.pk}" in capsys.readouterr().out
    Job.objects.update(status=Status.DONE)
    call_command("cluster", "switchover", "orders", "--to", "orders-2", "--runbook")
    assert "# Runbook: switchover of orders/orders-2\n" in capsys.readouterr().out
    assert Job.objects.count() == 1
