"""The panel's Celery application with the toy kinds in its tables: `celery -A tests.faults.celery_app worker`."""

from __future__ import annotations

import django

django.setup()

from pgreplica_admin.celery import app  # noqa: E402
from tests.faults.toy import toys  # noqa: E402

__all__ = ["app"]

toys().__enter__()
