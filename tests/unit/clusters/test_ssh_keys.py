from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from clusters.fingerprints import fingerprint
from clusters.postgres.refused import NameRefused
from clusters.secrets import Secret
from clusters.ssh_keys import MAX_BYTES, authorized_line, key_pair_made, key_pair_read

CANARY = "correct horse battery"

pytestmark = pytest.mark.needs("sshd")


def made(directory: Path, *options: str, passphrase: str = "") -> str:
    path = directory / "key"
    subprocess.run(["ssh-keygen", "-q", "-N", passphrase, "-f", str(path), *options], check=True, stdin=subprocess.DEVNULL)
    return path.read_text()


def public_of(directory: Path, private: Secret) -> list[str]:
    path = directory / "read"
    path.write_text(private.reveal())
    path.chmod(0o600)
    return subprocess.run(["ssh-keygen", "-y", "-P", "", "-f", str(path)], capture_output=True, text=True, check=True).stdout.split()


def it_makes_a_pair_of_which_ssh_keygen_says_the_same(tmp_path: Path) -> None:
    pair = key_pair_made("alpha")
    assert public_of(tmp_path, pair.private)[:2] == pair.public.split()[:2]
    assert pair.public.endswith(" pgreplica-admin:alpha")
    assert authorized_line(pair.public).startswith("no-agent-forwarding,no-X11-forwarding,no-pty ssh-ed25519 AAAA")
    assert pair.private != key_pair_made("alpha").private
    assert "PRIVATE" not in repr(pair)


@pytest.mark.parametrize(
    "options",
    [
        ["-t", "ed25519"],
        ["-t", "rsa", "-b", "3072"],
        ["-t", "ecdsa", "-b", "256"],
        ["-t", "ecdsa", "-b", "521"],
        ["-t", "rsa", "-b", "3072", "-m", "PEM"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("passphrase", ["", CANARY])
def it_reads_what_ssh_keygen_makes(tmp_path: Path, options: list[str], passphrase: str) -> None:
    text = made(tmp_path, *options, passphrase=passphrase).replace("\n", "\r\n")
    pair = key_pair_read(text, Secret(passphrase) if passphrase else None, "alpha")
    assert public_of(tmp_path, pair.private)[:2] == (tmp_path / "key.pub").read_text().split()[:2] == pair.public.split()[:2]


def it_refuses_what_is_too_weak(tmp_path: Path) -> None:
    with pytest.raises(NameRefused, match="RSA of at least 3072 bits"):
        key_pair_read(made(tmp_path, "-t", "rsa", "-b", "2048"), None, "alpha")


def it_asks_for_the_passphrase_and_tells_a_wrong_one(tmp_path: Path) -> None:
    text = made(tmp_path, "-t", "ed25519", passphrase=CANARY)
    for given, said in ((None, "this key has a passphrase"), (Secret("wrong one"), "cannot be read with this passphrase")):
        with pytest.raises(NameRefused, match=said) as caught:
            key_pair_read(text, given, "alpha")
        assert "PRIVATE KEY" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "paste one private key"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA me", "this is a public key"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "this is a public key"),
        ("PuTTY-User-Key-File-3: ssh-ed25519\n", "puttygen"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----", "ssh-keygen -p"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----", "no private key that can be read"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n\u00fc\n-----END OPENSSH PRIVATE KEY-----", "no private key that can be read"),
        ("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----", "no private key that can be read"),
        ("Host *\n ProxyCommand id\n", "paste one private key"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "paste one private key"),
        ("x" * (MAX_BYTES + 1), "longer than any key"),
    ],
    ids=lambda value: value[:20],
)
def it_refuses_what_is_no_private_key(text: str, said: str) -> None:
    with pytest.raises(NameRefused, match=said):
        key_pair_read(text, None, "alpha")


def it_refuses_two_keys_at_once(tmp_path: Path) -> None:
    one = made(tmp_path, "-t", "ed25519")
    with pytest.raises(NameRefused, match="paste one private key"):
        key_pair_read(one + one, None, "alpha")


def it_is_not_kept_busy_by_a_passphrase_of_many_rounds(tmp_path: Path) -> None:
    text = made(tmp_path, "-t", "ed25519", "-a", "401", passphrase=CANARY)
    began = time.monotonic()
    with pytest.raises(NameRefused, match="takes too long to check"):
        key_pair_read(text, Secret(CANARY), "alpha")
    assert time.monotonic() - began < 1


def it_has_no_fingerprint_for_what_is_no_key() -> None:
    assert [fingerprint(text) for text in ("", "ssh-ed25519", "ssh-ed25519 ???")] == ["", "", ""]
