"""The parts of the panel say that they live; alerts are no longer a matter of beat and the workers, but of the alerter."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def forget_tasks(apps: Any, schema_editor: Any) -> None:
    """beat keeps in its table what was once in the settings, and would ring for it for ever."""
    apps.get_model("django_celery_beat", "PeriodicTask").objects.filter(task__in=("tasks.alerts", "tasks.notifications")).delete()


class Migration(migrations.Migration):
    dependencies = [("tasks", "0007_job_changed_lately"), ("django_celery_beat", "0019_alter_periodictasks_options")]

    operations = [
        migrations.CreateModel(
            name="Pulse",
            fields=[
                (
                    "part",
                    models.CharField(
                        "part", max_length=20, primary_key=True, serialize=False, choices=[("alerter", "alerter"), ("workers", "workers")]
                    ),
                ),
                ("at", models.DateTimeField("last round")),
            ],
            options={"verbose_name": "pulse", "verbose_name_plural": "pulses"},
        ),
        migrations.RunPython(forget_tasks, migrations.RunPython.noop),
    ]
