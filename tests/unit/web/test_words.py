"""How values are written."""

from __future__ import annotations

import datetime as dt

import pytest
from django.utils import timezone, translation

from tasks.templatetags.panel import ago, bytes_filter, duration, percent, plan_shown


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "–"), (0, "0.0 s"), (0.26, "0.3 s"), (9.94, "9.9 s"), (10, "10 s"), (59.9, "59 s"),
        (60, "1 min 00 s"), (187, "3 min 07 s"), (3600, "1 h 00 min"), (7500, "2 h 05 min"), (-1, "0.0 s"),
    ],
)  # fmt: skip
def it_writes_durations_in_two_units_at_most(seconds: float | None, written: str) -> None:
    assert duration(seconds) == written


@pytest.mark.parametrize(
    ("passed", "written"),
    [
        (dt.timedelta(seconds=-30), "just now"), (dt.timedelta(seconds=4), "just now"), (dt.timedelta(seconds=42), "42 s ago"),
        (dt.timedelta(minutes=4, seconds=59), "4 min ago"), (dt.timedelta(hours=47), "47 h ago"), (dt.timedelta(days=2), "2 days ago"),
    ],
)  # fmt: skip
def it_writes_ages_in_one_unit(passed: dt.timedelta, written: str) -> None:
    assert ago(timezone.now() - passed) == written


def it_writes_what_never_happened() -> None:
    assert ago(None) == "never"


def it_counts_bytes_in_units_of_1024() -> None:
    assert [bytes_filter(size) for size in (None, 0, 1, 16384, 1536 * 1024**2)] == [
        "–",
        "0 bytes",
        "1 byte",
        "16.0 kB",
        "1.5 GB",
    ]


def it_writes_numbers_as_the_reader_does() -> None:
    with translation.override("pt-br"):
        assert duration(0.26) == "0,3 s"


@pytest.mark.parametrize(
    ("progress", "shown"),
    [({}, None), (None, None), ({"done": 5, "total": 0}, None), ({"done": 999, "total": 1000}, 99), ({"done": 12, "total": 10}, 100)],
)
def it_shows_100_per_cent_only_when_all_is_done(progress: dict[str, int] | None, shown: int | None) -> None:
    assert percent(progress) == shown


def it_puts_commands_that_follow_each_other_on_one_server_together() -> None:
    items = [
        {"type": "sql", "server": "alpha", "text": "A"},
        {"type": "sql", "server": "alpha", "text": "B"},
        {"type": "sql", "server": "beta", "text": "C"},
        {"type": "file", "server": "beta", "path": "/x", "diff": "--- a\n+++ b\n@@ -1 +1 @@\n-1\n+2\n 3"},
    ]
    groups = plan_shown([{"title": "Do it", "items": items}])[0]["groups"]
    assert [(group["label"], group["server"], group["path"], group["texts"]) for group in groups] == [
        ("SQL", "alpha", "", ["A", "B"]),
        ("SQL", "beta", "", ["C"]),
        ("File", "beta", "/x", []),
    ]
    assert [line["sign"] for line in groups[2]["lines"]] == ["place", "place", "place", "removed", "added", "same"]
