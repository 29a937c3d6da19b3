"""What exists. Fields, constraints and small properties only: writes are in `clusters.services`, reads in `clusters.selectors`."""

from clusters.models.cluster import Cluster, Instance, ReplicationPair, SyncMode
from clusters.models.discovery import Discovery
from clusters.models.kept import KeptCopy
from clusters.models.samples import FineSample, InstanceState, Monitor, Sample
from clusters.models.server import Server, SshKey
from clusters.models.verification import Verification, VerificationRun

__all__ = [
    "Cluster", "Discovery", "FineSample", "Instance", "InstanceState", "KeptCopy", "Monitor", "ReplicationPair", "Sample", "Server",
    "SshKey", "SyncMode", "Verification", "VerificationRun",
]  # fmt: skip
