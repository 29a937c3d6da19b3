"""The rules, from one door: facts to obstacles, facts to findings and a verdict. Pure functions all of them."""

from clusters.postgres.clone_facts import CloneFacts, TargetState
from clusters.postgres.clone_rules import CLONE_RULES, clone_obstacles
from clusters.postgres.obstacles import Obstacle, Severity, size
from clusters.postgres.place_rules import PLACE_RULES, PlaceFacts, place_obstacles
from clusters.postgres.settings import PARITY
from clusters.postgres.verify_facts import Limits, MarkerState, VerifyFacts, lag_bytes, lag_seconds
from clusters.postgres.verify_rules import VERIFY_RULES, Verdict, verdict, verify_findings

__all__ = [
    "CLONE_RULES",
    "PARITY",
    "PLACE_RULES",
    "VERIFY_RULES",
    "CloneFacts",
    "Limits",
    "MarkerState",
    "Obstacle",
    "PlaceFacts",
    "Severity",
    "TargetState",
    "Verdict",
    "VerifyFacts",
    "clone_obstacles",
    "lag_bytes",
    "lag_seconds",
    "place_obstacles",
    "size",
    "verdict",
    "verify_findings",
]
