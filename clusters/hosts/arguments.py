"""What may be sent to a machine: looked at once, before anything leaves the panel."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from clusters.hosts.errors import ArgumentRefused, inert
from clusters.hosts.errors import gettext_noop as _

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def argv_checked(argv: Sequence[str]) -> list[str]:
    """A command as it can be executed: a program name and words without NUL."""
    if isinstance(argv, str) or not argv or not all(isinstance(word, str) for word in argv):
        raise ArgumentRefused(_("A command must be a list of words."))
    if not argv[0] or argv[0].startswith("-"):
        raise ArgumentRefused(_("“%(program)s” cannot be the name of a program."), program=inert(argv[0]))
    return list(words_checked(argv))


def words_checked(words: Sequence[str]) -> Sequence[str]:
    """Words as they can stand in a command: no NUL."""
    if any("\0" in word for word in words):
        raise ArgumentRefused(_("A word of the command holds a NUL character."))
    return words


def env_checked(env: Mapping[str, str] | None) -> dict[str, str]:
    """Variables that a shell passes on: names of letters, digits and _, values without NUL."""
    for name, value in (env or {}).items():
        if not _NAME.fullmatch(name) or "\0" in value:
            raise ArgumentRefused(_("The environment variable “%(name)s” cannot be passed on."), name=inert(name))
    return dict(env or {})


def path_checked(path: str) -> str:
    """An absolute path without `.` and `..`, without doubled and last slashes; any other character is carried through."""
    parts = path.split("/")
    if not path.startswith("/") or "\0" in path or {".", ".."} & set(parts):
        raise ArgumentRefused(_("“%(path)s” is not an absolute path without “..”."), path=inert(path))
    return "/" + "/".join(part for part in parts if part)


def tree_checked(path: str) -> str:
    """A path that may be deleted or moved: not `/`, nor directly below it."""
    path = path_checked(path)
    if path.count("/") < 2:
        raise ArgumentRefused(_("%(path)s is too near to the root directory to be moved or deleted."), path=inert(path))
    return path


def display(argv: Sequence[str], limit: int = 200) -> str:
    """A command for a sentence: quoted as a shell would need it, in one line."""
    return inert(shlex.join(argv), limit)
