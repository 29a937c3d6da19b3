"""A server that somebody has started by hand, in no container, beside the panel's own: found, adopted and watched as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from clusters.hosts.local import LocalMachine
from clusters.models import Cluster, Discovery
from tasks.services import RequestRefused
from tests.ports import free_port
from tests.stage import Stage, log_of


@pytest.fixture
def by_hand(stage: Stage, embedded_bindir: Path) -> Iterator[tuple[Path, int]]:
    """Its data directory and its port."""
    machine, data, port = LocalMachine(run_as=stage.server.run_as), stage.base.with_name("mine"), free_port()

    def run(*argv: str) -> None:
        ended = machine.run([f"{embedded_bindir}/{argv[0]}", *argv[1:]], timeout=60)
        assert ended.ok, ended.stderr

    run("initdb", f"--pgdata={data}", "--username=postgres", "--auth=trust", "--no-sync")
    options = f"--options=-p {port} -k {data} -c listen_addresses=127.0.0.1"
    run("pg_ctl", "start", f"--pgdata={data}", f"--log={data}/log", options, "--wait")
    yield data, port
    run("pg_ctl", "stop", f"--pgdata={data}", "--mode=immediate")


def it_adopts_a_server_that_runs_in_no_container(stage: Stage, by_hand: tuple[Path, int]) -> None:
    data, port = by_hand
    stage.create()
    started = (data / "postmaster.pid").read_text()

    job = stage.done("discover")
    kept = {row["data_directory"]: row for row in Discovery.objects.get().found}
    assert kept[str(data)]["own"] == ""
    assert {row["own"] for path, row in kept.items() if path.startswith(str(stage.base))} == {"orders/node1"}
    mine = next(group for group in job.result["clusters"] if group["instances"] == ["alpha/mine"])
    assert {"trust_entry", "no_wal_log_hints"} & set(mine["findings"]) == {"trust_entry"}, log_of(job)

    stage.done("adopt_cluster", discovery=job.pk, system_identifier=mine["system_identifier"], name="mine")
    stage.done("verify", cluster="mine")
    row = Cluster.objects.get(name="mine").instances.get()
    assert (row.observed_role, row.port, row.layout["way"]) == ("primary", port, "process")
    with pytest.raises(RequestRefused, match="container"):
        stage.request("take_over", cluster="mine", confirm="mine")
    with pytest.raises(RequestRefused, match="adopted"):
        stage.request("remove_cluster", cluster="mine", confirm="mine")
    assert (data / "postmaster.pid").read_text() == started
    stage.done("forget_cluster", cluster="mine", confirm="mine")
    assert not Cluster.objects.filter(name="mine").exists()
