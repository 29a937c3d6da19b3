"""The audit trail given out: every entry that fits, the oldest first, as JSON lines or CSV, without holding it in memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, Literal

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import QuerySet
from django.http import StreamingHttpResponse
from django.utils import timezone

from tasks.models import AuditEntry
from tasks.shown import AUDIT_FIELDS, storable

Format = Literal["jsonl", "csv"]
TYPES: Final[dict[Format, str]] = {"jsonl": "application/jsonl; charset=utf-8", "csv": "text/csv; charset=utf-8"}
CHUNK: Final = 1_000
#: A spreadsheet takes what begins so for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def entries_of(
    *, cluster: str = "", actor: str = "", action: str = "", phase: str = "", since: datetime | None = None, until: datetime | None = None
) -> QuerySet[AuditEntry, dict[str, Any]]:
    """`since` is included, `until` is not."""
    texts = {"cluster_name": cluster, "actor": actor, "action": action, "phase": phase}
    given: dict[str, Any] = {field: storable(value) for field, value in texts.items() if value}
    given |= {"at__gte": since} if since else {}
    given |= {"at__lt": until} if until else {}
    rows: QuerySet[AuditEntry, dict[str, Any]] = AuditEntry.objects.filter(**given).order_by("number").values(*AUDIT_FIELDS)
    return rows


def aware(moment: datetime | None) -> datetime | None:
    """A time without an offset is meant as the panel shows times."""
    return timezone.make_aware(moment) if moment and timezone.is_naive(moment) else moment


def trail_lines(rows: QuerySet[AuditEntry, dict[str, Any]], form: Format) -> Iterator[str]:
    """A line for each entry, each with its end; CSV with a heading first."""
    if form == "csv":
        yield _csv(AUDIT_FIELDS)
    for row in rows.iterator(chunk_size=CHUNK):
        yield _csv([_cell(row[name]) for name in AUDIT_FIELDS]) if form == "csv" else f"{_json(row)}\n"


def trail_response(rows: QuerySet[AuditEntry, dict[str, Any]], form: Format) -> StreamingHttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="audit.{form}"', "Cache-Control": "no-store"}
    return StreamingHttpResponse(trail_lines(rows, form), content_type=TYPES[form], headers=headers)


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
