"""Hypothesis tries the same examples at every run, without a clock: a busy machine is no failure, and a failure comes again."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("steady", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("steady")
