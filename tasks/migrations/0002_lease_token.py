from django.db import migrations


class Migration(migrations.Migration):
    """One sequence for the lease tokens of all jobs: a later claim has the higher token on every server."""

    dependencies = [("tasks", "0001_initial")]
    operations = [migrations.RunSQL("CREATE SEQUENCE tasks_lease_token AS bigint", "DROP SEQUENCE tasks_lease_token")]
