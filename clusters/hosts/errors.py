"""What can go wrong between the panel and a machine: each error says what happened (`what`) and what to do next (`hint`).

`template` and `values` are kept beside the English sentence, so that whoever shows it may translate it before the values go in.
No error holds what was sent on standard input.
"""

from __future__ import annotations

import re
from typing import LiteralString

_UNSHOWN = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]+")


def gettext_noop(template: LiteralString) -> LiteralString:
    """Mark `template` for `makemessages` without importing Django: xgettext finds it by this function's name."""
    return template


_ = gettext_noop


def inert(text: str, limit: int = 300) -> str:
    """`text` from a machine as it may stand in a sentence: one line, no control or direction characters, at most `limit` characters."""
    line = _UNSHOWN.sub(" ", text.encode("utf-8", "replace").decode()).strip()
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


class HostError(Exception):
    """A machine did not do what it was asked to. Nothing is known to be changed unless the class says otherwise."""

    def __init__(self, template: str, hint: str = "", /, **values: object) -> None:
        self.template, self.hint_template, self.values = template, hint, values
        self.what = template % values
        self.hint = hint % values
        super().__init__(self.what)


class ArgumentRefused(HostError, ValueError):
    """An argument that could not be carried to the machine unharmed. Nothing was sent."""


class PathRefused(HostError):
    """A path is not as it must be; nothing was done.

    `word`: absent, exists, symlink, not-file, not-directory, not-owned, device, denied, running or too-large.
    """

    def __init__(self, word: str, template: str, hint: str = "", /, **values: object) -> None:
        self.word = word
        super().__init__(template, hint, **values)


class VerbFailed(HostError):
    """A verb of the wrapper failed for a reason of the machine's own (disk full, missing program, ...)."""


class EngineUnheard(VerbFailed):
    """The machine's Docker engine does not answer, or not this user. `said` is what the machine told of it."""

    def __init__(self, said: str) -> None:
        self.said = inert(said)
        super().__init__(
            gettext_noop("The Docker engine does not answer the system user: %(said)s"),
            gettext_noop("Start the engine, and add the system user to the group docker, if PostgreSQL runs in containers there."),
            said=self.said,
        )


class UserRefused(HostError):
    """The panel cannot act as the system user it was told to use. Nothing was run."""


class MachineUnreachable(HostError):
    """No connection could be made. Nothing was run."""


class TokenRefused(HostError):
    """A newer worker has spoken to this machine. Nothing was done; the caller must stop."""

    def __init__(self, token: int, stored: str) -> None:
        self.token, self.stored = token, stored
        super().__init__(
            _("A newer worker took this job over (token %(stored)s); the command of token %(token)s was refused and not run."),
            _("Nothing to do: the newer worker goes on."),
            token=token,
            stored=stored,
        )


class LockBusy(HostError):
    """Another guarded command of the cluster is still running on the machine. Nothing was done."""

    def __init__(self, holder: str) -> None:
        super().__init__(
            _("Another command of this cluster is still running on the server, so nothing was done. It holds %(holder)s"),
            _("Wait until it has ended, or stop that process, then resume the job."),
            holder=inert(holder),
        )


class OutcomeUnknown(HostError):
    """The command may or may not have had its effect: observe before doing anything again."""


class CommandTimeout(OutcomeUnknown):
    """The command did not end in time; it was stopped, and what it had done by then must be observed."""
