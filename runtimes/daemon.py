"""The life of a runtime at the hub: join, take work, give signs of life, leave.

It outlives the hub's absences and any process that goes wrong; only being told to stop ends it.
What happens to one process is in `execution.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import msgspec
import structlog

from colonies.client import Colonies
from colonies.client.insistence import AWAY
from colonies.client.work import Changes
from colonies.core.errors import ColoniesError, Failure, Misconfigured
from colonies.core.function import Function
from colonies.core.process import USUAL_LEASE, Held, Process, State
from runtimes.announcement import announce
from runtimes.base import Outcome, Runtime, failure
from runtimes.delivery import Delivery
from runtimes.execution import Execution, Stop
from runtimes.health import Pulse
from runtimes.lasting import Lasting
from runtimes.logs import Logs
from runtimes.loop import Abandoned, LoopThread
from runtimes.membership import APPROVAL_PERIOD, Membership
from runtimes.outcomes import Kept, Outcomes
from runtimes.patience import FIRST_PAUSE
from runtimes.tenure import Tenure

logger = structlog.get_logger()

KEPT_AT_ONCE = 1000
"""Kept outcomes whose leases are renewed and that are delivered together: a quarter of a MiB."""

CLEAN_UP = 10.0
"""Seconds beyond the grace periods that a plugin has to end everything when the runtime leaves."""


class Habits(msgspec.Struct, frozen=True):
    """How a runtime works: processes at once, and seconds for the rest.

    ``heartbeat`` lies between signs of life at most; ``drain`` is what running processes have when
    the runtime is told to stop. ``once`` is to leave after one process, or when none has come
    ``within`` so many seconds.
    """

    slots: int
    heartbeat: float
    drain: float
    once: bool = False
    within: float | None = None


class Daemon:
    """Executes processes with one plugin, for one colony, as one runtime."""

    def __init__(
        self,
        colonies: Colonies,
        plugin: Runtime,
        *,
        membership: Membership,
        outcomes: Outcomes,
        habits: Habits,
        tenure: Callable[[Lasting, LoopThread], Tenure] | None = None,
    ) -> None:
        """Take what it is to be; ``tenure`` makes that of a plugin whose work outlives us."""
        self._colonies = colonies
        self._plugin = plugin
        self._membership = membership
        self._outcomes = outcomes
        self._habits = habits
        self._thread = LoopThread("plugin", patience=CLEAN_UP)
        self._delivery = Delivery(colonies, outcomes)
        self._logs = Logs(colonies)
        self._tenure: Tenure | None = None
        if tenure and isinstance(plugin, Lasting):
            self._tenure = tenure(plugin, self._thread)
            plugin.admit = self._admit
        self._left: list[Process] | None = None
        self._credit = habits.slots
        self._credit_changed = asyncio.Event()
        self._kept: list[Kept] = []
        self._functions: list[Function] = []
        self._running: dict[Execution, asyncio.Task[None]] = {}
        self._started = asyncio.Event()
        self._first: Execution | None = None
        self._enough = asyncio.Event()
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self.pulse = Pulse()

    @property
    def is_ended(self) -> bool:
        """Whether the plugin has ended as well, and not only been left behind."""
        return not self._thread.is_alive

    @property
    def first_outcome(self) -> Outcome | None:
        """What the one process has come to that was to be executed; None if nothing has come.

        What was cancelled, or taken away, has failed.
        """
        if self._first is None:
            return None
        if self._first.is_lost or self._first.outcome is None:
            return failure("stopped")
        return self._first.outcome

    def stop(self) -> None:
        """Take nothing more, finish what runs, leave; a second call does not wait for it."""
        if self._stopping.is_set():
            self._hurried.set()
        self.drain()

    def drain(self) -> None:
        """Take nothing more, finish what runs, leave; may be called twice."""
        self._enough.set()
        self._stopping.set()

    async def run(self) -> None:
        """Live until told to stop; raise Misconfigured when the plugin cannot start."""
        self._loop = asyncio.get_running_loop()
        self._kept = await asyncio.to_thread(self._load_kept)
        if self._tenure:
            said = {(kept.process_id, kept.attempt) for kept in self._kept}
            left = await self._tenure.load()
            self._left = [one for one in left if (one.process_id, one.attempt) not in said]
        async with self._thread:
            await self._open()
            try:
                async with asyncio.TaskGroup() as tasks:
                    taking = tasks.create_task(self._take_work(tasks))
                    beating = tasks.create_task(self._beat())
                    telling = tasks.create_task(self._logs.run())
                    await self._wait_until_enough()
                    taking.cancel()
                    if self._habits.once:
                        await self._wait_until_idle(unless=self._stopping)
                    logger.info("runtime draining", running=len(self._running))
                    await self._finish()
                    beating.cancel()
                    telling.cancel()
            finally:
                await self._close()
        logger.info("runtime stopped")

    async def _wait_until_enough(self) -> None:
        """Wait until nothing more is to be taken."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._habits.within):
                await self._enough.wait()

    def _load_kept(self) -> list[Kept]:
        try:
            return self._outcomes.load()
        except OSError as error:
            logger.warning("kept outcomes not read", error=str(error))
            return []

    async def _open(self) -> None:
        try:
            await self._thread.run(self._plugin.open)
            self._functions = await self._thread.run(self._plugin.functions)
        except Exception as error:
            name = type(self._plugin).__name__
            raise Misconfigured(f"plugin {name} cannot start: {error}") from error

    async def _close(self) -> None:
        self._thread.abandon_after(CLEAN_UP)
        try:
            await self._thread.run(self._plugin.close)
        except Abandoned:
            logger.warning("plugin abandoned", error="it does not end")

    async def _take_work(self, tasks: asyncio.TaskGroup) -> None:
        while True:
            try:
                await self._membership.join()
                await announce(self._colonies, self._membership.member, self._functions)
                await self._recover(tasks)
                # Before we subscribe: what we hold is said with it, and its lease lives on.
                for _ in range(KEPT_AT_ONCE - len(self._running)):
                    self._resume(tasks)
                await self._accept(tasks)
            except Failure as error:
                logger.warning("shut out by the hub", error=error.message)
                await asyncio.sleep(APPROVAL_PERIOD)
            except ColoniesError as error:
                logger.warning("hub away", error=str(error))
                await asyncio.sleep(FIRST_PAUSE)

    async def _recover(self, tasks: asyncio.TaskGroup) -> None:
        """Go on with what an earlier life was executing; stop what is not to go on."""
        if self._tenure is None or self._left is None:
            return
        executions = [self._execution(process, is_resumed=True) for process in self._left]
        member = self._membership.member
        ended = await self._colonies.renew([one.held for one in executions], member.colony_id)
        await self._tenure.recover(self._left)
        self._left = None
        for execution in executions:
            self._begin(tasks, execution)
            if execution.held.process_id in ended:
                tasks.create_task(self._look_up(execution))
        if executions:
            logger.info("attempts taken up", count=len(executions), ended=len(ended))

    def _admit(self, count: int) -> None:
        """Hold so many processes from now on; called on the plugin's thread."""
        self._loop.call_soon_threadsafe(self._set_credit, count)

    def _set_credit(self, count: int) -> None:
        credit = max(1, min(count, self._habits.slots))
        if credit != self._credit:
            self._credit = credit
            self._credit_changed.set()

    async def _follow_credit(self, work: Changes) -> None:
        """Tell the hub whenever we can hold more, or fewer, than before."""
        while True:
            await self._credit_changed.wait()
            self._credit_changed.clear()
            try:
                await work.ask_again()
            except ColoniesError as error:
                logger.debug("credit not changed", error=str(error))  # a reconnect says it too

    def _resume(self, tasks: asyncio.TaskGroup) -> None:
        """Hold and deliver an outcome that was kept, if there is one; then the next."""
        if self._kept and not self._stopping.is_set():
            kept = self._kept.pop()
            task = self._begin(tasks, self._execution(kept.process, kept.outcome))
            task.add_done_callback(lambda _: self._resume(tasks))

    async def _accept(self, tasks: asyncio.TaskGroup) -> None:
        member = self._membership.member
        work = await self._colonies.subscribe_assignments(
            member.colony_id,
            credit=lambda: self._credit,
            heartbeat=self._habits.heartbeat,
            holding=self._holding,
            # What was pushed to an earlier life, and it never began, is given back by this.
            request=self._tenure.subscription if self._tenure else "",
        )
        self.pulse.is_heard = True
        logger.info(
            "runtime ready",
            runtime=member.runtime_id,
            type=member.runtime_type,
            slots=self._habits.slots,
        )
        following = tasks.create_task(self._follow_credit(work))
        try:
            async for process in work:
                if _is_assignment(process):
                    self._start(tasks, process)
                else:
                    self._heed(process)
        finally:
            following.cancel()
            await asyncio.shield(self._give_back(work))

    def _start(self, tasks: asyncio.TaskGroup, process: Process) -> None:
        execution = self._execution(process)
        ours = [one for one in self._running if one.process.process_id == process.process_id]
        if execution.held in [one.held for one in ours]:
            return  # said twice
        for earlier in ours:
            earlier.stop(Stop.LOST)
        self._begin(tasks, execution)
        if self._habits.once:
            self._first = execution
            self._enough.set()

    def _execution(
        self, process: Process, outcome: Outcome | None = None, *, is_resumed: bool = False
    ) -> Execution:
        return Execution(
            process,
            self._colonies,
            plugin=self._plugin,
            thread=self._thread,
            delivery=self._delivery,
            logs=self._logs,
            tenure=self._tenure,
            outcome=outcome,
            is_resumed=is_resumed,
        )

    def _begin(self, tasks: asyncio.TaskGroup, execution: Execution) -> asyncio.Task[None]:
        task = self._running[execution] = tasks.create_task(execution.run())
        task.add_done_callback(lambda _: self._running.pop(execution))
        self._started.set()
        return task

    def _heed(self, process: Process) -> None:
        """Stop what the hub says is not to go on, and know whether somebody cancelled it."""
        for execution in self._running:
            ours = execution.process
            if ours.process_id != process.process_id or ours.attempt > process.attempt:
                continue
            if process.is_cancelling and ours.attempt == process.attempt:
                reason = f": {process.cancel_reason}" if process.cancel_reason else ""
                execution.stop(Stop.CANCELLED, f"cancelled by {process.cancelled_by}{reason}")
            else:
                execution.stop(Stop.LOST)

    async def _give_back(self, work: Changes) -> None:
        """Take nothing more; what was pushed meanwhile is somebody else's to run."""
        await work.close()
        unread = [process for process in work.unread() if _is_assignment(process)]
        await asyncio.gather(*(self._delivery.release(process) for process in unread))

    def _holding(self) -> list[Held]:
        """Give the attempts that we make: of each process the newest, if it is not over."""
        alive = [execution for execution in self._running if not execution.is_lost]
        alive.sort(key=lambda execution: execution.process.attempt)
        return list({one.process.process_id: one.held for one in alive}.values())

    async def _beat(self) -> None:
        """Give signs of life; stop what the hub says is not ours any more."""
        async with asyncio.TaskGroup() as asking:
            while True:
                await self._wait_for_beat()
                holding = self._holding()
                try:
                    with self.pulse.asking():
                        colony_id = self._membership.member.colony_id
                        ended = await self._colonies.renew(holding, colony_id)
                except ColoniesError as error:
                    logger.debug("heartbeat failed", error=str(error))
                    continue
                # A newer attempt may have begun while we asked about the older.
                for execution in self._running:
                    is_meant = execution.held in holding and execution.held.process_id in ended
                    if is_meant and not execution.is_stopping:
                        asking.create_task(self._look_up(execution))

    async def _look_up(self, execution: Execution) -> None:
        """Find out why an execution shall stop, as the push that said so may be lost."""
        try:
            self._heed(await self._colonies.get_process(execution.held.process_id))
        except AWAY as error:
            logger.debug("heartbeat failed", error=str(error))  # the next one says it again
        except Failure:
            execution.stop(Stop.LOST)

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
        leases = [one.process.spec.lease or USUAL_LEASE for one in self._running]
        return min([self._habits.heartbeat, *(lease / 3 for lease in leases)])

    async def _finish(self) -> None:
        """Let what runs finish; then stop it, and leave on disk what cannot be delivered."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._habits.drain):
                await self._wait_until_idle(unless=self._hurried)
        self._delivery.give_up()
        for execution in self._running:
            execution.stop(Stop.LEAVING)
        if self._tenure:
            await self._tenure.leave()
        self._thread.abandon_after(3 * self._plugin.grace + CLEAN_UP)
        await self._wait_until_idle()

    async def _wait_until_idle(self, unless: asyncio.Event | None = None) -> None:
        """Wait until nothing runs, or an event."""
        async with asyncio.TaskGroup() as tasks:
            event = tasks.create_task((unless or asyncio.Event()).wait())
            while self._running and not event.done():
                await asyncio.wait(
                    {event, *self._running.values()}, return_when=asyncio.FIRST_COMPLETED
                )
            event.cancel()


def _is_assignment(process: Process) -> bool:
    """Whether a push is a new assignment; else it is about one that we have, and to stop it."""
    return process.state is State.RUNNING and not process.is_cancelling
