"""How results are printed: for people as text without surprises for the terminal, for programs as JSON."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def as_json(value: Any) -> str:
    return json.dumps(value, cls=DjangoJSONEncoder, indent=2, ensure_ascii=False)


def plain(value: object) -> str:
    """`value` on one line; what could steer a terminal is shown as its code."""
    text = "" if value is None else str(value)
    return "".join(f"\\u{ord(char):04x}" if unicodedata.category(char) in _INVISIBLE else char for char in text)


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Iterable[str]:
    """Lines of a table with a heading; columns as wide as their widest value."""
    cells = [[column.upper().replace("_", " ") for column in columns]]
    cells += [[plain(row[column]) for column in columns] for row in rows]
    widths = [max(len(line[n]) for line in cells) for n in range(len(columns))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def pairs(values: Mapping[str, Any]) -> Iterable[str]:
    """Lines of `name: value`; what is nested stands there as JSON."""
    return [f"{key}: {plain(json.dumps(v, cls=DjangoJSONEncoder) if isinstance(v, dict | list) else v)}" for key, v in values.items()]


def plan_lines(plan: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    """A plan as a person reads it: each step, then what it will use, where."""
    for number, step in enumerate(plan, start=1):
        yield f"{number}. {plain(step['title'])}"
        for item in step["items"]:
            text = f"{item['path']}\n{item.get('diff', '')}" if item["type"] == "file" else item["text"]
            lines = [plain(line) for line in str(text).rstrip().split("\n")]
            yield f"   {item['type']} on {item['server']}: {lines[0]}"
            yield from (f"      {line}" for line in lines[1:])


def event_line(event: Mapping[str, Any]) -> str:
    """One line of a job's log."""
    mark = {"step": "==", "warning": "!", "error": "!!", "command": "$", "output": "|"}.get(event["level"], " ")
    return f"{str(event['at'])[11:19]} {mark:2} {plain(event['text'])}"
