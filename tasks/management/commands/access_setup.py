from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from tasks.access import access_setup


class Command(BaseCommand):
    help = "Make the groups viewer, operator and administrator, with the permissions of tasks/access.py. May run any number of times."

    def handle(self, *args: Any, **options: Any) -> None:
        for group, (added, removed) in access_setup().items():
            changes = [f"+{name}" for name in added] + [f"-{name}" for name in removed]
            self.stdout.write(f"{group}: {', '.join(changes) or 'already so'}")
