"""One execution: run by the plugin, ended when it must, and its outcome delivered.

An execution ends in one of three ways: with an outcome of its own, which is delivered; because it
was cancelled, which is delivered too; or because its time is over, it is not ours any more, the
runtime leaves or it cannot be executed here, and then there is nothing to say but, in the last two
cases, that others may have it.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from enum import IntEnum

import structlog

from colonies.client import Colonies
from colonies.core.log import Progress
from colonies.core.process import Held, Process
from runtimes.base import Job, Outcome, Runtime, failure
from runtimes.credit import Credit
from runtimes.delivery import GOODBYE, SHORT, Delivery
from runtimes.logs import AttemptLog, Logs
from runtimes.loop import Abandoned, LoopThread
from runtimes.tenure import Tenure

logger = structlog.get_logger()


class Stop(IntEnum):
    """Why an execution is ended; of several reasons the highest counts."""

    RETURNED = 1
    LEAVING = 2
    OVERTIME = 3
    LOST = 4
    CANCELLED = 5


_TEXTS = {
    Stop.RETURNED: "not executed here",
    Stop.LEAVING: "the runtime leaves",
    Stop.OVERTIME: "maximum execution time",
    Stop.LOST: "no longer ours",
}


class _LogFromThere:
    """The log of an attempt, as it is written to on the plugin's loop."""

    def __init__(self, log: AttemptLog, thread: LoopThread) -> None:
        self._log = log
        self._thread = thread

    async def write(self, data: bytes | str, stream: str, offset: int | None) -> None:
        await self._thread.run_back(self._log.write(data, stream, offset))

    async def reached(self, stream: str) -> int:
        return await self._thread.run_back(self._log.reached(stream))

    async def progress(self, progress: Progress) -> None:
        await self._thread.run_back(self._log.progress(progress))


class Execution:
    """One attempt at a process, from its assignment until nothing is left to be said about it."""

    def __init__(
        self,
        process: Process,
        colonies: Colonies,
        *,
        plugin: Runtime,
        thread: LoopThread,
        delivery: Delivery,
        logs: Logs,
        credit: Credit,
        tenure: Tenure | None = None,
        outcome: Outcome | None = None,
        is_resumed: bool = False,
    ) -> None:
        """Take what there is to do, or the kept ``outcome`` of what was done by another start.

        One that another start began and this one goes on with ``is_resumed``: so is its log.
        With a ``tenure`` the work outlives us: when we leave it is let go of, and not given back.
        """
        self.process = process
        self.outcome = outcome
        """What it has come to by itself, once it has."""
        self.held = Held(process_id=process.process_id, attempt_token=process.attempt_token)
        self._colonies = colonies
        self._plugin = plugin
        self._thread = thread
        self._delivery = delivery
        self._logs = logs
        self._credit = credit
        self._is_resumed = is_resumed
        self._tenure = tenure
        self._reason: Stop | None = None
        self._text = ""
        self._told = asyncio.Event()
        self._is_cut_off = False
        self._is_abandoned = False
        self._is_let_go = False
        self._log = logger.bind(process=process.process_id, func=process.spec.func)

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to stop."""
        return self._reason is not None

    @property
    def is_lost(self) -> bool:
        """Whether the attempt is over for the hub, whatever we do."""
        return self._reason is Stop.LOST

    def stop(self, reason: Stop, text: str = "") -> None:
        """End it in good order, or else at once; what has ended already is still delivered."""
        if self._reason is None or reason > self._reason:
            self._reason, self._text = reason, text or _TEXTS[reason]
        self._is_let_go = self._is_let_go or (reason is Stop.LEAVING and bool(self._tenure))
        self._told.set()

    async def run(self) -> None:
        """See it to its end; no process ends whoever calls this."""
        if self.outcome:
            await self._delivery.deliver(self.process, self.outcome, is_kept=True)
            await self._forget()
            return
        if self._tenure:
            await self._tenure.begin(self.process)
        else:
            await self._delivery.begin(self.process)
        self._log.info("process started")
        said = self._logs.open(self.process, is_resumed=self._is_resumed)
        try:
            await self._see_to_its_end(said)
        finally:
            said.close()

    async def _see_to_its_end(self, said: AttemptLog) -> None:
        self.outcome = outcome = await self._work(said)
        if self._is_abandoned:
            return  # the plugin may be at it still: nobody else shall be, until the lease is over
        if outcome is None and self._is_let_go:
            await _say_goodbye(said)
            self._log.info("process left behind")
            return
        if await self._conclude(outcome, said):
            await self._forget()

    async def _conclude(self, outcome: Outcome | None, said: AttemptLog) -> bool:
        """Say what there is to say; whether nothing is lost if the attempt is now forgotten."""
        if outcome and outcome.is_returned:
            if not self.is_stopping:
                await self._hand_back(outcome)
            if not self.is_stopping:
                self.stop(Stop.RETURNED)
            outcome = None
        elif outcome:
            self._credit.has_begun()
        if outcome is None:
            self._log.warning("process stopped", error=self._text)
            if self._reason is Stop.CANCELLED:
                outcome = failure(self._text)
        if outcome:
            return await self._delivery.deliver(self.process, outcome, first=said.finish)
        if self._reason in (Stop.LEAVING, Stop.RETURNED):
            await _say_goodbye(said)
            await self._delivery.release(self.process)
        await self._delivery.forget(self.process)
        return True

    async def _hand_back(self, outcome: Outcome) -> None:
        """Keep a process that cannot be executed here for a moment, while we take fewer."""
        with self._credit.short() as pause, suppress(TimeoutError):
            reason = outcome.errors[0][:SHORT] if outcome.errors else None
            self._log.warning("process handed back", error=reason, seconds=pause)
            async with asyncio.timeout(pause):
                await self._told.wait()

    async def _forget(self) -> None:
        if self._tenure:
            await self._tenure.end(self.process)

    async def _work(self, said: AttemptLog) -> Outcome | None:
        """Have the plugin execute; gives None when it was stopped without an outcome."""
        async with asyncio.TaskGroup() as tasks:
            working = tasks.create_task(self._execute(said))
            ending = tasks.create_task(self._end_when_told(working))
            await asyncio.wait({working})
            ending.cancel()
        if not working.cancelled():
            return working.result()
        return None if self.is_stopping else failure("the execution cancelled itself")

    async def _execute(self, said: AttemptLog) -> Outcome | None:
        job = Job(self._attribute, _LogFromThere(said, self._thread))
        try:
            outcome = await self._thread.run(self._plugin.execute, self.process, job)
        except Abandoned:
            self._is_abandoned = True
            self._log.warning("process abandoned", error="the plugin does not end it")
            return None
        except Exception as error:
            logger.exception("plugin failed", process=self.process.process_id)
            # What goes wrong in being cut off says nothing about the process.
            return None if self._is_cut_off else failure(f"{type(error).__name__}: {error}")
        if not isinstance(outcome, Outcome):
            return failure(f"the plugin gave {type(outcome).__name__}, expected an Outcome")
        return outcome

    async def _attribute(self, key: str, value: str) -> None:
        """Attach an attribute; called on the plugin's loop, done on the hub's."""
        adding = self._colonies.add_attribute(
            self.process.process_id, key, value, attempt_token=self.process.attempt_token
        )
        await self._thread.run_back(adding)

    async def _end_when_told(self, working: asyncio.Task[Outcome | None]) -> None:
        """End the work when told to or when its time is over: by asking, then by cancelling."""
        limit = self.process.spec.max_exec_time
        try:
            async with asyncio.timeout(limit if limit > 0 else None):
                await self._told.wait()
        except TimeoutError:
            self.stop(Stop.OVERTIME)
        self._log.info("process stopping", error=self._text)
        if not self._is_let_go and await self._ask_to_end():
            await asyncio.wait({working}, timeout=self._plugin.grace)
        self._is_cut_off = True
        working.cancel()

    async def _ask_to_end(self) -> bool:
        """Whether the plugin has asked the execution to end by itself."""
        try:
            async with asyncio.timeout(self._plugin.grace):
                return await self._thread.run(self._plugin.cancel, self.process)
        except (TimeoutError, Abandoned):
            return False
        except Exception:
            logger.exception("plugin failed to cancel", process=self.process.process_id)
            return False


async def _say_goodbye(said: AttemptLog) -> None:
    """Send what was said so far, if the hub takes it soon."""
    with suppress(TimeoutError):
        async with asyncio.timeout(GOODBYE):
            await said.finish()
