"""What the wrapper's refusals mean: its marked line on standard error becomes the error with its sentences."""

from __future__ import annotations

from typing import Final

from clusters.hosts.errors import HostError, LockBusy, PathRefused, TokenRefused, VerbFailed, inert
from clusters.hosts.errors import gettext_noop as _
from clusters.hosts.wrapper import EXIT_REFUSED, EXIT_TOKEN, MARK

#: word: (what, hint). The words are those of `fail` in the scripts.
_PATHS: Final[dict[str, tuple[str, str]]] = {
    "absent": (_("There is no %(path)s on the server."), _("Look whether it was moved or deleted by hand.")),
    "exists": (
        _("%(path)s exists on the server already, so nothing was moved there."),
        _("Look what it is, and put it aside if it is not needed."),
    ),
    "symlink": (_("%(path)s is a symbolic link, and the panel writes through none."), _("Replace the link by a file, or give its target.")),
    "not-file": (_("%(path)s is not a plain file."), _("Look what it is, and put it aside if it is not needed.")),
    "not-directory": (_("%(path)s is not a directory."), _("Look what it is, and put it aside if it is not needed.")),
    "not-owned": (
        _("%(path)s was not made by this job, or belongs to another system user, so it was left as it is."),
        _("Look what it is. Put it aside or delete it by hand if it is not needed."),
    ),
    "device": (
        _("%(path)s and its new place are on different file systems, so moving it would be a copy."),
        _("Keep the base directory of a server on one file system."),
    ),
    "denied": (
        _("The system user of the server may not look at %(path)s, or not change it."),
        _("Correct the owner or the mode of that directory and of those above it."),
    ),
    "running": (_("The command of %(path)s still runs, so its receipts were kept."), _("Stop it first.")),
}

_FAILURES: Final[dict[str, tuple[str, str]]] = {
    "token-file": (
        _("The token file %(path)s on the server cannot be used: %(said)s"),
        _("It must hold one whole number and be writable for the server's system user. Correct it by hand."),
    ),
    "lock": (
        _("The lock for %(path)s cannot be made: %(said)s"),
        _("The directory must be there and writable for the server's system user."),
    ),
    "no-setsid": (
        _("A detached command cannot be started: the server has neither setsid nor perl. %(said)s"),
        _("Install util-linux on the server."),
    ),
    "unit": (_("The detached command of %(path)s could not be started: %(said)s"), _("Look at the file `out` in that directory.")),
    "fsync": (
        _("The server could not write %(path)s to its disk: %(said)s"),
        _("Look at the server's kernel log: the disk may be failing."),
    ),
}

_OTHER: Final = (_("The server could not do it (%(word)s %(path)s): %(said)s"), _("Look at the free space and the rights there."))
_UNMARKED: Final = (_("The server's shell ended with exit code %(code)s: %(said)s"), _("Try the same by hand on the server."))


def refusal(returncode: int, stderr: str, token: int = 0) -> HostError | None:
    """The error that a marked last line of `stderr` with exit code 75 or 76 stands for; None when there is none."""
    said, mark, line = stderr.rpartition(MARK)
    if returncode not in (EXIT_TOKEN, EXIT_REFUSED) or not mark:
        return None
    word, _space, detail = line.rstrip("\n").partition(" ")
    if returncode == EXIT_TOKEN:
        return TokenRefused(token, inert(detail))
    if word == "busy":
        return LockBusy(detail)
    values = {"path": inert(detail), "said": inert(said), "word": word}
    if word in _PATHS:
        return PathRefused(word, *_PATHS[word], **values)
    return VerbFailed(*_FAILURES.get(word, _OTHER), **values)


def unmarked(returncode: int, stderr: str) -> HostError:
    """The error for a verb that ended with an exit code but without a word of the wrapper."""
    return VerbFailed(*_UNMARKED, code=returncode, said=inert(stderr))
