"""The Celery application. The broker is a doorbell: messages carry a job id, results are not kept, the database is the truth."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pgreplica_admin.settings")

app = Celery("pgreplica_admin")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks(["tasks"])
