"""The rules, from one door: facts to obstacles, facts to findings and a verdict. Pure functions all of them."""

from clusters.postgres.clone_facts import CloneFacts, TargetState
from clusters.postgres.clone_rules import CLONE_RULES, clone_obstacles
from clusters.postgres.failover_rules import FAILOVER_RULES, best_candidate, failover_obstacles
from clusters.postgres.obstacles import Obstacle, Severity, size
from clusters.postgres.place_rules import PLACE_RULES, PlaceFacts, place_obstacles
from clusters.postgres.promote_rules import PROMOTE_RULES, promote_obstacles
from clusters.postgres.rejoin_facts import RejoinFacts, Way
from clusters.postgres.rejoin_rules import REJOIN_RULES, rejoin_obstacles, rejoin_way
from clusters.postgres.settings import PARITY
from clusters.postgres.slot_rules import create_slot_obstacles, drop_slot_obstacles
from clusters.postgres.switchover_rules import SWITCHOVER_RULES, switchover_obstacles
from clusters.postgres.sync_rules import SYNC_CHANGE_RULES, SyncChangeFacts, sync_obstacles
from clusters.postgres.verify_facts import Limits, MarkerState, VerifyFacts, lag_bytes, lag_seconds
from clusters.postgres.verify_rules import VERIFY_RULES, Verdict, verdict, verify_findings

__all__ = [
    "CLONE_RULES",
    "FAILOVER_RULES",
    "PARITY",
    "PLACE_RULES",
    "PROMOTE_RULES",
    "REJOIN_RULES",
    "SWITCHOVER_RULES",
    "SYNC_CHANGE_RULES",
    "VERIFY_RULES",
    "CloneFacts",
    "Limits",
    "MarkerState",
    "Obstacle",
    "PlaceFacts",
    "RejoinFacts",
    "Severity",
    "SyncChangeFacts",
    "TargetState",
    "Verdict",
    "VerifyFacts",
    "Way",
    "best_candidate",
    "clone_obstacles",
    "create_slot_obstacles",
    "drop_slot_obstacles",
    "failover_obstacles",
    "lag_bytes",
    "lag_seconds",
    "place_obstacles",
    "promote_obstacles",
    "rejoin_obstacles",
    "rejoin_way",
    "size",
    "switchover_obstacles",
    "sync_obstacles",
    "verdict",
    "verify_findings",
]
