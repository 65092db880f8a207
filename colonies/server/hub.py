"""Who is listening for what, and who is idle: in memory, and only ever a hint.

A change is published after it was committed. Publishing tells subscribers, gives credit back to
whoever held an ended process, and wakes one idle runtime for a process that waits. Were all of this
lost, the system would only be slower: every runtime looks for itself when it is woken, and the
ticker wakes it again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from uuid import uuid4

from colonies.core.envelope import pack
from colonies.core.errors import Failure, NotFound
from colonies.core.process import NOTHING, Conditions, Process, Progress, State
from colonies.core.runtime import Runtime
from colonies.server.followers import Followers
from colonies.server.lifecycle import Assignment
from colonies.server.moves import Claim
from colonies.server.parties import NOBODY, Cause, Holder, Listener, Outlet, Wish
from colonies.server.queue import Bookmarks
from colonies.server.running import UNLIMITED, Limits
from colonies.server.waiter import Waiter

MAX_ASKED = 8
"""Waiters that are looked at to find one with room; whoever is offered a process looks anyway."""


class Hub:
    """The switchboard of one hub."""

    def __init__(self, outlet: Outlet = NOBODY, limits: Limits = UNLIMITED) -> None:
        self.id = uuid4().hex
        self._outlet = outlet
        # By process, or by colony and runtime type.
        self._listeners: dict[tuple[str, ...], set[Listener]] = defaultdict(set)
        self._watched: set[tuple[str, str]] = set()
        # How far a process had come when its followers were told of it last.
        self._told: dict[Listener, Progress] = {}
        self._holders: dict[str, Holder] = {}
        self._told_to_stop: set[str] = set()
        self._waiters: set[Waiter] = set()
        # Dictionaries as ordered sets: who has been idle longest is woken first.
        self._idle_by_type: dict[tuple[str, str], dict[Waiter, None]] = defaultdict(dict)
        self._idle_by_id: dict[tuple[str, str], dict[Waiter, None]] = defaultdict(dict)
        self._heard: set[tuple[str, str]] = set()
        self._closed: Failure | None = None
        self.bookmarks = Bookmarks()
        self.logs = Followers(outlet)
        self.limits = limits

    def publish(self, processes: Iterable[Process], cause: Cause = Cause.CALL) -> None:
        """Tell everybody concerned that these processes have changed, as committed."""
        for process in processes:
            is_held = self._holder_of(process) is not None
            self._outlet.change(process, cause, is_held_here=is_held)
            self._tell(process)
            if is_held:
                # Whoever closed or released it knows.
                if process.is_cancelling or cause is not Cause.CALL:
                    self.tell_holder(process)
                if process.state is not State.RUNNING:
                    self.let_go(process.process_id, is_lost=cause is Cause.SILENCE)
            self._offer_if_waiting(process)
            if process.state > State.RUNNING:
                self.make_room(process.colony_id)

    def introduce(self, process: Process) -> None:
        """Tell those here of a process that was assigned with its submit how it was before that."""
        self._tell(process.as_submitted())

    def relay(self, process: Process, told: State) -> None:
        """Tell those here of a change that another hub told of and that was looked up since.

        Those who watch a whole type are told if that is what it still is: if not, the next change
        is told of as well.
        """
        if process.state is told:
            self._push_to(self._watchers_of(process), process)
        self.show(process)
        self._offer_if_waiting(process)

    def show(self, process: Process) -> None:
        """Tell the followers of a process how far it has come, if that is news to them."""
        followers = self._listeners.get((process.process_id,), ())
        self._push_to([one for one in followers if self._is_news(one, process)], process)

    def show_to(self, listener: Listener, process: Process) -> None:
        """The same for one of them."""
        if self._is_news(listener, process):
            self._push_to([listener], process)

    def missed(self, process_id: str, progress: Progress | None) -> bool:
        """Whether a follower of a process was not told how far it has come."""
        followers = self._listeners.get((process_id,), ())
        return progress is not None and any(
            self._told.get(one, NOTHING) < progress for one in followers
        )

    def _is_news(self, listener: Listener, process: Process) -> bool:
        return self._told.get(listener, NOTHING) < process.progress

    def _offer_if_waiting(self, process: Process) -> None:
        if process.state is State.WAITING and not process.wait_for_parents:
            self.bookmarks.move_back(process)
            self.offer(process)

    def _holder_of(self, process: Process) -> Holder | None:
        """Give who holds it, unless the news is older than that: the next attempt may be on."""
        holder = self._holders.get(process.process_id)
        is_news = holder is not None and holder.attempt_of(process.process_id) <= process.attempt
        return holder if is_news else None

    def _tell(self, process: Process) -> None:
        followers = self._listeners.get((process.process_id,), ())
        self._push_to([*followers, *self._watchers_of(process)], process)

    def _watchers_of(self, process: Process) -> Iterable[Listener]:
        return self._listeners.get((process.colony_id, process.spec.conditions.runtime_type), ())

    def _push_to(self, listeners: Iterable[Listener], process: Process) -> None:
        concerned = [one for one in listeners if one.subscription.concerns(process)]
        if concerned:
            payload = pack(process)
            for listener in concerned:
                if listener.subscription.process_id:
                    self._told[listener] = max(process.progress, self._told.get(listener, NOTHING))
                listener.push(payload)

    def listen(self, listener: Listener) -> None:
        """Start telling a listener of changes."""
        for key in listener.subscription.keys:
            self._listeners[key].add(listener)
        self._watched |= listener.subscription.queues
        for colony_id in listener.subscription.colony_ids:
            self._outlet.wish(Wish.ALL, colony_id)

    def forget(self, listener: Listener) -> None:
        """Stop telling a listener; may be called twice."""
        for key in listener.subscription.keys:
            self._listeners[key].discard(listener)
            if not self._listeners[key]:
                del self._listeners[key]
        self._watched -= listener.subscription.queues - self._listeners.keys()
        self._told.pop(listener, None)

    def hold(self, process_id: str, holder: Holder) -> None:
        """Tell a holder when this process stops running."""
        self._holders[process_id] = holder
        self._outlet.wish(Wish.HELD, holder.colony_id)
        self._told_to_stop.discard(process_id)

    def tell_holder(self, process: Process) -> None:
        """Tell whoever holds a process what has become of it; to stop, no more than once."""
        holder = self._holders.get(process.process_id)
        if holder is None or (process.is_cancelling and process.process_id in self._told_to_stop):
            return
        if process.is_cancelling:
            self._told_to_stop.add(process.process_id)
        holder.tell(process)

    def let_go(self, process_id: str, *, is_lost: bool = False) -> None:
        """Tell whoever holds this process that it is over, lost or gone."""
        self._told_to_stop.discard(process_id)
        if holder := self._holders.pop(process_id, None):
            holder.give_back(process_id, is_lost=is_lost)

    def let_go_of(self, attempt: Assignment, *, is_lost: bool = False) -> None:
        """The same, but only if it is this very attempt that is held."""
        if self.is_held(attempt):
            self.let_go(attempt.process_id, is_lost=is_lost)

    def is_held(self, attempt: Assignment) -> bool:
        """Whether it is this very attempt that is held."""
        holder = self._holders.get(attempt.process_id)
        return holder is not None and holder.makes(attempt)

    def renewals(self) -> tuple[list[Assignment], list[float]]:
        """Give the attempts of everybody who gave a sign of life since the last time.

        And, for each, how many seconds ago that was.
        """
        held: list[Assignment] = []
        ages: list[float] = []
        for holder in set(self._holders.values()):
            attempts, age = holder.renewals()
            held += attempts
            self._heard |= {(one.colony_ids[0], one.runtime_id) for one in attempts}
            ages += [age] * len(attempts)
        return held, ages

    def drop(self, process_id: str, holder: Holder) -> None:
        """Forget that a holder holds a process."""
        if self._holders.get(process_id) is holder:
            del self._holders[process_id]
            self._told_to_stop.discard(process_id)

    @contextmanager
    def waiting(self, runtime: Runtime, terms: Claim) -> Iterator[Waiter]:
        """Be known as idle for a runtime; `line_up` before every look at the database."""
        if self._closed:
            raise self._closed
        waiter = Waiter(runtime, terms)
        self._waiters.add(waiter)
        try:
            yield waiter
        finally:
            self._waiters.discard(waiter)
            self.step_out(waiter)

    def line_up(self, waiter: Waiter) -> Process | None:
        """Take a place at the end of the line; offers from now on are not missed.

        Gives the offer that was the reason to look, to be passed on if another was found.
        """
        offer, waiter.offer = waiter.offer, None
        for line, key in self._lines(waiter.runtime):
            line[key][waiter] = None
        self._outlet.wish(Wish.WORK, waiter.runtime.colony_id, waiter.runtime.runtime_type)
        return offer

    def pass_on(self, offer: Process | None, taken: list[Process]) -> None:
        """Offer to the next one what somebody was woken for who then took something else."""
        if offer and taken and offer.process_id not in {one.process_id for one in taken}:
            self.offer(offer)

    def decline(self, offer: Process | None) -> None:
        """Offer to the next one what somebody was woken for who cannot take it."""
        if offer:
            self.offer(offer)

    def step_out(self, waiter: Waiter) -> None:
        """Leave the line; an offer that was not looked at is somebody else's chance."""
        self._leave_line(waiter)
        offer, waiter.offer = waiter.offer, None
        self.decline(offer)

    def _leave_line(self, waiter: Waiter) -> None:
        for line, key in self._lines(waiter.runtime):
            line[key].pop(waiter, None)
            if not line[key]:
                del line[key]

    def _lines(
        self, runtime: Runtime
    ) -> Iterator[tuple[dict[tuple[str, str], dict[Waiter, None]], tuple[str, str]]]:
        yield self._idle_by_type, (runtime.colony_id, runtime.runtime_type)
        yield self._idle_by_id, (runtime.colony_id, runtime.runtime_id)

    def promise(self, conditions: Conditions) -> Waiter | None:
        """Find somebody who takes a process to be without looking; the next one is another's."""
        if self.limits.are_set:  # whether one more may run is for a claim to count
            return None
        for waiter in islice(self._candidates(conditions), MAX_ASKED):
            if waiter.has_room and conditions.fit(waiter.runtime):
                waiter.promise()
                self._leave_line(waiter)
                self.line_up(waiter)
                return waiter
        return None

    def offer(self, process: Process) -> None:
        """Wake the one who has been idle longest among those who may have the process."""
        conditions = process.spec.conditions
        for waiter in self._candidates(conditions):
            if conditions.fit(waiter.runtime):
                self._leave_line(waiter)
                waiter.offer = process
                waiter.stir()
                return

    def _candidates(self, conditions: Conditions) -> Iterator[Waiter]:
        colony_id = conditions.colony_id
        if conditions.is_addressed:
            for runtime_id in conditions.runtime_ids:
                yield from self._idle_by_id.get((colony_id, runtime_id), ())
        else:
            yield from self._idle_by_type.get((colony_id, conditions.runtime_type), ())

    def wishes(self) -> Iterator[tuple[Wish, str, str]]:
        """Give what somebody here has to be told of by other hubs; some of it more than once."""
        for _, colony_id in self._listening():
            yield Wish.ALL, colony_id, ""
        for holder in set(self._holders.values()):
            yield Wish.HELD, holder.colony_id, ""
        for colony_id, runtime_type in self._idle_by_type:
            yield Wish.WORK, colony_id, runtime_type

    def idle_queues(self) -> list[tuple[str, str]]:
        """Give the colony and type of everybody who is idle."""
        return list(self._idle_by_type)

    def idle_runtimes(self) -> list[str]:
        """Give the ids of all runtimes that somebody is idle for."""
        return [runtime_id for _, runtime_id in self._idle_by_id]

    def stir(self, colony_id: str, runtime_type: str, runtime_id: str = "") -> None:
        """Make the next one in line for a type, or for this very runtime, look for itself."""
        lines = self._idle_by_id if runtime_id else self._idle_by_type
        if waiter := next(iter(lines.get((colony_id, runtime_id or runtime_type), ())), None):
            self._leave_line(waiter)
            waiter.stir()

    def make_room(self, colony_id: str) -> None:
        """Make those look who were held up by how much a colony ran; something has ended."""
        for queue, runtime_id in self.limits.held_up(colony_id):
            self.stir(colony_id, queue.runtime_type, runtime_id)

    def revoke(self, colony_id: str, failure: Failure, runtime_id: str = "") -> None:
        """Shut out a runtime, or a whole colony, on every hub."""
        self._outlet.shut_out(colony_id, runtime_id)
        self.shut_out(colony_id, failure, runtime_id)

    def shut_out(self, colony_id: str, failure: Failure, runtime_id: str = "") -> None:
        """End the waits and subscriptions of a runtime, or of a whole colony."""
        for waiter in self._waiters:
            runtime = waiter.runtime
            if runtime.colony_id == colony_id and runtime_id in ("", runtime.runtime_id):
                waiter.refusal = failure
                waiter.stir()
        for listener, theirs in list(self._listening()):
            if theirs == colony_id and runtime_id in ("", listener.caller):
                self.forget(listener)
                listener.end(failure)

    def remove(self, colony_id: str, process_id: str = "") -> None:
        """Tell on every hub who holds or follows a process that it was deleted."""
        self._outlet.remove(colony_id, process_id)
        self.bury(colony_id, process_id)

    def bury(self, colony_id: str, process_id: str = "") -> None:
        """Tell who holds or follows a process, or any of a colony's, that it was deleted."""
        self.make_room(colony_id)
        if process_id:
            self.let_go(process_id)
            followers = list(self._listeners.get((process_id,), ()))
        else:
            theirs = (one for one, where in self._listening() if where == colony_id)
            followers = [one for one in theirs if one.subscription.process_id]
        for listener in followers:
            self.forget(listener)
            gone = listener.subscription.process_id
            listener.end(NotFound(f"process <{gone}> was deleted"))

    def close(self, failure: Failure) -> None:
        """End every wait, now and from now on: the hub is stopping."""
        self._closed = failure
        for waiter in self._waiters:
            waiter.refusal = failure
            waiter.stir()

    def hear(self, runtime: Runtime) -> None:
        """Note that a runtime gave a sign of life."""
        self._heard.add((runtime.colony_id, runtime.runtime_id))

    def take_heard(self) -> set[tuple[str, str]]:
        """Give who was heard from since the last time this was asked."""
        heard, self._heard = self._heard, set()
        return heard

    def held(self) -> list[Assignment]:
        """Give all attempts that are held here."""
        return [holder.attempt(process_id) for process_id, holder in self._holders.items()]

    def held_up_to(self, latest: Mapping[str, int]) -> list[Assignment]:
        """Give the attempts that are held here of some processes, none after the latest of each."""
        return [
            holder.attempt(process_id)
            for process_id, attempt in latest.items()
            if (holder := self._holders.get(process_id))
            and holder.attempt_of(process_id) <= attempt
        ]

    def followed(self) -> dict[str, str]:
        """Give every process that somebody here follows, with its colony."""
        pairs = ((one.subscription.process_id, where) for one, where in self._listening())
        return {process_id: where for process_id, where in pairs if process_id}

    def watched(self) -> dict[tuple[str, str], frozenset[State]]:
        """Give the colonies and types whose processes somebody watches, and in which states."""
        return {
            key: frozenset(
                state for one in self._listeners[key] for state in one.subscription.states
            )
            for key in self._watched
        }

    def has_part_in(self, process_id: str) -> bool:
        """Whether somebody here holds or follows a process."""
        return process_id in self._holders or (process_id,) in self._listeners

    def guests(self) -> set[tuple[str, str]]:
        """Give everybody who waits or listens here, with the colony that lets them."""
        waiting = {(one.runtime.colony_id, one.runtime.runtime_id) for one in self._waiters}
        return waiting | {(colony_id, one.caller) for one, colony_id in self._listening()}

    def _listening(self) -> Iterator[tuple[Listener, str]]:
        """Give everybody who listens, with each colony in which he does."""
        for one in {one for group in self._listeners.values() for one in group}:
            for colony_id in one.subscription.colony_ids:
                yield one, colony_id
