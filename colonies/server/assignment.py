"""Giving work to runtimes: the long poll, and assignments pushed as far as credit goes.

Both line up first, then look, then wait, so that nothing submitted in between is missed. Who waits
may be handed a process by the submit itself. Neither is ever cancelled between a claim and its
hand-over; when whoever asked is gone by then, the process goes back to the queue.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from time import monotonic

import msgspec

from colonies.core.errors import Failure, NothingToAssign, Unavailable
from colonies.core.process import Held, Process
from colonies.core.runtime import Runtime
from colonies.server import lifecycle
from colonies.server.call import Call, Peer
from colonies.server.db import Database
from colonies.server.hub import Hub
from colonies.server.intent import NOBODYS, recall
from colonies.server.moves import Claim
from colonies.server.waiter import Waiter

CLAIM_BATCH = 100
"""Processes claimed by one statement; more are no faster."""

OUTAGE_PAUSE = 1.0
"""Seconds before an assigner looks again when the database was away."""


async def assign(
    call: Call, runtime: Runtime, *, latest: bool, timeout: float, is_leased: bool
) -> Process:
    """Give the runtime a process, waiting up to ``timeout`` seconds for one if that is above 0.

    Raises NothingToAssign when there is none, or when whoever asked is gone.
    """
    # v1 clients compare the beginning of this text.
    nothing = NothingToAssign(
        f"No processes can be selected for runtime with Id {runtime.runtime_id}"
    )
    deadline = asyncio.get_running_loop().time() + timeout
    terms = Claim(runtime.runtime_id, 1, is_leased, pushed_over="", intent=call.intent)
    with call.hub.lines.waiting(runtime, terms) as waiter, call.peer.when_gone(waiter.stir):
        while not call.peer.is_gone:
            given = await _look(call, waiter, latest=latest)
            if not given and (seen := await recall(call.db, call.intent)):
                if held := await lifecycle.get_assigned(call.db, seen, runtime):
                    return held
                await lifecycle.forget_assigned(call.db, seen, call.intent)
                continue
            if not given and timeout > 0:
                call.hub.lines.rest(waiter)
                with call.peer.stand_aside(), call.turns.set_aside():
                    given = await _wait_before(deadline, waiter, room=1 if terms.is_safe else 0)
                for process in given:
                    call.hub.introduce(process)
            if given and call.peer.is_gone:
                await take_back(call.db, call.hub, given)
                break
            if given:
                call.publish(without_token(given[0]))
                return given[0]
            if asyncio.get_running_loop().time() >= deadline:
                break
    raise nothing


async def _look(call: Call, waiter: Waiter, *, latest: bool) -> list[Process]:
    """Line up and claim; what the runtime was woken for and did not get is offered to the next."""
    offer = call.hub.lines.line_up(waiter)
    try:
        claimed = await lifecycle.claim(
            call.db,
            waiter.runtime,
            call.hub.bookmarks,
            limits=call.hub.limits,
            latest=latest,
            is_leased=waiter.terms.is_leased,
            intent=call.intent,
        )
    except Failure:
        call.hub.lines.decline(offer)
        raise
    call.hub.lines.pass_on(offer, claimed)
    return claimed


async def _wait_before(deadline: float, waiter: Waiter, *, room: int = 0) -> list[Process]:
    """Wait for what is handed over, or until it is worth another look or too late."""
    timer = asyncio.get_running_loop().call_at(deadline, waiter.stir)
    try:
        return await waiter.wait(room=room)
    finally:
        timer.cancel()


async def take_back(db: Database, hub: Hub, processes: Iterable[Process]) -> None:
    """Return processes to the queue that could not be handed over."""

    async def release(process: Process) -> None:
        hub.publish(await lifecycle.release(db, lifecycle.Assignment.of(process)))

    await asyncio.gather(*map(release, processes))


def without_token(process: Process) -> Process:
    """Give a process as others may see it: the token is for its runtime alone."""
    return msgspec.structs.replace(process, attempt_token="")


class Assigner:
    """Pushes processes to one runtime, never more at once than it has credit for."""

    def __init__(
        self,
        db: Database,
        hub: Hub,
        runtime: Runtime,
        *,
        credit: int,
        request: str,
        peer: Peer,
        push: Callable[[Sequence[Process]], int],
        tell: Callable[[Process], None],
    ) -> None:
        """Take who works, how much, and where.

        ``request`` is that of the subscription. ``push`` gives processes away and says how many are
        on their way; ``tell`` gives news of one.
        """
        self._db = db
        self._hub = hub
        self._runtime = runtime
        self._credit = credit
        self._request = request
        self._peer = peer
        self._push = push
        self.tell = tell
        self._held: dict[str, tuple[str, int]] = {}  # token and number of the attempt
        self._renewed_at = 0.0
        self._lost_at = 0.0
        self._waiter: Waiter | None = None
        self._is_stopped = False

    def hold(self, process_id: str, attempt_token: str, attempt: int = 0) -> None:
        """Count a process against the credit until it is over."""
        if self._is_stopped:
            return
        self._held[process_id] = attempt_token, attempt
        self._hub.holders.hold(process_id, self)

    @property
    def colony_id(self) -> str:
        """Give the colony whose processes are held."""
        return self._runtime.colony_id

    def set_credit(self, credit: int) -> None:
        """Assign up to so many at once from now on."""
        self._credit = credit
        self._stir()

    def makes(self, attempt: lifecycle.Assignment) -> bool:
        """Whether this very attempt is held here."""
        is_ours = attempt.runtime_id == self._runtime.runtime_id
        token, _ = self._held.get(attempt.process_id, ("", 0))
        return is_ours and token == attempt.attempt_token

    def attempt_of(self, process_id: str) -> int:
        """Give the number of the attempt held, 0 if it is not known."""
        _, attempt = self._held.get(process_id, ("", 0))
        return attempt

    def renewals(self) -> tuple[list[lifecycle.Assignment], float]:
        """Give the attempts held, if the peer gave a sign of life since this was asked last.

        And how many seconds ago that was.
        """
        if self._peer.heard_at <= self._renewed_at:
            return [], 0.0
        self._renewed_at = self._peer.heard_at
        held = [self.attempt(process_id) for process_id in self._held]
        return held, monotonic() - self._peer.heard_at

    def attempt(self, process_id: str) -> lifecycle.Assignment:
        """Give the attempt that is held of a process."""
        token, _ = self._held[process_id]
        held = Held(process_id=process_id, attempt_token=token)
        return lifecycle.Assignment.holding(held, self._runtime)

    def give_back(self, process_id: str, *, is_lost: bool = False) -> None:
        """Take notice that a process is over: its credit is free again.

        Who lost it by silence gets nothing more until there is a sign of life.
        """
        self._held.pop(process_id, None)
        if is_lost:
            self._lost_at = self._peer.heard_at
        # While it waits with room there is nothing to look for.
        if is_lost or self._waiter is None or not self._waiter.make_room():
            self._stir()

    def stop(self) -> None:
        """Make `run` return, after the hand-over that may be under way."""
        self._is_stopped = True
        for process_id in self._held:
            self._hub.holders.drop(process_id, self)
        self._stir()

    def _stir(self) -> None:
        if self._waiter is not None:
            self._waiter.stir()

    async def run(self) -> None:
        """Assign until stopped or the peer is gone; raise Forbidden to a runtime shut out."""
        terms = Claim(
            self._runtime.runtime_id, 1, is_leased=True, pushed_over=self._request, intent=NOBODYS
        )
        with (
            self._hub.lines.waiting(self._runtime, terms) as waiter,
            self._peer.when_gone(waiter.stir),
        ):
            self._waiter = waiter
            while not (self._is_stopped or self._peer.is_gone):
                await self._assign(waiter)

    async def _assign(self, waiter: Waiter) -> None:
        free = min(self._credit - len(self._held), CLAIM_BATCH)
        if self._peer.heard_at <= self._lost_at:
            self._hub.lines.step_out(waiter)
            with self._peer.when_heard(waiter.stir):
                await waiter.wait()
            return
        if free <= 0:
            self._hub.lines.step_out(waiter)
            await waiter.wait()
            return
        offer = self._hub.lines.line_up(waiter)
        try:
            claimed = await lifecycle.claim(
                self._db,
                waiter.runtime,
                self._hub.bookmarks,
                limits=self._hub.limits,
                count=free,
                is_leased=True,
                pushed_over=self._request,
            )
        except Unavailable:
            pause = OUTAGE_PAUSE * random.uniform(0.5, 1.5)  # noqa: S311
            await _wait_before(asyncio.get_running_loop().time() + pause, waiter)
            return
        self._hub.lines.pass_on(offer, claimed)
        await self._hand_over(claimed)
        if len(claimed) == free:
            return
        self._hub.lines.rest(waiter)
        while (room := self._credit - len(self._held)) > 0:
            handed = await waiter.wait(room=room)
            if not handed:
                break
            for process in handed:
                self._hub.introduce(process)
            await self._hand_over(handed)

    async def _hand_over(self, processes: list[Process]) -> None:
        if self._is_stopped:
            await take_back(self._db, self._hub, processes)
            return
        for process in processes:
            self.hold(process.process_id, process.attempt_token, process.attempt)
        sent = self._push(processes)
        self._hub.publish(map(without_token, processes[:sent]))
        if sent < len(processes):
            await take_back(self._db, self._hub, processes[sent:])
