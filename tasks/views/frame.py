"""Who may open a page, and what every page has around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ParamSpec

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase
from django.template.response import TemplateResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

P = ParamSpec("P")
Crumb = tuple[Any, str]  # words, address ("" for the page itself)


def page(
    permission: str = "", methods: Sequence[str] = ("GET", "HEAD")
) -> Callable[[Callable[P, HttpResponseBase]], Callable[P, HttpResponseBase]]:
    """A page for those who may enter the panel and have `permission`; for others 403. The middleware has sent strangers to sign in."""

    def decorate(view: Callable[P, HttpResponseBase]) -> Callable[P, HttpResponseBase]:
        @wraps(view)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            request = args[0]
            assert isinstance(request, HttpRequest)
            require(request, permission)
            return view(*args, **kwargs)

        return never_cache(require_http_methods(list(methods))(guarded))

    return decorate


def require(request: HttpRequest, permission: str = "") -> None:
    """Raises: PermissionDenied, unless the user may enter the panel and has the permission."""
    if not admin.site.has_permission(request) or (permission and not request.user.has_perm(permission)):
        raise PermissionDenied


def render(request: HttpRequest, template: str, *, title: Any, crumbs: Sequence[Crumb] = (), **context: Any) -> TemplateResponse:
    """A page with the admin's own frame: side bar, theme, messages."""
    frame = admin.site.each_context(request)
    return TemplateResponse(request, template, {**frame, "title": title, "crumbs": [*crumbs, (title, "")], **context})
