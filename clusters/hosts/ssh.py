"""A machine reached over SSH, as the user that owns the data there."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import paramiko

from clusters.hosts import wrapper
from clusters.hosts.errors import HostError, MachineUnreachable, OutcomeUnknown, UserRefused, inert
from clusters.hosts.errors import gettext_noop as _
from clusters.hosts.files import FileVerbs
from clusters.hosts.local import SYSTEM_PATH
from clusters.hosts.machine import Machine
from clusters.hosts.shell import Call, Lost, Sink, TimedOut
from clusters.hosts.ssh_connection import Broken, Place, connection_to
from clusters.hosts.ssh_errors import ForwardingForbidden
from clusters.hosts.ssh_forward import SECONDS as FORWARD_SECONDS
from clusters.hosts.ssh_forward import forwarder
from clusters.hosts.ssh_ports import could_listen
from clusters.hosts.ssh_stream import Conversation, NotBegun, Receipt, begun, environment, for_any_shell
from clusters.hosts.ssh_transport import OPEN_SECONDS
from clusters.hosts.units import UnitVerbs

#: What ending a command may take: TERM, two seconds, KILL, two seconds, and the way there and back.
END_SECONDS: Final = 8.0
#: SSH_OPEN_ADMINISTRATIVELY_PROHIBITED (RFC 4254, section 5.1).
FORBIDDEN: Final = 1
WHO_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Identity:
    """The login, the system user that commands run as, and the words that make the one the other."""

    way: str  # self, setpriv, sudo, none or unknown
    login: str
    login_name: str
    uid: str
    gid: str
    groups: str
    home: str
    path: str
    target: str
    said: str

    @property
    def prefix(self) -> tuple[str, ...]:
        if self.way == "setpriv":
            return ("setpriv", f"--reuid={self.uid}", f"--regid={self.gid}", f"--groups={self.groups}", "--")
        return ("sudo", "-n", "-u", self.target, "--") if self.way == "sudo" else ()


class SSHMachine(FileVerbs, UnitVerbs):
    """The machine at `place`, as the system user `run_as` (a name or a number), or as the login when that is empty."""

    def __init__(self, place: Place, run_as: str = "", *, search_path: str = SYSTEM_PATH) -> None:
        self.place, self.run_as, self.search_path = place, run_as, search_path

    def __repr__(self) -> str:
        return f"SSHMachine({self.place.name!r}, {self.run_as!r})"

    def stream(self, call: Call, out: Sink, err: Sink) -> int:
        return self._streamed(call, out, err, END_SECONDS)

    def _streamed(self, call: Call, out: Sink, err: Sink, end_seconds: float, *, spare: bool = False) -> int:
        identity = self._identity(self.run_as if call.as_owner else "")
        variables = {"PATH": self.search_path, "HOME": identity.home, "LC_ALL": "C", "LANG": "C"}
        prefix = (*identity.prefix, "env", "-i", *(f"{name}={value}" for name, value in variables.items()))
        argv, word = begun(call.argv, prefix)
        with self._session(call.timeout, spare=spare) as channel:
            conversation = Conversation(channel, word, environment(call.env) + (call.stdin or b""), out, err)
            try:
                conversation.start(for_any_shell(argv))
                return conversation.hold(time.monotonic() + call.timeout)
            except NotBegun as failure:
                raise self._not_begun(identity, failure) from failure
            except Lost:
                raise
            except BaseException as failure:
                ended = end_seconds > 0 and self._end(conversation.receipt, call, end_seconds)
                if isinstance(failure, TimedOut) and not ended:
                    raise Lost from failure
                raise

    @contextmanager
    def _session(self, seconds: float, *, spare: bool = False) -> Iterator[paramiko.Channel]:
        """A channel on the kept connection; on a new one where the kept one turns out to be broken. Nothing has been sent then."""
        with contextlib.ExitStack() as stack:
            for last in (False, True):
                connection = connection_to(self.place)
                try:
                    channel = stack.enter_context(connection.session(max(seconds, OPEN_SECONDS), spare=spare))
                    break
                except Broken as error:
                    connection.close()
                    if last:
                        raise self._went(error) from error
            yield channel

    def _end(self, receipt: Receipt | None, call: Call, seconds: float) -> bool:
        """Kill the process group of a command that is not to go on; whether that is certain."""
        if receipt is None or receipt.mark == "-":
            return False
        argv = ("sh", "-c", wrapper.END, "pgreplica", receipt.pid, receipt.group, receipt.mark)
        ending = Call(argv, call.shown, seconds, as_owner=call.as_owner)
        try:
            return self._streamed(ending, _unheard, _unheard, 0, spare=True) == 0
        except (HostError, TimedOut, Lost):
            return False

    # -- who commands run as

    def owner(self) -> str:
        identity = self._identity(self.run_as)
        return f"{identity.uid}:{identity.gid}"

    def login_path(self) -> str:
        return self._identity("").path or self.search_path

    def identity(self) -> Identity:
        """The login and the system user. Raises: UserRefused where the one cannot become the other."""
        return self._identity(self.run_as)

    def _identity(self, name: str) -> Identity:
        """Asked once for each connection."""
        connection = connection_to(self.place)
        known = connection.identities.get(name)
        if not isinstance(known, Identity):
            known = self._asked_who(name)
            if known.way in ("unknown", "none"):
                raise self._user_refused(known, name)
            connection.identities[name] = known
        return known

    def _asked_who(self, name: str) -> Identity:
        argv, word = begun(["sh", "-c", wrapper.WHO, "pgreplica", name], ())
        answer = bytearray()
        try:
            with self._session(WHO_SECONDS) as channel:
                conversation = Conversation(channel, word, environment({}), answer.extend, _unheard)
                conversation.start(for_any_shell(argv))
                conversation.hold(time.monotonic() + WHO_SECONDS)
        except NotBegun as failure:
            raise HostError(
                _("%(name)s let “%(user)s” in, but its login shell runs no command: %(said)s"),
                _("Give that user a shell (sh, bash, ...) and no forced command, then try again."),
                name=inert(self.place.name),
                user=inert(self.place.user),
                said=inert(failure.said) or "-",
            ) from failure
        except (TimedOut, Lost) as failure:
            raise self._went(failure) from failure
        lines = answer.decode("utf-8", "replace").split("\n", 9)
        return Identity(*lines) if len(lines) == 10 else _nobody(lines)

    def _user_refused(self, identity: Identity, name: str) -> UserRefused:
        if identity.way == "unknown":
            return UserRefused(
                _("There is no system user “%(user)s” on %(name)s."),
                _("Make it, or give the server another system user."),
                user=inert(name),
                name=inert(self.place.name),
            )
        return UserRefused(
            _("The panel logs in to %(name)s as “%(login)s”, who may not act as the system user “%(user)s”: %(said)s"),
            _(
                "Allow it in /etc/sudoers.d: “%(login)s ALL=(%(user)s) NOPASSWD: ALL”. Or let the panel log in as “%(user)s” "
                "or as root, with setpriv (util-linux) installed."
            ),
            name=inert(self.place.name),
            login=inert(identity.login_name or self.place.user),
            user=inert(name),
            said=inert(identity.said) or "-",
        )

    def _not_begun(self, identity: Identity, failure: NotBegun) -> HostError:
        connection_to(self.place).identities.clear()
        return HostError(
            _("A command could not begin on %(name)s as the user number %(user)s: %(said)s"),
            _("Try the same by hand on the server. It may be out of processes or of memory, or a sudo rule may be gone."),
            name=inert(self.place.name),
            user=identity.uid,
            said=inert(failure.said) or f"exit code {failure.code}",
        )

    def _went(self, error: BaseException) -> MachineUnreachable:
        return MachineUnreachable(
            _("The SSH connection to %(name)s broke before a command was sent: %(said)s"),
            _("See whether the server runs and can be reached."),
            name=inert(self.place.name),
            said=inert(str(error)) or type(error).__name__,
        )

    def _no_forwarding(self) -> ForwardingForbidden:
        return ForwardingForbidden(
            _("The SSH server of %(name)s forbids the forwarding of ports, over which the panel talks to PostgreSQL there."),
            _("Allow it for this login: AllowTcpForwarding and PermitOpen in sshd_config, “restrict” in authorized_keys."),
            name=inert(self.place.name),
        )

    # -- ports

    def port_free(self, address: str, port: int) -> bool:
        return could_listen(self, address, port)

    def reaches(self, address: str, port: int, seconds: float) -> bool:
        channel = self._tunnel(address, port, seconds)
        if channel is not None:
            with contextlib.suppress(*Broken):
                channel.close()
        return channel is not None

    def forwards(self) -> bool:
        """Whether this login may have ports forwarded; whether anything listens there is another question."""
        try:
            self.reaches("127.0.0.1", self.place.port, FORWARD_SECONDS)
        except ForwardingForbidden:
            return False
        return True

    @contextmanager
    def forward(self, address: str, port: int) -> Iterator[tuple[str, int]]:
        with forwarder(self._tunnel, address, port) as way:
            try:
                yield way.here
            except OutcomeUnknown:  # what was asked last may have been done: that says more
                raise
            except HostError as error:
                if not way.cut:
                    raise
                raise MachineUnreachable(
                    _("The SSH connection to %(name)s was lost on the way to its port %(port)s: %(said)s"),
                    _("See whether the server runs and can be reached."),
                    name=inert(self.place.name),
                    port=port,
                    said=error.what,
                ) from error

    def _tunnel(self, address: str, port: int, seconds: float) -> paramiko.Channel | None:
        """A connection from the server to one of its ports; None where that is refused. Raises: MachineUnreachable and its kin."""
        for last in (False, True):
            connection = connection_to(self.place)
            try:
                return connection.tunnel(address, port, seconds)
            except paramiko.ChannelException as refused:
                if refused.code == FORBIDDEN:
                    raise self._no_forwarding() from refused
                return None
            except Broken as error:
                if connection.alive:  # it answers, but that port does not
                    return None
                connection.close()
                if last:
                    raise self._went(error) from error
        raise AssertionError


def _unheard(_chunk: bytes) -> None:
    """For output that nobody wants."""


def _nobody(lines: Sequence[str]) -> Identity:
    return Identity("none", "", "", "", "", "", "", "", "", said="\n".join(lines))


if TYPE_CHECKING:
    _keeps_the_contract: type[Machine] = SSHMachine
