"""Server-sent events as bytes, and the ring. No I/O."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tasks.frames import Ring, done_frame, event_frame, heartbeat_frame, packed, refused_frame, state_frame


def row(seq: int, text: str = "a line") -> dict[str, Any]:
    return {"seq": seq, "step": 2, "level": "output", "text": text, "at": "2026-11-23T03:35:40+00:00"}


def it_writes_a_log_line_as_a_message_with_its_number() -> None:
    assert event_frame(row(7, "pg_basebackup: done")) == (
        b'id: 7\ndata: {"seq":7,"step":2,"level":"output","text":"pg_basebackup: done","at":"2026-11-23T03:35:40+00:00"}\n\n'
    )


def it_writes_everything_else_without_a_number_so_that_a_client_keeps_its_place() -> None:
    assert [state_frame({"status": "done"}), heartbeat_frame(7), done_frame(7), refused_frame("no")] == [
        b'event: state\ndata: {"status":"done"}\n\n',
        b": heartbeat\nevent: heartbeat\ndata: 7\n\n",
        b'event: done\ndata: {"last_event":7}\n\n',
        b'event: refused\ndata: {"detail":"no"}\n\n',
    ]


@given(st.text())
def it_carries_any_text_in_one_data_line(text: str) -> None:
    frame = event_frame(row(1, text.encode("utf-8", "ignore").decode())).decode()
    head, data, *end = frame.split("\n")
    assert (head, end) == ("id: 1", ["", ""])
    assert "\r" not in data
    assert json.loads(data.removeprefix("data: "))["text"] == text.encode("utf-8", "ignore").decode()


@given(st.lists(st.binary(min_size=1, max_size=30)), st.integers(1, 40))
def it_packs_whole_frames_into_parts_of_a_size(frames: list[bytes], size: int) -> None:
    parts = list(packed(frames, size))
    assert b"".join(parts) == b"".join(frames)
    assert all(len(part) <= size or part in frames for part in parts)


@given(
    start=st.integers(0, 50),
    batches=st.lists(st.integers(0, 12), max_size=12),
    capacity=st.integers(1, 20),
    size=st.integers(80, 2000),
    limit=st.integers(1, 15),
)
def it_gives_from_any_place_it_holds_exactly_what_follows(start: int, batches: list[int], capacity: int, size: int, limit: int) -> None:
    ring = Ring(start, capacity, size)
    last = start
    for batch in batches:
        ring.add(row(last + offset) for offset in range(1, batch + 1))
        last += batch
    assert ring.last == last
    assert last - ring.floor <= capacity
    for place in range(ring.floor, last + 3):
        expected = list(range(place + 1, last + 1))[:limit]
        assert ring.after(place, limit) == ([event_frame(row(seq)) for seq in expected], expected[-1] if expected else place)


def it_keeps_its_bytes_bounded() -> None:
    ring = Ring(0, capacity=1000, size=10_000)
    ring.add(row(seq, "x" * 4000) for seq in range(1, 101))
    assert (ring.floor, ring.last) == (98, 100)
    assert ring.after(98)[1] == 100


def it_forgets_even_a_single_frame_that_is_larger_than_the_ring() -> None:
    ring = Ring(0, size=100)
    ring.add([row(1, "x" * 500)])
    assert (ring.floor, ring.last, ring.after(1)) == (1, 1, ([], 1))


def it_does_not_mind_numbers_that_were_pruned() -> None:
    ring = Ring(2)
    ring.add(row(seq) for seq in (3, 7, 8, 20))
    assert [ring.after(place)[1] for place in (2, 4, 7, 19, 20)] == [20, 20, 20, 20, 20]
    assert len(ring.after(7)[0]) == 2
