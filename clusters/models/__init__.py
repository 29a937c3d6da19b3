"""What exists. Fields, constraints and small properties only: writes are in `clusters.services`, reads in `clusters.selectors`."""

from clusters.models.cluster import Cluster, Instance, ReplicationPair
from clusters.models.server import Server
from clusters.models.verification import Verification

__all__ = ["Cluster", "Instance", "ReplicationPair", "Server", "Verification"]
