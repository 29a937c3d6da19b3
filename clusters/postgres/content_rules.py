"""Comparing the rows of a primary and a standby: which ranges, by which statements, and what a difference means. Pure.

A standby is a copy block by block, so a row has the same place (ctid) on both. A range is some blocks of one table; its hash is that
of its visible rows in the order of their places. Why it is done so: docs/decisions/0023-content-comparison.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from clusters.postgres.obstacles import Obstacle, obstacle, size
from clusters.postgres.statements import Call, Statement
from clusters.postgres.text import gettext_noop as _

#: Blocks of a range: 2 MB, so that the rows of one that differs can be listed.
RANGE_BLOCKS: Final = 256
#: Ranges that one program asks for.
BATCH: Final = 16
#: As much is read of each side, unless tables are named.
TOTAL_BYTES: Final = 2 * 1024**3
#: Looks at a range that differs, and how many of them must show the same difference while the primary stood still.
ROUNDS: Final = 8
PROOFS: Final = 3
#: So many rows stand in a sentence.
NAMED: Final = 10

TABLES: Final = Statement(
    "tables_to_compare",
    "List the ordinary tables with their sizes",
    "SELECT pg_catalog.json_build_object('schema', nspname, 'name', relname, 'bytes', pg_catalog.pg_table_size(table_.oid), "
    "'blocks', pg_catalog.pg_relation_size(table_.oid) / pg_catalog.current_setting('block_size')::int)::text "
    "FROM pg_catalog.pg_class AS table_ JOIN pg_catalog.pg_namespace AS schema ON schema.oid = relnamespace "
    "WHERE relkind = 'r' AND relpersistence = 'p' AND nspname NOT IN ('pg_catalog', 'information_schema') "
    "AND nspname !~ '^pg_(toast|temp)' ORDER BY pg_catalog.pg_table_size(table_.oid), nspname, relname",
    "superuser",
)
#: The output functions obey some settings; the rest keeps the comparison out of everybody's way.
CALM: Final = Statement(
    "calm",
    "Read alike on both sides, and stand in nobody's way",
    "SET statement_timeout = '30s'; SET lock_timeout = '2s'; SET max_parallel_workers_per_gather = 0; SET datestyle = 'ISO'; "
    "SET timezone = 'UTC'; SET intervalstyle = 'postgres'; SET extra_float_digits = 1; SET bytea_output = 'hex'; "
    "SET default_transaction_read_only = on",
    "superuser",
)
# record_out and not a cast to text: the owner of a table could have made one that runs a function of his, here as the superuser.
HASH: Final = Statement(
    "hash_range",
    "Hash the visible rows of some blocks",
    "SELECT count(*) || ' ' || coalesce(pg_catalog.md5(pg_catalog.string_agg("
    "pg_catalog.md5(pg_catalog.textin(pg_catalog.record_out(compared.*))), '' ORDER BY compared.ctid)), '-') "
    "FROM ONLY {schema}.{table} AS compared WHERE compared.ctid >= {first}::pg_catalog.tid AND compared.ctid < {past}::pg_catalog.tid",
    "superuser",
)
ROWS: Final = Statement(
    "rows_of_range",
    "List the visible rows of some blocks by place and hash",
    "SELECT pg_catalog.textin(pg_catalog.tidout(compared.ctid)) || ' ' || "
    "pg_catalog.md5(pg_catalog.textin(pg_catalog.record_out(compared.*))) "
    "FROM ONLY {schema}.{table} AS compared WHERE compared.ctid >= {first}::pg_catalog.tid AND compared.ctid < {past}::pg_catalog.tid",
    "superuser",
)
INSERTED: Final = Statement("inserted", "Read how far WAL is written", "SELECT pg_catalog.pg_current_wal_insert_lsn()::text", "superuser")
SYNC_WAITS: Final = Statement(
    "sync_waits",
    "Count commits that wait for a standby: it shows them before the primary does",
    "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE wait_event = 'SyncRep'",
    "superuser",
)
HAS_AMCHECK: Final = Statement(
    "has_amcheck", "See whether the extension is there", "SELECT 1 FROM pg_catalog.pg_extension WHERE extname = 'amcheck'", "superuser"
)


@dataclass(frozen=True)
class Table:
    """A table of one database."""

    schema: str
    name: str
    bytes: int
    blocks: int

    @classmethod
    def parse(cls, line: str) -> Table:
        row = json.loads(line)
        return cls(str(row["schema"]), str(row["name"]), int(row["bytes"]), int(row["blocks"]))

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"

    @property
    def pattern(self) -> str:
        """As the client programs take a name literally."""
        return ".".join('"{}"'.format(part.replace('"', '""')) for part in (self.schema, self.name))


@dataclass(frozen=True)
class Range:
    """Some blocks of a table: from `first` on, up to and without `past`."""

    table: Table
    first: int
    past: int

    def call(self, statement: Statement, database: str) -> Call:
        names = {"schema": self.table.schema, "table": self.table.name}
        return Call(statement, names, {"first": f"({self.first},0)", "past": f"({self.past},0)"}, database)


@dataclass(frozen=True)
class Chosen:
    """What is compared, and what is left out: too large, or not there."""

    tables: tuple[Table, ...]
    left_out: tuple[Table, ...] = ()
    missing: tuple[str, ...] = ()


def chosen(tables: Sequence[Table], wanted: Sequence[str], limit: int = TOTAL_BYTES) -> Chosen:
    """The wanted tables, whatever their size; where none is named, the smallest ones up to the limit."""
    if wanted:
        by_name = {table.full_name: table for table in tables}
        found = tuple(by_name[name] for name in wanted if name in by_name)
        return Chosen(found, missing=tuple(name for name in wanted if name not in by_name))
    taken, total = 0, 0
    for table in tables:
        total += table.bytes
        if total > limit:
            break
        taken += 1
    return Chosen(tuple(tables[:taken]), tuple(tables[taken:]))


def batches(table: Table) -> Iterator[list[Range]]:
    """The ranges of a table, as many together as one program asks for."""
    found = [Range(table, first, min(first + RANGE_BLOCKS, table.blocks)) for first in range(0, table.blocks, RANGE_BLOCKS)]
    return (found[at : at + BATCH] for at in range(0, len(found), BATCH))


#: Same: the rows are alike. Differs: they are not, and the primary stood still. Changing: it cannot be told from this look.
Look = Literal["same", "differs", "changing"]


def judged(before: str, there: str, after: str) -> Look:
    """One look at a range: its hash on the primary before and after that of the standby, which had replayed all that was before."""
    if there in (before, after):
        return "same"
    return "differs" if before == after else "changing"


def differing_rows(here: Iterable[str], there: Iterable[str]) -> list[str]:
    """The places whose rows are not alike, in their order; lines are "(block,number) hash"."""
    one, other = (dict(line.split(" ", 1) for line in lines) for lines in (here, there))
    places = {place for place in one.keys() | other.keys() if one.get(place) != other.get(place)}
    return sorted(places, key=lambda place: tuple(map(int, place.strip("()").split(","))))


# -- what it means


def content_differs(primary: str, standby: str, range_: Range, places: Sequence[str]) -> Obstacle:
    return obstacle(
        "content_differs",
        "blocks",
        _("%(standby)s holds other rows than %(primary)s: %(count)s rows of %(table)s in blocks %(first)s to %(last)s, at ctid %(value)s."),
        _("Do not promote or clone it. Read these rows on both sides by ctid to see which are right, keep a copy, then add it anew."),
        value=", ".join(places[:NAMED]) + (", …" if len(places) > NAMED else ""),
        count=len(places),
        standby=standby,
        primary=primary,
        table=range_.table.full_name,
        first=range_.first,
        last=range_.past - 1,
    )


def content_undecided(standby: str, number: Mapping[str, int]) -> Obstacle | None:
    """Every range was told to be alike or not."""
    if not number:
        return None
    return obstacle(
        "content_undecided",
        "warns",
        _("Ranges that could not be compared on %(standby)s: %(value)s. They changed at every look, or could not be read in time."),
        _("Compare these tables at a quieter time; see the log of the job for what was in the way."),
        value=", ".join(f"{table} ({count})" for table, count in list(number.items())[:NAMED]),
        threshold=0,
        standby=standby,
    )


def content_left_out(given: Chosen) -> Obstacle | None:
    """Every table of the database was compared."""
    if not given.left_out:
        return None
    return obstacle(
        "content_left_out",
        "warns",
        _("%(count)s tables were not compared, %(value)s among them: together the tables have more than %(limit)s."),
        _("Name the tables that matter in the schedule of this cluster, or compare them by hand at a quiet time."),
        value=given.left_out[-1].full_name,
        threshold=TOTAL_BYTES,
        count=len(given.left_out),
        limit=size(TOTAL_BYTES),
    )


def table_missing(given: Chosen, database: str) -> Obstacle | None:
    """Every table that is named is there."""
    if not given.missing:
        return None
    return obstacle(
        "table_missing",
        "warns",
        _("The database %(database)s has no ordinary table %(value)s: it was not compared."),
        _("Correct the name in the schedule; of a partitioned table name the partitions."),
        value=", ".join(given.missing[:NAMED]),
        database=database,
    )


def amcheck_missing(database: str) -> Obstacle:
    return obstacle(
        "amcheck_missing",
        "warns",
        _("Not checked for corruption: the extension amcheck is not installed in the database %(value)s."),
        _("Run CREATE EXTENSION amcheck in it, on the primary, to have it checked."),
        value=database,
    )


def relation_corrupt(standby: str, said: Sequence[str]) -> Obstacle:
    return obstacle(
        "relation_corrupt",
        "blocks",
        _("pg_amcheck found corruption on %(standby)s: %(value)s"),
        _("Do not promote or clone it. Run pg_amcheck on the primary too; where only the standby is hit, keep a copy and add it anew."),
        value=" ".join(said[:NAMED])[:500],
        standby=standby,
    )
