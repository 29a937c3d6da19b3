"""Who hears the primary? Asked several times before it is given up, on every path: the panel's own, and through each standby's server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from clusters.hosts.machine import HostError
from clusters.instances import InstanceHandle
from clusters.models import Instance
from clusters.postgres.facts import Lsn, ReceiverRow
from clusters.postgres.promotion_facts import MemberFacts, PromotionFacts
from clusters.postgres.statements import IN_RECOVERY, Call
from tasks.context import Context
from tasks.workflows.observing import instance_observed

REACH_SECONDS: Final = 1.5
#: One message, seen in two looks by the same clock: a loaded server reads its clock at different moments of a look.
SAME_MESSAGE_SECONDS: Final = 3.0


@dataclass
class Hearing:
    """Several looks. A primary whose server loses power says no farewell: until its WAL receiver gives up, after a minute, a standby
    shows a connection that is none. So a standby hears it only where its server can connect to it, or something new has come.
    """

    old: InstanceHandle
    # Standby -> when it had heard last, by its own clock, and how far it and its upstream were known to be, at the first look.
    first: dict[str, tuple[float, Lsn | None, Lsn | None]] = field(default_factory=dict)
    heard: set[str] = field(default_factory=set)
    connected: set[str] = field(default_factory=set)  # with a WAL receiver that streams, at the last look

    def look(self, ctx: Context, rows: Sequence[Instance]) -> list[str]:
        """Who hears it, each as a sentence."""
        signs = ["the panel has a session with it"] if self._answers() else []
        self.connected.clear()
        for row in rows:
            if (pair := getattr(row, "pair", None)) and not pair.cascaded:
                signs += self._through(ctx, ctx.handle(row))
        return signs

    def told(self, facts: PromotionFacts) -> PromotionFacts:
        """The same facts, with the standbys marked that have a connection to the primary and hear nothing over it."""
        return replace(facts, candidate=self._marked(facts.candidate), siblings=tuple(map(self._marked, facts.siblings)))

    def _marked(self, member: MemberFacts) -> MemberFacts:
        return replace(member, deaf=member.name in self.connected - self.heard)

    def _answers(self) -> bool:
        try:
            return not self.old.query(Call(IN_RECOVERY, {}, {}))[0]["standby"]
        except HostError:  # that it does not answer is what is asked here
            return False

    def _through(self, ctx: Context, standby: InstanceHandle) -> list[str]:
        facts, name = instance_observed(standby).facts, standby.spec.name
        receiver = facts.receiver if facts else None
        if facts is None or receiver is None or receiver.status != "streaming":
            return []
        self.connected.add(name)
        if self._news(name, receiver, facts.observed_at) or self._reached(ctx, standby):
            self.heard.add(name)
        age = f"last message {receiver.message_age_seconds or 0:.1f} s ago"
        if name in self.heard:
            return [f"{name} receives from it ({age})"]
        ctx.say(f"{name} has a connection to it, over which nothing new comes ({age}), and its server cannot make another one.")
        return []

    def _news(self, name: str, receiver: ReceiverRow, observed_at: float) -> bool:
        """Whether anything has come since the first look."""
        message = observed_at - (receiver.message_age_seconds or 0)
        before = self.first.setdefault(name, (message, receiver.flush_lsn, receiver.upstream_lsn))
        return message > before[0] + SAME_MESSAGE_SECONDS or (receiver.flush_lsn, receiver.upstream_lsn) != before[1:]

    def _reached(self, ctx: Context, standby: InstanceHandle) -> bool:
        """Where it cannot be tried, the connection that is there counts."""
        try:
            return standby.machine.reaches(self.old.spec.address, self.old.spec.port, REACH_SECONDS)
        except HostError as error:
            ctx.warn(f"Whether the server of {standby.spec.name} reaches it cannot be tried. {error.what}")
            return True
