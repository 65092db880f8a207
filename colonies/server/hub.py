"""The switchboard of one hub: in memory, and only ever a hint.

A change is published after it was committed. Publishing tells who listens, gives credit back to
whoever held an ended process, and wakes one idle runtime for a process that waits. Were all of this
lost, the system would only be slower: every runtime looks for itself when it is woken, and the
ticker wakes it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import uuid4

from colonies.core.errors import Failure
from colonies.core.process import Process, State
from colonies.core.runtime import Runtime
from colonies.server.followers import Followers
from colonies.server.holders import Holders
from colonies.server.lifecycle import Assignment
from colonies.server.lines import Lines
from colonies.server.listeners import Listeners
from colonies.server.parties import NOBODY, Cause, Outlet, Wish
from colonies.server.queue import Bookmarks
from colonies.server.running import UNLIMITED, Limits

# Looking up a member of an enumeration takes as long as four comparisons with one.
WAITING, RUNNING, CALL = State.WAITING, State.RUNNING, Cause.CALL


class Hub:
    """Who listens, who holds and who is idle here, and what each has to be told."""

    def __init__(self, outlet: Outlet = NOBODY, limits: Limits = UNLIMITED) -> None:
        self.id = uuid4().hex
        self._outlet = outlet
        self.listeners = Listeners(outlet)
        self.holders = Holders(outlet)
        self.lines = Lines(outlet, limits)
        self.logs = Followers(outlet)
        self.bookmarks = Bookmarks()
        self.limits = limits
        self._heard: set[tuple[str, str]] = set()

    def publish(self, processes: Iterable[Process], cause: Cause = Cause.CALL) -> None:
        """Tell everybody concerned that these processes have changed, as committed."""
        for process in processes:
            is_held = self.holders.has(process)
            self._outlet.change(process, cause, is_held_here=is_held)
            self.listeners.tell(process)
            if is_held:
                # Whoever closed or released it knows.
                if process.is_cancelling or cause is not CALL:
                    self.holders.tell(process)
                if process.state is not RUNNING:
                    self.holders.let_go(process.process_id, is_lost=cause is Cause.SILENCE)
            self._offer_if_waiting(process)
            if process.state > RUNNING:
                self.lines.make_room(process.colony_id)

    def introduce(self, process: Process) -> None:
        """Tell those here of a process that was assigned with its submit how it was before that."""
        self.listeners.tell(process.as_submitted())

    def relay(self, process: Process, told: State) -> None:
        """Tell those here of a change that another hub told of and that was looked up since.

        Those who watch a whole type are told if that is what it still is: if not, the next change
        is told of as well.
        """
        if process.state is told:
            self.listeners.tell_watchers(process)
        self.listeners.show(process)
        self._offer_if_waiting(process)

    def _offer_if_waiting(self, process: Process) -> None:
        if process.state is WAITING and not process.wait_for_parents:
            self.bookmarks.move_back(process)
            self.lines.offer(process)

    def revoke(self, colony_id: str, failure: Failure, runtime_id: str = "") -> None:
        """Shut out a runtime, or a whole colony, on every hub."""
        self._outlet.shut_out(colony_id, runtime_id)
        self.shut_out(colony_id, failure, runtime_id)

    def shut_out(self, colony_id: str, failure: Failure, runtime_id: str = "") -> None:
        """End the waits and subscriptions of a runtime, or of a whole colony."""
        self.lines.end(colony_id, failure, runtime_id)
        self.listeners.end(colony_id, failure, runtime_id)

    def refit(self, runtime: Runtime) -> None:
        """Tell on every hub whoever waits for a runtime what it has now."""
        self._outlet.refit(runtime.colony_id, runtime.runtime_id)
        self.lines.refit(runtime)

    def remove(self, colony_id: str, process_id: str = "") -> None:
        """Tell on every hub who holds or follows a process that it was deleted."""
        self._outlet.remove(colony_id, process_id)
        self.bury(colony_id, process_id)

    def bury(self, colony_id: str, process_id: str = "") -> None:
        """Tell who holds or follows a process, or any of a colony's, that it was deleted."""
        self.lines.make_room(colony_id)
        if process_id:
            self.holders.let_go(process_id)
        self.listeners.bury(colony_id, process_id)

    def renewals(self) -> tuple[list[Assignment], list[float]]:
        """Give what `Holders.renewals` does, and note the signs of life."""
        held, ages = self.holders.renewals()
        self._heard |= {(one.colony_ids[0], one.runtime_id) for one in held}
        return held, ages

    def hear(self, runtime: Runtime) -> None:
        """Note that a runtime gave a sign of life."""
        self._heard.add((runtime.colony_id, runtime.runtime_id))

    def take_heard(self) -> set[tuple[str, str]]:
        """Give who was heard from since the last time this was asked."""
        heard, self._heard = self._heard, set()
        return heard

    def wishes(self) -> Iterator[tuple[Wish, str, str]]:
        """Give what somebody here has to be told of by other hubs; some of it more than once."""
        for _, colony_id in self.listeners.with_colonies():
            yield Wish.ALL, colony_id, ""
        for holder in self.holders:
            yield Wish.HELD, holder.colony_id, ""
        for colony_id, runtime_type in self.lines.idle_queues():
            yield Wish.WORK, colony_id, runtime_type
        yield from self.logs.wishes()

    def has_part_in(self, process_id: str) -> bool:
        """Whether somebody here holds or follows a process."""
        return process_id in self.holders or self.listeners.follows(process_id)

    def guests(self) -> set[tuple[str, str]]:
        """Give everybody who waits or listens here, with the colony that lets them."""
        waiting = {(one.runtime.colony_id, one.runtime.runtime_id) for one in self.lines}
        listening = self.listeners.with_colonies()
        return waiting | {(colony_id, one.caller) for one, colony_id in listening}
