from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from clusters.ciphertext import SecretsExposed, ciphertext_check


class Command(BaseCommand):
    help = "See that what is stored of secrets is ciphertext and can be read with the key file. Every start runs it; it changes nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = ciphertext_check()
        except (SecretsExposed, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"{count} stored secrets are ciphertext and can be read.")
