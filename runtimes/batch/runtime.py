"""The shared life of runtimes whose processes are jobs of a queue system.

A plugin says what a system is asked and how its answers read: `refusals`, `submit`, `look`,
`look_back` and `end`. All the rest is here, and for one job in `job.py`:

- a job has a name that follows from its attempt, and is looked for by it before it is submitted
  once more;
- one look a period serves all jobs, and what a look does not show is neither running nor ended;
- a job lives on when the runtime ends, and is taken up by the next start;
- no more is taken from the hub than a few processes over what the system is really running.
"""

from __future__ import annotations

import asyncio
import shutil
from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Annotated, ClassVar

import msgspec
import structlog
from platformdirs import user_state_path

from colonies.core.process import Process
from runtimes.base import Amount, Count, Help, Job, Outcome, Runtime, failure
from runtimes.batch.folder import JobFolder
from runtimes.batch.job import BatchJob, Order
from runtimes.batch.watch import Sights, Watch
from runtimes.job_state import Phase, Sight, Unsure
from runtimes.lasting import Lasting

logger = structlog.get_logger()

AT_ONCE = 4
"""Submissions and cancels that are asked for at the same time: a controller has others to serve."""

STRAY_PATIENCE = 30.0
"""Seconds between attempts to end a job that belongs to no attempt."""


class BatchRuntime(Lasting):
    """Executes processes as jobs of a queue system."""

    usual_slots = 1000

    system: ClassVar[str]
    """The name of the system, for messages."""

    class Settings(Runtime.Settings, frozen=True):
        """What the owner may set for any queue system."""

        job_dir: Annotated[
            str, Help("Folder of jobs, reached from here and the nodes (default: a state folder)")
        ] = ""
        cwd: Annotated[str, Help("Folder that commands run in (default: the home folder)")] = ""
        max_pending: Annotated[
            Count, Help("Jobs that wait in the queue system; with more, nothing is taken")
        ] = 100
        status_period: Annotated[
            Annotated[float, msgspec.Meta(ge=1)], Help("Seconds between status calls at least")
        ] = 1.0
        patience: Annotated[Amount, Help("Seconds that a command of the system may take")] = 60.0
        max_output: Annotated[Count, Help("Bytes of output kept; of more, the end is kept")] = (
            262144
        )

    settings: Settings

    gone_after: float = 60.0
    """Seconds after which a job that the system does not know any more has vanished."""

    busy_pause: float = 10.0
    """Seconds before a system that would not take a job just now is asked again."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.turns = asyncio.Semaphore(AT_ONCE)
        self._is_leaving = False
        self._jobs: dict[str, BatchJob] = {}
        self._living: dict[str, asyncio.Task[Outcome | None]] = {}
        self._expected: set[str] | None = None  # names to be taken up; None: not known yet
        self._strays: dict[str, float] = {}

    # What a plugin says.

    @abstractmethod
    def refusals(self, process: Process) -> list[str]:
        """Say why this process will not be run, with what is allowed; nothing if it will be."""

    @abstractmethod
    def write(self, order: Order) -> None:
        """Write into its folder what the job shall run; raise OSError or ValueError."""

    @abstractmethod
    async def submit(self, order: Order) -> str:
        """Submit a job under its name and give its id; raise Refused, Busy or Unsure."""

    @abstractmethod
    async def look(self) -> Sights:
        """Give all jobs whose names begin with `prefix`, in one call; raise Unsure."""

    @abstractmethod
    async def look_back(self, job_ids: list[str]) -> dict[str, Sight]:
        """Give what is known of jobs that have left the queue, in one call; raise Unsure."""

    @abstractmethod
    async def end(self, job_id: str) -> None:
        """Ask for the end of a job; no error if there is none, but Unsure if there is no answer."""

    # The life.

    @property
    def prefix(self) -> str:
        """What the names of all jobs of this runtime begin with, and no others."""
        return f"colonies-{self.runtime_id[:16]}-"

    async def open(self) -> None:
        """Begin to look; take what may wait in the queue."""
        self.watch = Watch(self, self.settings.status_period, self._take_stock)
        self._folder().mkdir(mode=0o700, parents=True, exist_ok=True)
        self._watching = asyncio.create_task(self.watch.run())
        self._ending: set[asyncio.Task[None]] = set()
        self.admit(self.settings.max_pending)

    async def close(self) -> None:
        """Look no more."""
        for task in (self._watching, *self._ending):
            task.cancel()
        await asyncio.gather(self._watching, *self._ending, return_exceptions=True)

    async def execute(self, process: Process, job: Job) -> Outcome:
        """See a job through from its submission to its end, or go on where an earlier life was."""
        order = self._order(process)
        is_known = order.folder.exists()
        if not is_known and (reasons := self.refusals(process)):
            return failure(*(f"refused: {reason}" for reason in reasons))
        with self.watch.follow(order.name) as followed:
            one = self._jobs[order.name] = BatchJob(self, order, followed, job, is_known=is_known)
            living = self._living[order.name] = asyncio.create_task(one.live())
            if self._expected:
                self._expected.discard(order.name)
            try:
                return await self._outlast(one, living)
            finally:
                del self._jobs[order.name], self._living[order.name]

    async def _outlast(self, one: BatchJob, living: asyncio.Task[Outcome | None]) -> Outcome:
        """Give the outcome of a job; one that is being ended is waited for even if cancelled."""
        try:
            outcome = await asyncio.shield(living)
        except asyncio.CancelledError:
            if not one.is_doomed:
                living.cancel()  # we leave, and it lives on
            outcome = await living
        if outcome is None:
            raise asyncio.CancelledError
        return outcome

    async def cancel(self, process: Process) -> bool:
        """Have the job ended; its execution ends when that is certain."""
        one = self._jobs.get(self._order(process).name)
        if one:
            one.doom()
        return one is not None

    async def recover(self, processes: list[Process]) -> None:
        """Take notice of what is to go on; all else that is ours in the system is ended."""
        orders = [self._order(process) for process in processes]
        self._expected = {order.name for order in orders}
        known = {order.folder.path for order in orders}
        for path in self._folder().glob("*-*"):
            if path not in known:
                await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        self.watch.look_once()

    async def leave(self) -> None:
        """Leave all jobs to the system."""
        self._is_leaving = True
        for living in self._living.values():
            living.cancel()

    async def forget(self, process: Process) -> None:
        """Remove the folder of an attempt."""
        await asyncio.to_thread(self._order(process).folder.remove)

    def _order(self, process: Process) -> Order:
        attempt = f"{process.process_id}-{process.attempt}"
        folder = JobFolder(self._folder() / attempt)
        return Order(process=process, name=self.prefix + attempt, folder=folder)

    def _folder(self) -> Path:
        root = self.settings.job_dir or user_state_path("colonies") / "jobs"
        return Path(root).expanduser().absolute() / self.runtime_id[:16]

    def _take_stock(self, sights: Sights) -> None:
        """After each look: say what there is room for, and end what belongs to nobody."""
        if self._is_leaving:
            return
        seen = (sights.get(name, ()) for name in self._jobs)
        begun = sum(any(_has_begun(one) for one in sights) for sights in seen)
        self.admit(begun + self.settings.max_pending)
        if self._expected is None:
            return
        for name in sights.keys() - self._jobs.keys() - self._expected:
            for sight in sights[name]:
                if sight.phase is not Phase.ENDED:
                    self.end_stray(sight)

    def end_stray(self, sight: Sight) -> None:
        """End a job that nobody waits for, until it has ended."""
        now = asyncio.get_running_loop().time()
        if self._strays.get(sight.job_id, now) > now:
            return
        self._strays[sight.job_id] = now + STRAY_PATIENCE
        logger.warning("stray job ended", job=sight.job_id, name=sight.name)
        task = asyncio.create_task(self._end(sight.job_id))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, job_id: str) -> None:
        with suppress(Unsure):  # it is seen again
            async with self.turns:
                await self.end(job_id)


def _has_begun(sight: Sight) -> bool:
    return sight.phase in (Phase.RUNNING, Phase.SUSPENDED)
