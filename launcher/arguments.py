"""The words of the command line."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass

from launcher.complaint import CannotStart

USAGE = """\
./pgreplica up [--host H] [--port P] [--state-dir D] [--no-demo]   run the panel: database, broker, web, worker, beat, monitor, alerter
./pgreplica test [pytest arguments]                                lint, types and all tests
./pgreplica lab up [N] | list | down | ...                         servers with SSH and Docker on this machine, to try the panel with
./pgreplica demo remove                                            remove the demo cluster
./pgreplica COMMAND ...                                            any command of the running panel: cluster, server, job, audit ...

./pgreplica up --help and ./pgreplica help COMMAND say more.

Also as environment variables: PGREPLICA_HOST, PGREPLICA_PORT, PGREPLICA_STATE_DIR.
DATABASE_URL and REDIS_URL replace the embedded database and broker."""


@dataclass(frozen=True)
class UpOptions:
    host: str
    port: int
    demo: bool


def state_option(words: list[str]) -> list[str]:
    """Take `--state-dir D` from the front of any command, and from anywhere in `up`; it becomes PGREPLICA_STATE_DIR."""
    parser = argparse.ArgumentParser(prog="./pgreplica", add_help=False, allow_abbrev=False)
    parser.add_argument("--state-dir")
    front = _front(words)
    given, rest = parser.parse_known_args(words if words[front : front + 1] == ["up"] else words[:front])
    if given.state_dir:
        os.environ["PGREPLICA_STATE_DIR"] = os.path.abspath(os.path.expanduser(given.state_dir))
    return rest if words[front : front + 1] == ["up"] else rest + words[front:]


def _front(words: list[str]) -> int:
    """How many words stand before the command."""
    if words[:1] == ["--state-dir"]:
        return 2
    return 1 if words and words[0].startswith("--state-dir=") else 0


def up_options(words: list[str]) -> UpOptions:
    parser = argparse.ArgumentParser(prog="./pgreplica up", description="Run the panel.", allow_abbrev=False)
    parser.add_argument(
        "--host", default=os.environ.get("PGREPLICA_HOST") or "127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument("--port", default=os.environ.get("PGREPLICA_PORT") or "8080", help="port to listen on (default: %(default)s)")
    parser.add_argument("--state-dir", help="where the panel keeps its database, keys and sockets")
    parser.add_argument("--no-demo", action="store_true", help="do not make the demo cluster at the first start")
    given = parser.parse_args(words)
    return UpOptions(given.host, _port(given.port), not given.no_demo)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise CannotStart(f"{text!r} is not a port. Give a number from 1 to 65535: ./pgreplica up --port 8080")
    return int(text)
