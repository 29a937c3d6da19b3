"""What takes the space on the disk of an instance's data, for the sentence that names it."""

from __future__ import annotations

from typing import Final

from clusters.postgres.command import Command
from clusters.postgres.obstacles import size
from clusters.postgres.spec import InstanceSpec

#: Less than one WAL file: PostgreSQL stops where it cannot write the next one.
FULL_BYTES: Final = 16 * 1024 * 1024
SHOWN: Final = 3
#: The parts that grow by themselves, each for itself; of what is not the instance's, what lies directly in the base directory.
_EATERS: Final = """\
for each in "$1"/* "$1"/.[!.]* "$2"/* "$2"/.[!.]* "$3"/* "$4"/pg_wal "$4"/base "$4".*; do
    case $each in "$2" | "$3" | "$3"/volumes) continue ;; esac
    [ ! -e "$each" ] || du -xsk "$each" 2>/dev/null
done | sort -rn | head -n 3
"""


def space_eaters(spec: InstanceSpec) -> Command:
    """Lines of du, the largest first."""
    places = (spec.base_directory, spec.cluster_directory, spec.directory, spec.data_directory)
    return Command(("sh", "-c", _EATERS, "pgreplica", *places), purpose=f"See what takes the space on the disk of {spec.name}")


def eaters_named(printed: str) -> str:
    """ "/srv/pg/backup 412 MB, /srv/pg/orders/node1/volumes/postgres/data/pg_wal 48.0 MB": what `space_eaters` printed, for people."""
    rows = [line.split("\t", 1) for line in printed.splitlines() if "\t" in line]
    return ", ".join(f"{path} {size(int(kilobytes) * 1024)}" for kilobytes, path in rows[:SHOWN] if kilobytes.isdigit())
