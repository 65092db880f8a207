"""Whom the switchboard serves: those who listen and those who hold, here and at other hubs."""

from __future__ import annotations

from enum import IntEnum
from typing import Protocol

from colonies.core.errors import Failure
from colonies.core.process import Process
from colonies.core.subscription import Subscription
from colonies.server.lifecycle import Assignment


class Listener(Protocol):
    """Somebody who has subscribed to changes."""

    caller: str
    subscription: Subscription

    def push(self, payload: str) -> None:
        """Take a process, packed once for all listeners; must not wait."""

    def end(self, failure: Failure) -> None:
        """Take notice that nothing more will come."""


class Holder(Protocol):
    """Somebody who holds assigned processes and wants to know when they are over."""

    @property
    def colony_id(self) -> str:
        """Give the colony whose processes are held."""

    def tell(self, process: Process) -> None:
        """Tell the runtime to stop what it holds, and why, by what has become of it."""

    def give_back(self, process_id: str, *, is_lost: bool) -> None:
        """Take notice that this process is not held any more, perhaps lost; must not wait."""

    def attempt_of(self, process_id: str) -> int:
        """Give the number of the attempt held, 0 if it is not known."""

    def makes(self, attempt: Assignment) -> bool:
        """Whether this very attempt is held here."""

    def renewals(self) -> tuple[list[Assignment], float]:
        """Give the attempts whose leases to renew: all, if there was a sign of life.

        And how many seconds ago that was.
        """

    def attempt(self, process_id: str) -> Assignment:
        """Give the attempt that is held of a process."""


class Outlet(Protocol):
    """Where that goes what other hubs have to know."""

    def change(self, process: Process, cause: Cause, *, is_held_here: bool = False) -> None:
        """Take a process that has changed; if it ``is_held_here``, nobody at another hub has it."""

    def wish(self, wish: Wish, of: str, runtime_type: str = "") -> None:
        """Take what somebody here has to be told of by other hubs: of a colony, or one's log."""

    def shut_out(self, colony_id: str, runtime_id: str) -> None:
        """Take a runtime that was shut out; none is the whole colony."""

    def refit(self, colony_id: str, runtime_id: str) -> None:
        """Take a runtime that has other figures now."""

    def remove(self, colony_id: str, process_id: str) -> None:
        """Take a process that was deleted; none is all of the colony's."""

    def log(self, process_id: str) -> None:
        """Take a process of whose log there is more."""


class Nobody:
    """An outlet where no other hub is."""

    def change(self, process: Process, cause: Cause, *, is_held_here: bool = False) -> None:
        """Tell nobody."""

    def wish(self, wish: Wish, of: str, runtime_type: str = "") -> None:
        """Tell nobody."""

    def shut_out(self, colony_id: str, runtime_id: str) -> None:
        """Tell nobody."""

    def refit(self, colony_id: str, runtime_id: str) -> None:
        """Tell nobody."""

    def remove(self, colony_id: str, process_id: str) -> None:
        """Tell nobody."""

    def log(self, process_id: str) -> None:
        """Tell nobody."""


NOBODY = Nobody()


class Wish(IntEnum):
    """What somebody has to be told of."""

    ALL = 0
    """Whatever changes in a colony: he follows processes of it."""
    HELD = 1
    """What becomes of processes that he may hold."""
    WORK = 2
    """What waits for runtimes of a type: he is idle."""
    LOG = 3
    """That there is more of the log of a process: he follows it."""


class Cause(IntEnum):
    """What made processes change."""

    CALL = 0
    """Somebody called."""
    DEADLINE = 1
    """Their time was over."""
    SILENCE = 2
    """Nobody renewed their leases."""
