"""Whether the panel can do its work, for probes and load balancers. It says no more than that, so it needs no sign-in."""

from __future__ import annotations

from celery import current_app
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe
from kombu.exceptions import OperationalError
from psycopg_pool import PoolTimeout

BROKER_SECONDS = 1


@login_not_required
@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """200 while the database answers; 503 else. A broker that does not answer is said, but stops nothing: the sweeper sends again."""
    database, broker = _database(), _broker()
    status = "ok" if database and broker else "degraded" if database else "down"
    answer = {"status": status, "database": database, "broker": broker}
    return JsonResponse(answer, status=200 if database else 503, headers={"Cache-Control": "no-store"})


def _database() -> bool:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except (DatabaseError, PoolTimeout):
        return False
    return True


def _broker() -> bool:
    try:
        with current_app.connection_for_write(connect_timeout=BROKER_SECONDS) as broker:
            broker.ensure_connection(max_retries=1, interval_start=0, interval_step=0, timeout=BROKER_SECONDS)
    except (OperationalError, OSError):
        return False
    return True
