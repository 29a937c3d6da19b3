"""SSH public keys as text: one line "type base64", and the fingerprint that ssh-keygen shows of it. Standard library only."""

from __future__ import annotations

import base64
import binascii
import hashlib


def fingerprint(line: str) -> str:
    """ "SHA256:..." of a public key, as `ssh-keygen -l` prints it; "" of nothing or of what is no key."""
    words = line.split()
    if len(words) < 2:
        return ""
    try:
        blob = base64.b64decode(words[1], validate=True)
    except (binascii.Error, ValueError):
        return ""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


def key_type(line: str) -> str:
    """The first word of a public key's line: ssh-ed25519, say."""
    return line.split(" ", 1)[0]
