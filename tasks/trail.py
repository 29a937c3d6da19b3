"""The audit trail given out: every entry that fits, the oldest first, as JSON lines or CSV, without holding it in memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from tasks.feeds import read
from tasks.models import AuditEntry
from tasks.shown import AUDIT_FIELDS, storable

Format = Literal["jsonl", "csv"]
Rows = QuerySet[AuditEntry, dict[str, Any]]
TYPES: Final[dict[Format, str]] = {"jsonl": "application/jsonl; charset=utf-8", "csv": "text/csv; charset=utf-8"}
PAGE: Final = 1_000
#: A spreadsheet takes what begins so for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def entries_of(
    *, cluster: str = "", actor: str = "", action: str = "", phase: str = "", since: datetime | None = None, until: datetime | None = None
) -> Rows:
    """`since` is included, `until` is not."""
    texts = {"cluster_name": cluster, "actor": actor, "action": action, "phase": phase}
    given: dict[str, Any] = {field: storable(value) for field, value in texts.items() if value}
    given |= {"at__gte": since} if since else {}
    given |= {"at__lt": until} if until else {}
    rows: Rows = AuditEntry.objects.filter(**given).order_by("number").values(*AUDIT_FIELDS)
    return rows


def aware(moment: datetime | None) -> datetime | None:
    """A time without an offset is meant as the panel shows times."""
    return timezone.make_aware(moment) if moment and timezone.is_naive(moment) else moment


def trail_pages(rows: Rows, form: Format) -> Iterator[str]:
    """Text after text, some entries each; CSV with a heading first."""
    page = _page(rows, form, 0)
    yield _heading(form)
    while page.text:
        yield page.text
        page = _page(rows, form, page.last)


def trail_response(rows: Rows, form: Format) -> StreamingHttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="audit.{form}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(_stream(rows, form), content_type=TYPES[form], headers=headers)


async def _stream(rows: Rows, form: Format) -> AsyncIterator[bytes]:
    """The same for the web process, which waits for nothing: each page is read in a thread."""
    page = await read(_page, rows, form, 0)
    yield _heading(form).encode()
    while page.text:
        yield page.text.encode()
        page = await read(_page, rows, form, page.last)


@dataclass(frozen=True)
class _Page:
    text: str
    last: int  # number of its last entry


def _page(rows: Rows, form: Format, after: int) -> _Page:
    found = list(rows.filter(number__gt=after)[:PAGE])
    return _Page("".join(_line(row, form) for row in found), found[-1]["number"] if found else after)


def _heading(form: Format) -> str:
    return _csv(AUDIT_FIELDS) if form == "csv" else ""


def _line(row: dict[str, Any], form: Format) -> str:
    return _csv([_cell(row[name]) for name in AUDIT_FIELDS]) if form == "csv" else f"{_json(row)}\n"


def _csv(cells: Any) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, dict):
        return _json(value)
    text = value.isoformat() if isinstance(value, datetime) else "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def _json(value: Any) -> str:
    return json.dumps(value, cls=_Exact, ensure_ascii=False, sort_keys=True)


class _Exact(DjangoJSONEncoder):
    """Times to the microsecond, as the hashes count them."""

    def default(self, o: Any) -> Any:
        return o.isoformat(timespec="microseconds") if isinstance(o, datetime) else super().default(o)
