"""Programs of this machine, run to their end."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence

#: For what is quick when all is well.
SECONDS = 60


class LabError(Exception):
    """The lab could not do what it was asked for; the sentence says what was in the way."""


def run(
    argv: Sequence[str], *, check: bool = True, given: bytes | None = None, seconds: float = SECONDS
) -> subprocess.CompletedProcess[str]:
    """Run `argv`, `given` on its standard input. Raises: LabError with what it said, unless `check` is off."""
    source: dict[str, object] = {"stdin": subprocess.DEVNULL} if given is None else {"input": given}
    try:
        done = subprocess.run(list(argv), capture_output=True, check=False, timeout=seconds, **source)  # type: ignore[call-overload]
    except subprocess.TimeoutExpired:
        raise LabError(f"{shlex.join(argv)} did not end within {seconds:.0f} s") from None
    answer = subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )
    if check and answer.returncode != 0:
        raise LabError(f"{shlex.join(argv)} ended with {answer.returncode}: {(answer.stderr or answer.stdout).strip()[-2000:]}")
    return answer
