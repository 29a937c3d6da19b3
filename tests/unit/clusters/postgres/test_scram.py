"""SCRAM verifiers: the RFC's example, and the same as libpq makes them of any password."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.pq import PGconn

from clusters.postgres import scram
from clusters.secrets import Secret
from tests.unit.clusters.postgres.cast import HOSTILE

PASSWORD = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=20)


@pytest.fixture(scope="module")
def libpq() -> Iterator[PGconn]:
    """A connection to nobody: libpq makes verifiers on the client."""
    connection = PGconn.connect_start(b"host=127.0.0.1 port=1")
    yield connection
    connection.finish()


def same_as(libpq: PGconn, password: str) -> bool:
    theirs = libpq.encrypt_password(password.encode(), b"app", b"scram-sha-256").decode()
    salt = b64decode(theirs.split("$")[1].split(":")[1])
    return scram.verifier(Secret(password), salt).reveal() == theirs


@pytest.mark.parametrize(
    "password", [*HOSTILE, "\u00a0 ①\u00ad Ⅸ", "\u200b zero", "\u0627\u0031", "\ufb01", "a\u0301", "\ufb48", "\ufaac", "\u0221"]
)
def it_makes_the_verifier_that_libpq_makes(libpq, password):
    assert same_as(libpq, password)


@given(password=PASSWORD)
def it_makes_the_verifier_that_libpq_makes_of_any_password(libpq, password):
    assert same_as(libpq, password)


def it_makes_verifiers_as_rfc_7677_has_them():
    # Section 3: the exchange of user "user" with password "pencil"; client proof and server signature are the RFC's.
    nonce, salt = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", "W22ZaJ0SNY7soEsUEjb6gQ=="
    message = f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},s={salt},i=4096,c=biws,r={nonce}".encode()
    proof, signature = b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    kind, parameters, keys = scram.verifier(Secret("pencil"), b64decode(salt)).reveal().split("$")
    stored, server = map(b64decode, keys.split(":"))
    client = bytes(one ^ other for one, other in zip(proof, hmac.digest(stored, message, "sha256"), strict=True))
    assert (kind, parameters) == ("SCRAM-SHA-256", f"4096:{salt}")
    assert hashlib.sha256(client).digest() == stored
    assert b64encode(hmac.digest(server, message, "sha256")).decode() == signature


@pytest.mark.parametrize(
    ("text", "prepared"),
    [
        ("pencil", "pencil"),
        ("a\u00adb", "ab"),
        ("a\u00a0b", "a b"),
        ("\u2168", "IX"),
        ("①", "1"),
        ("a\u0007b", "a\u0007b"),
        ("\u0627\u0031", "\u0627\u0031"),
    ],
)
def it_prepares_passwords_as_libpq_does(text, prepared):
    assert scram.saslprep(text) == prepared


def it_salts_each_verifier_anew():
    assert scram.verifier(Secret("pencil")) != scram.verifier(Secret("pencil"))
