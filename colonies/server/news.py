"""What a hub tells the others: ids only, gathered until they can be told, and never too many.

Of each process only the latest change is told. What is too much to keep is not lost for good: the
others are then told to look for themselves. How it is told and heard is in `peers.py`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeVar
from zlib import crc32

import msgspec

from colonies.core import wire
from colonies.core.process import Process, State
from colonies.server.parties import Cause

T = TypeVar("T")

MAX_PENDING = 10_000
"""Changes kept until they can be told."""

PER_NOTICE = 45
"""Changes in one notice: PostgreSQL takes less than 8000 bytes, and one needs 170 at most."""


class Change(msgspec.Struct, frozen=True, array_like=True):
    """What has become of a process; ``kind`` stands for its runtime type."""

    process_id: str
    state: State
    kind: int
    cause: Cause = Cause.CALL


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one hub says to all others; whoever hears it knows that it is there.

    Processes that changed or were deleted, and runtimes that were shut out, by colony; an empty id
    is all of them. ``recurs`` says that something recurs sooner than the leader may know, ``look``
    that there was more than can be told.
    """

    hub: str
    beat: str = ""
    members: bool = False
    recurs: bool = False
    look: bool = False
    changed: dict[str, list[Change]] = {}
    shut_out: list[tuple[str, str]] = []
    removed: list[tuple[str, str]] = []


class News:
    """What has not been told yet. As long as nobody wants it, nothing is kept."""

    def __init__(self) -> None:
        self.is_wanted = False
        self._changed: dict[tuple[str, str], Change] = {}
        self._shut_out: dict[tuple[str, str], None] = {}
        self._removed: dict[tuple[str, str], None] = {}
        self._members = self._recurs = self._look = False
        self._came = asyncio.Event()

    def change(self, process: Process, cause: Cause) -> None:
        """Note that a process has changed, whoever holds it by a cause that he cannot know."""
        if not self.is_wanted:
            return
        key = (process.colony_id, process.process_id)
        earlier = self._changed.pop(key, None)
        if earlier and cause is Cause.CALL:
            cause = earlier.cause
        kind = kind_of(process.spec.conditions.runtime_type)
        self._changed[key] = Change(process.process_id, process.state, kind, cause)
        self._stir()

    def shut_out(self, colony_id: str, runtime_id: str) -> None:
        """Note that a runtime, or a whole colony, was shut out."""
        if self.is_wanted:
            self._shut_out[colony_id, runtime_id] = None
            self._stir()

    def remove(self, colony_id: str, process_id: str) -> None:
        """Note that a process, or all of a colony's, was deleted."""
        if self.is_wanted:
            self._removed[colony_id, process_id] = None
            self._stir()

    def forget_members(self) -> None:
        """Note that something about runtimes has changed."""
        if self.is_wanted:
            self._members = True
            self._stir()

    def recur(self) -> None:
        """Note that something recurs sooner than whoever leads may know."""
        if self.is_wanted:
            self._recurs = True
            self._stir()

    def overflow(self) -> None:
        """Give up telling what happened; the others shall look for themselves."""
        self.clear()
        if self.is_wanted:
            self._members = self._recurs = self._look = True
            self._came.set()

    def clear(self) -> None:
        """Forget everything."""
        self._changed.clear()
        self._shut_out.clear()
        self._removed.clear()
        self._members = self._recurs = self._look = False

    async def wait(self) -> None:
        """Wait until there is something to tell."""
        await self._came.wait()

    def take(self, hub_id: str) -> list[str]:
        """Give all there is to tell, as payloads of notifications."""
        self._came.clear()
        notices = []
        if self._members or self._recurs or self._look:
            notices.append(
                Notice(hub_id, members=self._members, recurs=self._recurs, look=self._look)
            )
        notices += [Notice(hub_id, shut_out=part) for part in _parts(list(self._shut_out))]
        # Sorted by colony, so that few notices name it.
        for part in _parts(sorted(self._changed)):
            changed = defaultdict(list)
            for key in part:
                changed[key[0]].append(self._changed[key])
            notices.append(Notice(hub_id, changed=dict(changed)))
        notices += [Notice(hub_id, removed=part) for part in _parts(list(self._removed))]
        self.clear()
        return [wire.encode(notice).decode() for notice in notices]

    def _stir(self) -> None:
        if len(self._changed) + len(self._shut_out) + len(self._removed) > MAX_PENDING:
            self.overflow()
        self._came.set()


def kind_of(runtime_type: str) -> int:
    """Give the number that stands for a runtime type in a notice; others may have the same."""
    return crc32(runtime_type.encode())


def _parts(items: Sequence[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), PER_NOTICE):
        yield list(items[start : start + PER_NOTICE])
