"""What may be asked for of a cluster that the panel has not made: the table of kinds says it, here are the sentences."""

from __future__ import annotations

from django.utils.translation import gettext as _

from clusters.models import Cluster
from tasks.kinds import Kind


def adopted_reason(kind: Kind, cluster: Cluster | None) -> str:
    """Why this cannot be asked for of an adopted cluster; "" where it can, and for every other cluster."""
    if cluster is None or cluster.adopted_at is None or kind.adopted == "watched":
        return ""
    if kind.adopted == "taken_over":
        if not cluster.is_watched:
            return ""
        return _("The cluster was adopted and is only watched: nothing on its servers is changed. Take it over first, without a restart.")
    if kind.name == "remove_cluster":
        return _("The cluster was adopted: its files are not the panel's to put aside. Stop watching it instead; it runs on then.")
    return _(
        "The cluster was adopted: its containers and files are as somebody else made them, and the panel does not do this with them yet. "
        "The how-to “Adopt a cluster” says how it is done by hand."
    )
