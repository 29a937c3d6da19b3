"""What a plan says is what is done: each command, statement and file of a job's log stands in its plan, and the other way round."""

from __future__ import annotations

from tasks.models import Job
from tests.said import done, said, unsaid
from tests.stage import Stage


def test_the_plans_of_the_main_workflows_are_what_is_done(stage: Stage) -> None:
    stage.create()
    stage.standby(name="node2")
    stage.done("verify", cluster="orders")
    stage.done("restart_instance", cluster="orders", instance="node2", confirm="node2")
    stage.done("remove_standby", cluster="orders", instance="node2", confirm="node2")
    stage.done("remove_cluster", cluster="orders", confirm="orders")
    jobs = {job.kind: job for job in Job.objects.all()}
    assert {kind: sorted(said(job) ^ done(job)) for kind, job in jobs.items()} == {kind: [] for kind in jobs}


def test_the_plans_of_the_promotions_say_everything_that_is_done(stage: Stage) -> None:
    """A plan also says what is done only where it is needed (a second, harder stop, say); so it may say more, never less."""
    stage.create()
    stage.standby(name="node2")
    stage.standby(name="node3")
    stage.done("switchover", cluster="orders", to="node2", reason="story", confirm="orders")
    stage.kill("node2")
    stage.done("failover", cluster="orders", to="node1", reason="story", confirm="orders", flags=["possible_data_loss"])
    stage.done("promote", cluster="orders", instance="node3", new_cluster="orders-copy", reason="story", confirm="node3")
    jobs = {job.kind: job for job in Job.objects.filter(kind__in=("switchover", "failover", "promote"))}
    for kind, job in jobs.items():
        assert unsaid(job) == [], kind
