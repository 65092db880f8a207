"""What a hub tells the others: ids only, gathered until they can be told, and never too many.

Of each process only the latest change is told, and only if somebody elsewhere may wait for it. What
is too much to keep is not lost for good: the others are then told to look for themselves. How it is
told and heard is in `peers.py`.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from functools import reduce
from itertools import islice
from operator import or_
from time import monotonic
from typing import TypeVar

import msgspec

from colonies.core import wire
from colonies.core.process import Process, State
from colonies.server.parties import Cause, Wish
from colonies.server.wishes import EVERYTHING, NOTHING, Wants, Wishes, kind_of

K = TypeVar("K")
T = TypeVar("T")

MAX_PENDING = 10_000
"""Changes kept until they can be told."""

PAUSE = 0.02
"""Seconds from one telling to the next: what comes alone is told at once, the rest together."""

RECENT = 5.0
"""Seconds after which nobody can want a change any more who did not want it when it came."""

ON_THE_WAY = 1.0
"""The same for what waits: a hub begins to want work when a look has just found none."""

PER_NOTICE = 43
"""Changes in one notice: PostgreSQL takes less than 8000 bytes, and one needs 181 at most."""

LINGER = 0.1
"""Seconds that more of a log is kept to oneself: who writes much is told of ten times a second."""


class Change(msgspec.Struct, frozen=True, array_like=True):
    """What has become of a process; ``kind`` stands for its runtime type.

    Nothing is said by it of an attempt later than ``attempt``.
    """

    process_id: str
    state: State
    kind: int
    cause: Cause = Cause.CALL
    attempt: int = 0

    def after(self, earlier: Change) -> Change:
        """Give what is to be told of both; who comes later may tell of what was before."""
        cause = earlier.cause if self.cause is Cause.CALL else self.cause
        attempt = max(self.attempt, earlier.attempt)
        return msgspec.structs.replace(self, cause=cause, attempt=attempt)


class _Noted(msgspec.Struct, frozen=True):
    """A change, when it came, and whether it may be news to whoever holds the process elsewhere."""

    change: Change
    at: float
    is_for_holder: bool


class Notice(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one hub says to all others; whoever hears it knows that it is there.

    Processes that changed or were deleted, and runtimes that were shut out, by colony; an empty id
    is all of them. ``refitted`` are runtimes that have other figures now, ``logged`` processes of
    whose logs there is more. ``recurs`` says that something recurs sooner than the leader may know,
    ``look`` that there was more than can be told, ``wants`` what the others shall tell.
    """

    hub: str
    beat: str = ""
    wants: Wants | None = None
    members: bool = False
    recurs: bool = False
    look: bool = False
    changed: dict[str, list[Change]] = {}
    shut_out: list[tuple[str, str]] = []
    refitted: list[tuple[str, str]] = []
    removed: list[tuple[str, str]] = []
    logged: list[str] = []


class News:
    """What has not been told yet. As long as nobody wants it, nothing is kept."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._others: dict[str, Wants] = {}
        self._wanted = NOTHING
        self.wishes = Wishes(clock)
        self._changed: dict[tuple[str, str], _Noted] = {}
        # What nobody wants yet: whoever wants it may have said so just before.
        self._unwanted: dict[tuple[str, str], _Noted] = {}
        self._shut_out: dict[tuple[str, str], None] = {}
        self._refitted: dict[tuple[str, str], None] = {}
        self._removed: dict[tuple[str, str], None] = {}
        self._logged: dict[str, None] = {}
        self._unwanted_logs: dict[str, float] = {}
        self._members = self._recurs = self._look = False
        self._told_at = float("-inf")
        self._came = asyncio.Event()
        self._is_urgent = asyncio.Event()

    @property
    def is_wanted(self) -> bool:
        """Whether there is anybody to tell."""
        return bool(self._others)

    def meet(self, others: Iterable[str]) -> None:
        """Know who else is here; what somebody wants who has not said it yet is everything."""
        self._others = {hub_id: self._others.get(hub_id, EVERYTHING) for hub_id in others}
        self._unite()
        if not self._others:
            self.clear()

    def learn(self, hub_id: str, wants: Wants) -> None:
        """Know what another hub wants; what it wanted when it came is told now."""
        earlier = self._others.get(hub_id, NOTHING)
        if wants.edition < earlier.edition:
            return  # overtaken on the way
        self._others[hub_id] = wants
        self._unite()
        for key, noted in list(self._unwanted.items()):
            if self._has_to_be_told(key, noted):
                self._changed[key] = self._unwanted.pop(key)
                self._stir()
        if wants.logs != earlier.logs:
            for process_id in filter(wants.has_log, list(self._unwanted_logs)):
                del self._unwanted_logs[process_id]
                self._tell_of_log(process_id)

    def _unite(self) -> None:
        self._wanted = reduce(or_, self._others.values(), NOTHING)

    def _has_to_be_told(self, key: tuple[str, str], noted: _Noted) -> bool:
        change = noted.change
        return self._wanted.has(
            key[0],
            change.kind,
            change.state,
            is_for_holder=noted.is_for_holder,
            is_late=noted.at < self._clock() - ON_THE_WAY,
        )

    def wish(self, wish: Wish, of: str, runtime_type: str = "") -> None:
        """Want to be told of something; if that is new, the others hear of it at once."""
        if self.wishes.utter(wish, of, runtime_type) and self.is_wanted:
            self._came.set()
            self._is_urgent.set()

    def change(self, process: Process, cause: Cause, *, is_held_here: bool = False) -> None:
        """Note that a process has changed, whoever holds it by a cause that he cannot know."""
        if not self.is_wanted:
            return
        key = (process.colony_id, process.process_id)
        earlier = self._changed.pop(key, None) or self._unwanted.pop(key, None)
        kind = kind_of(process.spec.conditions.runtime_type)
        change = Change(process.process_id, process.state, kind, cause, process.attempt)
        noted = _Noted(
            change.after(earlier.change) if earlier else change,
            self._clock(),
            cause is not Cause.CALL
            or process.is_cancelling
            or bool(process.attempt and process.state is not State.RUNNING and not is_held_here)
            or (earlier is not None and earlier.is_for_holder),
        )
        if self._has_to_be_told(key, noted):
            self._changed[key] = noted
            self._stir()
        else:
            _keep(self._unwanted, key, noted, _came)

    def shut_out(self, colony_id: str, runtime_id: str) -> None:
        """Note that a runtime, or a whole colony, was shut out."""
        if self.is_wanted:
            self._shut_out[colony_id, runtime_id] = None
            self._stir()

    def refit(self, colony_id: str, runtime_id: str) -> None:
        """Note that a runtime has other figures now."""
        if self.is_wanted:
            self._refitted[colony_id, runtime_id] = None
            self._stir()

    def remove(self, colony_id: str, process_id: str) -> None:
        """Note that a process, or all of a colony's, was deleted."""
        if self.is_wanted:
            self._removed[colony_id, process_id] = None
            self._stir()

    def log(self, process_id: str) -> None:
        """Note that there is more of a log; it is told a moment later, as more will come.

        Of more than can be kept, who follows it finds out by itself.
        """
        if not self.is_wanted:
            return
        if self._wanted.has_log(process_id):
            self._tell_of_log(process_id)
            return
        _keep(self._unwanted_logs, process_id, self._clock(), float)

    def _tell_of_log(self, process_id: str) -> None:
        if len(self._logged) < MAX_PENDING:
            if not self._logged:
                asyncio.get_running_loop().call_later(LINGER, self._came.set)
            self._logged[process_id] = None

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
        self._unwanted.clear()
        self._unwanted_logs.clear()
        self._forget_told()

    def _forget_told(self) -> None:
        self._changed.clear()
        self._shut_out.clear()
        self._refitted.clear()
        self._removed.clear()
        self._logged.clear()
        self._members = self._recurs = self._look = False

    async def wait(self) -> None:
        """Wait until there is something to tell."""
        await self._came.wait()

    async def gather(self) -> None:
        """Wait for more to come, if something was told just before, unless it is urgent.

        Much of what waits is taken meanwhile, here where it was submitted, and need not be told.
        """
        if self._clock() > self._told_at + 2 * PAUSE:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(PAUSE):
                await self._is_urgent.wait()

    def take(self, hub_id: str) -> list[str]:
        """Give all there is to tell, as payloads of notifications."""
        self._came.clear()
        self._is_urgent.clear()
        notices = []
        if self.wishes.have_grown:
            notices.append(Notice(hub_id, wants=self.wishes.give()))
        if self._members or self._recurs or self._look:
            notices.append(
                Notice(hub_id, members=self._members, recurs=self._recurs, look=self._look)
            )
        notices += [Notice(hub_id, shut_out=part) for part in _parts(list(self._shut_out))]
        notices += [Notice(hub_id, refitted=part) for part in _parts(list(self._refitted))]
        # Sorted by colony, so that few notices name it.
        for part in _parts(sorted(self._changed)):
            changed = defaultdict(list)
            for key in part:
                changed[key[0]].append(self._changed[key].change)
            notices.append(Notice(hub_id, changed=dict(changed)))
        notices += [Notice(hub_id, removed=part) for part in _parts(list(self._removed))]
        notices += [Notice(hub_id, logged=part) for part in _parts(list(self._logged))]
        self._forget_told()
        if notices:
            self._told_at = self._clock()
        return [wire.encode(notice).decode() for notice in notices]

    def _stir(self) -> None:
        kept = (self._changed, self._shut_out, self._refitted, self._removed)
        if sum(len(noted) for noted in kept) > MAX_PENDING:
            self.overflow()
        self._came.set()


def _keep(kept: dict[K, T], key: K, one: T, came: Callable[[T], float]) -> None:
    """Keep something for a moment as the latest; what is too old, or too much, makes room."""
    kept.pop(key, None)
    kept[key] = one
    for old in list(islice(kept, 2)):
        if came(kept[old]) < came(one) - RECENT or len(kept) > MAX_PENDING:
            del kept[old]


def _came(noted: _Noted) -> float:
    return noted.at


def _parts(items: Sequence[T]) -> Iterator[list[T]]:
    for start in range(0, len(items), PER_NOTICE):
        yield list(items[start : start + PER_NOTICE])
