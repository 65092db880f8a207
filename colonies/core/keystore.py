"""A private key at rest, locked with a passphrase: scrypt (RFC 7914) and AES-256-GCM.

What locks is imported when something is locked, as few keys are and every command asks.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from secrets import token_bytes
from typing import Any

import msgspec

from colonies.core import wire
from colonies.core.errors import Malformed, Misconfigured

_KEY_BYTES = 32
_SALT_BYTES = 16
_NONCE_BYTES = 16
# 64 MiB and about 0.2 s a try: what RFC 7914 and OWASP ask for keys that people lock by hand.
_COST = 2**16
_MAX_COST = 2**20
_BLOCK = 8


class LockedKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a locked key's file holds; bytes are base64."""

    cipher: str
    cost: int
    salt: str
    nonce: str
    tag: str
    secret: str


def lock(text: str, passphrase: str) -> str:
    """Lock a text with a passphrase; give the JSON that goes into a file."""
    salt = token_bytes(_SALT_BYTES)
    cipher = _cipher(passphrase, salt, _COST, token_bytes(_NONCE_BYTES))
    secret, tag = cipher.encrypt_and_digest(text.encode())
    parts = (b64encode(part).decode() for part in (salt, cipher.nonce, tag, secret))
    return wire.encode(LockedKey("scrypt-aes-256-gcm", _COST, *parts)).decode()


def unlock(content: str, passphrase: str) -> str:
    """Give back what was locked; raise Misconfigured when it cannot be."""
    try:
        locked = wire.decode(content, LockedKey)
        salt, nonce, tag, secret = (
            b64decode(part, validate=True)
            for part in (locked.salt, locked.nonce, locked.tag, locked.secret)
        )
        if not 0 < locked.cost <= _MAX_COST:
            raise Misconfigured("a locked key costs more to unlock than is reasonable")
        text: bytes = _cipher(passphrase, salt, locked.cost, nonce).decrypt_and_verify(secret, tag)
        return text.decode()
    except (Malformed, ValueError) as error:
        raise Misconfigured("wrong passphrase, or not a locked key") from error


def is_locked(content: str) -> bool:
    """Whether a key file's content is locked, rather than the plain hex of a key."""
    return content.startswith("{")


def _cipher(passphrase: str, salt: bytes, cost: int, nonce: bytes) -> Any:
    from Crypto.Cipher import AES  # noqa: PLC0415 - see the module's docstring
    from Crypto.Protocol.KDF import scrypt  # noqa: PLC0415

    key = scrypt(passphrase, salt.decode("latin-1"), _KEY_BYTES, cost, _BLOCK, 1)
    return AES.new(key, AES.MODE_GCM, nonce=nonce)
