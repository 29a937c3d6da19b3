"""The POSIX sh scripts that carry out the verbs of a machine, put together for each kind of verb so that little travels.

`guard.sh` explains how they are called. Nothing is installed on a machine but the `runner` file beside a detached command.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

#: How the wrapper says that it refused, on standard error, with these exit codes.
MARK: Final = "pgreplica-wrapper: "
EXIT_TOKEN: Final = 75
EXIT_REFUSED: Final = 76


def _script(*names: str) -> str:
    return "\n".join((Path(__file__).parent / f"{name}.sh").read_text() for name in names)


RUN: Final = _script("identity", "guard", "main")
FILES: Final = _script("identity", "guard", "files", "main")
UNITS: Final = _script("identity", "guard", "files", "units", "main")
RUNNER: Final = _script("identity", "runner")
POSTGRES: Final = _script("postgres")
#: What only a machine reached by SSH needs: how a command begins and is ended there, and who the login may become.
BEGIN: Final = _script("identity", "begin")
END: Final = _script("identity", "guard", "end")
WHO: Final = _script("who")
