from __future__ import annotations

import json
import sys
from io import StringIO
from typing import Any

import psycopg
import redis
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import connection

from clusters.secrets import Secret
from tasks.administrator import administrator_ensure
from tasks.first_start import demo_pending, machine_register

POOL_OPTIONS = ("pool", "cursor_factory", "context", "prepare_threshold")


class Command(BaseCommand):
    help = "What every start needs before the panel serves: tables, groups, the secrets' self-test, the first administrator and server."
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--administrator", required=True, help="name of the first administrator; the password is read from stdin")
        parser.add_argument("--base-directory", required=True, help="base directory of this machine as a server")
        parser.add_argument("--run-as", default="", help="user that PostgreSQL runs as on this machine")
        parser.add_argument("--demo", action="store_true", help="request the demo cluster, if this is the first start")

    def handle(self, *args: Any, **options: Any) -> None:
        """Answers with one line of JSON: {"administrator_made": bool, "demo_pending": bool}."""
        self._see_that_they_answer()
        call_command("migrate", interactive=False, verbosity=0)
        call_command("access_setup", stdout=StringIO())
        call_command("secrets_check", stdout=StringIO())
        machine_register(base_directory=options["base_directory"], run_as=options["run_as"], demo=options["demo"])
        # Last: where something before it fails, the next start makes the administrator and shows the password.
        made = administrator_ensure(options["administrator"], Secret(sys.stdin.readline().strip()))
        self.stdout.write(json.dumps({"administrator_made": made, "demo_pending": demo_pending()}))

    def _see_that_they_answer(self) -> None:
        """Without the pool and the retries, which would hide the reason for a minute."""
        options = {name: value for name, value in connection.get_connection_params().items() if name not in POOL_OPTIONS}
        try:
            psycopg.connect(**options, connect_timeout=10).close()
        except psycopg.OperationalError as error:
            reason = " ".join(str(error).split())
            raise CommandError(f"the panel's database does not answer ({reason}). Start it, or correct DATABASE_URL.") from error
        try:
            redis.Redis.from_url(settings.REDIS_URL, socket_connect_timeout=10).ping()
        except redis.RedisError as error:
            raise CommandError(f"the broker does not answer ({error}). Start it, or correct REDIS_URL.") from error
