"""A management command that runs once, while the supervisor goes on forwarding the other processes' output."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from launcher.complaint import CannotStart
from launcher.output import Output
from launcher.process import bind_to_parent

CHECKOUT = Path(__file__).resolve().parent.parent


class Once:
    """`manage.py words`, started at once. What it writes is kept in files without a name until it is asked for."""

    def __init__(self, words: Sequence[str], environment: Mapping[str, str], *, stdin: str = "") -> None:
        self._words = words
        self._stdout, self._stderr = _file(), _file()
        with _file(stdin) as given:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", *words], cwd=CHECKOUT, env=dict(environment),
                stdin=given, stdout=self._stdout, stderr=self._stderr,
                start_new_session=True, preexec_fn=bind_to_parent(signal.SIGKILL),
            )  # fmt: skip

    def ended(self) -> bool:
        return self._process.poll() is not None

    def answer(self, output: Output) -> str:
        """What it wrote on stdout. Raises: CannotStart with its last line when it failed; the lines before it go to `output`."""
        if self._process.returncode != 0:
            lines = _text(self._stderr).strip().splitlines() or [f"exit code {self._process.returncode}"]
            for line in lines[:-1]:
                output.line(self._words[0], line)
            raise CannotStart(f"{self._words[0]} failed: {lines[-1].removeprefix('CommandError: ')}")
        return _text(self._stdout)

    def kill(self) -> None:
        if not self.ended():
            self._process.kill()
            self._process.wait()


def _file(text: str = "") -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the object that holds it
    file.write(text.encode())
    file.seek(0)
    return file


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
