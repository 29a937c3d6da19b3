"""The API under /api/v1/, put together. A route without a rule is closed (`tasks.api.auth`)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path, re_path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI

from pgreplica_admin import __version__
from tasks.api import adoption, alerts, audit, clusters, copies, jobs, promotions, samples, servers
from tasks.api.auth import Closed
from tasks.api.errors import handlers_install, method_not_allowed, not_found

api = NinjaAPI(
    title="pgreplica-admin",
    version=__version__,
    urls_namespace="api",
    auth=Closed(),
    description="What the panel's pages and commands can do. Make a token with “./pgreplica token create”.",
)
for module in (servers, clusters, promotions, copies, adoption, samples, alerts, jobs, audit):
    api.add_router("", module.router)
handlers_install(api)


def _answering(view: Callable[..., Any]) -> Callable[..., Any]:
    """The operations' own `auth` decides, not the redirect to the sign-in page; a wrong method is answered in JSON too."""
    if iscoroutinefunction(view):

        @wraps(view)
        async def answer_async(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            return _checked(await view(request, *args, **kwargs))

        return login_not_required(answer_async)

    @wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        return _checked(view(request, *args, **kwargs))

    return login_not_required(answer)


def _checked(response: Any) -> Any:
    return method_not_allowed(response["Allow"]) if response.status_code == 405 else response


@csrf_exempt  # nothing is there to be changed
@login_not_required
def _nowhere(request: HttpRequest) -> HttpResponse:
    return not_found(request)


def _urls() -> tuple[list[URLPattern | URLResolver], str, str]:
    patterns, app_name, namespace = api.urls
    for pattern in patterns:
        # The documentation keeps the middleware's rule: it is for those who are signed in.
        if isinstance(pattern, URLPattern) and pattern.name not in ("openapi-json", "openapi-view"):
            pattern.callback = _nowhere if pattern.name == "api-root" else _answering(pattern.callback)
    return [*patterns, re_path(r"^.*$", _nowhere, name="nowhere")], app_name, namespace


urlpatterns = [path("api/v1/", _urls())]
