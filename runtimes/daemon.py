"""The life of a runtime at the hub: join, take work, execute, close, leave.

It outlives the hub's absences and any process that goes wrong; only being told to stop ends it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import structlog

from colonies.client import Colonies
from colonies.client.work import Changes
from colonies.core.errors import (
    ColoniesError,
    ConnectionLost,
    DeadlineExceeded,
    Failure,
    Malformed,
    Misconfigured,
    Unavailable,
)
from colonies.core.identity import PrivateKey
from colonies.core.process import USUAL_LEASE, Held, Process
from colonies.core.runtime import Approval
from colonies.core.runtime import Runtime as Member
from runtimes.base import Job, Outcome, Runtime, failure

logger = structlog.get_logger()

T = TypeVar("T")

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
"""Seconds between attempts to reach the hub, before jitter."""

APPROVAL_PERIOD = 2.0
"""Seconds between looks whether the owner has let us in."""

SHORT = 1000
"""Characters kept of errors that were too many to be taken whole."""

AWAY = (ConnectionLost, DeadlineExceeded, Unavailable)
"""What says that the hub cannot be reached just now."""


@dataclass(frozen=True)
class _Execution:
    """A process being executed."""

    task: asyncio.Task[None]
    process: Process


class Daemon:
    """Executes processes with one plugin, for one colony, as one runtime."""

    def __init__(
        self,
        colonies: Colonies,
        plugin: Runtime,
        *,
        member: Member,
        owner: PrivateKey | None,
        slots: int,
        heartbeat: float,
        drain: float,
    ) -> None:
        """Take who we are (``member``) and, if it is here, the key that lets us in (``owner``).

        ``slots`` is how many processes run at once, ``heartbeat`` the seconds between signs of
        life, ``drain`` the seconds that running processes have when told to stop.
        """
        self._colonies = colonies
        self._plugin = plugin
        self._member = member
        self._owner = owner
        self._slots = slots
        self._heartbeat = heartbeat
        self._drain = drain
        self._running: dict[str, _Execution] = {}
        self._is_known = False
        self._started = asyncio.Event()
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Take nothing more, finish what runs, leave; a second call does not wait for it."""
        if self._stopping.is_set():
            self._cancel(list(self._running))
        self._stopping.set()

    async def run(self) -> None:
        """Live until told to stop; raise Misconfigured when the plugin cannot start."""
        await self._open()
        try:
            async with asyncio.TaskGroup() as tasks:
                taking = tasks.create_task(self._take_work(tasks))
                beating = tasks.create_task(self._beat())
                await self._stopping.wait()
                logger.info("runtime draining", running=len(self._running))
                taking.cancel()
                await self._finish()
                beating.cancel()
        finally:
            await self._plugin.close()
        logger.info("runtime stopped")

    async def _open(self) -> None:
        try:
            await self._plugin.open()
        except Exception as error:
            name = type(self._plugin).__name__
            raise Misconfigured(f"plugin {name} cannot start: {error}") from error

    async def _take_work(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                await self._join()
                await self._check_type()
                await self._accept(tasks)
            except Failure as error:
                logger.warning("shut out by the hub", error=error.message)
                await asyncio.sleep(APPROVAL_PERIOD)
            except ColoniesError as error:
                logger.warning("hub away", error=str(error))
                await asyncio.sleep(FIRST_PAUSE)

    async def _join(self) -> None:
        """Wait until we are an approved member, becoming one ourselves if we hold the key."""
        is_asked = False
        while not await self._is_approved():
            if not is_asked:
                logger.info(
                    "waiting for approval", runtime=self._member.runtime_id, ask=self._advice()
                )
                is_asked = True
            await asyncio.sleep(APPROVAL_PERIOD)

    def _advice(self) -> str:
        """Give the command by which the colony's owner lets us in."""
        member = self._member
        colony = f"--colonyid {member.colony_id}"
        if self._is_known:
            return f"colonies runtime approve {member.runtime_id} {colony}"
        return (
            f"colonies runtime add --runtimeid {member.runtime_id} --name {member.name} "
            f"--type {member.runtime_type} --cores {member.cores} --mem {member.mem} "
            f"--gpus {member.gpus} --approve {colony}"
        )

    async def _is_approved(self) -> bool:
        caller = await persist(self._colonies.get_caller)
        ours = [one for one in caller.memberships if one.colony_id == self._member.colony_id]
        self._is_known = bool(ours)
        if any(one.state is Approval.APPROVED for one in ours):
            return True
        if self._owner is None:
            return False
        owner = self._colonies.acting_as(self._owner)
        if not ours:
            await owner.add_runtime(self._member)
            await owner.approve_runtime(self._member.runtime_id)
            logger.info("runtime registered", runtime=self._member.runtime_id)
            return True
        return False

    async def _check_type(self) -> None:
        """Say so when the colony knows us as another type: that is what we are given."""
        known = await self._colonies.get_runtime(self._member.runtime_id)
        if known.runtime_type != self._member.runtime_type:
            logger.warning(
                "registered as another type",
                runtime=known.runtime_id,
                registered=known.runtime_type,
                wanted=self._member.runtime_type,
            )

    async def _accept(self, tasks: asyncio.TaskGroup) -> None:
        work = await self._colonies.subscribe_assignments(
            self._member.colony_id,
            credit=self._slots,
            heartbeat=self._heartbeat,
            holding=self._holding,
        )
        logger.info(
            "runtime ready",
            runtime=self._member.runtime_id,
            type=self._member.runtime_type,
            slots=self._slots,
        )
        try:
            async for process in work:
                self._cancel([process.process_id])  # an earlier attempt of ours is over
                task = tasks.create_task(self._execute(process))
                self._running[process.process_id] = _Execution(task, process)
                self._started.set()
        finally:
            await asyncio.shield(self._give_back(work))

    async def _give_back(self, work: Changes) -> None:
        """Take nothing more; what was pushed meanwhile is somebody else's to run."""
        await work.close()
        for process in work.unread():
            await self._release(process)

    async def _execute(self, process: Process) -> None:
        """Execute one process and have its outcome recorded; no process ends the daemon."""
        log = logger.bind(process=process.process_id, func=process.spec.func)
        log.info("process started")
        try:
            outcome = await self._outcome(process)
            if outcome is None:
                log.warning("process stopped", error="maximum execution time")
            else:
                await self._close(process, outcome)
                log.info("process closed", is_success=outcome.is_success, errors=outcome.errors)
        except asyncio.CancelledError:
            log.warning("process stopped", error="no longer ours")
            if self._stopping.is_set():
                await self._release(process)
        except Failure as error:
            log.warning("outcome refused", error=error.message)
        finally:
            # It may have come back to us, as a new execution, while this one was being ended.
            running = self._running.get(process.process_id)
            if running and running.process.attempt_token == process.attempt_token:
                del self._running[process.process_id]

    def _holding(self) -> list[Held]:
        return [
            Held(process_id=process_id, attempt_token=running.process.attempt_token)
            for process_id, running in self._running.items()
        ]

    async def _outcome(self, process: Process) -> Outcome | None:
        """Give how the execution ended; None when its time ran out, which is the hub's to judge."""
        limit = process.spec.max_exec_time
        try:
            async with asyncio.timeout(limit if limit > 0 else None) as timer:
                outcome = await self._plugin.execute(process, Job(self._attribute(process)))
        except TimeoutError as error:
            return None if timer.expired() else _failure_of(error)
        except Exception as error:
            logger.exception("plugin failed", process=process.process_id)
            return _failure_of(error)
        if not isinstance(outcome, Outcome):
            return failure(f"the plugin gave {type(outcome).__name__}, expected an Outcome")
        return outcome

    def _attribute(self, process: Process) -> Callable[[str, str], Awaitable[None]]:
        async def add(key: str, value: str) -> None:
            await self._colonies.add_attribute(
                process.process_id, key, value, attempt_token=process.attempt_token
            )

        return add

    async def _close(self, process: Process, outcome: Outcome) -> None:
        """Record the outcome, however long the hub is away; the same close twice is harmless."""
        id_, token = process.process_id, process.attempt_token
        fail = partial(self._colonies.close_failed, id_, attempt_token=token)
        succeed = partial(self._colonies.close_successful, id_, attempt_token=token)
        try:
            if outcome.is_success:
                await persist(lambda: succeed([storable(text) for text in outcome.output]))
            else:
                await persist(lambda: fail([storable(text) for text in outcome.errors]))
        except Malformed as error:  # too large, mostly: at least that can be said
            about = "output" if outcome.is_success else "errors"
            start = "".join(outcome.errors)[:SHORT]
            reasons = [f"the {about} was refused: {error.message}", *([start] if start else [])]
            await persist(lambda: fail([storable(text) for text in reasons]))

    async def _release(self, process: Process) -> None:
        try:
            await self._colonies.release(process.process_id, attempt_token=process.attempt_token)
            logger.info("process released", process=process.process_id)
        except ColoniesError as error:
            logger.warning("process not released", error=str(error))

    async def _beat(self) -> None:
        """Give signs of life; stop what the hub says is not ours any more."""
        while True:
            await self._wait_for_beat()
            try:
                holding = self._holding()
                lost = await self._colonies.renew(holding, self._member.colony_id)
            except ColoniesError as error:
                logger.debug("heartbeat failed", error=str(error))
                continue
            # A newer attempt may have begun while we asked about the older.
            self._cancel(
                [
                    held.process_id
                    for held in self._holding()
                    if held in holding and held.process_id in lost
                ]
            )

    async def _wait_for_beat(self) -> None:
        """Wait for a heartbeat's time, or a third of the shortest lease that we hold."""
        loop = asyncio.get_running_loop()
        since = loop.time()
        while (remaining := since + self._period() - loop.time()) > 0:
            self._started.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(remaining):
                    await self._started.wait()

    def _period(self) -> float:
        leases = [one.process.spec.lease or USUAL_LEASE for one in self._running.values()]
        return min([self._heartbeat, *(lease / 3 for lease in leases)])

    def _cancel(self, process_ids: list[str]) -> None:
        for process_id in process_ids:
            if running := self._running.get(process_id):
                running.task.cancel()

    async def _finish(self) -> None:
        """Let what runs finish; release what has not in time."""
        running = [one.task for one in self._running.values()]
        if running:
            await asyncio.wait(running, timeout=self._drain)
            self._cancel(list(self._running))
            await asyncio.gather(*running, return_exceptions=True)


async def persist(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat a call until the hub answers it."""
    pause = FIRST_PAUSE
    while True:
        try:
            result = await call()
        except AWAY as error:
            if pause == FIRST_PAUSE:
                logger.warning("hub away, trying again", error=str(error))
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter
            pause = min(pause * 2, LONGEST_PAUSE)
        else:
            if pause != FIRST_PAUSE:
                logger.info("hub back")
            return result


def storable(text: str) -> str:
    """Give a text as the hub can keep it: without NUL, and without halves of characters."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _failure_of(error: Exception) -> Outcome:
    return failure(f"{type(error).__name__}: {error}")
