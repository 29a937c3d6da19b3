"""Real parts for tests and benchmarks of the live log: a Valkey, a web process, a reader of server-sent events, a writer of log lines."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from django.db import connection, transaction
from django.utils import timezone
from redis import Redis

from launcher.programs import valkey_server
from tasks.feeds import give_back_connections
from tasks.models import Job, JobEvent
from tests.waiting import wait_until

T = TypeVar("T")

ROOT = Path(__file__).resolve().parent.parent


class Process:
    """A program that belongs to the test: started on entry, gone on exit."""

    def __init__(self, argv: list[str], env: dict[str, str] | None = None) -> None:
        self.argv, self.env = argv, env
        self.process: subprocess.Popen[bytes] | None = None

    def ready(self) -> bool:
        raise NotImplementedError

    def start(self) -> Self:
        environment = {**os.environ, **(self.env or {})}
        self.process = subprocess.Popen(self.argv, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, start_new_session=True)
        try:
            wait_until(lambda: self.ready() or self.process.poll() is not None, f"{self.argv[:3]} answers")
            assert self.process.poll() is None, f"{self.argv} ended with {self.process.returncode}"
        except AssertionError:
            self.stop(signal.SIGKILL)
            raise
        return self

    def stop(self, number: int = signal.SIGTERM) -> float:
        """The seconds it took to end."""
        began = time.monotonic()
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(30)
            self.process = None
        return time.monotonic() - began

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop(signal.SIGKILL)


class Valkey(Process):
    """Listens on a unix socket only."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="pgr-", dir="/tmp"))
        self.socket = self.directory / "s"
        self.url = f"unix://{self.socket}?db=0"
        where = ["--port", "0", "--unixsocket", str(self.socket), "--unixsocketperm", "700", "--dir", str(self.directory)]
        super().__init__([str(valkey_server()), *where, "--save", "", "--loglevel", "warning"])

    def ready(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(self.socket))
            return True
        return False

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        shutil.rmtree(self.directory, ignore_errors=True)


class Web(Process):
    """The panel's web process, as `up` runs it, on the tests' database."""

    def __init__(self, redis_url: str, **env: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        argv = [sys.executable, "-m", "uvicorn", "pgreplica_admin.asgi:application", "--host", "127.0.0.1", "--port", str(self.port)]
        argv += ["--timeout-graceful-shutdown", "3", "--no-access-log", "--lifespan", "off", "--log-level", "warning"]
        self.name = f"web-{self.port}"  # of its connections to the database
        database = f"{database_url()}?application_name={self.name}"
        super().__init__(argv, {"DATABASE_URL": database, "REDIS_URL": redis_url, "PGREPLICA_LOG_LEVEL": "ERROR", **env})

    def ready(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False


def database_url() -> str:
    """Where the tests' database is, for another process."""
    return urlsplit(os.environ["DATABASE_URL"])._replace(path="/" + connection.settings_dict["NAME"]).geturl()


@dataclass
class Frame:
    """One server-sent event; `event` is "message" for a log line."""

    event: str = "message"
    id: str = ""
    data: str = ""
    at: float = 0.0  # when it was received, time.time()


@dataclass
class Stream:
    """One open stream of one viewer."""

    status: int
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    comments: list[str] = field(default_factory=list)

    async def frames(self) -> AsyncIterator[Frame]:
        """Every frame until the stream ends (or breaks)."""
        frame, rest = Frame(), b""
        async for part in self._body():
            *lines, rest = (rest + part).split(b"\n")
            now = time.time()
            for line in lines:
                if line:
                    self._line(frame, line.decode())
                elif frame.data or frame.event != "message":
                    frame.at = now
                    yield frame
                    frame = Frame()

    def _line(self, frame: Frame, line: str) -> None:
        name, _, value = line.partition(": ")
        if line.startswith(":"):
            self.comments.append(line)
        elif name in ("event", "id", "data"):
            setattr(frame, name, value)

    async def _body(self) -> AsyncIterator[bytes]:
        """Chunked transfer coding, undone."""
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while size := int(await self.reader.readuntil(b"\r\n"), 16):
                yield (await self.reader.readexactly(size + 2))[:-2]

    async def body(self) -> bytes:
        """The whole body of a response that is no stream."""
        return await self.reader.readexactly(int(self.headers["content-length"]))

    async def close(self) -> None:
        await _closed(self.writer)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


async def aside(function: Callable[..., T], *args: Any) -> T:
    """Run it in a thread that gives its connection to the database back."""

    def then_close() -> T:
        try:
            return function(*args)
        finally:
            give_back_connections()

    return await asyncio.to_thread(then_close)


_opened: list[asyncio.StreamWriter] = []


def play(*parts: Callable[[], Awaitable[Any]], seconds: float = 60) -> list[Any]:
    """Run the parts of a story side by side, in an event loop and a thread of their own (a browser's loop may run in this one);

    then close every stream that is left.
    """

    async def told() -> list[Any]:
        try:
            async with asyncio.timeout(seconds):
                return await asyncio.gather(*(part() for part in parts))
        finally:
            for writer in _opened:
                await _closed(writer)
            _opened.clear()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, told()).result()


async def get(port: int, path: str, cookie: str = "", last: int | None = None, **headers: str) -> Stream:
    """GET, and read the head of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    _opened.append(writer)
    sent = {"Host": "127.0.0.1", "Cookie": cookie, **headers} | ({"Last-Event-ID": str(last)} if last is not None else {})
    lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in sent.items() if value), "", ""]
    writer.write("\r\n".join(lines).encode())
    status, *head = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    pairs = (line.split(": ", 1) for line in head)
    return Stream(int(status.split()[1]), {name.lower(): value for name, value in pairs}, reader, writer)


async def numbers(port: int, job_id: int, cookie: str, after: int = 0, *, until: int | None = None) -> list[int]:
    """What a browser's log would hold: come back with Last-Event-ID after every break, until the end or the line `until`."""
    seen: list[int] = []
    while True:
        last = seen[-1] if seen else after
        try:
            stream = await get(port, f"/jobs/{job_id}/stream", cookie, last)
        except (OSError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.05)
            continue
        assert stream.status == 200, await stream.body()
        try:
            async for frame in stream.frames():
                if frame.event == "done":
                    return seen
                if frame.id:
                    assert json.loads(frame.data)["seq"] == int(frame.id)
                    seen.append(int(frame.id))
                    if seen[-1] == until:
                        return seen
        finally:
            await stream.close()


class Writer:
    """Adds lines to a job's log as the journal does: rows and counter in one transaction, then a nudge, which may fail."""

    def __init__(self, job: Job, redis_url: str) -> None:
        self.job = job
        self.redis = Redis.from_url(redis_url, socket_timeout=0.3, socket_connect_timeout=0.3, retry=None)

    def lines(self, texts: Iterable[str]) -> None:
        with transaction.atomic():
            last = Job.objects.select_for_update().values_list("last_event", flat=True).get(pk=self.job.pk)
            now = timezone.now()
            rows = [
                JobEvent(job=self.job, seq=seq, step=1, level="output", text=text, at=now) for seq, text in enumerate(texts, start=last + 1)
            ]
            JobEvent.objects.bulk_create(rows)
            Job.objects.filter(pk=self.job.pk).update(last_event=last + len(rows))
        self.nudge()

    def end(self, status: str = "done") -> None:
        Job.objects.filter(pk=self.job.pk).update(status=status, finished_at=timezone.now())
        self.nudge()

    def nudge(self) -> None:
        with suppress(Exception):
            self.redis.publish(f"pgreplica:job:{self.job.pk}", "")
