"""Pages are asked for as a browser asks, and read as text: what a person would see, and what they could press."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

Get = Callable[..., str]


def text_of(page: str) -> str:
    """The words of a page's content, without markup and with single blanks."""
    content = page.partition('id="content"')[2] or page
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", content)))


def queries_of(client: Client, address: str) -> list[str]:
    """The statements that one page takes. It is asked for twice: the first time fills what Django keeps (permissions, content types)."""
    assert client.get(address).status_code == 200
    with CaptureQueriesContext(connection) as captured:
        client.get(address)
    return [query["sql"] for query in captured.captured_queries]


def csrf(client: Client) -> dict[str, str]:
    """What a form of the page would send along."""
    client.get("/admin/")
    return {"csrfmiddlewaretoken": client.cookies["csrftoken"].value}


def post(client: Client, address: str, data: dict[str, Any] | None = None, **extra: Any) -> Any:
    return client.post(address, {**csrf(client), **(data or {})}, **extra)


@pytest.fixture
def get(signed_in: Callable[[str], Client]) -> Get:
    """The HTML of a page as `who` sees it; it must answer 200."""

    def page(who: str, address: str, **extra: Any) -> str:
        response = signed_in(who).get(address, **extra)
        assert response.status_code == 200, f"{address} answered {response.status_code}"
        return str(response.content.decode())

    return page
