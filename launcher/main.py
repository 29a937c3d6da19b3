"""`./pgreplica`: which of the three things is asked for."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from launcher import arguments, environment, panel
from launcher.complaint import CannotStart
from launcher.state import State, state_directory
from launcher.testing import run_tests
from launcher.up import up

CHECKOUT = Path(__file__).resolve().parent.parent
SCRIPT = CHECKOUT / "pgreplica"


def main(words: Sequence[str]) -> int:
    """Run what `words` ask for. Returns the exit code; 2 with one sentence where it cannot start."""
    try:
        return _dispatch(list(words))
    except CannotStart as complaint:
        print(f"pgreplica: {complaint}", file=sys.stderr)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        place = error.filename or state_directory()
        print(f"pgreplica: the disk that holds {place} is full. Free some space and start again.", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    return 2


def _dispatch(words: list[str]) -> int:
    words = arguments.state_option(words)
    if words in ([], ["help"], ["-h"], ["--help"]):
        print(arguments.USAGE)
        return 0
    command, rest = words[0], words[1:]
    if command == "up":
        return _up(rest)
    if command == "test":
        return _test(rest)
    if command == "lab":
        return _lab(rest)
    return _manage(words)


def _up(rest: list[str]) -> int:
    options = arguments.up_options(rest)
    _inside("embedded", ["up", *rest])
    return up(options, State(state_directory()))


def _test(rest: list[str]) -> int:
    _inside("dev", ["test", *rest])
    return run_tests(CHECKOUT, rest)


def _lab(rest: list[str]) -> int:
    """The lab is a part of the tests, which are in a checkout only."""
    if not (CHECKOUT / "tests" / "lab").is_dir():
        raise CannotStart(f"the lab comes with the tests, and {CHECKOUT} has no directory tests/lab. Use a checkout of the source.")
    python = environment.ensure(CHECKOUT, "embedded")
    os.chdir(CHECKOUT)
    os.execv(python, [str(python), "-m", "tests.lab", *rest])


def _manage(words: list[str]) -> int:
    python = environment.ensure(CHECKOUT, "embedded")
    os.environ.update(panel.environment_for(words, State(state_directory())))
    os.execv(python, [str(python), str(CHECKOUT / "manage.py"), *words])


def _inside(requirements: environment.Requirements, words: list[str]) -> None:
    """Go on under the environment's own Python; returns when this is it already."""
    if environment.is_inside(CHECKOUT):
        return
    python = environment.ensure(CHECKOUT, requirements)
    os.execv(python, [str(python), str(SCRIPT), *words])
