"""A process that outlives the owner of a lab by a moment: when the owner ends, in order or by SIGKILL, it removes all that is the lab's.

It holds the lab's lock together with the owner, so the next lab begins when this one is gone.
"""

from __future__ import annotations

import sys
from pathlib import Path

from tests.lab.lab import sweep
from tests.lab.site import Site


def main(name: str, prefix: str, base: str) -> None:
    sys.stdin.buffer.read()  # until the owner closes its end, or the kernel does
    sweep(Site(name=name, prefix=prefix, base=Path(base)))


if __name__ == "__main__":
    main(*sys.argv[1:])
