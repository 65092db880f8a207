"""What can happen to a message on its way, and what is known of a message."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

PATIENCE = 60.0
"""Seconds after which a fault that has not happened is not going to."""

ALWAYS = 1_000_000
"""Strikes of a fault that does not end by itself."""


class Message:
    """A request on its way: which door, what it asks, and its ``id`` if it has one."""

    def __init__(self, door: str, body: bytes) -> None:
        self.door = door
        self.body = body
        envelope = json_object(body)
        self.payload_type = str(envelope.get("payloadtype", ""))
        self.id = envelope.get("id")
        self._payload = envelope.get("payload", "")

    @property
    def fields(self) -> dict[str, Any]:
        """What the payload says."""
        with suppress(ValueError, TypeError):
            return json_object(b64decode(self._payload))
        return {}


def json_object(raw: bytes) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(raw)
        if isinstance(found, dict):
            return found
    return {}


Matching = str | Callable[[Message], bool] | None
"""A payload type, a predicate, or any message."""


class Kind(Enum):
    """What can happen to one message."""

    DROP_REQUEST = auto()
    DROP_REPLY = auto()
    DUPLICATE = auto()
    DELAY = auto()
    RESET_MID_FRAME = auto()
    RESET_AFTER_REQUEST = auto()
    TRICKLE = auto()


@dataclass(eq=False)
class Fault:
    """Something armed for the next messages that match; wait for it with `struck`."""

    kind: Kind
    matching: Matching
    times: int
    seconds: float = 0.0
    done: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def matches(self, message: Message) -> bool:
        """Whether this is to happen to a message."""
        if self.times <= 0:
            return False
        if callable(self.matching):
            return self.matching(message)
        return self.matching in (None, message.payload_type)

    async def struck(self, count: int = 1) -> None:
        """Wait until it has happened so often, to its end.

        The hub has answered then, if that is what nobody shall hear; it has been sent both, if a
        request was to come twice.
        """
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: self.done >= count)

    async def strike(self) -> None:
        """Note that it has happened."""
        async with self._changed:
            self.done += 1
            self._changed.notify_all()

    def disarm(self) -> None:
        """Let everything pass from now on."""
        self.times = 0
