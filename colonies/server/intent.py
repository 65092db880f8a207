"""What makes a request the same as one seen before: who asks, and the id of the intention."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from colonies.core import wire

DIGEST_BYTES = 16


class Intent(msgspec.Struct, frozen=True):
    """A caller's intention; without a ``request`` id, nothing is remembered of it.

    The names are those of the parameters by which a statement remembers it.
    """

    caller: str = ""
    request: str = ""
    digest: str = ""

    @property
    def parameters(self) -> dict[str, str]:
        """Give the parameters of a statement that remembers it."""
        return msgspec.structs.asdict(self)


NOBODYS = Intent()
"""What the hub does by itself."""


def intent_of(caller: str, request: str, payload_type: str, msg: Any) -> Intent:
    """Give the intention behind a request; its digest tells it from others of the same id."""
    if not request:
        return NOBODYS
    content = payload_type.encode() + wire.encode(msg)
    return Intent(caller, request, blake2b(content, digest_size=DIGEST_BYTES).hexdigest())


class Seen(msgspec.Struct, frozen=True):
    """What is remembered of a request that was done."""

    digest: str
    process_id: str = ""
    attempt: int = 0
