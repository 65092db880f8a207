"""The queues that runtimes take from, and how far each was taken from lately.

What was claimed stays in the index of a queue until it is vacuumed, and nothing is while an old
transaction may still see it. A claim that began at the front would walk over all of that each time;
so it begins where the last one ended.

A bookmark is only a hint: a claim that finds nothing behind it looks from the front as well. It is
moved back to whatever comes to wait before it. Since that may be known to another hub alone, a
claim looks from the front every second in any case; or, where that takes long, for a small share of
the time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from time import monotonic
from typing import TypeAlias

import msgspec

from colonies.core import wire
from colonies.core.process import Process

LIFETIME = 1.0
"""Seconds after which a claim looks from the front again, if that is cheap."""

LONGEST = 10.0
"""The same at most, however long it takes to look there."""

SHARE = 0.05
"""Of the time, how much is spent on looking from the front."""

MAX_LINES = 10_000
"""Colonies and types remembered at once; over it, all are forgotten."""

Position: TypeAlias = tuple[int, datetime]
"""A place in a queue, oldest first: the negated priority, and the time of submission."""

FRONT: Position = (-(2**31) + 1, wire.ZERO_TIME)


class Queue(msgspec.Struct, frozen=True):
    """What runtimes of one type and of equal figures can take from, the oldest or latest first."""

    colony_id: str
    runtime_type: str
    cores: int
    mem: int
    gpus: int
    latest: bool


@dataclass(eq=False, slots=True)
class Bookmark:
    """A position in a queue, and when to look from the front again."""

    position: Position
    until: float


@dataclass(eq=False, slots=True)
class Look:
    """A claim under way: where it began, and when; and what it may not have seen."""

    begin: Position
    clock: Callable[[], float]
    began: float
    unseen: list[Position] = field(default_factory=list)
    end: Position | None = None

    def restart(self) -> None:
        """Begin at the front, as nothing was found behind the bookmark."""
        self.begin = FRONT
        self.began = self.clock()

    def end_after(self, claimed: Iterable[Process]) -> None:
        """Note what was claimed."""
        self.end = max(map(_position_of, claimed), default=None)


@dataclass(eq=False, slots=True)
class _Line:
    """The queues of one colony and type."""

    bookmarks: dict[Queue, Bookmark] = field(default_factory=dict)
    looks: set[Look] = field(default_factory=set)


class Bookmarks:
    """Where the next claim from each queue begins."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._lines: dict[tuple[str, str], _Line] = defaultdict(_Line)

    @contextmanager
    def look(self, queue: Queue) -> Iterator[Look]:
        """Claim from a queue during the block, and keep a bookmark where that ended."""
        if len(self._lines) >= MAX_LINES:
            self._lines.clear()
        line = self._lines[queue.colony_id, queue.runtime_type]
        bookmark = line.bookmarks.get(queue) or Bookmark(FRONT, until=0.0)
        now = self._clock()
        look = Look(bookmark.position if now < bookmark.until else FRONT, self._clock, now)
        line.looks.add(look)
        try:
            yield look
            if look.begin == FRONT:
                bookmark.until = self._clock() + self._patience(look)
            if look.end is not None:
                bookmark.position = min([look.end, *look.unseen])
            line.bookmarks[queue] = bookmark
        finally:
            line.looks.discard(look)

    def _patience(self, look: Look) -> float:
        """Give for how long nobody needs to look from the front after this one has."""
        took = self._clock() - look.began
        return min(max(LIFETIME, took / SHARE), LONGEST)

    def move_back(self, process: Process) -> None:
        """Let the next claim see a process that waits."""
        conditions = process.spec.conditions
        line = self._lines.get((process.colony_id, conditions.runtime_type))
        if line is None:
            return
        position = _position_of(process)
        for bookmark in line.bookmarks.values():
            bookmark.position = min(bookmark.position, position)
        for look in line.looks:
            look.unseen.append(position)


def _position_of(process: Process) -> Position:
    return -process.spec.priority, process.submission_time
