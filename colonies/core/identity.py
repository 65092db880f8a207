"""Who somebody is: a secp256k1 key, its signatures, and the SHA3-256 that names it.

Nothing is registered to be recognised: the public key is recovered from the signature, and the
identity is the SHA3-256 of the public key's 130 hex characters. There is exactly one valid text
for a signature (docs/protocol.md, "Signatures").
"""

from __future__ import annotations

import re
from hashlib import sha3_256

import coincurve

from colonies.core.digest import sha3
from colonies.core.errors import BadSignature, Malformed

__all__ = ["PrivateKey", "id_of", "recover", "sha3"]

_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_HALF_ORDER = bytes.fromhex(f"{_ORDER // 2:064x}")
_SIGNATURE = re.compile(r"[0-9a-f]{128}0[01]", re.ASCII)
_PRIVATE_KEY = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


def id_of(public_key: coincurve.PublicKey) -> str:
    """Give the identity of a public key: the hash of its hex text, not of its bytes."""
    return sha3(public_key.format(compressed=False).hex())


class PrivateKey:
    """A key that signs; keep it where only its owner can read it."""

    __slots__ = ("_key", "id")

    def __init__(self, text: str) -> None:
        """Take 64 hex characters; raise Malformed when they are no valid key."""
        if not _PRIVATE_KEY.fullmatch(text):
            raise Malformed("private key: expected 64 hex characters")
        if not 0 < int(text, 16) < _ORDER:
            raise Malformed("private key: expected a number from 1 to the order of secp256k1")
        self._key = coincurve.PrivateKey(bytes.fromhex(text))
        self.id = id_of(self._key.public_key)

    @classmethod
    def generate(cls) -> PrivateKey:
        """Make a new key from the operating system's randomness."""
        return cls(coincurve.PrivateKey().secret.hex())

    @property
    def hex(self) -> str:
        """The secret itself, as 64 lower-case hex characters."""
        return self._key.secret.hex()

    def sign(self, text: str) -> str:
        """Sign a text: 130 hex characters, always the same for the same text (RFC 6979)."""
        digest = sha3_256(text.encode()).digest()
        return self._key.sign_recoverable(digest, hasher=None).hex()

    def __repr__(self) -> str:
        return f"PrivateKey(id={self.id!r})"


def recover(text: str, signature: str) -> str:
    """Give the identity that signed ``text``; raise BadSignature if the form is not canonical.

    A well-formed signature over another text is no error here: it names somebody else, whom the
    rules then refuse.
    """
    if not _SIGNATURE.fullmatch(signature):
        raise BadSignature("signature: expected 130 lower-case hex digits ending in 00 or 01")
    raw = bytes.fromhex(signature)
    if raw[32:64] > _HALF_ORDER:
        raise BadSignature("signature: expected the low form of s")
    digest = sha3_256(text.encode()).digest()
    try:
        public_key = coincurve.PublicKey.from_signature_and_message(raw, digest, hasher=None)
    except Exception as error:  # coincurve raises bare Exception as well as ValueError
        raise BadSignature("signature: no public key can be recovered from it") from error
    return id_of(public_key)
