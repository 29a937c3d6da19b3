"""The samples of the minute that runs, in memory: what becomes one row of each table when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Point:
    """`offset`: seconds after the minute began. `answered` False: everything else is None."""

    offset: float
    answered: bool
    lag_bytes: int | None = None
    lag_seconds: float | None = None
    wal_rate: float | None = None
    retained_bytes: int | None = None
    connections: int | None = None


@dataclass
class Minute:
    """`number`: minutes since 1970, by the database's clock."""

    number: int
    points: dict[int, list[Point]] = field(default_factory=dict)  # by instance
    disk: dict[int, int] = field(default_factory=dict)  # the least free bytes, by instance

    def add(self, instance_id: int, point: Point) -> None:
        self.points.setdefault(instance_id, []).append(point)

    def add_disk(self, instance_id: int, free_bytes: int) -> None:
        self.disk[instance_id] = min(free_bytes, self.disk.get(instance_id, free_bytes))


@dataclass(frozen=True)
class Summary:
    """The worst of a minute, and the mean of the WAL rate; None where nothing was known."""

    looks: int
    answers: int
    lag_bytes: int | None
    lag_seconds: float | None
    wal_rate: float | None
    retained_bytes: int | None
    connections: int | None


def summary(points: list[Point]) -> Summary:
    rates = [point.wal_rate for point in points if point.wal_rate is not None]
    return Summary(
        looks=len(points),
        answers=sum(point.answered for point in points),
        lag_bytes=max((point.lag_bytes for point in points if point.lag_bytes is not None), default=None),
        lag_seconds=max((point.lag_seconds for point in points if point.lag_seconds is not None), default=None),
        wal_rate=sum(rates) / len(rates) if rates else None,
        retained_bytes=max((point.retained_bytes for point in points if point.retained_bytes is not None), default=None),
        connections=max((point.connections for point in points if point.connections is not None), default=None),
    )
