"""The doors in: who may ask for what, what is refused with which sentence, and what is stored when it is not."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from clusters.models import Instance
from tasks import services
from tasks.actor import Actor, actor_of
from tasks.kinds import KINDS, Status, StepStatus
from tasks.models import AuditEntry, Job, JobEvent
from tasks.refusals import Refusal
from tasks.services import Busy, Forbidden, RequestRefused, job_cancel, job_preview, job_request, job_resume
from tests.factories import ClusterFactory, InstanceFactory, ServerFactory, UserFactory
from tests.faults.fixtures import OLGA

VERA = Actor(None, "vera", "web", frozenset({"tasks.view_job"}))


def texts(job: Job) -> list[str]:
    return list(JobEvent.objects.filter(job=job).order_by("seq").values_list("text", flat=True))


def audit(job: Job) -> list[tuple[str, str, str, str]]:
    return list(AuditEntry.objects.filter(job_id=job.pk).order_by("number").values_list("actor", "action", "phase", "reason"))


@pytest.mark.django_db
class TestRequest:
    def it_stores_the_job_its_steps_its_plan_and_the_decision(self, toy: Callable[..., Job], tmp_path: Any) -> None:
        cluster = ClusterFactory(name="orders")
        data = {"directory": str(tmp_path)}
        job = job_request(kind="toy", actor=OLGA, data=data, reason="because", cluster=cluster)
        fields = ("kind", "status", "mutating", "cluster", "cluster_name", "params", "requested_by_name", "source", "reason", "last_event")
        stored = Job.objects.values(*fields).get(pk=job.pk)
        assert stored == {
            "kind": "toy", "status": "queued", "mutating": True, "cluster": cluster.pk, "cluster_name": "orders", "params": data,
            "requested_by_name": "olga", "source": "web", "reason": "because", "last_event": 1,
        }  # fmt: skip
        assert list(job.steps.values_list("position", "name", "status"))[:2] == [(1, "looked", "pending"), (2, "one", "pending")]
        assert job.steps.get(name="point_of_no_return").title.startswith("Point of no return")
        assert job.plan[1]["items"] == [{"type": "command", "server": "alpha", "text": f"touch {tmp_path}/one.a"}]
        assert len(job.plan_hash) == 64
        assert texts(job) == ["Requested by olga (web). Reason: because"]
        assert audit(job) == [("olga", "toy", "opened", "because")]
        assert AuditEntry.objects.get().plan_hash == job.plan_hash

    def it_rings_the_broker_once_the_job_is_committed(
        self, toy: Callable[..., Job], sent: list[int], django_capture_on_commit_callbacks: Any
    ) -> None:
        with django_capture_on_commit_callbacks(execute=True):
            job = toy()
            assert sent == []
        assert sent == [job.pk]

    def it_refuses_who_has_no_right(self, toy: Callable[..., Job]) -> None:
        with pytest.raises(Forbidden) as refused:
            job_request(kind="verify", actor=VERA, data={}, cluster=ClusterFactory())
        assert refused.value.sentence == "You may not do this: it needs the permission tasks.run_verify. Ask an administrator."
        assert not Job.objects.exists()

    def it_refuses_a_kind_that_is_not_there(self) -> None:
        with pytest.raises(RequestRefused) as refused:
            job_request(kind="drop_everything", actor=OLGA, data={})
        assert refused.value.errors == {"kind": [f"There is no job of this kind. Known kinds: {', '.join(KINDS)}."]}

    def it_refuses_what_the_form_refuses_field_by_field(self, sent: list[int]) -> None:
        with pytest.raises(RequestRefused) as refused:
            job_request(kind="verify", actor=OLGA, data={"cluster": "nowhere"})
        assert refused.value.errors == {"cluster": ["There is no cluster of this name. See: cluster list."]}

    def it_lets_one_job_hold_the_cluster_and_names_it_to_the_next(self, toy: Callable[..., Job]) -> None:
        first = toy()
        with pytest.raises(Busy) as refused:
            job_request(kind="toy", actor=OLGA, data={"directory": "/"}, cluster=first.cluster)
        assert refused.value.job == first
        name = first.cluster_name
        expected = f"Job #{first.pk} (toy, queued, requested by olga) holds cluster {name}. Wait for it, or cancel it."
        assert refused.value.sentence == expected
        assert job_request(kind="verify", actor=OLGA, data={}, cluster=first.cluster).status == Status.QUEUED

    @pytest.mark.parametrize("status", [Status.DONE, Status.FAILED, Status.CANCELED, Status.REFUSED])
    def it_frees_the_cluster_when_the_job_has_ended(self, toy: Callable[..., Job], status: Status) -> None:
        first = toy()
        Job.objects.filter(pk=first.pk).update(status=status)
        assert job_request(kind="toy", actor=OLGA, data={"directory": "/"}, cluster=first.cluster).status == Status.QUEUED

    def it_gives_the_earlier_job_to_who_asks_again_with_its_key(self, toy: Callable[..., Job]) -> None:
        cluster, data = ClusterFactory(), {"directory": "/"}
        first = job_request(kind="toy", actor=OLGA, data=data, cluster=cluster, idempotency_key="k1")
        assert job_request(kind="toy", actor=OLGA, data=data, cluster=cluster, idempotency_key="k1") == first
        with pytest.raises(RequestRefused) as refused:
            job_request(kind="verify", actor=OLGA, data={}, cluster=cluster, idempotency_key="k1")
        assert refused.value.errors == {"idempotency_key": ["This idempotency key was used for another request. Use a new one."]}

    @pytest.mark.parametrize("key", ["", "k" * 101, "a\nb"])
    def it_refuses_an_odd_key(self, key: str) -> None:
        with pytest.raises(RequestRefused) as refused:
            job_request(kind="verify", actor=OLGA, data={}, idempotency_key=key)
        assert list(refused.value.errors) == ["idempotency_key"]

    def it_takes_the_job_only_with_the_plan_that_was_shown(self, toy: Callable[..., Job]) -> None:
        cluster = ClusterFactory()
        shown = job_preview(kind="toy", actor=OLGA, data={"directory": "/a"}, cluster=cluster)
        with pytest.raises(RequestRefused) as refused:
            job_request(kind="toy", actor=OLGA, data={"directory": "/b"}, cluster=cluster, plan_hash=shown.plan_hash)
        assert list(refused.value.errors) == ["plan_hash"]
        assert not Job.objects.exists()
        job = job_request(kind="toy", actor=OLGA, data={"directory": "/a"}, cluster=cluster, plan_hash=shown.plan_hash)
        assert (job.plan, job.plan_hash, job.params) == (shown.plan, shown.plan_hash, shown.params)

    def it_declares_the_rows_with_the_job_or_not_at_all(self, sent: list[int]) -> None:
        primary = InstanceFactory(cluster__name="orders", name="node1", bindir="/usr/lib/postgresql/18/bin")
        data = {"server": ServerFactory(name="beta").name, "name": "node2"}
        preview = job_preview(kind="add_standby", actor=OLGA, data=data, cluster=primary.cluster)
        assert not Instance.objects.filter(name="node2").exists()
        job = job_request(kind="add_standby", actor=OLGA, data=data, cluster=primary.cluster, plan_hash=preview.plan_hash)
        assert job.instance is not None
        assert (job.instance.name, job.instance.lifecycle, job.instance_name, job.server) == (
            "node2",
            "planned",
            "node2",
            job.instance.server,
        )
        with pytest.raises(Busy):
            job_request(kind="add_standby", actor=OLGA, data=data | {"name": "node3"}, cluster=primary.cluster)
        assert not Instance.objects.filter(name="node3").exists()

    def it_shows_a_preview_though_the_cluster_is_held_by_nobody_yet(self, toy: Callable[..., Job]) -> None:
        with pytest.raises(Forbidden):
            job_preview(kind="toy", actor=VERA, data={}, cluster=ClusterFactory())
        assert not AuditEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def it_has_exactly_one_winner_of_many_that_ask_at_once(toy: Callable[..., Job], sent: list[int]) -> None:
    for _ in range(3):
        cluster = ClusterFactory()
        outcomes: list[Job | Exception] = []
        start = threading.Barrier(10)

        def ask(key: str | None, start: threading.Barrier = start, cluster: Any = cluster, outcomes: list[Any] = outcomes) -> None:
            start.wait()
            try:
                outcomes.append(job_request(kind="toy", actor=OLGA, data={"directory": "/"}, cluster=cluster, idempotency_key=key))
            except Refusal as refusal:
                outcomes.append(refusal)
            finally:
                connection.close()

        for keys in ([None] * 10, ["again"] * 10):
            outcomes.clear()
            Job.objects.update(status=Status.DONE, idempotency_key=None)
            threads = [threading.Thread(target=ask, args=(key,)) for key in keys]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            winner = Job.objects.get(status=Status.QUEUED)
            if keys[0]:
                assert outcomes == [winner] * 10  # all of them are the same request
            else:
                assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Busy"] * 9 + ["Job"]
                assert {outcome.job for outcome in outcomes if isinstance(outcome, Busy)} == {winner}


@pytest.mark.django_db
class TestCancel:
    def it_ends_a_queued_job_at_once(self, toy: Callable[..., Job]) -> None:
        job = job_cancel(job=toy(), actor=OLGA, reason="changed my mind")
        assert (job.status, job.summary) == (Status.CANCELED, "Canceled by olga. Reason: changed my mind")
        assert job.finished_at is not None
        assert audit(job)[1:] == [("olga", "cancel", "single", "changed my mind"), ("olga", "toy", "closed", "")]
        assert texts(job)[-1] == "Canceled by olga. Reason: changed my mind"

    def it_asks_the_worker_of_a_running_job_once(self, toy: Callable[..., Job]) -> None:
        job = toy()
        Job.objects.filter(pk=job.pk).update(status=Status.RUNNING, lease_until=timezone.now() + timedelta(minutes=1))
        first = job_cancel(job=job, actor=OLGA)
        second = job_cancel(job=job, actor=OLGA)
        assert (first.status, first.cancel_requested_by_name) == (Status.RUNNING, "olga")
        assert second.cancel_requested_at == first.cancel_requested_at
        assert [entry[1] for entry in audit(job)] == ["toy", "cancel"]
        assert len(texts(job)) == 1  # a running job's log is its worker's

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING])
    def it_refuses_past_the_point_of_no_return(self, toy: Callable[..., Job], status: Status) -> None:
        job = toy()
        job.steps.filter(name="point_of_no_return").update(status=StepStatus.DONE)
        Job.objects.filter(pk=job.pk).update(status=status)
        with pytest.raises(RequestRefused) as refused:
            job_cancel(job=job, actor=OLGA)
        expected = f"Job #{job.pk} is past its point of no return: it only finishes forward. Wait for its end."
        assert refused.value.sentence == expected

    @pytest.mark.parametrize("status", [Status.DONE, Status.FAILED, Status.CANCELED, Status.REFUSED, Status.ROLLING_BACK])
    def it_refuses_where_there_is_nothing_to_cancel(self, toy: Callable[..., Job], status: Status) -> None:
        job = toy()
        Job.objects.filter(pk=job.pk).update(status=status)
        with pytest.raises(RequestRefused) as refused:
            job_cancel(job=job, actor=OLGA)
        assert refused.value.sentence == f"Job #{job.pk} is {status.label}: there is nothing to cancel."

    def it_rolls_back_what_waits_for_an_operator(
        self, toy: Callable[..., Job], sent: list[int], django_capture_on_commit_callbacks: Any
    ) -> None:
        job = toy()
        Job.objects.filter(pk=job.pk).update(status=Status.NEEDS_OPERATOR, summary="odd", result={"made": 1})
        job.steps.filter(name="one").update(status=StepStatus.DONE)
        with django_capture_on_commit_callbacks(execute=True):
            job = job_cancel(job=job, actor=OLGA)
        assert job.status == Status.ROLLING_BACK
        assert job.result == {"made": 1, "rollback": {"to": "canceled", "what": "Canceled by olga.", "hint": ""}}
        assert sent == [job.pk]

    def it_rolls_back_a_queued_job_that_had_begun_before(self, toy: Callable[..., Job]) -> None:
        job = toy()
        job.steps.filter(name="one").update(status=StepStatus.DONE)
        assert job_cancel(job=job, actor=OLGA).status == Status.ROLLING_BACK

    def it_gives_up_only_with_a_reason(self, toy: Callable[..., Job]) -> None:
        job = toy()
        Job.objects.filter(pk=job.pk).update(status=Status.NEEDS_OPERATOR, summary="Odd.")
        job.steps.filter(name="point_of_no_return").update(status=StepStatus.DONE)
        with pytest.raises(RequestRefused) as refused:
            job_cancel(job=job, actor=OLGA)
        assert list(refused.value.errors) == ["reason"]
        job = job_cancel(job=job, actor=OLGA, reason="mended by hand")
        assert (job.status, job.summary) == (
            Status.FAILED,
            "Odd. Given up by olga; everything was left as it was. Reason: mended by hand",
        )
        assert [entry[1:3] for entry in audit(job)] == [("toy", "opened"), ("give_up", "single"), ("toy", "closed")]

    def it_can_give_up_before_the_point_of_no_return_too_when_undoing_does_not_work(self, toy: Callable[..., Job]) -> None:
        job = toy()
        with pytest.raises(RequestRefused):
            job_cancel(job=job, actor=OLGA, reason="no", give_up=True)
        Job.objects.filter(pk=job.pk).update(status=Status.NEEDS_OPERATOR)
        assert job_cancel(job=job, actor=OLGA, reason="no use", give_up=True).status == Status.FAILED

    def it_needs_the_right_to_run_the_kind(self, toy: Callable[..., Job]) -> None:
        job = toy()
        for door in (job_cancel, job_resume):
            with pytest.raises(Forbidden):
                door(job=job, actor=VERA)


@pytest.mark.django_db
class TestResume:
    @pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELED, Status.REFUSED, Status.NEEDS_OPERATOR])
    def it_queues_the_job_again(self, toy: Callable[..., Job], status: Status) -> None:
        job = toy()
        result = {"kept": 1, "failed_step": "one", "obstacles": []}
        ended = {"summary": "odd", "hint": "look", "finished_at": timezone.now(), "cancel_requested_at": timezone.now(), "result": result}
        Job.objects.filter(pk=job.pk).update(status=status, **ended)
        job = job_resume(job=job, actor=OLGA, reason="mended")
        after = (job.status, job.summary, job.hint, job.finished_at, job.cancel_requested_at, job.sent_at, job.result)
        assert after == (Status.QUEUED, "", "", None, None, None, {"kept": 1})
        assert texts(job)[-1] == "Resumed by olga. Reason: mended"
        phase = "single" if status == Status.NEEDS_OPERATOR else "opened"
        assert [entry[2] for entry in audit(job)] == ["opened", phase]

    def it_goes_on_where_an_operator_was_needed_and_keeps_what_the_step_knows(self, toy: Callable[..., Job]) -> None:
        job = toy()
        Job.objects.filter(pk=job.pk).update(status=Status.NEEDS_OPERATOR)
        job.steps.filter(name="one").update(status=StepStatus.DONE, sentence="done")
        job.steps.filter(name="two").update(status=StepStatus.FAILED, sentence="odd", state={"unit": "u"}, attempts=3)
        job_resume(job=job, actor=OLGA)
        rows = job.steps.filter(name__in=("one", "two")).values_list("name", "status", "sentence", "state", "attempts")
        assert list(rows) == [("one", "done", "done", {}, 0), ("two", "pending", "", {"unit": "u"}, 0)]

    def it_begins_anew_where_it_was_rolled_back(self, toy: Callable[..., Job]) -> None:
        job = toy()
        Job.objects.filter(pk=job.pk).update(status=Status.FAILED)
        job.steps.filter(name="looked").update(status=StepStatus.DONE)
        job.steps.filter(name="one").update(status=StepStatus.UNDONE, state={"unit": "u"}, progress={"done": 1})
        job_resume(job=job, actor=OLGA)
        rows = job.steps.filter(name__in=("looked", "one")).values_list("name", "status", "state", "progress")
        assert list(rows) == [("looked", "pending", {}, {}), ("one", "pending", {}, {})]

    def it_says_that_the_plan_has_changed(self, toy: Callable[..., Job]) -> None:
        job = toy()
        Job.objects.filter(pk=job.pk).update(status=Status.FAILED, plan_hash="0" * 64)
        job = job_resume(job=job, actor=OLGA)
        assert texts(job)[-1] == "Resumed by olga. The plan has changed since it was requested."
        assert len(set(job.plan_hash)) > 1

    def it_refuses_while_another_job_holds_the_cluster(self, toy: Callable[..., Job]) -> None:
        job = toy()
        Job.objects.filter(pk=job.pk).update(status=Status.FAILED)
        other = job_request(kind="toy", actor=OLGA, data={"directory": "/"}, cluster=job.cluster)
        with pytest.raises(Busy) as refused:
            job_resume(job=job, actor=OLGA)
        assert refused.value.job == other

    @pytest.mark.parametrize("status", [Status.QUEUED, Status.RUNNING, Status.ROLLING_BACK, Status.DONE])
    def it_refuses_where_there_is_nothing_to_resume(self, toy: Callable[..., Job], status: Status) -> None:
        job = toy()
        Job.objects.filter(pk=job.pk).update(status=status)
        with pytest.raises(RequestRefused) as refused:
            job_resume(job=job, actor=OLGA)
        assert refused.value.sentence == f"Job #{job.pk} is {status.label}: there is nothing to resume."

    def it_refuses_when_the_cluster_is_gone(self, toy: Callable[..., Job]) -> None:
        job = toy()
        Job.objects.filter(pk=job.pk).update(status=Status.FAILED, cluster=None)
        with pytest.raises(RequestRefused) as refused:
            job_resume(job=job, actor=OLGA)
        assert refused.value.sentence == f"Cluster {job.cluster_name} is not there any more, so job #{job.pk} cannot go on."


@pytest.mark.django_db
class TestActor:
    def it_has_the_rights_of_the_user(self) -> None:
        user = UserFactory(username="olga", permissions=["tasks.run_verify", "tasks.view_job"])
        actor = actor_of(user, "web")
        assert (actor.name, actor.source, actor.can("tasks.run_verify"), actor.can("tasks.run_toy")) == ("olga", "web", True, False)

    def it_has_no_more_than_the_token_allows(self) -> None:
        user = UserFactory(permissions=["tasks.run_verify", "tasks.view_job"])
        actor = actor_of(user, "api", only={"tasks.view_job", "tasks.run_add_standby"})
        assert actor.permissions == {"tasks.view_job"}
        root = UserFactory(is_superuser=True)
        assert actor_of(root, "api", only={"tasks.view_job"}).permissions == {"tasks.view_job"}
        assert actor_of(root, "web").can("tasks.run_anything")

    def it_has_nothing_when_the_user_is_switched_off(self) -> None:
        assert actor_of(UserFactory(is_superuser=True, is_active=False), "web").permissions == frozenset()


def it_has_one_door_each() -> None:
    assert set(services.__all__) == {
        "Busy", "Forbidden", "Preview", "RequestRefused", "job_cancel", "job_preview", "job_request", "job_resume", "job_sheet",
    }  # fmt: skip
