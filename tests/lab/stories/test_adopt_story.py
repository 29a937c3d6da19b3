"""The manual's own pair, made by hand with its mistakes: found, graded, adopted and taken over, and nothing of it restarts."""

from __future__ import annotations

import pytest

from clusters.adoption_report import discovery_get, discovery_show
from clusters.models import Cluster, Discovery, ReplicationPair, Verification
from tasks.services import RequestRefused
from tasks.workflows import take_over
from tasks.workflows.step import StepFailed
from tests.lab.server import LabServer
from tests.lab.stories.manual_pair import PLACE, PRIMARY, REPLICATION_PASSWORD, STANDBY, SUPERUSER_PASSWORD, ask, made_by_hand
from tests.lab.stories.stage import LabStage
from tests.stage import log_of
from tests.waiting import wait_until

pytestmark = pytest.mark.needs("lab")

#: What of the manual hurts, on the primary and on the standby.
PRIMARY_MISTAKES = {
    *("trust_entry", "network_too_wide", "md5_entry", "all_for_replication", "restart_unguarded", "published_everywhere"),
    *("config_without_effect", "hba_single_file", "init_script_missing", "password_in_environment", "image_by_tag", "stop_time_short"),
    *("no_checksums", "no_wal_log_hints", "slot_uncapped", "slot_unused", "replication_in_clear"),
}
STANDBY_MISTAKES = {
    *("trust_entry", "network_too_wide", "md5_entry", "all_for_replication", "restart_unguarded", "published_everywhere"),
    *("config_without_effect", "hba_single_file", "password_in_environment", "image_by_tag", "stop_time_short"),
    *("no_checksums", "no_wal_log_hints", "slot_uncapped", "password_in_settings", "follows_without_slot", "name_not_its_own"),
}


def it_adopts_the_pair_of_the_manual_without_a_restart(lab_stage: LabStage, monkeypatch: pytest.MonkeyPatch) -> None:
    alpha, beta = lab_stage.lab["alpha"], lab_stage.lab["beta"]
    made_by_hand(alpha, beta)
    before = _untouched(alpha, beta)

    job = lab_stage.done("discover")
    assert len(job.result["clusters"]) == 1, log_of(job)
    (group,) = job.result["clusters"]
    assert group["instances"] == [f"alpha/{PRIMARY}", f"beta/{STANDBY}"]
    assert (group["adoptable"], group["managed_as"]) == (True, None)
    assert _mistakes(job.pk) == {PRIMARY: PRIMARY_MISTAKES, STANDBY: STANDBY_MISTAKES}
    _holds_no_secret(job.pk)

    lab_stage.done("adopt_cluster", discovery=job.pk, system_identifier=group["system_identifier"], name="shop")
    cluster = Cluster.objects.get(name="shop")
    assert cluster.is_watched
    verified = lab_stage.done("verify", cluster="shop")
    assert _findings() == {"follows_without_slot", "rewind_impossible"}, log_of(verified)
    assert Verification.objects.latest("created_at").verdict == "warning"
    assert ReplicationPair.objects.get().state == "streaming"
    with pytest.raises(RequestRefused, match="adopted"):
        lab_stage.request("stop_instance", cluster="shop", instance="node1", confirm="node1")
    assert _untouched(alpha, beta) == before

    with monkeypatch.context() as patched:
        patched.setattr(take_over, "streaming_awaited", _fails)
        failed = lab_stage.run("take_over", cluster="shop", confirm="shop")
    assert (failed.status, failed.summary.startswith("It does not stream")) == ("failed", True), log_of(failed)
    wait_until(
        lambda: ask(alpha, PRIMARY, "SELECT usename || state FROM pg_stat_replication") == "usuario_replicacaostreaming", "as before"
    )
    assert ask(alpha, PRIMARY, "SELECT slot_name FROM pg_replication_slots") == "replication_slot"
    assert _untouched(alpha, beta) == before

    job = lab_stage.done("take_over", cluster="shop", confirm="shop")
    assert _untouched(alpha, beta, files=False) == _without_files(before)
    assert SUPERUSER_PASSWORD not in (told := log_of(job) + str(job.plan))
    assert REPLICATION_PASSWORD not in told
    diffs = [item["diff"] for step in job.plan for item in step["items"] if item["type"] == "file"]
    assert sum("+host  replication" in diff for diff in diffs) == 2
    assert ask(alpha, PRIMARY, "SELECT slot_name FROM pg_replication_slots WHERE active") == "pgr_shop_node2"
    assert ask(alpha, PRIMARY, "SELECT usename, application_name FROM pg_stat_replication") == "pgreplica_replicator|node2"
    written = beta.docker("exec", STANDBY, "sh", "-c", "cat /var/lib/postgresql/data/postgresql.auto.conf*").stdout
    assert REPLICATION_PASSWORD not in written
    kept = f"/var/lib/postgresql/data/pg_hba.conf.before-{job.pk}"
    assert "172.0.0.0/8" in alpha.docker("exec", PRIMARY, "cat", kept).stdout

    verified = lab_stage.done("verify", cluster="shop")
    assert _findings() == {"rewind_impossible"}, log_of(verified)
    again = lab_stage.done("discover")
    left = _mistakes(again.pk)
    assert STANDBY_MISTAKES - left[STANDBY] == {"password_in_settings", "follows_without_slot", "name_not_its_own", "slot_uncapped"}
    assert PRIMARY_MISTAKES - left[PRIMARY] == {"slot_uncapped"}
    lab_stage.done("drop_slot", cluster="shop", instance="node1", slot="replication_slot", confirm="replication_slot")
    lab_stage.done("forget_cluster", cluster="shop", confirm="shop")
    assert ask(alpha, PRIMARY, "SELECT state FROM pg_stat_replication") == "streaming"
    assert _untouched(alpha, beta, files=False) == _without_files(before)


def _fails(*_given: object) -> str:
    raise StepFailed("It does not stream.", "See why.")


def _mistakes(job: int) -> dict[str, set[str]]:
    (group,) = discovery_show(discovery_get(job))["clusters"]
    return {row["name"]: {finding["name"] for finding in row["findings"]} for row in group["instances"]}


def _findings() -> set[str]:
    return {finding["name"] for finding in Verification.objects.latest("created_at").findings}


def _holds_no_secret(job: int) -> None:
    kept = str(Discovery.objects.values().get(job_id=job))
    assert SUPERUSER_PASSWORD not in kept
    assert REPLICATION_PASSWORD not in kept


def _untouched(*servers: LabServer, files: bool = True) -> list[str]:
    """Since when containers and servers run, under which number, and what is in the files that people have written."""
    found = [line for server in servers for line in _state_of(server)]
    return found if files else _without_files(found)


def _without_files(found: list[str]) -> list[str]:
    return [line for number, line in enumerate(found) if number % 4 < 2]


def _state_of(server: LabServer) -> list[str]:
    container = PRIMARY if server.name == "alpha" else STANDBY
    files = server.run(["sh", "-c", f"cd {PLACE} && find . -type f -not -path './volumes/*/data/*' -exec sha256sum {{}} + | sort"]).stdout
    inside = "cd /var/lib/postgresql/data && sha256sum pg_hba.conf postgresql.conf postgresql.auto.conf"
    return [
        server.docker(
            "inspect", "--format", "{{.Id}} {{.State.Pid}} {{.State.StartedAt}} {{.HostConfig.RestartPolicy.Name}}", container
        ).stdout,
        ask(server, container, "SELECT pg_postmaster_start_time()"),
        files,
        server.docker("exec", container, "sh", "-c", inside).stdout,
    ]
