"""The self-test at each start: what the database holds of secrets is ciphertext, and the key file opens it."""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.db import connection, models, transaction

from clusters.fields import EncryptedField, SecretUnreadable, decrypt
from clusters.models import Cluster
from clusters.secrets import Secret

#: Every Fernet token begins so (version byte 128, then a 64 bit time) until the year 2106.
TOKEN_START = "gAAAA"  # noqa: S105
PROBE_NAME = "secrets-self-test"


class SecretsExposed(Exception):
    """Stored secrets are not what they must be. The sentence says where and what to do; the panel must not start."""


def ciphertext_check() -> int:
    """Write a secret, read the raw column back, take it all back; then look at what is stored. Returns how many secrets that was.

    Raises: SecretsExposed.
    """
    _probe()
    return sum(_column_check(model, field) for model, field in encrypted_columns())


def encrypted_columns() -> Iterator[tuple[type[models.Model], EncryptedField]]:
    for model in apps.get_models():
        for field in model._meta.local_concrete_fields:
            if isinstance(field, EncryptedField):
                yield model, field


def _probe() -> None:
    probe = Secret.generate()
    fields = [field.name for model, field in encrypted_columns() if model is Cluster]  # their columns have these names
    with transaction.atomic():
        row = Cluster.objects.create(name=PROBE_NAME, postgres_major=18, database="x", owner_role="x", **dict.fromkeys(fields, probe))
        stored = _raw(Cluster, fields, row.pk)
        transaction.set_rollback(True)
    for column, text in zip(fields, stored, strict=True):
        if probe.reveal() in text or not text.startswith(TOKEN_START) or decrypt(text) != probe:
            raise SecretsExposed(
                f"The self-test wrote a secret to {Cluster._meta.db_table}.{column} and did not find it encrypted there. "
                "The panel does not start, so that no password is stored in clear. Please report this."
            )


def _raw(model: type[models.Model], columns: list[str], pk: int) -> tuple[str, ...]:
    quote = connection.ops.quote_name
    with connection.cursor() as cursor:
        names, table = ", ".join(map(quote, columns)), quote(model._meta.db_table)
        cursor.execute(f"SELECT {names} FROM {table} WHERE id = %s", [pk])  # noqa: S608  # names of our own models
        row: tuple[str, ...] = cursor.fetchone()
    return row


def _column_check(model: type[models.Model], field: EncryptedField) -> int:
    """No stored value is in clear, and each can be read with the keys there are. Returns how many values there are."""
    where = f"{model._meta.db_table}.{field.column}"
    rows = model._default_manager.exclude(**{field.name: None})
    stored = list(rows.annotate(raw=models.functions.Cast(field.name, models.TextField())).values_list("raw", flat=True))
    if any(not str(text).startswith(TOKEN_START) for text in stored):
        raise SecretsExposed(
            f"{where} holds a value that is not encrypted. The panel does not start. Set that secret anew, and treat the old one as known."
        )
    for text in stored:
        try:
            decrypt(text)
        except SecretUnreadable as error:
            raise SecretsExposed(f"A secret in {where} cannot be read. {error}") from error
    return len(stored)
