"""The instances and pairs of clusters, loaded together: four queries, whatever the number of clusters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from django.db.models import OuterRef, Subquery
from django.utils import timezone

from clusters.models import Cluster, Instance, ReplicationPair, Verification
from clusters.postgres.names import slot_name
from clusters.postgres.promotion_facts import MemberFacts, PromotionFacts

#: Two days of deep verifications: a proof that is older says little of now.
PROOF_HOLDS: Final = timedelta(days=2)


@dataclass
class Members:
    """What a cluster is made of: the declared primary first, then by name; pairs in the same order; the last look at each pair."""

    instances: list[Instance] = field(default_factory=list)
    pairs: list[ReplicationPair] = field(default_factory=list)
    latest: dict[int, Verification] = field(default_factory=dict)

    @property
    def primaries(self) -> list[Instance]:
        """Those seen as a primary, else the declared one: there should be one, and two are shown as two."""
        seen = [row for row in self.instances if row.observed_role == Instance.Observed.PRIMARY]
        return seen or [row for row in self.instances if row.role == Instance.Role.PRIMARY]

    @property
    def standbys(self) -> int:
        return sum(row.role == Instance.Role.STANDBY for row in self.instances)

    @property
    def streaming(self) -> int:
        return sum(pair.state == "streaming" for pair in self.pairs)

    @property
    def proven(self) -> int:
        """Standbys that nothing kept from being promoted when a deep verification looked last."""
        oldest = timezone.now() - PROOF_HOLDS
        standbys = (row for row in self.instances if row.role == Instance.Role.STANDBY and row.promotable_since)
        return sum(row.proven_at is not None and row.proven_at > oldest for row in standbys)

    @property
    def furthest(self) -> ReplicationPair | None:
        """The pair that is furthest behind, of those whose lag is known."""
        known = [pair for pair in self.pairs if pair.lag_bytes is not None or pair.lag_seconds is not None]
        return max(known, key=lambda pair: (pair.lag_bytes or 0, pair.lag_seconds or 0), default=None)

    @property
    def observed_at(self) -> datetime | None:
        """The age of what is known, but for the roles, is the age of its oldest part; None when a part was never seen."""
        moments = [row.observed_at for row in self.instances if row.lifecycle == "ready"]
        known = [moment for moment in moments if moment]
        return min(known) if known and len(known) == len(moments) else None


def member_declared(cluster: str, row: Instance, pair: ReplicationPair | None) -> MemberFacts:
    """A member as the rules about promotions know it by declaration; what was seen of it is for who has looked to add."""
    return MemberFacts(
        name=row.name,
        server=row.server.name,
        role="primary" if row.role == Instance.Role.PRIMARY else "standby",
        upstream=pair.upstream.name if pair else None,
        slot=slot_of(cluster, row.name, pair),
        quarantined=row.quarantined_at is not None,
        cascaded=pair is not None and pair.cascaded,
    )


def facts_around(cluster: Cluster, candidate: MemberFacts, members: Iterable[MemberFacts]) -> PromotionFacts:
    """The candidate among the members of its cluster, itself among them."""
    members = list(members)
    return PromotionFacts(
        candidate=candidate,
        primary=next((member for member in members if member.role == "primary"), None),
        siblings=tuple(member for member in members if member.role == "standby" and member is not candidate),
        epoch=cluster.epoch,
        system_identifier=cluster.system_identifier,
        sync_mode=cluster.sync_mode,  # type: ignore[arg-type]  # a choice of the field
        sync_count=cluster.sync_count,
    )


def slot_of(cluster: str, name: str, pair: ReplicationPair | None) -> str:
    """The slot through which a member follows, or would: a primary has none until it becomes a standby."""
    return pair.slot if pair else slot_name(cluster, name)


def members_of(clusters: Iterable[Cluster], *, server_facts: bool = False) -> dict[int, Members]:
    """Cluster key -> its members. `server_facts`: with what the last check of each server found, which is long."""
    found = {cluster.pk: Members() for cluster in clusters}
    instances = Instance.objects.filter(cluster__in=found).select_related("server", "state").order_by("role", "name")
    instances = instances.defer("state__sampled", *(() if server_facts else ("server__facts",)))
    by_key = {row.pk: row for row in instances}
    latest_id = Verification.objects.filter(pair=OuterRef("pk")).order_by("-created_at").values("pk")[:1]
    pairs = ReplicationPair.objects.filter(standby__cluster__in=found).annotate(latest_id=Subquery(latest_id)).order_by("standby__name")
    rows = list(pairs)
    verifications = Verification.objects.in_bulk([row.latest_id for row in rows if row.latest_id])
    for instance in by_key.values():  # "primary" comes before "standby"
        found[instance.cluster_id].instances.append(instance)
    for row in rows:
        row.standby, row.upstream = by_key[row.standby_id], by_key.get(row.upstream_id) or row.upstream
        members = found[row.standby.cluster_id]
        members.pairs.append(row)
        if row.latest_id:
            members.latest[row.pk] = verifications[row.latest_id]
    return found
