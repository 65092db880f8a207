"""The SHA3-256 by which keys, processes and all other things are named."""

from __future__ import annotations

from hashlib import sha3_256


def sha3(text: str | bytes) -> str:
    """Give the SHA3-256 (FIPS 202) of a text as 64 lower-case hex characters."""
    return sha3_256(text.encode() if isinstance(text, str) else text).hexdigest()
