"""Calling a step's functions where machines may not answer: an outcome that is unknown is looked at again, never taken for a failure."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, TypeVar

from django.db import connection
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from clusters.hosts.errors import HostError, LockBusy, MachineUnreachable, OutcomeUnknown, TokenRefused
from clusters.machines import ask_again
from tasks.context import Context
from tasks.ledger import UNAVAILABLE
from tasks.workflows.step import LeaseLost, NeedsOperator, Seen, Step, StepFailed

logger = logging.getLogger(__name__)
T = TypeVar("T")

TRIES: Final = 5
PAUSE: Final = wait_exponential(multiplier=0.5, max=8)  # 0.5, 1, 2, 4 seconds
#: After one of these the function is called again: it looks first.
LOOK_AGAIN: Final = (MachineUnreachable, OutcomeUnknown, LockBusy)


def patiently(call: Callable[[Context], T], context: Context) -> T:
    """The result of `call`, which is called again while its machine, or the panel's database, does not answer.

    Raises: what `call` raises; StepFailed for what is left of a machine's error; LeaseLost when the machine knows a newer worker.
    """
    retrying = Retrying(
        retry=retry_if_exception_type((*LOOK_AGAIN, *UNAVAILABLE)),
        stop=stop_after_attempt(TRIES),
        wait=PAUSE,
        sleep=context.pause,
        before_sleep=lambda state: _say(context, state),
        reraise=True,
    )
    with _Translated():
        return retrying(call, context)


def once(step: Step, context: Context, begun: bool) -> str:
    """The sentence of a `once` step, which is begun only when it is proven that no earlier begin had its effect.

    Raises: NeedsOperator without that proof; else as `patiently`.
    """
    for _ in range(TRIES):
        if begun:
            seen = patiently(step.observe, context) if step.observe else Seen(None)
            if seen.done:
                return seen.sentence
            if seen.done is None:
                raise NeedsOperator(
                    f"It cannot be told whether “{step.title}” had its effect before the worker lost sight of it. {seen.sentence}".rstrip(),
                    "Look at the servers. Resume the job to do this step again, or cancel it.",
                )
        begun = True
        try:
            with _Translated(LOOK_AGAIN):
                return step.act(context)
        except LOOK_AGAIN as error:
            context.warn(f"{error.what} Looking at what it did.")
    raise StepFailed(f"“{step.title}” was not done in {TRIES} tries: its server does not answer.", "Check the server, then resume the job.")


class _Translated:
    """Machines' errors, other than those let through, as a step's."""

    def __init__(self, through: tuple[type[HostError], ...] = ()) -> None:
        self.through = through

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, TokenRefused):
            raise LeaseLost(error.what) from error
        if isinstance(error, HostError) and not isinstance(error, self.through):
            raise StepFailed(error.what, error.hint) from error


def _say(context: Context, state: RetryCallState) -> None:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, UNAVAILABLE):
        connection.close()  # a broken one is never given back to the pool
    ask_again()
    pause = state.next_action.sleep if state.next_action else 0
    context.warn(f"{str(getattr(error, 'what', error)).strip()} Looking again in {pause:g} s.")
