"""Giving work to runtimes: the long poll, and assignments pushed as far as credit goes.

Both line up first, then look, then wait, so that nothing submitted in between is missed. Neither is
ever cancelled between a claim and its hand-over; when whoever asked is gone by then, the process
goes back to the queue.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from colonies.core.errors import NothingToAssign, Unavailable
from colonies.core.process import Process
from colonies.core.runtime import Runtime
from colonies.server import lifecycle
from colonies.server.call import Call, Peer
from colonies.server.db import Database
from colonies.server.hub import Hub, Waiter

CLAIM_BATCH = 100
"""Processes claimed by one statement; more are no faster."""

OUTAGE_PAUSE = 1.0
"""Seconds before an assigner looks again when the database was away."""


async def assign(call: Call, runtime: Runtime, *, latest: bool, timeout: float) -> Process:
    """Give the runtime a process, waiting up to ``timeout`` seconds for one if that is above 0.

    Raises NothingToAssign when there is none, or when whoever asked is gone.
    """
    # v1 clients compare the beginning of this text.
    nothing = NothingToAssign(
        f"No processes can be selected for runtime with Id {runtime.runtime_id}"
    )
    deadline = asyncio.get_running_loop().time() + timeout
    with call.hub.waiting(runtime) as waiter, call.peer.when_gone(waiter.stir):
        while not call.peer.is_gone:
            offer = call.hub.line_up(waiter)
            if claimed := await lifecycle.claim(call.db, runtime, latest=latest):
                call.hub.pass_on(offer, claimed)
                if call.peer.is_gone:
                    await take_back(call.db, call.hub, claimed[0])
                    break
                call.publish(claimed[0])
                return claimed[0]
            with call.peer.stand_aside():
                if timeout <= 0 or not await _stirred_before(deadline, waiter):
                    break
    raise nothing


async def _stirred_before(deadline: float, waiter: Waiter) -> bool:
    try:
        async with asyncio.timeout_at(deadline):
            await waiter.wait()
    except TimeoutError:
        return False
    return True


async def take_back(db: Database, hub: Hub, process: Process) -> None:
    """Return a process to the queue that could not be handed over."""
    assignment = lifecycle.Assignment(
        process.process_id, process.assigned_runtime_id, [process.colony_id]
    )
    if returned := await lifecycle.release(db, assignment):
        hub.publish([returned])


class Assigner:
    """Pushes processes to one runtime, never more at once than it has credit for."""

    def __init__(
        self,
        db: Database,
        hub: Hub,
        runtime: Runtime,
        *,
        credit: int,
        push: Callable[[Process], bool],
    ) -> None:
        """Take who works and how much; ``push`` says whether the process is on its way."""
        self._db = db
        self._hub = hub
        self._runtime = runtime
        self._credit = credit
        self._push = push
        self._held: set[str] = set()
        self._waiter: Waiter | None = None
        self._is_stopped = False

    def hold(self, process_id: str) -> None:
        """Count a process against the credit until it is over."""
        self._held.add(process_id)
        self._hub.hold(process_id, self)

    def give_back(self, process_id: str) -> None:
        """Take notice that a process is over: its credit is free again."""
        self._held.discard(process_id)
        self._stir()

    def stop(self) -> None:
        """Make `run` return, after the hand-over that may be under way."""
        self._is_stopped = True
        for process_id in self._held:
            self._hub.drop(process_id, self)
        self._stir()

    def _stir(self) -> None:
        if self._waiter is not None:
            self._waiter.stir()

    async def run(self, peer: Peer) -> None:
        """Assign until stopped or the peer is gone; raise Forbidden to a runtime shut out."""
        with self._hub.waiting(self._runtime) as waiter, peer.when_gone(waiter.stir):
            self._waiter = waiter
            while not (self._is_stopped or peer.is_gone):
                await self._assign(waiter)

    async def _assign(self, waiter: Waiter) -> None:
        free = min(self._credit - len(self._held), CLAIM_BATCH)
        if free <= 0:
            self._hub.step_out(waiter)
            await waiter.wait()
            return
        offer = self._hub.line_up(waiter)
        try:
            claimed = await lifecycle.claim(self._db, self._runtime, count=free)
        except Unavailable:
            deadline = asyncio.get_running_loop().time() + OUTAGE_PAUSE * random.uniform(0.5, 1.5)  # noqa: S311
            await _stirred_before(deadline, waiter)
            return
        self._hub.pass_on(offer, claimed)
        for process in claimed:
            await self._hand_over(process)
        if len(claimed) < free:
            await waiter.wait()

    async def _hand_over(self, process: Process) -> None:
        if self._is_stopped:
            await take_back(self._db, self._hub, process)
            return
        self.hold(process.process_id)
        if not self._push(process):
            await take_back(self._db, self._hub, process)
            return
        self._hub.publish([process])
