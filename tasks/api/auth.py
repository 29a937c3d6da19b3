"""Who calls the API, and whether they may. Every route says `auth=needs("app.permission")`; a route that says nothing is closed to all.

A bearer token needs no CSRF token, since no browser sends it by itself; the session cookie does.
"""

from __future__ import annotations

from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.http import HttpRequest
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from ninja.errors import HttpError
from ninja.security import APIKeyCookie, HttpBearer
from ninja.security.base import AuthBase
from ninja.utils import check_csrf

from tasks.actor import Actor, actor_of
from tasks.refusals import allow
from tasks.tokens import token_actor, token_find

SOURCE: Final = "api"


class BearerToken(HttpBearer):
    """`Authorization: Bearer pgr_...`"""

    def __init__(self, permission: str) -> None:
        super().__init__()
        self.permission = permission

    def authenticate(self, request: HttpRequest, token: str) -> Actor | None:
        row = token_find(token)
        return _allowed(token_actor(row), self.permission) if row else None


class SessionCookie(APIKeyCookie):
    """The cookie of somebody who is signed in; only asked where no Authorization header is given."""

    param_name = "sessionid"

    def __init__(self, permission: str) -> None:
        super().__init__(csrf=True)
        self.permission = permission

    def __call__(self, request: HttpRequest) -> Actor | None:
        if "Authorization" in request.headers or not isinstance(request.user, User):
            return None
        if check_csrf(request):
            raise HttpError(403, _("The CSRF token is missing or wrong. Send the page's token as X-CSRFToken, or use a bearer token."))
        return self.authenticate(request, None)

    def authenticate(self, request: HttpRequest, key: str | None) -> Actor | None:
        return _allowed(actor_of(request.user, SOURCE), self.permission) if isinstance(request.user, User) else None


class Closed(AuthBase):
    """What a route has that declares no rule: nobody gets in."""

    openapi_type = "http"
    csrf = True  # ninja asks here whether its page needs the CSRF token, to try requests out with the session

    def __call__(self, request: HttpRequest) -> None:
        return None


def needs(permission: str) -> list[AuthBase]:
    """The rule of a route: a valid token or session, with this permission."""
    return [BearerToken(permission), SessionCookie(permission)]


#: What an asynchronous route adds to its documentation, so that it reads as the others do.
SECURITY: Final[dict[str, Any]] = {"security": [{"BearerToken": []}, {"SessionCookie": []}]}


def needs_async(permission: str) -> list[AuthBase]:
    """The same for an asynchronous route: the database is read in a thread."""
    return [AsyncBearerToken(permission), AsyncSessionCookie(permission)]


class AsyncBearerToken(BearerToken):
    def __init__(self, permission: str) -> None:
        super().__init__(permission)
        del self.openapi_security_schema  # the routes name BearerToken themselves

    async def __call__(self, request: HttpRequest) -> Any:
        return await sync_to_async(super().__call__)(request)


class AsyncSessionCookie(SessionCookie):
    def __init__(self, permission: str) -> None:
        super().__init__(permission)
        del self.openapi_security_schema

    async def __call__(self, request: HttpRequest) -> Any:  # type: ignore[override]  # ninja awaits it
        return await sync_to_async(super().__call__)(request)


def still_allowed(request: HttpRequest, permission: str) -> bool:
    """Whether a long-lived answer may go on: token, session, user and permission are looked up again."""
    scheme, _space, text = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        row = token_find(text)
        return row is not None and token_actor(row).can(permission)
    fresh = HttpRequest()
    fresh.session = import_string(f"{settings.SESSION_ENGINE}.SessionStore")(request.session.session_key)
    user = get_user(fresh)
    return isinstance(user, User) and user.is_active and user.has_perm(permission)


def _allowed(actor: Actor, permission: str) -> Actor:
    allow(actor, permission)
    return actor


def actor(request: HttpRequest) -> Actor:
    """Who `needs` found."""
    found = getattr(request, "auth", None)
    if not isinstance(found, Actor):
        raise TypeError("a route without needs(...)")
    return found
