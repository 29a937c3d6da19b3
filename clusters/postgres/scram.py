"""SCRAM-SHA-256 verifiers, made here so that no clear password is ever part of a statement (or of the server's log).

Source: RFC 5802, RFC 7677; SASLprep (RFC 4013) as PostgreSQL does it: a password that SASLprep refuses is used as it is.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import stringprep
import unicodedata
from base64 import b64encode
from typing import Final

from clusters.secrets import Secret

ITERATIONS: Final = 4096  # the server's default (scram_iterations)
SALT_BYTES: Final = 16

_PROHIBITED: Final = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
    stringprep.in_table_a1,
)


def verifier(password: Secret, salt: bytes | None = None) -> Secret:
    """What PostgreSQL stores for `password`: `SCRAM-SHA-256$4096:<salt>$<stored key>:<server key>`."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", saslprep(password.reveal()).encode(), salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [b64encode(part).decode() for part in (salt, stored, server)]
    return Secret(f"SCRAM-SHA-256${ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}")


def saslprep(text: str) -> str:
    """The prepared password, or the password itself where preparing it is not possible.

    As pg_saslprep of PostgreSQL (src/common/saslprep.c) has it, which looks for what is prohibited before it normalises.
    """
    mapped = "".join(filter(None, map(_mapped, text)))
    if not mapped or any(prohibited(char) for char in mapped for prohibited in _PROHIBITED) or not _one_direction(mapped):
        return text
    return unicodedata.normalize("NFKC", mapped)


def _mapped(char: str) -> str:
    if stringprep.in_table_c12(char):
        return " "
    return "" if stringprep.in_table_b1(char) else char


def _one_direction(text: str) -> bool:
    """RFC 3454 section 6: right-to-left text has no left-to-right letters, and begins and ends right-to-left."""
    if not any(stringprep.in_table_d1(char) for char in text):
        return True
    edges = stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])
    return edges and not any(stringprep.in_table_d2(char) for char in text)
