"""A plan as a sheet for a POSIX shell, to be done by hand when the panel is off. Pure: the same plan and places, the same sheet.

What a plan shows stands here as it would be typed: commands as they are, statements through psql with the instance's own socket,
files as here-documents. What may not be shown is not in it: a masked value, a secret file and a partial change are comments that
say what to do. The sheet belongs to several servers, so it ends at once where somebody runs it as a whole.
"""

from __future__ import annotations

import re
import shlex
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from clusters.postgres import commands
from clusters.postgres.names import SUPERUSER
from clusters.postgres.quoting import conninfo
from clusters.postgres.spec import InstanceSpec
from clusters.postgres.statements import SET_SAFE_PATH
from clusters.secrets import MASK
from tasks.plan import JOB_NUMBER

BY_HAND: Final = "by-hand"  # stands for the number of a job that does not exist
#: "alpha (orders-1)": where a statement runs.
_ON: Final = re.compile(r"(?P<server>.+) \((?P<instance>[^()]+)\)", re.DOTALL)
_FROM_THE_TOP: Final = re.compile(r"@@ -(?:0,0|1(?:,[0-9]+)?) \+(?:0,0|1(?:,[0-9]+)?) @@")
_CONTEXT: Final = 3  # lines that a diff shows around a change
_STDIN: Final = " <<< "
_PROTOCOL: Final = ("CREATE_REPLICATION_SLOT", "DROP_REPLICATION_SLOT", "IDENTIFY_SYSTEM")
_RULE: Final = "# " + "-" * 100

#: Step -> what the panel does there by looking or waiting, which no command line shows.
NOTES: Final[Mapping[str, str]] = {
    "members_checked": (
        "Look before anything else: the eligibility board of the panel, or pg_stat_replication on the primary. The "
        "candidate must stream from the primary, with little lag, on the same system identifier and timeline, and "
        "must not be paused."
    ),
    "connections_opened": (
        "The canary only measures; leave it out by hand. Keep a psql session with the candidate open for the promotion."
    ),
    "primary_stopped": (
        "THE PROOF. The command prints the control file of the old primary. “Database cluster state” must say “shut "
        "down”. On the candidate: SELECT pg_last_wal_replay_lsn(). It must be GREATER than “Latest checkpoint "
        "location” of the old primary, on the same timeline. If it is not so within some seconds: do not go on. "
        "Remove standby.signal and the file “fenced” on the old primary, and start it again: nobody was promoted."
    ),
    "primary_asked": (
        "Ask on several paths, three times, whether the primary is really gone: its port, its server, and on each "
        "standby SELECT status, last_msg_receipt_time FROM pg_stat_wal_receiver. A standby that still receives means "
        "that it lives: do not go on."
    ),
    "primary_cut_off": (
        "If its server cannot be reached, make sure by other means (power, network) that it cannot accept writes any more."
    ),
    "standbys_detached": "Wait until no standby has a row in pg_stat_wal_receiver. Only then compare how far each of them is.",
    "candidate_chosen": (
        "On each standby: SELECT timeline_id FROM pg_control_checkpoint(); SELECT pg_last_wal_receive_lsn(), "
        "pg_last_wal_replay_lsn(). Promote the one on the newest timeline with the highest position. Below, do the "
        "lines of that one only."
    ),
    "candidate_promoted": "Then wait until SELECT pg_is_in_recovery() says f.",
    "became_primary": "Then wait until SELECT pg_is_in_recovery() says f.",
    "roles_recorded": (
        "The panel writes this down for itself. Done by hand, tell it afterwards: verify the cluster, and see what it finds."
    ),
    "cluster_verified": (
        "Exactly one instance may answer f to SELECT pg_is_in_recovery(); every other must have a row in pg_stat_replication there."
    ),
    "way_chosen": (
        "Compare “Latest checkpoint location” and the timeline of the stopped instance with the history of its "
        "upstream: if it ended before the upstream left that timeline, start it as a standby, without the steps of "
        "pg_rewind and pg_basebackup."
    ),
}


@dataclass(frozen=True)
class Machine:
    """A server as a person reaches it."""

    address: str
    run_as: str  # the system user that owns the data; "": whoever started the panel


@dataclass(frozen=True)
class Places:
    """Where the plan's servers and instances are. A name that is missing here is said to be unknown in the sheet."""

    machines: Mapping[str, Machine] = field(default_factory=dict)
    instances: Mapping[str, InstanceSpec] = field(default_factory=dict)


@dataclass(frozen=True)
class Head:
    """What the sheet is of."""

    what: str  # "switchover of orders"
    made_at: datetime
    plan_hash: str
    job: int | None = None
    no_return_before: str = ""  # name of the step that follows the point of no return


def runbook(plan: Sequence[Mapping[str, Any]], head: Head, places: Places) -> str:
    """The sheet. It passes `sh -n`, and does nothing where it is run as a whole."""
    lines = [*_top(head, places), *_guard()]
    for number, step in enumerate(plan, start=1):
        lines += _step(number, step, head, places)
    text = "\n".join([*lines, "", "# The end of the sheet.", ""])
    return text.replace(JOB_NUMBER, str(head.job) if head.job is not None else BY_HAND)


def filename(head: Head) -> str:
    """runbook-switchover-of-orders.sh"""
    words = re.sub(r"[^A-Za-z0-9]+", "-", f"{head.job or ''} {head.what}").strip("-")
    return f"runbook-{words}.sh"


def _top(head: Head, places: Places) -> Iterator[str]:
    of = f", job #{head.job}" if head.job is not None else ""
    yield "#!/bin/sh"
    yield _comment(f"Runbook: {head.what}{of}")
    yield _comment(f"Made by pgreplica-admin at {head.made_at.isoformat(timespec='seconds')}. Plan {head.plan_hash}.")
    yield "#"
    yield "# Written to be done by hand when the panel is off. Read all of it before you run any line: a plan is made from what was"
    yield "# declared, and the panel looks before and after each step, which a sheet cannot. Secrets are not in it. Each block says on"
    yield "# which server it is run; run it there as the system user that owns the data, in this order, one block after the other."
    yield "# Do not do by hand what a job of the panel is doing: see that no worker runs, or cancel the job first."
    yield "#"
    for name, machine in sorted(places.machines.items()):
        user = f", system user {machine.run_as}" if machine.run_as else ""
        yield _comment(f"server {name}: {machine.address}{user}")
    for name, spec in sorted(places.instances.items()):
        yield _comment(f"instance {name} on {spec.server}: {spec.address}:{spec.port}, data in {spec.data_directory}")


def _guard() -> Iterator[str]:
    yield ""
    yield "echo 'This sheet belongs to several servers: copy its blocks one by one, do not run it as a whole.' >&2"
    yield "exit 64"
    yield ""
    yield "# In each shell, before the first block: what is made here is its owner's alone."
    yield "umask 077"


def _step(number: int, step: Mapping[str, Any], head: Head, places: Places) -> Iterator[str]:
    if head.no_return_before and step["step"] == head.no_return_before:
        yield from ("", _RULE, "# POINT OF NO RETURN. Before this line everything can be taken back; from here on, only go on.", _RULE)
    yield ""
    yield _RULE
    yield _comment(f"{number}. {step['title']}")
    note = NOTES.get(step["step"])
    yield from _wrapped(note) if note else ()
    if not step["items"]:
        yield "# (No command, statement or file of this step is known beforehand.)"
    before = ""
    for item in step["items"]:
        server, instance = _where(item)
        if server != before:
            yield from ("", _comment(f">> on server {server}"))
            before = server
        yield from _item(item, instance, places)


def _item(item: Mapping[str, Any], instance: str, places: Places) -> Iterator[str]:
    if item["type"] == "file":
        yield from _file(str(item["path"]), str(item.get("diff", "")))
    elif item["type"] == "sql":
        yield from _statement(str(item["text"]), instance, places.instances.get(instance))
    else:
        yield from _command(str(item["text"]))


def _where(item: Mapping[str, Any]) -> tuple[str, str]:
    """(server, instance or "")."""
    match = _ON.fullmatch(str(item.get("server", "")))
    return (match["server"], match["instance"]) if match else (str(item.get("server", "")), "")


# -- commands


def _command(text: str) -> Iterator[str]:
    line, stdin = _parted(text)
    if MASK in line:
        yield from _hidden("A secret stands where the stars are; put it in by hand.", text)
    elif stdin is None:
        yield line
    elif MASK in stdin:
        yield "# It reads a secret: set SECRET to it first, in this shell only."
        yield f"printf '%s\\n' \"${{SECRET:?}}\" | {line}"
    else:
        yield f"printf '%s\\n' {stdin} | {line}"


def _parted(text: str) -> tuple[str, str | None]:
    """A command line and what it reads, as one quoted word; `<<<` is not in every shell."""
    at = text.find(_STDIN)
    while at >= 0:
        line, rest = text[:at], text[at + len(_STDIN) :]
        if _words(line) and len(_words(rest)) == 1:
            return line, rest
        at = text.find(_STDIN, at + 1)
    return text, None


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # a quote is still open: the sign stood inside a text
        return []


# -- statements


def _statement(text: str, instance: str, spec: InstanceSpec | None) -> Iterator[str]:
    if spec is None:
        yield from _hidden(f"Where {instance or 'the instance'} is, is not recorded any more. As the superuser there:", text)
    elif MASK in text:
        yield from _hidden(f"A secret stands where the stars are; put it in by hand. On {instance}, as the superuser:", text)
    else:
        yield shlex.join(_psql(text, spec)) + f" <<'{(end := _end(text))}'"
        if not text.startswith(_PROTOCOL):
            yield SET_SAFE_PATH
        yield text.strip() if text.rstrip().endswith(("\\gexec", ";")) else f"{text.strip()};"
        yield end


def _psql(text: str, spec: InstanceSpec) -> tuple[str, ...]:
    """psql as the superuser over the socket, or as the replication role for a command of the replication protocol."""
    if not text.startswith(_PROTOCOL):
        return commands.psql(spec, text).argv
    where: dict[str, str | int] = {"host": spec.address, "port": spec.port, "user": spec.replication_role, "dbname": SUPERUSER}
    login = conninfo(where | {"passfile": spec.passfile, "replication": "true"})
    return commands.program(spec, "psql", "--no-psqlrc", "--set=ON_ERROR_STOP=1", f"--dbname={login}", network=True)


# -- files


def _file(path: str, diff: str) -> Iterator[str]:
    content = _whole(diff)
    if content is not None:
        yield f"cat > {shlex.quote(path)} <<'{(end := _end(content))}'"
        yield from content.split("\n") if content else ()
        yield end
    elif diff.startswith(("---", "+++", "@@")):
        yield from _hidden(f"Change {path} like this:", diff)
    else:
        yield from _hidden(f"Write {path}; its content is a secret and not in this sheet.", "")


def _whole(diff: str) -> str | None:
    """The file's text as it will be, where the diff shows all of it; else None.

    One part that begins at the first line, and shows fewer lines after the last change than a diff would if there were more.
    """
    lines = diff.rstrip("\n").split("\n")
    if len(lines) == 2 and lines[0] == "--- /dev/null":
        return ""
    body = lines[3:]
    if len(lines) < 3 or not _FROM_THE_TOP.fullmatch(lines[2]) or any(not line.startswith(("+", "-", " ")) for line in body):
        return None
    rest = len(body) - max((n for n, line in enumerate(body, start=1) if line[0] != " "), default=0)
    return "\n".join(line[1:] for line in body if line[0] != "-") if rest < _CONTEXT else None


# -- text


def _end(text: str) -> str:
    """The word that ends a here-document: no line of the text is it."""
    lines, word = set(text.split("\n")), "END"
    while word in lines:
        word += "_"
    return word


def _hidden(sentence: str, text: str) -> Iterator[str]:
    """What is not to be run as it stands: comments."""
    yield _comment(sentence)
    yield from (_comment(f"    {line}") for line in text.rstrip().split("\n")) if text.strip() else ()


def _comment(text: str) -> str:
    """One line that a shell skips, whatever a name or a reason holds."""
    return "# " + "".join(" " if unicodedata.category(sign) in ("Cc", "Zl", "Zp", "Cs") else sign for sign in text)


def _wrapped(text: str, width: int = 100) -> Iterator[str]:
    line = ""
    for word in text.split():
        if line and len(line) + 1 + len(word) > width:
            yield _comment(f"   {line}")
            line = ""
        line = f"{line} {word}".strip()
    yield _comment(f"   {line}")
