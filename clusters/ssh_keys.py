"""Key pairs for SSH: made by the panel, one for each server, or pasted by a person and read by a library. No machine is touched."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from clusters.postgres.refused import NameRefused
from clusters.postgres.text import gettext_noop as _
from clusters.secrets import Secret

#: An RSA key of 16384 bits takes 13,000.
MAX_BYTES: Final = 16_384
RSA_BITS: Final = 3072
CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
#: Rounds of the passphrase's key derivation. ssh-keygen makes 16 or 24; each costs milliseconds of whoever checks the form.
MAX_ROUNDS: Final = 400
#: What the panel needs of a login is commands and port forwarding; the rest is closed to whoever steals the key.
OPTIONS: Final = "no-agent-forwarding,no-X11-forwarding,no-pty"

PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey | RSAPrivateKey


@dataclass(frozen=True)
class KeyPair:
    """`public` is the line "type base64 comment"; `private` is in OpenSSH's format, without passphrase."""

    private: Secret
    public: str


def key_pair_made(name: str) -> KeyPair:
    """A new pair (ed25519) for the server of this name."""
    return _pair(Ed25519PrivateKey.generate(), name)


def key_pair_read(text: str, passphrase: Secret | None, name: str, field: str = "private_key") -> KeyPair:
    """The pair of a pasted private key, whose passphrase is used here and not kept. Raises: NameRefused."""
    data = _one_key(text, field)
    opened = passphrase.reveal().encode() if passphrase else None
    try:
        key = load_ssh_private_key(data, opened) if b"BEGIN OPENSSH" in data else load_pem_private_key(data, opened)
    except TypeError as error:
        if passphrase:
            raise NameRefused(field, _("%(field)s: this key has no passphrase. Leave the passphrase empty.")) from error
        raise NameRefused("passphrase", _("%(field)s: this key has a passphrase. Give it; it is used once and not kept.")) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        if passphrase:
            raise NameRefused("passphrase", _("%(field)s: the key cannot be read with this passphrase, or is damaged.")) from error
        raise NameRefused(field, _("%(field)s: this is no private key that can be read. Paste the whole file.")) from error
    return _pair(_strong(key, field), name)


def _one_key(text: str, field: str) -> bytes:
    if len(text) > MAX_BYTES:
        raise NameRefused(field, _("%(field)s: this is longer than any key. Paste one private key and nothing else."))
    if text.startswith("PuTTY-User-Key-File"):
        raise NameRefused(field, _("%(field)s: this is a key of PuTTY. Convert it first: puttygen FILE -O private-openssh -o FILE.openssh"))
    if text.lstrip().startswith(("ssh-", "ecdsa-")) or "BEGIN PUBLIC KEY" in text:
        raise NameRefused(field, _("%(field)s: this is a public key. Paste the private one, from the file without “.pub”."))
    if "ENCRYPTED PRIVATE KEY" in text:
        raise NameRefused(field, _("%(field)s: this form of an encrypted key is not read. Convert it first: ssh-keygen -p -f FILE"))
    if text.count("-----BEGIN") != 1 or "PRIVATE KEY-----" not in text:
        raise NameRefused(field, _("%(field)s: paste one private key, from its BEGIN line to its END line, and nothing else."))
    try:
        data = text.replace("\r\n", "\n").strip().encode("ascii") + b"\n"
    except UnicodeEncodeError as error:
        raise NameRefused(field, _("%(field)s: this is no private key that can be read. Paste the whole file.")) from error
    if b"BEGIN OPENSSH" in data and _rounds(data) > MAX_ROUNDS:
        raise NameRefused(
            field, _("%(field)s: the passphrase of this key takes too long to check. Make it quicker first: ssh-keygen -p -a 16 -f FILE")
        )
    return data


def _rounds(data: bytes) -> int:
    """Of the passphrase's key derivation in a key of OpenSSH's format; 0 where there is none, or the key is damaged."""
    body = b"".join(line for line in data.split(b"\n") if line and not line.startswith(b"-----"))
    try:
        raw = base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        return 0
    rest = raw.removeprefix(b"openssh-key-v1\0")
    fields: list[bytes] = []
    for _field in ("cipher", "kdf", "options"):
        size = int.from_bytes(rest[:4], "big")
        fields.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    return int.from_bytes(fields[2][-4:], "big") if fields[2] else 0


def _strong(key: object, field: str) -> PrivateKey:
    if isinstance(key, Ed25519PrivateKey) or (isinstance(key, EllipticCurvePrivateKey) and key.curve.name in CURVES):
        return key
    if isinstance(key, RSAPrivateKey) and key.key_size >= RSA_BITS:
        return key
    raise NameRefused(
        field,
        _("%(field)s: this kind of key is not strong enough. Use ed25519, ECDSA on a NIST curve, or RSA of at least %(bits)s bits."),
        bits=RSA_BITS,
    )


def _pair(key: PrivateKey, name: str) -> KeyPair:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return KeyPair(Secret(private), f"{public} pgreplica-admin:{name}")


def authorized_line(public: str) -> str:
    """The line for the file authorized_keys of the user that the panel logs in as."""
    return f"{OPTIONS} {public}"
