"""Sessions that one worker keeps open through the steps of one job: opened before a moment in which nothing slow may be done."""

from __future__ import annotations

from contextlib import ExitStack

from clusters.instances import InstanceHandle
from clusters.sessions import Session


class KeptSessions:
    """One session for each instance, as the panel's role; a worker that takes the job over opens its own."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[ExitStack, Session]] = {}

    def get(self, handle: InstanceHandle) -> Session:
        """The session with the instance; a broken one is replaced. Raises: InstanceUnreachable."""
        key = handle.instance.pk
        if key in self._open and (self._open[key][1].closed or self._open[key][1].broken):
            self.close(key)
        if key not in self._open:
            stack = ExitStack()
            self._open[key] = (stack, stack.enter_context(handle.session()))
        return self._open[key][1]

    def close(self, key: int) -> None:
        stack, session = self._open.pop(key)
        session.close()  # first, so that leaving its context has nothing to say any more
        stack.close()

    def close_all(self) -> None:
        for key in list(self._open):
            self.close(key)
