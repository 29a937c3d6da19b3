"""The Celery application. The broker is a doorbell: messages carry a job id, results are not kept, the database is the truth."""

import os
from pathlib import Path

from celery import Celery
from celery.signals import after_task_publish, beat_init, heartbeat_sent, worker_ready

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pgreplica_admin.settings")

app = Celery("pgreplica_admin")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["tasks"])


READY_FILE = os.environ.get("PGREPLICA_READY_FILE", "")


@worker_ready.connect
@beat_init.connect
def say_ready(**_: object) -> None:
    """Make the file that `./pgreplica up` waits for."""
    if READY_FILE:
        Path(READY_FILE).touch()
        after_task_publish.connect(say_alive, weak=False)


@heartbeat_sent.connect
def say_alive(**_: object) -> None:
    """Once ready: the file's age tells how long ago this process got through to the broker. beat has messages in place of heartbeats."""
    if READY_FILE and Path(READY_FILE).exists():
        Path(READY_FILE).touch()
