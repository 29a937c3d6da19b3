"""One question to one instance, again and again over a connection that is kept.

psycopg connects. The question itself goes straight through libpq, as libpq's manual says for those who wait in an event loop ("Asynchronous
Command Processing"): psycopg's cursors, adapters and generators are made for any statement, and took half of the monitor's time.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

_NAME: Final = b"look"
_TAKEN: Final = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class Session:
    """Ends with the first question that is not answered as it should be, is not answered in time or is cancelled."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        self._connection, self._pgconn = connection, connection.pgconn
        self._loop, self._socket = asyncio.get_running_loop(), connection.pgconn.socket
        self._listens = False
        self._waiting: asyncio.Future[PGresult] | None = None
        self._result: PGresult | None = None

    @classmethod
    async def opened(cls, question: str, answer_seconds: float, **settings: Any) -> Session:
        """Raises: psycopg.Error, TimeoutError."""
        session = cls(await psycopg.AsyncConnection.connect(autocommit=True, **settings))
        session._pgconn.send_prepare(_NAME, question.encode())
        await session._said(answer_seconds)
        return session

    async def answer(self, seconds: float) -> str:
        """The one value that the question asks for; "" for none. Raises: psycopg.Error, TimeoutError."""
        self._pgconn.send_query_prepared(_NAME, None)
        result = await self._said(seconds)
        value = result.get_value(0, 0) if result.ntuples and result.nfields else None
        return (value or b"").decode(errors="replace")  # anything may come from a database in SQL_ASCII

    def close(self) -> None:
        """Safe to repeat. It does not wait for the instance."""
        self._deaf()
        self._pgconn.finish()

    # -- what comes

    async def _said(self, seconds: float) -> PGresult:
        waiting = self._waiting = self._loop.create_future()
        deadline = self._loop.call_later(seconds, self._over, TimeoutError())
        try:
            if self._pgconn.flush():
                raise psycopg.OperationalError("it takes no question")  # a hundred bytes, after the last answer has come
            if not self._listens:
                self._listens = True
                self._loop.add_reader(self._socket, self._readable)
            result: PGresult = await waiting
        except BaseException:  # also who is cancelled: nobody would know what the answer that comes later belongs to
            self.close()
            raise
        finally:
            deadline.cancel()
            self._waiting = self._result = None
        return result

    def _readable(self) -> None:
        waiting = self._waiting
        if waiting is None or waiting.done():
            self._deaf()  # not asked: its end, or a notice. It is read beside the next answer
            return
        try:
            self._pgconn.consume_input()
            while not waiting.done() and not self._pgconn.is_busy():
                self._take(waiting, self._pgconn.get_result())
        except psycopg.Error as error:
            self._over(error)

    def _take(self, waiting: asyncio.Future[PGresult], result: PGresult | None) -> None:
        """One result, and then None. Raises: psycopg.Error."""
        if result is None and self._result is not None:
            waiting.set_result(self._result)
        elif result is None or self._result is not None:
            raise psycopg.OperationalError("it answers another question")
        elif result.status not in _TAKEN:
            raise error_from_result(result)
        self._result = result

    def _over(self, error: Exception) -> None:
        self._deaf()
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(error)

    def _deaf(self) -> None:
        """Before libpq closes the socket, or at once after it: the next connection may get the same number."""
        if self._listens:
            self._listens = False
            self._loop.remove_reader(self._socket)
