"""The admin's lists: to look at, not to change; users and tokens within bounds."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from unfold.admin import ModelAdmin

from clusters.models import Cluster, Instance, ReplicationPair, Server, Verification
from tasks.models import ApiToken, AuditEntry, Job
from tests.factories import AuditFactory, JobFactory, TokenFactory, UserFactory, cluster_with_standbys
from tests.unit.web.conftest import Get, post, queries_of, text_of

pytestmark = pytest.mark.django_db
LOOK_ONLY = (Server, Cluster, Instance, ReplicationPair, Verification, Job, AuditEntry)


def address(model: Any, verb: str = "changelist", *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{verb}", args=args)


def row_of(model: Any) -> Any:
    cluster = cluster_with_standbys("orders")
    JobFactory(cluster=cluster, summary="All well.")
    AuditFactory(details={"why": "<b>bold</b>"})
    return model.objects.first()


def it_shows_every_model_in_unfolds_style() -> None:
    assert [model for model, shown in admin.site._registry.items() if not isinstance(shown, ModelAdmin)] == []


@pytest.mark.parametrize("model", LOOK_ONLY, ids=lambda model: model.__name__)
def it_lets_nobody_change_what_jobs_make(signed_in: Callable[[str], Client], people: dict[str, User], model: Any) -> None:
    row = row_of(model)
    User.objects.filter(username="adam").update(is_superuser=True)
    client = signed_in("adam")
    assert client.get(address(model)).status_code == 200
    assert client.get(address(model, "add")).status_code == 403
    assert client.get(address(model, "delete", row.pk)).status_code == 403
    before = model.objects.filter(pk=row.pk).values().get()
    post(client, address(model, "change", row.pk), {"name": "other", "status": "done", "summary": "other"})
    post(client, address(model, "delete", row.pk), {"post": "yes"})
    assert model.objects.filter(pk=row.pk).values().get() == before


@pytest.mark.parametrize("model", [Server, Cluster, Instance, ReplicationPair, Job], ids=lambda model: model.__name__)
def it_opens_the_page_made_for_a_row(signed_in: Callable[[str], Client], model: Any) -> None:
    row = row_of(model)
    response = signed_in("vera").get(address(model, "change", row.pk))
    assert response.status_code == 302
    assert signed_in("vera").get(response["Location"].partition("#")[0]).status_code == 200
    assert signed_in("otto").get(address(model, "change", row.pk)).status_code == 403


def it_shows_an_audit_entry_with_its_details_as_text(get: Get) -> None:
    row_of(AuditEntry)
    page = get("vera", address(AuditEntry, "change", AuditEntry.objects.get().pk))
    assert "&lt;b&gt;bold&lt;/b&gt;" in page


def it_shows_a_verification_with_its_findings(get: Get) -> None:
    row_of(Verification)
    Verification.objects.update(findings=[{"severity": "warns", "sentence": "It is behind.", "cure": "Look there."}])
    assert "It is behind." in text_of(get("vera", address(Verification, "change", Verification.objects.get().pk)))


@pytest.mark.parametrize("model", [*LOOK_ONLY, User, ApiToken], ids=lambda model: model.__name__)
def it_asks_the_database_the_same_number_of_questions_for_many_rows(signed_in: Callable[[str], Client], model: Any) -> None:
    client = signed_in("adam")
    row_of(model)
    TokenFactory()
    few = queries_of(client, address(model))
    for number in range(12):
        JobFactory(cluster=cluster_with_standbys(f"more-{number}"))
        AuditFactory(job_id=number)
        TokenFactory()
    assert len(queries_of(client, address(model))) == len(few) <= 16


def it_shows_a_token_once(signed_in: Callable[[str], Client], people: dict[str, User]) -> None:
    client = signed_in("adam")
    answer = post(client, address(ApiToken, "add"), {"user": people["adam"].pk, "name": "backup script", "scope": "read", "days": "30"})
    text = re.search(r'<code id="token"[^>]*>([^<]+)</code>', answer.content.decode())[1]
    token = ApiToken.objects.get()
    assert text.startswith(token.prefix)
    assert "no-store" in answer["Cache-Control"]
    for page in (client.get(address(ApiToken)), client.get(address(ApiToken, "change", token.pk))):
        assert text not in page.content.decode()
    assert token.digest not in client.get(address(ApiToken, "change", token.pk)).content.decode()


def it_makes_no_token_for_somebody_else_unless_a_superuser_asks(signed_in: Callable[[str], Client], people: dict[str, User]) -> None:
    asked = {"user": people["olga"].pk, "name": "for olga", "scope": "operate", "days": "30"}
    assert 'name="user"' in post(signed_in("adam"), address(ApiToken, "add"), asked).content.decode()
    assert ApiToken.objects.count() == 0
    User.objects.filter(username="adam").update(is_superuser=True)
    post(signed_in("adam"), address(ApiToken, "add"), asked)
    assert ApiToken.objects.get().user == people["olga"]


def it_writes_a_revoked_token_into_the_audit_trail(signed_in: Callable[[str], Client]) -> None:
    token = TokenFactory()
    post(signed_in("adam"), address(ApiToken, "delete", token.pk), {"post": "yes"})
    assert (ApiToken.objects.count(), AuditEntry.objects.get().action) == (0, "token_revoke")


def it_lets_an_administrator_make_users_who_may_sign_in(signed_in: Callable[[str], Client]) -> None:
    sent = {
        "username": "nina",
        "password1": "a-Long-Enough-1",
        "password2": "a-Long-Enough-1",
        "usable_password": "true",
        "is_superuser": "on",
    }
    assert post(signed_in("adam"), address(User, "add"), sent).status_code == 302
    nina = User.objects.get(username="nina")
    assert (nina.is_staff, nina.is_superuser) == (True, False)


def it_does_not_let_an_administrator_become_a_superuser(signed_in: Callable[[str], Client], people: dict[str, User]) -> None:
    adam = people["adam"]
    sent = {
        "username": "adam",
        "is_active": "on",
        "is_staff": "on",
        "is_superuser": "on",
        "groups": [g.pk for g in adam.groups.all()],
        "user_permissions": ["1"],
    }
    assert post(signed_in("adam"), address(User, "change", adam.pk), sent).status_code == 302
    adam.refresh_from_db()
    assert (adam.is_superuser, adam.user_permissions.count()) == (False, 0)


def it_keeps_an_administrator_away_from_a_superusers_account(signed_in: Callable[[str], Client]) -> None:
    root = UserFactory(username="root", is_superuser=True, password="!")
    client = signed_in("adam")
    passwords = {"password1": "a-Long-Enough-1", "password2": "a-Long-Enough-1", "usable_password": "true"}
    assert post(client, reverse("admin:auth_user_password_change", args=[root.pk]), passwords).status_code == 403
    assert post(client, address(User, "delete", root.pk), {"post": "yes"}).status_code == 403
    assert User.objects.get(username="root").password == "!"


def it_switches_a_schedule_off_and_changes_nothing_else_of_it(signed_in: Callable[[str], Client]) -> None:
    task = PeriodicTask.objects.create(
        name="verify_late", task="tasks.verify_late", interval=IntervalSchedule.objects.create(every=300, period="seconds")
    )
    client = signed_in("adam")
    assert "every 300 seconds" in text_of(client.get(address(PeriodicTask, "change", task.pk)).content.decode())
    post(client, address(PeriodicTask, "change", task.pk), {"name": "other", "task": "tasks.other", "args": "[1]"})
    task.refresh_from_db()
    assert (task.enabled, task.name, task.task, task.args) == (False, "verify_late", "tasks.verify_late", "[]")


def it_shows_only_the_places_one_may_go_to(get: Get) -> None:
    def places(who: str) -> list[str]:
        return re.findall(r'<li>\s*<a href="(/admin/[^"]*)"', get(who, "/admin/"))

    assert places("otto") == ["/admin/"]
    assert places("vera") == [
        "/admin/", "/admin/clusters/server/", "/admin/tasks/job/", "/admin/clusters/verification/", "/admin/tasks/auditentry/",
    ]  # fmt: skip
    assert set(places("adam")) - set(places("vera")) == {
        "/admin/auth/user/", "/admin/auth/group/", "/admin/tasks/apitoken/",
        "/admin/django_celery_beat/periodictask/", "/admin/axes/accessattempt/",
    }  # fmt: skip
