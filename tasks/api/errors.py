"""The one shape of every refusal: {"error": {"code", "message", "hint", "fields"}}, and which status it has."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ObjectDoesNotExist
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError

from tasks.refusals import Busy, Forbidden, RequestRefused

logger = logging.getLogger(__name__)

CODES = {400: "bad_request", 401: "not_signed_in", 403: "forbidden", 404: "not_found", 405: "method_not_allowed", 422: "refused"}


def error(status: int, message: str, *, hint: str = "", fields: Mapping[str, Sequence[str]] | None = None, **more: Any) -> JsonResponse:
    """`more`: further keys of the error object, such as the job that holds the cluster."""
    code = more.pop("code", None) or CODES.get(status, "error")
    body = {"code": code, "message": str(message), "hint": str(hint), "fields": {k: list(v) for k, v in (fields or {}).items()}, **more}
    response = JsonResponse({"error": body}, status=status, headers={"Cache-Control": "no-store"})
    if status == 401:
        response["WWW-Authenticate"] = "Bearer"
    return response


def handlers_install(api: NinjaAPI) -> None:
    for kind, handler in _HANDLERS.items():
        api.add_exception_handler(kind, handler)


def not_signed_in(request: HttpRequest, exc: Any = None) -> HttpResponse:
    hint = _("Send “Authorization: Bearer <token>”; “./pgreplica token create” makes one.")
    return error(401, _("The request has no valid token and no session."), hint=hint)


def not_found(request: HttpRequest, exc: Any = None) -> HttpResponse:
    what = type(exc).__qualname__.partition(".")[0] if isinstance(exc, ObjectDoesNotExist) else ""
    sentences = {
        "Cluster": _("There is no cluster of this name."),
        "Instance": _("This cluster has no instance of this name."),
        "Server": _("There is no server of this name."),
        "Job": _("There is no job of this number."),
    }
    return error(
        404, sentences.get(what, _("There is nothing at this address.")), hint=_("The list of them, and /api/v1/docs, say what there is.")
    )


def method_not_allowed(allowed: str) -> HttpResponse:
    allowed = ", ".join(sorted(allowed.split(", ")))
    response = error(405, _("This address does not know this method."), hint=_("It knows: %(methods)s.") % {"methods": allowed})
    response["Allow"] = allowed
    return response


def _http(request: HttpRequest, exc: HttpError) -> HttpResponse:
    if exc.status_code == 400:
        return error(400, _("The body is not the JSON object that was expected."), hint=_("/api/v1/docs shows an example."))
    return error(exc.status_code, exc.message)


def _shape(request: HttpRequest, exc: ValidationError) -> HttpResponse:
    """What the route's own types refuse: unknown or missing keys, a number that is none. Never repeats the value."""
    fields: dict[str, list[str]] = {}
    for found in exc.errors:
        place = [str(part) for part in found.get("loc", ())]
        name = place[-1] if len(place) > 2 else "__all__" if len(place) < 2 else place[1]
        fields.setdefault(name, []).append(f"{name}: {found.get('msg', '')}")
    return error(422, _("The request is not valid."), hint=_("Correct the fields that are named."), fields=fields)


def _refused(request: HttpRequest, exc: RequestRefused) -> HttpResponse:
    return error(422, exc.sentence, hint=_("Correct the fields that are named."), fields=exc.errors)


def _forbidden(request: HttpRequest, exc: Forbidden) -> HttpResponse:
    return error(403, exc.sentence, hint=_("A token can do no more than its scope and its user."))


def _busy(request: HttpRequest, exc: Busy) -> HttpResponse:
    link = {"id": exc.job.pk, "url": job_url(exc.job.pk)}
    return error(409, exc.sentence, code="busy", hint=_("Wait for that job, or cancel it, then ask again."), job=link)


def _unexpected(request: HttpRequest, exc: Exception) -> HttpResponse:
    """The details go to the log under a number; the caller gets the number."""
    number = secrets.token_hex(6)
    logger.error("API error %s at %s %s", number, request.method, request.path, exc_info=exc)
    hint = _("The panel's log says more under %(number)s. Tell an administrator.") % {"number": number}
    return error(500, _("Something went wrong in the panel."), code="internal", hint=hint)


def job_url(job_id: int) -> str:
    return f"/api/v1/jobs/{job_id}"


_HANDLERS: dict[type[Exception], Any] = {
    AuthenticationError: not_signed_in,
    HttpError: _http,
    ValidationError: _shape,
    RequestRefused: _refused,
    Forbidden: _forbidden,
    Busy: _busy,
    ObjectDoesNotExist: not_found,
    Http404: not_found,
    Exception: _unexpected,
}
