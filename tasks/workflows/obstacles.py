"""What a step does with the obstacles that the rules have found."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from clusters.postgres.rules import Obstacle
from tasks.context import Context
from tasks.workflows.step import Refused


def obstacles_heeded(ctx: Context, obstacles: Sequence[Obstacle], flags: Collection[str] = ()) -> None:
    """Warn of those that only warn, and of those that the request allows by their flag. Raises: Refused with all, when any is left."""
    allowed = [obstacle for obstacle in obstacles if obstacle.severity == "flag" and obstacle.name in flags]
    if any(obstacle.severity != "warns" and obstacle not in allowed for obstacle in obstacles):
        raise Refused(obstacles)
    for obstacle in obstacles:
        said = f"Allowed by the flag {obstacle.name}: " if obstacle in allowed else ""
        ctx.warn(f"{said}{obstacle.sentence} {obstacle.cure}")
