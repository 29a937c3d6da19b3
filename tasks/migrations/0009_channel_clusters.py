"""A channel keeps the names of its clusters: one whose only cluster was removed was for all of them."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models


def keep_names(apps: Any, schema_editor: Any) -> None:
    for channel in apps.get_model("tasks", "AlertChannel").objects.defer("address").prefetch_related("clusters"):
        channel.names = sorted(cluster.name for cluster in channel.clusters.all())
        channel.save(update_fields=["names"])


def keep_keys(apps: Any, schema_editor: Any) -> None:
    clusters = apps.get_model("clusters", "Cluster").objects
    for channel in apps.get_model("tasks", "AlertChannel").objects.defer("address"):
        channel.clusters.set(clusters.filter(name__in=channel.names))


class Migration(migrations.Migration):
    dependencies = [("tasks", "0008_pulses"), ("clusters", "0008_verification")]

    operations = [
        migrations.AddField("alertchannel", "names", models.JSONField("only these clusters", default=list, blank=True)),
        migrations.RunPython(keep_names, keep_keys),
        migrations.RemoveField("alertchannel", "clusters"),
        migrations.RenameField("alertchannel", "names", "clusters"),
    ]
