"""Who asks for what, and what makes a request the same as one seen before."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import msgspec

from colonies.core import wire
from colonies.core.errors import Conflict
from colonies.server.db import Statements

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
    """Give the intention behind a request; its digest tells it from others of the same id.

    How long to wait for something is no part of it: who asks again has less time.
    """
    if not request:
        return NOBODYS
    if hasattr(msg, "timeout"):
        msg = msgspec.structs.replace(msg, timeout=0)
    content = payload_type.encode() + wire.encode(msg)
    return Intent(caller, request, blake2b(content, digest_size=DIGEST_BYTES).hexdigest())


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

    digest: str
    process_id: str = ""
    attempt: int = 0


async def recall(db: Statements, intent: Intent) -> Seen | None:
    """Give what is remembered of a request, if anything; raise Conflict if it was another one."""
    if not intent.request:
        return None
    seen = await db.fetch_maybe(Seen, "get_request", caller=intent.caller, request=intent.request)
    if seen and seen.digest != intent.digest:
        raise Conflict("sec.req: was used for another request", field="sec.req")
    return seen
