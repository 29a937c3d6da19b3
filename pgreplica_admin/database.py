"""How the panel's connections to its own database are opened."""

from __future__ import annotations


def connection_options(given: str, lease_seconds: float) -> str:
    """libpq's `options`: those of DATABASE_URL, and an end for a transaction whose process does not go on.

    A worker that is frozen, or whose machine died, may have a job's row locked. PostgreSQL ends its session once its lease is
    over, so that the next worker gets the row. Source: "Client Connection Defaults", idle_in_transaction_session_timeout.
    """
    return f"{given} -c idle_in_transaction_session_timeout={int(lease_seconds * 1000)}".strip()
