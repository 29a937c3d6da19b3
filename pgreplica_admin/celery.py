"""The Celery application. The broker is a doorbell: messages carry a job id, results are not kept, the database is the truth."""

import os
from pathlib import Path

from celery import Celery
from celery.signals import beat_init, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pgreplica_admin.settings")

app = Celery("pgreplica_admin")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["tasks"])


@worker_ready.connect
@beat_init.connect
def say_ready(**_: object) -> None:
    """Make the file that `./pgreplica up` waits for."""
    if path := os.environ.get("PGREPLICA_READY_FILE"):
        Path(path).touch()
