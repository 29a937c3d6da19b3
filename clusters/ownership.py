"""What a job makes carries the job's name, and only what carries it is ever deleted when the job is rolled back."""

from __future__ import annotations

from typing import Final

#: The file in a directory that says which job made it.
OWNER_FILE: Final = ".made-by"


def owner_text(job: int | str) -> str:
    """What the file holds."""
    return f"job {job}\n"


def made_command(directory: str, job: int | str) -> str:
    """How a log and a plan show that a directory is made."""
    return f"mkdir -p {directory}  # with {OWNER_FILE}: job {job}"


def unmade_command(directory: str, job: int | str) -> str:
    """How they show that it is deleted again."""
    return f"rm -r {directory}  # only if {OWNER_FILE} in it says: job {job}"
