"""Compare the rows of the primary with those of each standby, range by range, without a pause of anybody's replay.

A range's hash is taken on the primary, then how far WAL is written; once the standby has replayed that far, its own hash is taken.
Where they differ it is looked at again: rows may have changed in between. Only a difference that stays while the primary's hash
stands still is one. See docs/decisions/0023-content-comparison.md.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from clusters.hosts.errors import inert
from clusters.hosts.machine import HostError
from clusters.instances import InstanceHandle
from clusters.models import Instance
from clusters.postgres import content_rules
from clusters.postgres.content_rules import HASH, INSERTED, PROOFS, ROUNDS, ROWS, SYNC_WAITS, Chosen, Look, Range, Table
from clusters.postgres.facts import Lsn
from clusters.postgres.obstacles import Obstacle, size
from clusters.postgres.statements import POSITIONS, Call, Statement
from tasks.context import Context
from tasks.workflows.deep import Found, ready_rows

CAUGHT_UP_SECONDS: Final = 60.0
AGAIN_SECONDS: Final = 0.5
LONGEST_PAUSE: Final = 5.0


@dataclass
class Compared:
    """What one standby was seen to hold."""

    handle: InstanceHandle
    differs: dict[str, tuple[Range, list[str]]] = field(default_factory=dict)  # by table: the first range, with its rows
    undecided: dict[str, int] = field(default_factory=dict)  # by table: how many ranges

    @property
    def name(self) -> str:
        return self.handle.spec.name

    def findings(self, primary: str) -> Iterator[Found]:
        for range_, places in self.differs.values():
            yield self.name, content_rules.content_differs(primary, self.name, range_, places)
        if undecided := content_rules.content_undecided(self.name, self.undecided):
            yield self.name, undecided


def content_of(ctx: Context) -> tuple[str, list[Found]]:
    """Compare the chosen tables; the sentence of the step, and what was found."""
    rows = ready_rows(ctx)
    primary = next((row for row in rows if row.role == row.observed_role == Instance.Observed.PRIMARY), None)
    standbys = [Compared(ctx.handle(row)) for row in rows if row.role == row.observed_role == Instance.Observed.STANDBY]
    if primary is None or not standbys:
        return "There is no primary with a standby that both answer: nothing was compared.", []
    given = tables_chosen(ctx, ctx.handle(primary))
    found: list[Found] = [("", note) for note in _notes(ctx, given)]
    _Comparison(ctx, ctx.handle(primary), standbys, given.tables).run()
    found += [each for standby in standbys for each in standby.findings(primary.name)]
    return _sentence(given, standbys), found


def tables_chosen(ctx: Context, primary: InstanceHandle) -> Chosen:
    lines = primary.superuser_rows([Call(content_rules.TABLES, {}, {}, ctx.cluster.database)])
    return content_rules.chosen([Table.parse(line) for line in lines], ctx.params.get("tables") or ())


def _notes(ctx: Context, given: Chosen) -> Iterator[Obstacle]:
    for note in (content_rules.content_left_out(given), content_rules.table_missing(given, ctx.cluster.database)):
        if note:
            yield note


def _sentence(given: Chosen, standbys: Sequence[Compared]) -> str:
    read = size(sum(table.bytes for table in given.tables))
    words = f"{len(given.tables)} tables ({read}) of the primary compared with {', '.join(each.name for each in standbys)}"
    wrong = [each.name for each in standbys if each.differs]
    return f"{words}: {', '.join(wrong)} differ." if wrong else f"{words}: no difference was found."


class _Comparison:
    def __init__(self, ctx: Context, primary: InstanceHandle, standbys: Sequence[Compared], tables: Sequence[Table]) -> None:
        self.ctx = ctx
        self.primary = primary
        self.standbys = standbys
        self.tables = tables
        self.database = ctx.cluster.database

    def run(self) -> None:
        total, done = sum(table.bytes for table in self.tables), 0
        for table in self.tables:
            self.ctx.say(f"{inert(table.full_name, 130)}: {size(table.bytes)}, {table.blocks} blocks.")
            for batch in content_rules.batches(table):
                began = time.monotonic()
                self._batch(batch)
                self.ctx.progress(done + table.bytes * batch[-1].past / max(1, table.blocks), total, "bytes")
                self.ctx.pause(min(time.monotonic() - began, LONGEST_PAUSE))  # at most half of the time is theirs; a border to cancel at
            done += table.bytes

    def _batch(self, batch: list[Range]) -> None:
        here = self._hashes(self.primary, batch, INSERTED)
        for standby in self.standbys:
            there = self._hashes(standby.handle, batch) if here and self._caught_up(standby.handle, here[-1]) else None
            for number, range_ in enumerate(batch):
                if here is None or there is None or here[number] != there[number]:
                    self._settle(standby, range_)

    def _settle(self, standby: Compared, range_: Range) -> None:
        """Look at a range that differed, again and again, until it is told or the rounds are over."""
        proofs, name = 0, range_.table.full_name
        if name in standby.differs:
            return
        for number in range(ROUNDS):
            self.ctx.pause(AGAIN_SECONDS * (number + 1))
            look = self._look(standby.handle, range_)
            if look == "same":
                return
            proofs = proofs + 1 if look == "differs" else 0
            if proofs == PROOFS:
                places = self._places(standby.handle, range_)
                if places:
                    self.ctx.warn(f"{name}, blocks {range_.first} to {range_.past - 1}: {standby.name} differs in {len(places)} rows.")
                    standby.differs[name] = (range_, places)
                return
        standby.undecided[name] = standby.undecided.get(name, 0) + 1

    def _look(self, standby: InstanceHandle, range_: Range) -> Look:
        before = self._hashes(self.primary, [range_], INSERTED)
        if before is None or not self._caught_up(standby, before[-1]):
            return "changing"
        there = self._hashes(standby, [range_])
        after = self._hashes(self.primary, [range_], SYNC_WAITS)
        if there is None or after is None:
            return "changing"
        look = content_rules.judged(before[0], there[0], after[0])
        return "changing" if look == "differs" and after[-1] != "0" else look

    def _places(self, standby: InstanceHandle, range_: Range) -> list[str]:
        calls = [_calm(self.database), range_.call(ROWS, self.database)]
        return content_rules.differing_rows(self.primary.superuser_rows(calls), standby.superuser_rows(calls))

    def _hashes(self, handle: InstanceHandle, batch: Sequence[Range], last: Statement | None = None) -> list[str] | None:
        """The hash of each range, then what `last` says; None where they could not be read now (a conflict with replay, say)."""
        calls = [_calm(self.database), *(range_.call(HASH, self.database) for range_ in batch)]
        if last:
            calls.append(Call(last, {}, {}, self.database))
        try:
            lines = handle.superuser_rows(calls)
        except HostError as error:
            self.ctx.warn(error.what)
            return None
        return lines if len(lines) == len(calls) - 1 else None

    def _caught_up(self, standby: InstanceHandle, inserted: str) -> bool:
        """Wait until the standby has replayed so far."""
        wanted, end = Lsn.parse(inserted), time.monotonic() + CAUGHT_UP_SECONDS
        while True:
            try:
                replayed = standby.query(Call(POSITIONS, {}, {}))[0]["replayed"]
            except HostError as error:
                self.ctx.warn(error.what)
                return False
            if replayed and Lsn.parse(replayed) >= wanted:
                return True
            if time.monotonic() > end:
                self.ctx.warn(f"{standby.spec.name} has not replayed up to {inserted} within {CAUGHT_UP_SECONDS:.0f} s.")
                return False
            self.ctx.pause(0.1)


def _calm(database: str) -> Call:
    return Call(content_rules.CALM, {}, {}, database)


# -- pg_amcheck


def corruption_of(ctx: Context) -> tuple[str, list[Found]]:
    """Run pg_amcheck on one of the standbys, another one each time; the sentence of the step, and what was found."""
    standbys = [row for row in ready_rows(ctx) if row.role == row.observed_role == Instance.Observed.STANDBY]
    if not standbys:
        return "There is no standby that answers: pg_amcheck was not run.", []
    handle, database = ctx.handle(standbys[ctx.job.pk % len(standbys)]), ctx.cluster.database
    if not handle.superuser_rows([Call(content_rules.HAS_AMCHECK, {}, {}, database)]):
        return "amcheck is not installed.", [("", content_rules.amcheck_missing(database))]
    given = tables_chosen(ctx, handle)
    named = given.tables if ctx.params.get("tables") else ()
    corrupt = handle.amcheck(database, [table.pattern for table in named], [table.pattern for table in given.left_out])
    if corrupt:
        return f"pg_amcheck found corruption on {handle.spec.name}.", [
            (handle.spec.name, content_rules.relation_corrupt(handle.spec.name, corrupt))
        ]
    return f"pg_amcheck found nothing on {handle.spec.name}.", []
