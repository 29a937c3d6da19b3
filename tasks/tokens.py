"""Bearer tokens of the API: made here, shown once, kept as SHA-256. A token can do what its user can, and no more than its scope says."""

from __future__ import annotations

import datetime as dt
import hashlib
import secrets
from typing import Final

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from clusters.secrets import Secret
from tasks.access import VIEW
from tasks.actor import Actor, actor_of
from tasks.audit import audit_append
from tasks.models import ApiToken

PREFIX: Final = "pgr_"
SHOWN: Final = 12  # characters of the token that stay readable, so that a person can tell tokens apart
MAX_DAYS: Final = 366
LAST_USED_EVERY: Final = dt.timedelta(minutes=1)


def token_create(*, actor: Actor, user: User, name: str, scope: str = ApiToken.Scope.READ, days: int = 90) -> tuple[ApiToken, Secret]:
    """A new token of `user`, and its text: the only moment at which it can be seen.

    Raises: ValidationError naming `name`, `scope` or `days`.
    """
    _check(name, scope, days)
    text = Secret(PREFIX + secrets.token_urlsafe(32))
    token = ApiToken(
        user=user,
        name=name,
        prefix=text.reveal()[:SHOWN],
        digest=digest(text.reveal()),
        scope=scope,
        expires_at=timezone.now() + dt.timedelta(days=days),
    )
    with transaction.atomic():
        try:
            with transaction.atomic():
                token.save(force_insert=True)
        except IntegrityError as error:
            sentence = _("%(user)s has a token of this name already. Choose another name, or revoke that one.")
            raise ValidationError({"name": sentence % {"user": user.get_username()}}) from error
        _audited(actor, "token_create", token)
    return token, text


def token_revoke(*, actor: Actor, token: ApiToken) -> None:
    """Delete a token: from now on it is unknown."""
    with transaction.atomic():
        _audited(actor, "token_revoke", token)
        token.delete()


def token_find(text: str) -> ApiToken | None:
    """The valid token of this text. None for one that is unknown, expired or of a disabled user: nobody learns which."""
    now = timezone.now()
    rows = ApiToken.objects.select_related("user")
    token = rows.filter(digest=digest(text), expires_at__gt=now, user__is_active=True).first()
    if token is not None and (token.last_used_at is None or token.last_used_at <= now - LAST_USED_EVERY):
        stale = Q(last_used_at=None) | Q(last_used_at__lte=now - LAST_USED_EVERY)
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)
    return token


def token_actor(token: ApiToken) -> Actor:
    """Who asks, when this token asks: its user's rights, with scope "read" only those that look."""
    only = VIEW if token.scope == ApiToken.Scope.READ else None
    return actor_of(token.user, "api", only=only)


def digest(text: str) -> str:
    """SHA-256 suffices: the text is 256 random bits, not something a person chose."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _audited(actor: Actor, action: str, token: ApiToken) -> None:
    details = {"user": token.user.get_username(), "prefix": token.prefix, "scope": token.scope}
    audit_append(actor=actor.name, source=actor.source, action=action, target=token.name, details=details)


def _check(name: str, scope: str, days: int) -> None:
    refused: dict[str, str] = {}
    if not 0 < len(name) <= 60 or not name.isprintable():
        refused["name"] = _("name: give what uses the token, in at most 60 visible characters.")
    if scope not in ApiToken.Scope.values:
        refused["scope"] = _("scope: choose read or operate.")
    if not 0 < days <= MAX_DAYS:
        refused["days"] = _("days: a token lasts at least 1 and at most %(days)d days.") % {"days": MAX_DAYS}
    if refused:
        raise ValidationError(refused)
