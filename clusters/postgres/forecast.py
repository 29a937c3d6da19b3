"""How long until a slot is lost or a disk is full, as it goes now, and what to do about it, in the order to try it.

What is not known is never taken for fine: no answer, an old one, or too few to tell a rate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from clusters.postgres.obstacles import size
from clusters.postgres.space import FULL_BYTES
from clusters.postgres.text import Text
from clusters.postgres.text import gettext_noop as _

#: What is older says nothing of now.
STALE_SECONDS: Final = 300.0
#: What takes longer is not filling, as far as anybody can tell.
FAR_SECONDS: Final = 365 * 86_400.0

Outlook = Literal["over", "filling", "steady", "unknown"]


@dataclass(frozen=True)
class Forecast:
    """`left`: bytes until it is over. `seconds`: until then, where it fills. `rate`: bytes a second, negative where space is freed."""

    outlook: Outlook
    sentence: Text
    cures: tuple[Text, ...] = ()
    seconds: float | None = None
    left: int | None = None
    rate: float | None = None


@dataclass(frozen=True)
class SlotSeen:
    """A slot as the monitor saw it. `owner`: the standby whose it is, "" where nobody knows. `safe_bytes`: None without a limit."""

    name: str
    active: bool
    owner: str = ""
    wal_status: str | None = None
    safe_bytes: int | None = None
    retained_bytes: int | None = None


@dataclass(frozen=True)
class DiskSeen:
    """The disk of an instance. `copies`: bytes of copies that are kept on its server; `archives`: archive_mode is on."""

    free_bytes: int | None = None
    rate: float | None = None
    age: float | None = None  # of `free_bytes`, in seconds
    copies: int = 0
    archives: bool = False
    slots: Sequence[SlotSeen] = ()

    @property
    def known(self) -> bool:
        return self.free_bytes is not None and self.age is not None and self.age <= STALE_SECONDS


# -- disks


def disk_forecast(disk: DiskSeen) -> Forecast:
    free, rate = disk.free_bytes, disk.rate
    if free is None or disk.age is None:
        return Forecast("unknown", Text(_("Not known: nobody has looked at this disk yet.")))
    if not disk.known:
        return Forecast("unknown", Text(_("Not known: the last look at this disk is %(minutes)d minutes old."), minutes=disk.age // 60))
    if free < FULL_BYTES:
        return Forecast("over", Text(_("It is full: PostgreSQL stops where it cannot write.")), disk_cures(disk), 0.0, free, rate)
    if rate is None:
        return Forecast("unknown", Text(_("Not known: a rate takes five minutes of looks.")), left=free)
    if rate <= 0 or free / rate > FAR_SECONDS:
        return Forecast("steady", Text(_("It does not fill.")), left=free, rate=rate)
    return Forecast("filling", Text(_("It fills.")), disk_cures(disk), free / rate, free, rate)


def disk_cures(disk: DiskSeen) -> tuple[Text, ...]:
    cures = []
    if disk.copies:
        cures.append(
            Text(_("Purge kept copies that nobody needs any more: those on this server take %(size)s."), size=size(disk.copies)),
        )
    if disk.archives:
        cures.append(Text(_("See that WAL archiving works (pg_stat_archiver): WAL that is not archived is kept.")))
    keeps = max(disk.slots, key=lambda slot: slot.retained_bytes or 0, default=None)
    if keeps is not None and (keeps.retained_bytes or 0) >= FULL_BYTES:
        words = {"slot": keeps.name, "size": size(keeps.retained_bytes or 0)}
        cures.append(Text(_("The slot %(slot)s keeps %(size)s of WAL: bring back who uses it, or drop it."), **words))
    return (*cures, Text(_("Delete what is not the database's, or extend the file system.")))


# -- slots


def slot_forecast(slot: SlotSeen, wal_rate: float | None, disk: DiskSeen, *, heard: bool = True) -> Forecast:
    """`wal_rate`: bytes a second that the instance writes, None where that is not known. `heard`: the instance answers now.

    The WAL that may still be written: until the slot's own limit, or until the disk is full, whatever comes first.
    """
    if slot.wal_status == "lost":
        return Forecast("over", Text(_("It is lost: WAL that it should have kept is gone.")), _lost_cures(slot), 0.0, 0, wal_rate)
    if not heard:
        return Forecast("unknown", Text(_("Not known: its instance does not answer now.")))
    if slot.active and slot.wal_status not in ("extended", "unreserved"):
        return Forecast("steady", Text(_("It is in use and keeps up.")), left=slot.safe_bytes, rate=wal_rate)
    if wal_rate is None:
        return Forecast("unknown", Text(_("Not known: how fast WAL is written is not known yet.")))
    room = disk.free_bytes if disk.known else None
    limits = [limit for limit in (slot.safe_bytes, room) if limit is not None]
    if not limits:
        return Forecast("unknown", Text(_("Not known: only the disk limits it, and its free space is not known now.")), rate=wal_rate)
    left = max(0, min(limits))
    if wal_rate <= 0 or left / wal_rate > FAR_SECONDS:
        return Forecast("steady", Text(_("Hardly any WAL is written.")), left=left, rate=wal_rate)
    return Forecast("filling", _ends(slot, left), _slot_cures(slot, disk), left / wal_rate, left, wal_rate)


def _ends(slot: SlotSeen, left: int) -> Text:
    if slot.safe_bytes is None or slot.safe_bytes > left:
        return Text(_("Then the disk is full, and the instance stops."))
    return Text(_("Then the slot is lost, and its standby needs a new copy."))


def _slot_cures(slot: SlotSeen, disk: DiskSeen) -> tuple[Text, ...]:
    if not slot.owner:
        cures = [Text(_("Bring back who uses the slot %(slot)s; if nobody does any more, drop it."), slot=slot.name)]
    else:
        cures = [
            Text(_("Bring %(standby)s back: it receives what is kept, and nothing is kept any more."), standby=slot.owner),
            Text(_("If %(standby)s is gone for good, remove it from the cluster: its slot goes with it."), standby=slot.owner),
        ]
    if slot.safe_bytes is None:
        cures.append(Text(_("Set max_slot_wal_keep_size: a lost slot costs a new copy, a full disk stops the instance.")))
    elif disk.known and (disk.free_bytes or 0) >= 2 * max(slot.safe_bytes, FULL_BYTES):
        cures.append(Text(_("Else raise max_slot_wal_keep_size: the disk has %(size)s free."), size=size(disk.free_bytes or 0)))
    return tuple(cures)


def _lost_cures(slot: SlotSeen) -> tuple[Text, ...]:
    if not slot.owner:
        return (Text(_("Drop the slot %(slot)s: it can never be used again."), slot=slot.name),)
    return (
        Text(_("Rejoin %(standby)s from a new copy: what it lacks cannot be sent any more."), standby=slot.owner),
        Text(_("If %(standby)s is gone for good, remove it from the cluster: its slot goes with it."), standby=slot.owner),
    )
