"""The monitor's one question over a kept connection, asked of the test database's server."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import psycopg
import pytest
from django.db import connection

from tasks.watching.session import Session

pytestmark = pytest.mark.django_db


def door() -> dict[str, Any]:
    known = connection.get_connection_params()
    return {name: known[name] for name in ("host", "port", "user", "password", "dbname") if known.get(name)}


def asked(question: str, act: Callable[[Session], Coroutine[Any, Any, Any]]) -> Any:
    """What `act` makes of a session with this question. It is closed afterwards, and its socket is not listened to any more."""
    settings = door()

    async def run() -> Any:
        session = await Session.opened(question, 5.0, **settings)
        try:
            return await act(session)
        finally:
            session.close()
            assert not session._listens
            assert session._connection.closed

    return asyncio.run(run())


async def twice(session: Session) -> list[str]:
    return [await session.answer(5.0), await session.answer(5.0)]


@pytest.mark.parametrize(("question", "answer"), [
    ("SELECT 'é'", "é"), ("SELECT repeat('x', 3000000)", "x" * 3_000_000),
    ("SELECT NULL", ""), ("SELECT 1 WHERE false", ""), ("SELECT", ""),
])  # fmt: skip
def it_asks_the_same_again_and_again(question: str, answer: str) -> None:
    assert asked(question, twice) == [answer, answer]


@pytest.mark.parametrize(("question", "error"), [
    ("SELECT 1 / (random() * 0)::int", psycopg.errors.DivisionByZero), ("COPY (SELECT 1) TO STDOUT", psycopg.Error),
    ("SELEC", psycopg.errors.SyntaxError),
])  # fmt: skip
def it_ends_with_what_is_no_answer(question: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        asked(question, twice)


def it_waits_so_long_and_no_longer() -> None:
    async def short(session: Session) -> None:
        with pytest.raises(TimeoutError):
            await session.answer(0.05)
        with pytest.raises(psycopg.OperationalError):
            await session.answer(5.0)  # it has ended

    asked("SELECT pg_sleep(5)", short)


def it_ends_when_who_waits_goes_away() -> None:
    async def cancelled(session: Session) -> None:
        waiting = asyncio.create_task(session.answer(5.0))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert session._connection.closed

    asked("SELECT pg_sleep(5)", cancelled)


def it_says_why_the_server_has_ended_it_between_two_questions() -> None:
    settings = door()

    async def ended(session: Session) -> str:
        process = await session.answer(5.0)
        with psycopg.connect(**settings) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [int(process)])
        async with asyncio.timeout(5):
            while session._listens:  # what comes unasked is left where it is, and wakes nobody again
                await asyncio.sleep(0)
        with pytest.raises(psycopg.errors.AdminShutdown) as caught:
            await session.answer(5.0)
        return str(caught.value)

    assert "terminating connection due to administrator command" in asked("SELECT pg_backend_pid()", ended)
