"""Repeating what got no answer, until it gets one or the time is over.

Every request has an id of its own that stays the same when it is sent again, so that the hub does
what is asked once, however often it hears of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterator
from typing import TypeVar

from colonies.core.errors import ConnectionLost, DeadlineExceeded, Unavailable

T = TypeVar("T")

logger = logging.getLogger(__name__)

AWAY = (ConnectionLost, DeadlineExceeded, Unavailable)
"""What says that the hub cannot be reached just now, and is worth another try."""

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
"""Seconds between tries, before jitter."""


async def insist(
    work: Callable[[float], Awaitable[T]], *, seconds: float, is_hopeful: Callable[[], bool]
) -> T:
    """Give what ``work`` gives, trying again for up to ``seconds`` while the hub is away.

    ``work`` is told how many seconds are left. Raises what the last try raised; at once when there
    is no hope.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    left = seconds
    for pause in pauses(FIRST_PAUSE, LONGEST_PAUSE):
        try:
            return await work(left)
        except AWAY as error:
            if not is_hopeful() or loop.time() + pause >= deadline:
                raise
            logger.debug("no answer, trying again: %s", error)
        await asyncio.sleep(pause)
        left = deadline - loop.time()
    raise AssertionError("there is always another pause")


def pauses(first: float, longest: float) -> Iterator[float]:
    """Give the seconds between one try and the next, without end: on average twice as long each.

    Anything from none to twice the average, so that thousands that began together come apart.
    """
    pause = first
    while True:
        yield pause * random.uniform(0, 2)  # noqa: S311 - jitter
        pause = min(pause * 2, longest)
