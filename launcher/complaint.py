from __future__ import annotations


class CannotStart(Exception):
    """One plain sentence: what is in the way and what to do about it. `./pgreplica` prints it and ends with exit code 2."""
