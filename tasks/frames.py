"""What travels on a job's stream, as bytes, and the ring that keeps the last of it. No I/O.

The format is that of server-sent events (https://html.spec.whatwg.org/multipage/server-sent-events.html): a log line is a message
whose id is its number; the job's state, the heartbeat and the end are named events without id, so they never move a client's place.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

#: Django cuts a longer part into pieces of this size.
CHUNK_BYTES: Final = 65_536
#: How long a browser waits before it comes back by itself.
RETRY_MS: Final = 1000


def event_frame(row: Mapping[str, Any]) -> bytes:
    """One log line, as `tasks.selectors.events_after` gives it."""
    return b"id: %d\ndata: %s\n\n" % (row["seq"], _json(row))


def state_frame(snapshot: Mapping[str, Any]) -> bytes:
    """Where the job stands, as `tasks.selectors.job_snapshot` gives it."""
    return b"event: state\ndata: %s\n\n" % _json(snapshot)


def heartbeat_frame(last: int) -> bytes:
    """The comment keeps proxies from closing a silent stream; the event lets a page notice a stream that died silently."""
    return b": heartbeat\nevent: heartbeat\ndata: %d\n\n" % last


def refused_frame(sentence: str) -> bytes:
    """The viewer may no longer see this job."""
    return b"event: refused\ndata: %s\n\n" % _json({"detail": sentence})


def retry_frame() -> bytes:
    return b"retry: %d\n\n" % RETRY_MS


def done_frame(last: int) -> bytes:
    """The job has ended and every line up to `last` has been sent."""
    return b"event: done\ndata: %s\n\n" % _json({"last_event": last})


def packed(frames: Iterable[bytes], size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Whole frames joined to parts of at most `size` bytes; a frame that is longer than that goes alone."""
    part: list[bytes] = []
    length = 0
    for frame in frames:
        if part and length + len(frame) > size:
            yield b"".join(part)
            part, length = [], 0
        part.append(frame)
        length += len(frame)
    if part:
        yield b"".join(part)


def _json(value: Mapping[str, Any]) -> bytes:
    # No raw line end survives JSON, so the value is always one `data:` line.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


class Ring:
    """The last frames of one log, in order, bounded in number and in bytes.

    It holds every event numbered above `floor`, up to `last`. Who is at `floor` or later can be served from it;
    who is behind reads from the database.
    """

    def __init__(self, start: int, capacity: int = 4000, size: int = 4 << 20) -> None:
        self.floor = self.last = start
        self._capacity, self._size = capacity, size
        self._numbers: list[int] = []
        self._frames: list[bytes] = []
        self._bytes = 0

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Append events; their numbers rise and are above `last`."""
        for row in rows:
            frame = event_frame(row)
            self._numbers.append(row["seq"])
            self._frames.append(frame)
            self._bytes += len(frame)
            self.last = row["seq"]
        self._forget()

    def after(self, number: int, limit: int = 500) -> tuple[list[bytes], int]:
        """At most `limit` frames above `number` (not below `floor`), and the number of the last of them (`number` when there is none)."""
        start = bisect_right(self._numbers, number)
        frames = self._frames[start : start + limit]
        return frames, self._numbers[start + len(frames) - 1] if frames else number

    def _forget(self) -> None:
        gone = max(0, len(self._frames) - self._capacity)
        held = self._bytes - sum(map(len, self._frames[:gone]))
        while held > self._size:
            held -= len(self._frames[gone])
            gone += 1
        if gone:
            self.floor = self._numbers[gone - 1]
            del self._numbers[:gone], self._frames[:gone]
        self._bytes = held
