"""The plan of a job: which commands, statements and files it will use on which server. Said before it runs, and hashed.

Pure. Secrets never enter it: commands come from `Command.display()`, file texts are masked by who renders them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NotRequired, Protocol, TypedDict

from clusters.models import Cluster, Instance, Server

#: Stands where the number of the job will stand: a plan is shown before the job has one. No shell needs to quote it.
JOB_NUMBER = "@job"


class PlanItem(TypedDict):
    type: Literal["command", "sql", "file"]
    server: str
    text: NotRequired[str]  # command, sql
    path: NotRequired[str]  # file
    diff: NotRequired[str]  # file: unified diff


class PlanStep(TypedDict):
    step: str
    title: str
    items: list[PlanItem]


class PlanRequest(Protocol):
    """What a plan is made from: a `Job`, stored or not. Its number is not part of it (`JOB_NUMBER`)."""

    kind: Any
    params: Any
    cluster: Cluster | None
    instance: Instance | None
    server: Server | None


def command_item(server: str, text: str) -> PlanItem:
    return {"type": "command", "server": server, "text": text}


def sql_item(server: str, text: str) -> PlanItem:
    return {"type": "sql", "server": server, "text": text}


def file_item(server: str, path: str, diff: str) -> PlanItem:
    return {"type": "file", "server": server, "path": path, "diff": diff}


def canonical_json(value: Mapping[str, Any] | Sequence[Any]) -> bytes:
    """One value, one text: sorted keys, no blanks, UTF-8, no NaN. Raises: TypeError for what JSON cannot hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8", "surrogatepass")


def plan_hash(plan: Sequence[PlanStep]) -> str:
    """SHA-256 of the plan's canonical JSON, in hexadecimal digits: what an approval signs."""
    return hashlib.sha256(canonical_json(plan)).hexdigest()
