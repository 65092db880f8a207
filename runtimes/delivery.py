"""Saying to the hub how an attempt has ended, even if it is away for long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import structlog

from colonies.client import Colonies
from colonies.core.errors import ColoniesError, Failure, Malformed
from colonies.core.process import Process
from runtimes.base import Outcome, failure
from runtimes.outcomes import Kept, Outcomes
from runtimes.patience import persist

logger = structlog.get_logger()

KEEP_AFTER = 1.0
"""Seconds that a close may take before its outcome is kept on disk as well."""

CLOSES_AT_ONCE = 64
"""Outcomes that are on their way to the hub at the same time; half of what it takes at once."""

GOODBYE = 2.0
"""Seconds that giving a process back may take: if it is not heard, its lease ends soon."""

KILLED = "the runtime was killed while it executed this"
"""The outcome of what was begun, unless there comes another."""

SHORT = 1000
"""Characters kept of errors that were too many to be taken whole."""


class Delivery:
    """Has outcomes recorded, and keeps them on disk until they are."""

    def __init__(self, colonies: Colonies, outcomes: Outcomes) -> None:
        self._colonies = colonies
        self._outcomes = outcomes
        self._turns = asyncio.Semaphore(CLOSES_AT_ONCE)
        self._is_over = asyncio.Event()
        self._begun: set[tuple[str, int]] = set()

    def give_up(self) -> None:
        """Leave on disk, for the next start, what the hub does not take now."""
        self._is_over.set()

    async def begin(self, process: Process) -> None:
        """Have the next life say at once that the attempt is over, should this one be killed.

        Only where that is for us to say, as nobody tries it again; else the hub decides, and
        counts, when the lease is over.
        """
        most = process.spec.max_retries
        if most < 0 or process.retries < most:
            return
        try:
            kept = Kept.of(process, failure(KILLED))
            await asyncio.to_thread(self._outcomes.keep, kept, is_synced=False)
        except (OSError, ValueError) as error:
            logger.debug("beginning not kept", process=process.process_id, error=str(error))
        else:
            self._begun.add(_attempt(process))

    async def forget(self, process: Process) -> None:
        """Say nothing of an attempt that was begun and about which there is nothing to be said."""
        if _attempt(process) in self._begun:
            await self._drop(Kept.of(process, failure(KILLED)))

    async def deliver(
        self,
        process: Process,
        outcome: Outcome,
        *,
        first: Callable[[], Awaitable[None]] | None = None,
        is_kept: bool = False,
    ) -> bool:
        """Have an outcome recorded, or refused; leave it on disk when told to give up.

        What is awaited ``first`` may take long: it counts as a part of it. ``is_kept`` says that
        the outcome is on disk already. Says whether it is there or with the hub.
        """
        outcome = _storable(outcome)
        kept = Kept.of(process, outcome)
        async with asyncio.TaskGroup() as tasks:
            closing = tasks.create_task(self._close(process, outcome, first))
            giving_up = tasks.create_task(self._is_over.wait())
            await asyncio.wait({closing}, timeout=KEEP_AFTER)
            if not closing.done():
                is_kept = is_kept or await self._keep(kept)
                await asyncio.wait({closing, giving_up}, return_when=asyncio.FIRST_COMPLETED)
            if closing.done() and (is_kept or _attempt(process) in self._begun):
                await self._drop(kept)
            is_safe = closing.done() or is_kept
            closing.cancel()
            giving_up.cancel()
        return is_safe

    async def release(self, process: Process) -> None:
        """Give a process back to the queue, if the hub is there to hear it."""
        log = logger.bind(process=process.process_id)
        try:
            async with asyncio.timeout(GOODBYE):
                await self._colonies.release(
                    process.process_id, attempt_token=process.attempt_token
                )
            log.info("process released")
        except (ColoniesError, TimeoutError) as error:
            log.warning("process not released", error=str(error) or "no answer in time")

    async def _close(
        self, process: Process, outcome: Outcome, first: Callable[[], Awaitable[None]] | None
    ) -> None:
        """Close a process, however long the hub is away; the same close twice is harmless."""
        log = logger.bind(process=process.process_id)
        try:
            if first:
                await first()
            async with self._turns:
                await self._say(process, outcome)
            error = outcome.errors[0][:SHORT] if outcome.errors else None
            log.info("process closed", is_success=outcome.is_success, error=error)
        except Failure as error:
            log.warning("outcome refused", error=error.message)

    async def _say(self, process: Process, outcome: Outcome) -> None:
        id_, token = process.process_id, process.attempt_token
        fail = partial(self._colonies.close_failed, id_, attempt_token=token)
        succeed = partial(self._colonies.close_successful, id_, attempt_token=token)
        try:
            if outcome.is_success:
                await persist(lambda: succeed(outcome.output))
            else:
                await persist(lambda: fail(outcome.errors))
        except Malformed as error:  # too large, mostly: at least that can be said
            about = "output" if outcome.is_success else "text of the errors"
            start = "".join(outcome.errors)[:SHORT]
            reasons = [f"the {about} was refused: {error.message}", *([start] if start else [])]
            await persist(lambda: fail(reasons))

    async def _keep(self, kept: Kept) -> bool:
        """Keep an outcome on disk; says whether it is there now."""
        log = logger.bind(process=kept.process_id)
        try:
            await asyncio.to_thread(self._outcomes.keep, kept)
        except (OSError, ValueError) as error:
            log.warning("outcome not kept on disk", error=str(error))
            return False
        log.warning("outcome kept on disk")
        return True

    async def _drop(self, kept: Kept) -> None:
        self._begun.discard((kept.process_id, kept.attempt))
        try:
            await asyncio.to_thread(self._outcomes.drop, kept)
        except (OSError, ValueError) as error:
            logger.warning("outcome not dropped", process=kept.process_id, error=str(error))


def _attempt(process: Process) -> tuple[str, int]:
    return process.process_id, process.attempt


def _storable(outcome: Outcome) -> Outcome:
    return Outcome(
        output=[_storable_text(text) for text in outcome.output],
        errors=[_storable_text(text) for text in outcome.errors],
        is_success=outcome.is_success,
    )


def _storable_text(text: str) -> str:
    """Give a text as the hub can keep it: without NUL, and without halves of characters."""
    return text.replace("\0", "").encode(errors="replace").decode()
