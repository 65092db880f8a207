"""Asking a hub that may be away, for as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from colonies.client.insistence import AWAY, pauses

logger = structlog.get_logger()

T = TypeVar("T")

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
"""Seconds between attempts to reach the hub, before jitter."""


async def persist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until the hub answers it."""
    is_away = False
    for pause in pauses(FIRST_PAUSE, LONGEST_PAUSE):
        try:
            result = await call()
        except AWAY as error:
            if not is_away:
                logger.warning("hub away, trying again", error=str(error))
            is_away = True
            await asyncio.sleep(pause)
        else:
            if is_away:
                logger.info("hub back")
            return result
    raise AssertionError("there is always another pause")
