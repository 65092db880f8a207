"""What hubs want to be told of, so that nobody is told what nobody there waits for.

A hub says what it begins to want at once, and all of it with each beat. What it wants no more it
goes on asking for a while, as somebody who waits is often back soon. Numbers stand for colonies,
queues and logs: two that are alike cost a notice in vain, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import monotonic
from zlib import crc32

import msgspec

from colonies.core.process import State
from colonies.server.parties import Wish

LINGER = 10.0
"""Seconds that a wish is kept after it was uttered last."""

MOST = 300
"""Wishes that a hub names, so that they fit into a notice; who wants more wants everything."""

NUMBERS_A_WISH = 2
"""Numbers that a wish takes at most; as many logs are named as there is room for."""


class Wants(msgspec.Struct, frozen=True, array_like=True):
    """What a hub, or any of several, wants: by the numbers of colonies, and of queues for work.

    ``is_everything`` is of all that changes; of the logs, those of some processes or, None, of all.
    """

    all: frozenset[int] = frozenset()
    held: frozenset[int] = frozenset()
    work: frozenset[int] = frozenset()
    is_everything: bool = False
    edition: int = 0
    """Which of one hub came later."""
    logs: frozenset[int] | None = frozenset()

    def __or__(self, other: Wants) -> Wants:
        return Wants(
            self.all | other.all,
            self.held | other.held,
            self.work | other.work,
            self.is_everything or other.is_everything,
            logs=None if self.logs is None or other.logs is None else self.logs | other.logs,
        )

    def has(
        self, colony_id: str, kind: int, state: State, *, is_for_holder: bool, is_late: bool = False
    ) -> bool:
        """Whether somebody there may wait for a change of a process.

        It ``is_for_holder`` if whoever may hold the process there does not know it by himself, and
        ``is_late`` if whoever wants work has looked since it came.
        """
        if self.is_everything:
            return True
        colony = number_of(colony_id)
        if colony in self.all or (is_for_holder and colony in self.held):
            return True
        return not is_late and state is State.WAITING and number_of(colony_id, kind) in self.work

    def has_log(self, process_id: str) -> bool:
        """Whether somebody there may follow the log of a process."""
        return self.logs is None or number_of(process_id) in self.logs


NOTHING = Wants()
EVERYTHING = Wants(is_everything=True, logs=None)


class Wishes:
    """What this hub wants to be told of."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._edition = 0
        self.are_all = False
        """Whether this hub wants to be told of everything that changes."""
        self._uttered: dict[tuple[Wish, str, str], float] = {}
        self.have_grown = False
        """Whether there are more than when they were given last."""

    def utter(self, wish: Wish, of: str, runtime_type: str = "") -> bool:
        """Want something, if it was not wanted anyway; give whether that is new."""
        key = (wish, of, runtime_type)
        is_new = key not in self._uttered
        self._uttered[key] = self._clock()
        self.have_grown = self.have_grown or is_new
        return is_new

    def renew(self, standing: Iterable[tuple[Wish, str, str]]) -> None:
        """Keep what is still wanted, and what was until lately."""
        now = self._clock()
        kept = {key: at for key, at in self._uttered.items() if at > now - LINGER}
        self._uttered = kept | dict.fromkeys(standing, now)

    def give(self) -> Wants:
        """Say what is wanted."""
        self.have_grown = False
        self._edition += 1
        logs = frozenset(number_of(of) for wish, of, _ in self._uttered if wish is Wish.LOG)
        others = [key for key in self._uttered if key[0] is not Wish.LOG]
        is_everything = self.are_all or len(others) > MOST
        if is_everything:
            others = []
        has_room = len(logs) <= NUMBERS_A_WISH * (MOST - len(others))
        numbers: dict[Wish, set[int]] = {wish: set() for wish in Wish}
        for wish, colony_id, runtime_type in others:
            if wish is Wish.WORK:
                numbers[wish].add(number_of(colony_id, kind_of(runtime_type)))
                # What is addressed to runtimes by their ids is of no type, or of any.
                numbers[wish].add(number_of(colony_id, ANY_KIND))
            else:
                numbers[wish].add(number_of(colony_id))
        return Wants(
            frozenset(numbers[Wish.ALL]),
            frozenset(numbers[Wish.HELD]),
            frozenset(numbers[Wish.WORK]),
            is_everything,
            self._edition,
            logs if has_room else None,
        )


def kind_of(runtime_type: str) -> int:
    """Give the number that stands for a runtime type in a notice; others may have the same."""
    return crc32(runtime_type.encode())


def number_of(id_: str, kind: int = 0) -> int:
    """Give the number that stands for a colony, one of its queues, or the log of a process."""
    return crc32(id_.encode(), kind)


ANY_KIND = kind_of("")
"""The kind of processes that are addressed to runtimes by their ids, whatever their type."""
