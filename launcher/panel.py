"""The running panel, found through its state directory: a lock that it holds, and a file that says how to reach its parts."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from launcher.complaint import CannotStart
from launcher.state import State

#: Commands that work without a running panel.
OFFLINE = frozenset({"check", "collectstatic", "compilemessages", "help", "makemessages", "makemigrations", "version", "--version"})
#: What `up` was given and the other commands need as well.
SHARED = ("DATABASE_URL", "REDIS_URL", "SECRET_KEY")
SHARED_PREFIX = "PGREPLICA_"


@contextmanager
def alone(state: State) -> Iterator[None]:
    """Hold the state directory's lock. Raises: CannotStart when another panel holds it.

    The system drops the lock when the holder dies, however it dies.
    """
    with state.lock_file.open("w") as lock:
        if not _lock(lock.fileno()):
            raise CannotStart(
                f"a panel runs already on {state.root} ({_address(state)}). Use that one, stop it with Ctrl-C in its terminal, "
                "or give this one another directory: ./pgreplica up --state-dir DIR --port PORT"
            )
        yield


def is_running(state: State) -> bool:
    try:
        with state.lock_file.open("r+") as lock:
            return not _lock(lock.fileno())
    except FileNotFoundError:
        return False


def write(state: State, address: str, environment: Mapping[str, str]) -> None:
    """Say how to reach the running panel: 0600, there are passwords in it."""
    shared = {name: value for name, value in environment.items() if name in SHARED or name.startswith(SHARED_PREFIX)}
    unfinished = state.panel_file.with_suffix(".unfinished")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump({"address": address, "environment": shared}, file)
    unfinished.rename(state.panel_file)


def environment_for(words: Sequence[str], state: State) -> dict[str, str]:
    """The variables with which `manage.py words` reaches the running panel. A `DATABASE_URL` of the caller's own wins.

    Raises: CannotStart when there is no running panel, or it is not ours to command.
    """
    found = {"PGREPLICA_STATE_DIR": str(state.root)}
    if os.environ.get("DATABASE_URL") or _is_offline(words):
        return found
    try:
        running = is_running(state)
        if running:
            shared: dict[str, str] = json.loads(state.panel_file.read_text())["environment"]
            return found | shared
    except PermissionError:
        raise CannotStart(
            f"the panel's state directory {state.root} belongs to another user. Run the command as the user that runs the panel."
        ) from None
    except (FileNotFoundError, ValueError):
        running = True
    if running:
        raise CannotStart(f"the panel of {state.root} is still starting. Wait until it prints its address and try again.")
    raise CannotStart(
        f"no panel runs on {state.root}. Start it in another terminal with ./pgreplica up, "
        "or name its directory: ./pgreplica --state-dir DIR COMMAND"
    )


def _is_offline(words: Sequence[str]) -> bool:
    own = words[: words.index("--")] if "--" in words else words  # what follows is for another program
    return words[0] in OFFLINE or not {"-h", "--help"}.isdisjoint(own)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _address(state: State) -> str:
    try:
        return str(json.loads(state.panel_file.read_text())["address"])
    except (OSError, ValueError, KeyError):
        return "starting"
