"""What one worker holds open through several steps of a job: a session made ready before a moment in which nothing slow may be done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, cast


class Closable(Protocol):
    def close(self) -> None: ...


T = TypeVar("T", bound=Closable)


class Held:
    """Things by name. They are the worker's, not the job's: whoever takes the job over makes its own."""

    def __init__(self) -> None:
        self._things: dict[str, Closable] = {}

    def get(self, name: str, make: Callable[[], T]) -> T:
        """The thing of this name, made now where there is none."""
        if name not in self._things:
            self._things[name] = make()
        return cast("T", self._things[name])

    def find(self, name: str) -> Closable | None:
        return self._things.get(name)

    def drop(self, name: str) -> None:
        """Close it, where there is one."""
        thing = self._things.pop(name, None)
        if thing is not None:
            thing.close()

    def close(self) -> None:
        for name in list(self._things):
            self.drop(name)
