"""A job's live log: the stream (server-sent events) and its polling twin, for clients that streams do not reach.

Both start after the event that the client names (`Last-Event-ID` header, else `?after=`) and read the same rows, so whoever comes back
goes on without gap or repeat. The page and the API serve the same two responses; each brings its own proof that the caller may look.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from asgiref.sync import sync_to_async
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from tasks.feeds import PAGE, Snapshot, give_back_connections, hub, log, look, read, watch
from tasks.frames import refused_frame
from tasks.selectors import job_snapshot

PERMISSION: Final = "tasks.view_job"
PAGE_MAX: Final = 1000

#: Whether the caller may still look; asked again at each heartbeat, in a reader thread.
StillAllowed = Callable[[], bool]


class Refusal(Exception):
    """An answer other than 200: the status and the sentence that goes with it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status

    def response(self) -> JsonResponse:
        return JsonResponse({"detail": str(self)}, status=self.status, headers={"Cache-Control": "no-store"})


# Neither view lets the middleware redirect to the login page: an EventSource could not follow. They answer 401 themselves.
@login_not_required
@require_GET
async def job_stream(request: HttpRequest, job_id: int) -> HttpResponseBase:
    """The stream, for a signed-in user with tasks.view_job."""
    refused = await _session_refusal(request)
    return refused.response() if refused else await stream_response(request, job_id, _session_check(request))


@login_not_required
@require_GET
async def job_events(request: HttpRequest, job_id: int) -> HttpResponse:
    """The polling twin, for a signed-in user with tasks.view_job."""
    refused = await _session_refusal(request)
    return refused.response() if refused else await events_response(request, job_id)


async def stream_response(request: HttpRequest, job_id: int, still_allowed: StillAllowed) -> HttpResponseBase:
    """The stream of a job for a caller who has been found allowed to see it; 404 for an unknown job, 400 for a bad place."""
    try:
        after = _place(request)
        snapshot = _existing(await sync_to_async(job_snapshot)(job_id), job_id)
        _reached(after, snapshot)
    except Refusal as refused:
        return refused.response()
    # What the request has read so far (session, user, permission) used a connection, which Django keeps until the response ends.
    await sync_to_async(give_back_connections)()
    headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
    return StreamingHttpResponse(_stream(snapshot, after, still_allowed), content_type="text/event-stream; charset=utf-8", headers=headers)


async def events_response(request: HttpRequest, job_id: int) -> HttpResponse:
    """`{"job": snapshot, "events": [...], "next": number, "more": bool}` for a caller who has been found allowed; `?limit=` 1 to 1000."""
    try:
        after, limit = _place(request), _limit(request)
        found, events = await sync_to_async(look)(job_id, after, limit)
        snapshot = _existing(found, job_id)
        _reached(after, snapshot)
    except Refusal as refused:
        return refused.response()
    answer = {"job": snapshot, "events": events, "next": events[-1]["seq"] if events else after, "more": len(events) == limit}
    return JsonResponse(answer, headers={"Cache-Control": "no-store"})


async def _stream(snapshot: Snapshot, after: int, still_allowed: StillAllowed) -> AsyncIterator[bytes]:
    refused = refused_frame(_("You may no longer see this job. Sign in again, or ask an administrator."))

    async def refusal() -> bytes:
        return b"" if await read(still_allowed) else refused

    feeds = hub()
    feed = feeds.join(snapshot)
    try:
        async for part in watch(feed, after, refusal):
            yield part
    except (DatabaseError, InterfaceError) as error:
        log.warning("A stream of job %s ends, the database cannot be read now (%s); its viewer comes back.", snapshot["id"], error)
    finally:
        feeds.leave(feed)


async def _session_refusal(request: HttpRequest) -> Refusal | None:
    if request.headers.get("Sec-Fetch-Site") == "cross-site":
        return Refusal(403, _("Another site may not read a job's log."))
    user = await request.auser()
    if not user.is_authenticated:
        return Refusal(401, _("Sign in to see this job."))
    if not await user.ahas_perm(PERMISSION):
        return Refusal(403, _("You may not see jobs. Ask an administrator for the permission “view job”."))
    return None


def _session_check(request: HttpRequest) -> StillAllowed:
    """Looks the session up again: it may have been ended, its user disabled, or the permission taken away."""
    store = import_string(settings.SESSION_ENGINE + ".SessionStore")
    key = request.session.session_key

    def still_allowed() -> bool:
        fresh = HttpRequest()
        fresh.session = store(key)
        return get_user(fresh).has_perm(PERMISSION)

    return still_allowed


def _place(request: HttpRequest) -> int:
    """The event after which the client wants to go on. A browser that comes back says it in the header, whatever its address says."""
    value = request.headers.get("Last-Event-ID") or request.GET.get("after", "0")
    return _number(value, 0, 10**15, _("“after” (or Last-Event-ID) must be the number of an event: 0, 1, 2 and so on."))


def _limit(request: HttpRequest) -> int:
    return _number(request.GET.get("limit", str(PAGE)), 1, PAGE_MAX, _("“limit” must be a whole number from 1 to 1000."))


def _number(value: str, lowest: int, highest: int, sentence: str) -> int:
    number = int(value) if value.isascii() and value.isdigit() and len(value) < 20 else -1
    if not lowest <= number <= highest:
        raise Refusal(400, sentence)
    return number


def _existing(snapshot: dict[str, Any] | None, job_id: int) -> Snapshot:
    if snapshot is None:
        raise Refusal(404, _("There is no job %(number)s.") % {"number": job_id})
    return snapshot


def _reached(after: int, snapshot: Snapshot) -> None:
    if after > snapshot["last_event"]:
        sentence = _("The log of this job has %(last)s events so far, so there is no event %(after)s. Load the page again.")
        raise Refusal(400, sentence % {"last": snapshot["last_event"], "after": after})
