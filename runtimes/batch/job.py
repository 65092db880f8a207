"""One attempt as a job of a queue system, from before it is submitted until it has ended.

Whatever the system is asked may have happened although no answer came. So a job that may be there
is looked for by its name, twice, before it is submitted again; its end is asked for until it is
seen; and a job that is seen no more has vanished only when that has lasted.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import datetime
from signal import NSIG
from typing import TYPE_CHECKING

import structlog

from colonies.core.process import Process
from runtimes.base import Job, Outcome, failure
from runtimes.batch.folder import STREAMS, JobFolder
from runtimes.batch.watch import Followed
from runtimes.child import ending
from runtimes.job_state import Busy, Ending, Phase, Refused, Sight, Unsure

if TYPE_CHECKING:
    from runtimes.batch.runtime import BatchRuntime

logger = structlog.get_logger()

CERTAIN = 2
"""Looks in a row that must not show a job before it counts as not submitted, or as ended."""

UNANSWERED = 10
"""Times longer that it is waited for what the system remembers, which may be slow to say."""

END_AGAIN = 10.0
"""Seconds before the end of a job is asked for again."""

TAIL_PERIOD = 2.0
"""Seconds between looks at what a running job has written."""

SIGNALLED = 128
"""What a shell adds to the number of a signal."""

PIECE = 65536
"""Bytes of a stream that are read at once."""


@dataclass(frozen=True)
class Order:
    """An attempt as a job to be: its name in the system, and its folder."""

    process: Process
    name: str
    folder: JobFolder


class BatchJob:
    """The life of one job."""

    def __init__(
        self, runtime: BatchRuntime, order: Order, followed: Followed, job: Job, *, is_known: bool
    ) -> None:
        """Take what to run; ``is_known`` says that an earlier life may have submitted it."""
        self.is_doomed = False
        self._runtime = runtime
        self._order = order
        self._followed = followed
        self._job = job
        self._is_known = is_known
        self._job_id = ""
        self._told = ""
        self._end_asked_at = 0.0
        self._offsets: dict[str, int] = {}
        self._log = logger.bind(process=order.process.process_id)

    def doom(self) -> None:
        """Have it ended, or not submitted at all."""
        self.is_doomed = True
        self.stir()

    def stir(self) -> None:
        """Have it look at what has changed."""
        self._followed.stir()

    async def live(self) -> Outcome | None:
        """Submit it unless it is there, and follow it; nothing when it was ended or let go."""
        try:
            if self._is_known:
                await self._find()
            if not self._job_id:
                await self._submit()
        except Refused as error:
            return failure(f"{Ending.REFUSED}: {error}")
        except (OSError, ValueError) as error:
            return failure(f"{Ending.NOT_STARTED}: {error}")
        return await self._follow() if self._job_id else None

    # Getting it there, once.

    async def _find(self) -> bool:
        """Whether it is there: by what its folder says, or else because the system shows it."""
        folder = self._order.folder
        self._job_id = await asyncio.to_thread(folder.job)
        for _ in range(CERTAIN):
            if self._job_id:
                self._log.info("job found", job=self._job_id)
                break
            if sights := await self._followed.fresh():
                await self._take(_oldest(sights).job_id)
            else:
                self._job_id = await asyncio.to_thread(folder.job)
        return bool(self._job_id)

    async def _submit(self) -> None:
        await asyncio.to_thread(self._runtime.write, self._order)
        while not self.is_doomed:
            try:
                async with self._runtime.turns:
                    if self.is_doomed:
                        return
                    job_id = await self._runtime.submit(self._order)
                await self._take(job_id)
            except Busy as error:
                await self._tell(f"not taken yet: {error}")
                await self._followed.news(self._runtime.busy_pause * random.uniform(1, 2))  # noqa: S311
            except Unsure as error:
                self._log.warning("submission unsure", error=str(error))
                await self._tell("submission unsure")
                await self._find()
            if self._job_id:
                return

    async def _take(self, job_id: str) -> None:
        self._job_id = job_id
        self._log.info("job found" if self._is_known else "job submitted", job=job_id)
        await asyncio.to_thread(self._order.folder.note_job, job_id)

    # Following it to its end.

    async def _follow(self) -> Outcome | None:
        await self._followed.fresh()
        while True:
            sight = await self._own_sight()
            if sight is None:
                outcome, is_over = await self._miss()
                if is_over:
                    return outcome
                continue
            if sight.phase is Phase.ENDED:
                return await self._conclude(sight)
            if self.is_doomed:
                await self._end()
            await self._report(sight)
            if sight.phase is Phase.RUNNING:
                await self._pump()
            is_lively = self.is_doomed or sight.phase is Phase.RUNNING
            await self._followed.news(TAIL_PERIOD if is_lively else None)

    async def _own_sight(self) -> Sight | None:
        """Give what was seen last of our job; others of its name are ended."""
        sights = self._followed.sights
        if len(sights) > 1 or any(sight.phase is Phase.ENDED for sight in sights):
            claimed = await asyncio.to_thread(self._order.folder.job)
            self._job_id = claimed or self._job_id
            for sight in sights:
                if sight.job_id != self._job_id and sight.phase is not Phase.ENDED:
                    self._runtime.end_stray(sight)
        return next((sight for sight in sights if sight.job_id == self._job_id), None)

    async def _end(self) -> None:
        now = time.monotonic()
        if now < self._end_asked_at + END_AGAIN and self._end_asked_at:
            return
        self._end_asked_at = now
        try:
            async with self._runtime.turns:
                await self._runtime.end(self._job_id)
        except Unsure as error:
            self._log.warning("end unsure", error=str(error))

    async def _miss(self) -> tuple[Outcome | None, bool]:
        """Find out what has become of a job that is not in the queue; gives whether it is over."""
        since, looks = time.monotonic(), 0
        while True:
            if await asyncio.to_thread(self._order.folder.exit_code) is not None:
                return await self._judge(None), True
            missed_for = time.monotonic() - since  # before it is asked what is remembered
            past = await self._remembered()
            if past and past.phase is Phase.ENDED:
                return await self._conclude(past), True
            if looks >= CERTAIN and self.is_doomed:
                return None, True
            if looks >= CERTAIN and missed_for > self._runtime.gone_after:
                return failure(f"{Ending.VANISHED}: {self._name()} is not known any more"), True
            if self.is_doomed:
                await self._end()
            await self._tell("unknown")
            await self._followed.fresh()
            looks += 1
            if await self._own_sight():
                return None, False

    async def _remembered(self) -> Sight | None:
        """Give what the system remembers, unless the job comes back or there is no answer."""
        since = time.monotonic()
        answer = self._runtime.watch.history(self._job_id)
        answer.add_done_callback(lambda _: self.stir())
        while not (answer.done() or self._followed.sights):
            patience = self._runtime.gone_after * (1 if self.is_doomed else UNANSWERED)
            if time.monotonic() > since + patience:
                break
            await self._followed.news(patience)
        return answer.result() if answer.done() else None

    async def _conclude(self, sight: Sight) -> Outcome | None:
        await self._pump()
        if self.is_doomed and sight.ending is Ending.CANCELLED:
            return None
        return await self._judge(sight)

    async def _judge(self, sight: Sight | None) -> Outcome:
        """Give the outcome by what the command has ended with, unless something else ended it."""
        limit = self._runtime.settings.max_output
        folder = self._order.folder
        output = await asyncio.to_thread(folder.lines, "stdout", limit)
        complaint = await asyncio.to_thread(folder.lines, "stderr", limit)
        if sight and sight.ending is not Ending.ITSELF:
            why = f"{sight.ending}: {self._name()}, {_in_words(sight)}"
            return failure(why, *complaint, *output)
        code = await asyncio.to_thread(folder.exit_code)
        if code is None and sight is not None:
            code = -sight.signal if sight.signal else sight.exit_code
        if code:
            return failure(_ending(code), *complaint, *output)
        return Outcome(output=output)

    # What others see of it.

    async def _report(self, sight: Sight) -> None:
        await self._tell(_in_words(sight))

    async def _tell(self, text: str) -> None:
        """Show where it is at; the same is said once."""
        if text == self._told:
            return
        self._told = text
        self._log.debug("job seen", job=self._job_id, state=text)
        where = f"{self._name()}: {text}" if self._job_id else text
        await self._job.progress(0.0, 1.0, where[:200])

    def _name(self) -> str:
        return f"{self._runtime.system} job {self._job_id}"

    async def _pump(self) -> None:
        """Log what the job has written since."""
        for stream in STREAMS:
            offset = self._offsets.get(stream)
            if offset is None:
                offset = await self._job.logged(stream)
            while piece := await asyncio.to_thread(self._order.folder.read, stream, offset, PIECE):
                await self._job.log(piece, stream, offset=offset)
                offset += len(piece)
            self._offsets[stream] = offset


def _oldest(sights: tuple[Sight, ...]) -> Sight:
    return min(sights, key=lambda sight: (len(sight.job_id), sight.job_id))


def _in_words(sight: Sight) -> str:
    """Say where a job is at, such as ``queued (PENDING, Resources), starts about 14:30 UTC``."""
    phase = sight.phase.value if sight.phase else "unknown"
    details = ", ".join(word for word in (sight.state, sight.reason, sight.nodes) if word)
    text = f"{phase} ({details})"
    if sight.phase is Phase.QUEUED and sight.expected_start:
        start = datetime.fromtimestamp(sight.expected_start).astimezone()
        text += f", expected to start {start:%Y-%m-%d %H:%M %Z}"
    return f"{text}, restarted {sight.restarts} times" if sight.restarts else text


def _ending(code: int) -> str:
    """Say how a command ended, from the exit code that a shell gives for it."""
    return ending(SIGNALLED - code if SIGNALLED < code <= SIGNALLED + NSIG else code)
