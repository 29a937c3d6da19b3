"""The Secret type: a string that never prints itself.

Standard library only, so that `clusters.postgres` may use it too; the database fields that store it encrypted
are in `clusters.fields`.
"""

from __future__ import annotations

import hmac
import secrets as _random
from typing import NoReturn

MASK = "********"


class Secret:
    """A password, key or token. Every way of printing it gives `********`; `reveal()` is the only way to the value.

    It cannot be pickled, so that it never travels in a Celery message or a cache by accident.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise TypeError("a Secret holds a str")
        self._value = value

    @classmethod
    def generate(cls, nbytes: int = 24) -> Secret:
        """A new random secret of `nbytes` bytes of entropy, in URL-safe characters."""
        return cls(_random.token_urlsafe(nbytes))

    def reveal(self) -> str:
        return self._value

    def __str__(self) -> str:
        return MASK

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __format__(self, spec: str) -> str:
        return MASK

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled; pass the id of the row that holds it")
