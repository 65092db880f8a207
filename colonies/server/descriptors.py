"""File descriptors, one a socket: some are kept for the database and for who is there already.

The system gives the lowest number that is free, so the number of a new one says how many are left.
"""

from __future__ import annotations

import os
import resource
from enum import Enum, auto

import structlog

from colonies.core.errors import Unavailable
from colonies.server.seldom import Seldom

logger = structlog.get_logger()

NONE_LEFT = "the hub has no file descriptors left"

SPARE = 50
"""Descriptors kept besides those for the database."""


class Room(Enum):
    """What can be done for who has just come."""

    ENOUGH = auto()
    LITTLE = auto()
    """They are told to come again."""

    NONE = auto()
    """Not even that."""


class Descriptors:
    """How many are left of what the system grants this process."""

    def __init__(self, connections: int) -> None:
        """Take how many connections to the database there may be."""
        self._reserve = connections + SPARE
        self._seldom = Seldom()

    def room_for(self, number: int) -> Room:
        """Tell whether a socket of this number may stay; says in the log, seldom, if not."""
        limit = _limit()
        reserve = self._reserve_of(limit)
        if number < limit - reserve:
            return Room.ENOUGH
        if count := self._seldom.count(Room):
            logger.error("file descriptors scarce", limit=limit, kept=reserve, refused=count)
        return Room.LITTLE if number < limit - reserve // 2 else Room.NONE

    def check(self) -> None:
        """Raise Unavailable when whoever came now would be refused."""
        try:
            number = os.open(os.devnull, os.O_RDONLY)
        except OSError:
            raise Unavailable(NONE_LEFT) from None
        os.close(number)
        if number >= (limit := _limit()) - self._reserve_of(limit):
            raise Unavailable(NONE_LEFT)

    def _reserve_of(self, limit: int) -> int:
        """Give how many are kept: no more than a third, where there are few."""
        return min(self._reserve, limit // 3)


def _limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 1 << 30
