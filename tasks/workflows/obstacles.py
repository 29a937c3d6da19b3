"""What a step does with the obstacles that the rules have found."""

from __future__ import annotations

from collections.abc import Sequence

from clusters.postgres.rules import Obstacle
from tasks.context import Context
from tasks.workflows.step import Refused


def obstacles_heeded(ctx: Context, obstacles: Sequence[Obstacle]) -> None:
    """Warn of those that only warn. Raises: Refused when one blocks, or needs a flag (no kind of job of this release takes one)."""
    if any(obstacle.severity != "warns" for obstacle in obstacles):
        raise Refused(obstacles)
    for obstacle in obstacles:
        ctx.warn(f"{obstacle.sentence} {obstacle.cure}")
