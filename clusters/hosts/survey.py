"""What else must be known of a machine before it is used: its clock, the programs the panel leans on, its Docker engine."""

from __future__ import annotations

import time
from typing import Any, Final

from clusters.hosts.engine_api import engine_facts, engine_state
from clusters.hosts.errors import CommandTimeout, EngineUnheard, inert
from clusters.hosts.machine import Machine

#: Missing ones are findings, or make the panel do the same in another way.
TOOLS: Final = ("flock", "setsid", "perl")
SECONDS: Final = 10.0
ENGINE_SECONDS: Final = 15.0

_LOOK: Final = 'date +%s.%N; for tool in "$@"; do if command -v "$tool" >/dev/null; then echo "$tool"; fi; done'


def survey(machine: Machine) -> dict[str, Any]:
    """{"clock_difference_seconds", "tools", "docker": {"engine", "compose", "error", ...}}; what is not there is ""."""
    began = time.time()
    finished = machine.run(["sh", "-c", _LOOK, "pgreplica", *TOOLS], timeout=SECONDS)
    middle = (began + time.time()) / 2
    first, *tools = finished.stdout.splitlines() or [""]
    return {
        "clock_difference_seconds": _difference(first, middle),
        "tools": [tool for tool in TOOLS if tool in tools],
        "docker": engine(machine),
    }


def engine(machine: Machine) -> dict[str, Any]:
    """The Docker engine and the Compose that the machine's user can use, and what the engine says of itself (`engine_state`)."""
    client, error = _said(machine, ["docker", "--version"])
    if not client:
        return {"engine": "", "compose": "", "error": error}
    compose = _said(machine, ["docker", "compose", "version", "--short"])[0]
    try:
        facts = engine_facts(machine)
        state = engine_state(machine, facts["api_version"])
    except EngineUnheard as silent:
        return {"engine": "", "compose": compose, "error": silent.said}
    except CommandTimeout as late:
        return {"engine": "", "compose": compose, "error": late.what}
    return {"engine": facts["version"], "compose": compose, "error": "", **state}


def _said(machine: Machine, argv: list[str]) -> tuple[str, str]:
    """What a program answers, and what it complains of; both empty where it is not there."""
    try:
        finished = machine.run(argv, timeout=ENGINE_SECONDS)
    except CommandTimeout as late:
        return "", late.what
    if finished.ok:
        return inert(finished.stdout.strip(), 40), ""
    return "", "" if finished.returncode == 127 else inert(finished.stderr.strip(), 200)


def _difference(said: str, now: float) -> float | None:
    """Seconds that the machine's clock is ahead; None where it said no time. A date without fractions says "123.N" or "123.%N"."""
    whole, _point, fraction = said.partition(".")
    if not whole.isdigit():
        return None
    at = float(f"{whole}.{fraction}") if fraction.isdigit() else int(whole) + 0.5
    return round(at - now, 2)
