"""Who is listening for what, and who is idle: in memory, and only ever a hint.

A change is published after it was committed. Publishing tells subscribers, gives credit back to
whoever held an ended process, and wakes one idle runtime for a process that waits. Were all of this
lost, the system would only be slower: every runtime looks for itself when it is woken, and the
ticker wakes it again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Protocol

from colonies.core.envelope import pack
from colonies.core.errors import Failure, NotFound
from colonies.core.process import Process, State
from colonies.core.runtime import Runtime
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


class Cause(Enum):
    """What made processes change."""

    CALL = "somebody called"
    DEADLINE = "their time was over"
    SILENCE = "nobody renewed their leases"


class Waiter:
    """A place in the line of those who are idle for one runtime."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.offer: Process | None = None
        self.refusal: Failure | None = None
        self._stirred = asyncio.Event()

    def stir(self) -> None:
        """Make `wait` return."""
        self._stirred.set()

    async def wait(self) -> None:
        """Wait for whatever is worth another look; raise the refusal of a runtime shut out."""
        await self._stirred.wait()
        self._stirred.clear()
        if self.refusal:
            raise self.refusal


class Hub:
    """The switchboard of one hub."""

    def __init__(self) -> None:
        # By process, or by colony and runtime type.
        self._listeners: dict[tuple[str, ...], set[Listener]] = defaultdict(set)
        self._holders: dict[str, Holder] = {}
        self._waiters: set[Waiter] = set()
        # Dictionaries as ordered sets: who has been idle longest is woken first.
        self._idle_by_type: dict[tuple[str, str], dict[Waiter, None]] = defaultdict(dict)
        self._idle_by_id: dict[tuple[str, str], dict[Waiter, None]] = defaultdict(dict)
        self._heard: set[tuple[str, str]] = set()
        self._closed: Failure | None = None

    def publish(self, processes: Iterable[Process], cause: Cause = Cause.CALL) -> None:
        """Tell everybody concerned that these processes have changed, as committed."""
        for process in processes:
            self._tell(process)
            if holder := self._holder_of(process):
                # Whoever closed or released it knows.
                if process.is_cancelling or cause is not Cause.CALL:
                    holder.tell(process)
                if process.state is not State.RUNNING:
                    self.let_go(process.process_id, is_lost=cause is Cause.SILENCE)
            if process.state is State.WAITING and not process.wait_for_parents:
                self.offer(process)

    def _holder_of(self, process: Process) -> Holder | None:
        """Give who holds it, unless the news is older than that: the next attempt may be on."""
        holder = self._holders.get(process.process_id)
        is_news = holder is not None and holder.attempt_of(process.process_id) <= process.attempt
        return holder if is_news else None

    def _tell(self, process: Process) -> None:
        of_type = (process.colony_id, process.spec.conditions.runtime_type)
        concerned = [
            listener
            for key in ((process.process_id,), of_type)
            for listener in self._listeners.get(key, ())
            if listener.subscription.concerns(process)
        ]
        if concerned:
            payload = pack(process)
            for listener in concerned:
                listener.push(payload)

    def listen(self, listener: Listener) -> None:
        """Start telling a listener of changes."""
        for key in _keys(listener.subscription):
            self._listeners[key].add(listener)

    def forget(self, listener: Listener) -> None:
        """Stop telling a listener; may be called twice."""
        for key in _keys(listener.subscription):
            self._listeners[key].discard(listener)
            if not self._listeners[key]:
                del self._listeners[key]

    def hold(self, process_id: str, holder: Holder) -> None:
        """Tell a holder when this process stops running."""
        self._holders[process_id] = holder

    def let_go(self, process_id: str, *, is_lost: bool = False) -> None:
        """Tell whoever holds this process that it is over, lost or gone."""
        if holder := self._holders.pop(process_id, None):
            holder.give_back(process_id, is_lost=is_lost)

    def let_go_of(self, attempt: Assignment) -> None:
        """The same, but only if it is this very attempt that is held."""
        holder = self._holders.get(attempt.process_id)
        if holder and holder.makes(attempt):
            self.let_go(attempt.process_id)

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

    @contextmanager
    def waiting(self, runtime: Runtime) -> Iterator[Waiter]:
        """Be known as idle for a runtime; `line_up` before every look at the database."""
        if self._closed:
            raise self._closed
        waiter = Waiter(runtime)
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

    def offer(self, process: Process) -> None:
        """Wake the one who has been idle longest among those who may have the process."""
        for waiter in self._candidates(process):
            if process.spec.conditions.fit(waiter.runtime):
                self._leave_line(waiter)
                waiter.offer = process
                waiter.stir()
                return

    def _candidates(self, process: Process) -> Iterator[Waiter]:
        conditions = process.spec.conditions
        if conditions.is_addressed:
            for runtime_id in conditions.runtime_ids:
                yield from self._idle_by_id.get((process.colony_id, runtime_id), ())
        else:
            yield from self._idle_by_type.get((process.colony_id, conditions.runtime_type), ())

    def idle_queues(self) -> list[tuple[str, str]]:
        """Give the colony and type of everybody who is idle."""
        return list(self._idle_by_type)

    def idle_runtimes(self) -> list[str]:
        """Give the ids of all runtimes that somebody is idle for."""
        return [runtime_id for _, runtime_id in self._idle_by_id]

    def stir(self, colony_id: str, runtime_type: str) -> None:
        """Make the next one in line for a type look for itself."""
        self._stir_first(self._idle_by_type.get((colony_id, runtime_type), {}))

    def stir_runtime(self, colony_id: str, runtime_id: str) -> None:
        """Make whoever is idle for this very runtime look."""
        self._stir_first(self._idle_by_id.get((colony_id, runtime_id), {}))

    def _stir_first(self, line: dict[Waiter, None]) -> None:
        if waiter := next(iter(line), None):
            self._leave_line(waiter)
            waiter.stir()

    def revoke(self, colony_id: str, failure: Failure, runtime_id: str = "") -> None:
        """Shut out a runtime, or a whole colony: their waits and subscriptions end."""
        for waiter in self._waiters:
            runtime = waiter.runtime
            if runtime.colony_id == colony_id and runtime_id in ("", runtime.runtime_id):
                waiter.refusal = failure
                waiter.stir()
        for listener in {one for group in self._listeners.values() for one in group}:
            is_theirs = colony_id in listener.subscription.colony_ids
            if is_theirs and runtime_id in ("", listener.caller):
                self.forget(listener)
                listener.end(failure)

    def remove(self, colony_id: str, process_id: str = "") -> None:
        """Tell who holds or follows a process, or any of a colony's, that it was deleted."""
        if process_id:
            self.let_go(process_id)
            followers = list(self._listeners.get((process_id,), ()))
        else:
            followers = [
                one
                for group in list(self._listeners.values())
                for one in group
                if one.subscription.process_id and colony_id in one.subscription.colony_ids
            ]
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


def _keys(subscription: Subscription) -> list[tuple[str, ...]]:
    if subscription.process_id:
        return [(subscription.process_id,)]
    return [(colony_id, subscription.runtime_type) for colony_id in subscription.colony_ids]
