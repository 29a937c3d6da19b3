"""Schedules for the clusters that exist, the badge of a standby, and indexes for the history of verifications."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import migrations, models
from django.utils import timezone


def make_schedules(apps: Any, schema_editor: Any) -> None:
    """As `clusters.schedules` does it for a new cluster. The one schedule for all of them goes."""
    beat = {name: apps.get_model("django_celery_beat", name) for name in ("PeriodicTask", "IntervalSchedule", "CrontabSchedule")}
    beat["PeriodicTask"].objects.filter(name="verify", task="tasks.verify_all").delete()
    now = timezone.now()
    for key, name in apps.get_model("clusters", "Cluster").objects.values_list("pk", "name"):
        day, early = divmod(key * 163 % 2520, 360)
        interval, _made = beat["IntervalSchedule"].objects.get_or_create(every=5, period="minutes")
        schedules = {
            "standing": {"interval": interval, "last_run_at": now - timedelta(seconds=key * 37 % 300), "expire_seconds": 300},
            "deep": {"crontab": _crontab(beat["CrontabSchedule"], key * 613 % 1440, "*"), "last_run_at": now, "expire_seconds": 3600},
            "content": {"crontab": _crontab(beat["CrontabSchedule"], early, str(day)), "last_run_at": now, "expire_seconds": 3600},
        }
        for depth, values in schedules.items():
            beat["PeriodicTask"].objects.create(
                name=f"verify-{depth}-{key}",
                task="tasks.verify_cluster",
                kwargs=json.dumps({"cluster_id": key, "depth": depth}),
                description=f"Verify {name}: {depth}",
                start_time=now,
                **values,
            )


def _crontab(model: Any, minute: int, day: str) -> Any:
    fields = {"minute": str(minute % 60), "hour": str(minute // 60), "day_of_week": day, "day_of_month": "*", "month_of_year": "*"}
    fields["timezone"] = settings.TIME_ZONE
    return model.objects.filter(**fields).first() or model.objects.create(**fields)


def forget_schedules(apps: Any, schema_editor: Any) -> None:
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(task="tasks.verify_cluster").delete()


class Migration(migrations.Migration):
    dependencies = [("clusters", "0007_watching"), ("django_celery_beat", "0019_alter_periodictasks_options")]

    operations = [
        migrations.AddField("instance", "promotable_since", models.DateTimeField("promotable since", null=True, editable=False)),
        migrations.AddField("instance", "proven_at", models.DateTimeField("last proven promotable", null=True, editable=False)),
        migrations.AddField(
            "instance",
            "not_promotable",
            models.CharField("why it could not be promoted", max_length=500, blank=True, default="", editable=False),
            preserve_default=False,
        ),
        migrations.AddIndex("verification", models.Index(fields=["created_at"], name="verification_oldest")),
        migrations.AddIndex(
            "verificationrun", models.Index(fields=["cluster", "depth", "-created_at"], name="verification_run_by_depth")
        ),
        migrations.AddIndex("verificationrun", models.Index(fields=["depth", "created_at"], name="verification_run_oldest")),
        migrations.RunPython(make_schedules, forget_schedules, elidable=True),
    ]
