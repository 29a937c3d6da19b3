"""Bearer tokens: shown once, kept as a hash, bounded by scope, user and time."""

from __future__ import annotations

import datetime as dt

import pytest
from django.core.exceptions import ValidationError
from django.utils import timezone

from tasks.actor import actor_system
from tasks.audit import Verified, audit_verify
from tasks.models import ApiToken, AuditEntry
from tasks.tokens import digest, token_actor, token_create, token_find, token_revoke
from tests.factories import UserFactory

pytestmark = pytest.mark.django_db
ACTOR = actor_system("root", "command")


def test_a_token_is_found_by_its_text_and_only_its_hash_is_stored() -> None:
    row, text = token_create(actor=ACTOR, user=UserFactory(username="olga"), name="ci")
    stored = ApiToken.objects.values().get()
    assert token_find(text.reveal()) == row
    assert stored["digest"] == digest(text.reveal())
    assert text.reveal() not in str(stored)
    assert text.reveal().startswith(stored["prefix"])
    assert len(stored["prefix"]) == 12


def test_unknown_expired_and_disabled_look_the_same() -> None:
    user, idle = UserFactory(), UserFactory(is_active=False)
    expired, expired_text = token_create(actor=ACTOR, user=user, name="old")
    ApiToken.objects.filter(pk=expired.pk).update(expires_at=timezone.now())
    _, idle_text = token_create(actor=ACTOR, user=idle, name="idle")
    texts = ["", "pgr_unknown", "\ud800\x00", "x" * 100_000, expired_text.reveal(), idle_text.reveal()]
    assert [token_find(text) for text in texts] == [None] * len(texts)


def test_last_used_is_written_once_a_minute() -> None:
    _row, text = token_create(actor=ACTOR, user=UserFactory(), name="ci")
    token_find(text.reveal())
    first = ApiToken.objects.get().last_used_at
    token_find(text.reveal())
    assert ApiToken.objects.get().last_used_at == first
    ApiToken.objects.update(last_used_at=first - dt.timedelta(minutes=1))
    token_find(text.reveal())
    assert ApiToken.objects.get().last_used_at > first


def test_scope_read_takes_away_every_right_to_act_and_operate_gives_none_that_the_user_lacks() -> None:
    user = UserFactory(permissions=["tasks.view_job", "tasks.run_verify"])
    rights = {}
    for scope in ("read", "operate"):
        row, _ = token_create(actor=ACTOR, user=user, name=scope, scope=scope)
        rights[scope] = token_actor(row).permissions
    assert rights == {"read": frozenset({"tasks.view_job"}), "operate": frozenset({"tasks.view_job", "tasks.run_verify"})}


def test_a_superusers_read_token_looks_and_does_nothing_else() -> None:
    row, _ = token_create(actor=ACTOR, user=UserFactory(is_superuser=True), name="ci", scope="read")
    assert token_actor(row).can("tasks.view_job")
    assert not token_actor(row).can("tasks.run_verify")
    assert not token_actor(row).can("auth.view_user")


def test_a_revoked_token_is_unknown() -> None:
    row, text = token_create(actor=ACTOR, user=UserFactory(), name="ci")
    token_revoke(actor=ACTOR, token=row)
    assert token_find(text.reveal()) is None


def test_making_and_revoking_are_in_the_audit_trail_without_the_token() -> None:
    row, text = token_create(actor=ACTOR, user=UserFactory(username="olga"), name="ci")
    token_revoke(actor=ACTOR, token=row)
    entries = list(AuditEntry.objects.order_by("number").values("actor", "action", "target", "details"))
    details = {"user": "olga", "prefix": row.prefix, "scope": "read"}
    made, revoked = ({"actor": "root", "action": action, "target": "ci", "details": details} for action in ("token_create", "token_revoke"))
    assert entries == [made, revoked]
    assert text.reveal() not in str(entries)
    assert isinstance(audit_verify(), Verified)


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("name", {"name": ""}),
        ("name", {"name": "a\nb"}),
        ("name", {"name": "x" * 61}),
        ("scope", {"name": "ci", "scope": "admin"}),
        ("days", {"name": "ci", "days": 0}),
        ("days", {"name": "ci", "days": 367}),
    ],
)
def test_a_bad_token_request_is_refused_at_its_field(field: str, values: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as refused:
        token_create(actor=ACTOR, user=UserFactory(), **values)
    assert list(refused.value.message_dict) == [field]
    assert not ApiToken.objects.exists()


def test_two_tokens_of_a_user_have_different_names() -> None:
    user = UserFactory(username="olga")
    token_create(actor=ACTOR, user=user, name="ci")
    with pytest.raises(ValidationError) as refused:
        token_create(actor=ACTOR, user=user, name="ci")
    assert refused.value.message_dict == {"name": ["olga has a token of this name already. Choose another name, or revoke that one."]}
