"""Model fields that hold secrets: Fernet ciphertext in the database, `Secret` in Python.

The keys are in a file of their own (`settings.ENCRYPTION_KEY_FILE`, one key a line, the newest first), never in the
database and apart from `SECRET_KEY`. The first key encrypts, all of them decrypt; so a key is rotated by putting a
new one on the first line.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import models

from clusters.secrets import Secret


class SecretUnreadable(Exception):
    """A stored secret cannot be decrypted with any key of the key file. Put the key that encrypted it back into the file."""


@lru_cache(maxsize=4)
def _fernet(path: str) -> MultiFernet:
    file = Path(path)
    if not file.exists():
        raise ImproperlyConfigured(
            f"The encryption key file {path} is missing. Restore it from where you keep it: without it no stored secret can be read."
        )
    if file.stat().st_mode & 0o077:
        raise ImproperlyConfigured(f"The encryption key file {path} can be read by others. Run: chmod 600 {path}")
    return MultiFernet([Fernet(line) for line in file.read_text().split()])


def encrypt(secret: Secret) -> str:
    return _fernet(str(settings.ENCRYPTION_KEY_FILE)).encrypt(secret.reveal().encode()).decode()


def decrypt(token: str) -> Secret:
    """The secret behind a stored token.

    Raises: SecretUnreadable, always, when no key fits; a stored value is never handed out as it is.
    """
    try:
        return Secret(_fernet(str(settings.ENCRYPTION_KEY_FILE)).decrypt(token.encode()).decode())
    except InvalidToken as error:
        raise SecretUnreadable(
            "A stored secret cannot be decrypted with the keys in the key file. Put the key that encrypted it back as a further line."
        ) from error


if TYPE_CHECKING:
    _TextOfSecret = models.TextField[Secret, Secret]
else:
    _TextOfSecret = models.TextField  # not subscriptable at run time


class EncryptedField(_TextOfSecret):
    """A text column that holds ciphertext. Reads give a `Secret` (or None), writes take one; a plain str is refused."""

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> Secret | None:
        return None if value is None else decrypt(value)

    def get_prep_value(self, value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, Secret):
            raise TypeError(f"{self.name} takes a Secret, not {type(value).__name__}")
        return encrypt(value)

    def to_python(self, value: Any) -> Secret | None:
        return value if value is None or isinstance(value, Secret) else Secret(str(value))

    def value_to_string(self, obj: models.Model) -> str:
        raise TypeError(f"{self.name} is a secret and is not part of a dump")
