"""Applications beside a story: they write through the cluster's connection string and remember what was acknowledged."""

from __future__ import annotations

import threading
import time
from itertools import groupby, pairwise

import psycopg

from tests.rounds import rounds
from tests.waiting import wait_until

CONNECT_SECONDS = 2
#: Seconds between two rows of a writer, and between two attempts to connect. With those of LIVELY, eight writers keep a processor busy, and
#: what they measure is exact; with the others every test has processors left for what it is about.
LIVELY = (0.002, 0.005)
CALM = (0.02, 0.05)


class Writers:
    """So many threads, each with a session that was opened before anything happens; a broken session is replaced by a new one.

    Rows are numbered per writer in the table `written (writer, number)`. A row counts as acknowledged when the INSERT,
    in autocommit, came back without an error or a warning.
    """

    def __init__(self, dsn: str, count: int = 8, pace: tuple[float, float] = rounds(CALM, LIVELY)) -> None:
        self.dsn = dsn
        self.pause, self.patience = pace
        self.acknowledged: list[list[int]] = [[] for _ in range(count)]
        self.moments: list[float] = []
        self.answers: list[tuple[float, str]] = []  # when somebody acknowledged, and who: address:port
        self.doing = [""] * count  # for whom it has stalled
        self.ended = threading.Event()
        self.threads = [threading.Thread(target=self._write, args=(writer,), daemon=True) for writer in range(count)]

    def __enter__(self) -> Writers:
        with self.session() as session:
            session.execute("CREATE TABLE IF NOT EXISTS written (writer int, number bigint, PRIMARY KEY (writer, number))")
        for thread in self.threads:
            thread.start()
        wait_until(lambda: all(self.acknowledged), "every writer has written")
        return self

    def __exit__(self, *_exception: object) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join(30)

    @property
    def count(self) -> int:
        return sum(map(len, self.acknowledged))

    def session(self) -> psycopg.Connection:
        return psycopg.connect(self.dsn, autocommit=True, connect_timeout=CONNECT_SECONDS)

    def go_on(self, rows: int = 50, seconds: float = 30.0) -> None:
        """Wait until so many more rows are acknowledged: applications work again."""
        before = self.count
        try:
            wait_until(lambda: self.count >= before + rows, f"{rows} more rows were acknowledged", seconds)
        except AssertionError as late:
            raise AssertionError(f"{late}; {self.count - before} were. The writers, last: {self.doing}") from late

    def gap(self, since: float = 0.0) -> float:
        """The longest time in seconds in which nothing was acknowledged to anybody, since a moment of time.monotonic()."""
        moments = sorted(moment for moment in list(self.moments) if moment >= since)
        return max((after - before for before, after in pairwise(moments)), default=0.0)

    def reigns(self) -> list[str]:
        """Who has acknowledged, one after another. Two at the same time would come again and again, by turns."""
        return [who for who, _of_it in groupby(who for _at, who in sorted(self.answers))]

    def lost(self) -> set[tuple[int, int]]:
        """(writer, number) of each acknowledged row that the cluster does not have. Stops the writing."""
        self.__exit__()
        with self.session() as session:
            found = set(session.execute("SELECT writer, number FROM written").fetchall())
        told = {(writer, number) for writer, numbers in enumerate(self.acknowledged) for number in numbers}
        return told - found

    def _write(self, writer: int) -> None:
        number = 0
        while not self.ended.is_set():
            try:
                self.doing[writer] = "connects"
                with self.session() as session:
                    who = f"{session.info.host}:{session.info.port}"
                    warned: list[object] = []
                    session.add_notice_handler(warned.append)
                    while not self.ended.is_set():
                        number += 1
                        self.doing[writer] = f"writes {number} at {who} since {time.monotonic():.1f}"
                        session.execute("INSERT INTO written (writer, number) VALUES (%s, %s)", (writer, number))
                        if not warned:  # a commit whose wait was cancelled is not acknowledged
                            self.acknowledged[writer].append(number)
                            self.moments.append(time.monotonic())
                            self.answers.append((self.moments[-1], who))
                        warned.clear()
                        time.sleep(self.pause)
            except psycopg.Error as error:  # the application tries again: that is the gap
                self.doing[writer] = str(error)
                time.sleep(self.patience)
