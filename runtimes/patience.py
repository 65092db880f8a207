"""Asking a hub that may be away, for as long as it takes."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from colonies.core.errors import ConnectionLost, DeadlineExceeded, Unavailable

logger = structlog.get_logger()

T = TypeVar("T")

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
"""Seconds between attempts to reach the hub, before jitter."""

AWAY = (ConnectionLost, DeadlineExceeded, Unavailable)
"""What says that the hub cannot be reached just now."""


async def persist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until the hub answers it."""
    pause = FIRST_PAUSE
    while True:
        try:
            result = await call()
        except AWAY as error:
            if pause == FIRST_PAUSE:
                logger.warning("hub away, trying again", error=str(error))
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            if pause != FIRST_PAUSE:
                logger.info("hub back")
            return result
