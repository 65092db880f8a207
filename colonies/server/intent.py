"""Who asks for what, and what makes a request the same as one seen before."""

from __future__ import annotations

from hashlib import blake2b, sha256
from typing import Any, Self

import msgspec

from colonies.core import wire
from colonies.core.errors import Conflict
from colonies.server.db import UUID, Statements

ID_BYTES = 16
"""Of a key or a digest: what PostgreSQL keeps as a uuid."""


class Intent(msgspec.Struct, frozen=True):
    """A caller's intention; without a ``request`` id, nothing is remembered of it.

    The ``key`` is that of the caller and the request, the ``digest`` that of what was asked for.
    """

    request: str = ""
    key: UUID | None = None
    digest: UUID | None = None

    @classmethod
    def of(cls, caller: str, request: str, content: bytes) -> Self:
        """Give the intention of a caller who asks for something by the id of a request."""
        digest = UUID(blake2b(content, digest_size=ID_BYTES).digest())
        return cls(request, key_of(caller, request), digest)

    @property
    def parameters(self) -> dict[str, UUID | None]:
        """Give the parameters of a statement that remembers it."""
        return {"request": self.key, "digest": self.digest}


def key_of(caller: str, request: str) -> UUID:
    """Give what a request is remembered by. Migration 0014 makes the same of the same."""
    return UUID(sha256(f"{caller}:{request}".encode()).digest()[:ID_BYTES])


NOBODYS = Intent()
"""What the hub does by itself."""


def intent_of(caller: str, request: str, payload_type: str, msg: Any) -> Intent:
    """Give the intention behind a request; its digest tells it from others of the same id.

    How long to wait for something is no part of it: who asks again has less time.
    """
    if not request:
        return NOBODYS
    if hasattr(msg, "timeout"):
        msg = msgspec.structs.replace(msg, timeout=0)
    content = payload_type.encode() + wire.encode(msg)
    return Intent.of(caller, request, content)


class Submitter(msgspec.Struct, frozen=True):
    """Who submits something, and whether what waits of it is counted as theirs.

    The names are those of the parameters by which a statement notes it.
    """

    submitted_by: str = ""
    is_counted: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        """Give the parameters of a statement that submits."""
        return msgspec.structs.asdict(self)


NOBODY = Submitter()


class Seen(msgspec.Struct, frozen=True):
    """What is remembered of a request that was done."""

    digest: UUID
    process_id: str = ""
    attempt: int = 0


async def recall(db: Statements, intent: Intent) -> Seen | None:
    """Give what is remembered of a request, if anything; raise Conflict if it was another one."""
    if not intent.request:
        return None
    seen = await db.fetch_maybe(Seen, "get_request", request=intent.key)
    if seen and seen.digest != intent.digest:
        raise Conflict("sec.req: was used for another request", field="sec.req")
    return seen
