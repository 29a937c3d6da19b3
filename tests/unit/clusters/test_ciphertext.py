from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from clusters import fields
from clusters.ciphertext import SecretsExposed, ciphertext_check, encrypted_columns
from clusters.models import Cluster
from tests.factories import ClusterFactory

pytestmark = pytest.mark.django_db


def it_knows_every_encrypted_column() -> None:
    assert {f"{model.__name__}.{field.name}" for model, field in encrypted_columns()} == {
        "Cluster.superuser_password",
        "Cluster.owner_password",
        "Cluster.replication_password",
        "Cluster.panel_password",
        "SshKey.private_key",
        "AlertChannel.address",
    }


def it_counts_what_is_stored_and_leaves_nothing_behind() -> None:
    assert ciphertext_check() == 0
    ClusterFactory()
    assert ciphertext_check() == 4
    assert Cluster.objects.count() == 1


def it_stops_the_start_when_a_secret_is_written_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "encrypt", lambda secret: secret.reveal())
    with pytest.raises(SecretsExposed) as found:
        ciphertext_check()
    assert str(found.value) == (
        "The self-test wrote a secret to clusters_cluster.superuser_password and did not find it encrypted there. "
        "The panel does not start, so that no password is stored in clear. Please report this."
    )
    assert not Cluster.objects.exists()


def it_stops_the_start_when_a_stored_secret_is_in_clear() -> None:
    cluster = ClusterFactory()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE clusters_cluster SET owner_password = 'hunter2' WHERE id = %s", [cluster.pk])
    with pytest.raises(CommandError) as found:
        call_command("secrets_check")
    assert str(found.value) == (
        "clusters_cluster.owner_password holds a value that is not encrypted. The panel does not start. "
        "Set that secret anew, and treat the old one as known."
    )


def it_stops_the_start_when_the_key_file_does_not_open_what_is_stored(tmp_path: Path, settings: Settings) -> None:
    ClusterFactory()
    other = tmp_path / "other.keys"
    other.touch(0o600)
    other.write_text(Fernet.generate_key().decode())
    settings.ENCRYPTION_KEY_FILE = other
    with pytest.raises(SecretsExposed) as found:
        ciphertext_check()
    assert str(found.value) == (
        "A secret in clusters_cluster.superuser_password cannot be read. A stored secret cannot be decrypted with the keys in the key "
        "file. Put the key that encrypted it back as a further line."
    )
