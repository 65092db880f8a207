"""Waiting for processes to end, and what is said when they have, or have not in time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from colonies.cli import output
from colonies.cli.answers import Answer
from colonies.cli.log import follow_progress
from colonies.cli.status import Status
from colonies.complaints import printable
from colonies.core.errors import ColoniesError, DeadlineExceeded, TimedOut
from colonies.core.explanation import Explanation
from colonies.core.log import Progress
from colonies.core.process import Process, State

if TYPE_CHECKING:
    from colonies.client import Colonies

MOST_REASONS = 2
"""Of the reasons why a process has not ended, those that are said."""

REASONS_TIMEOUT = 3.0
"""Seconds that the hub has to say them: whoever waits here has waited long enough."""


MOST_FOLLOWED = 200
"""Processes that are waited for at once."""

FIRST_LOOK, LATER_LOOKS = 2.0, 5.0
"""Seconds before whoever looks is told why they wait, and between the times after that."""


class Patience:
    """How many seconds somebody waits from now on; None is for ever."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._since = time.monotonic()

    @property
    def spent(self) -> float:
        """The seconds that have passed."""
        return time.monotonic() - self._since

    @property
    def left(self) -> float | None:
        """The seconds that are left."""
        if self.seconds is None:
            return None
        return max(0.0, self.seconds - self.spent)


async def wait_for_end(hub: Colonies, process_id: str, patience: Patience) -> Process:
    """Wait until a process has ended; raise TimedOut, which says why it has not."""
    try:
        with output.progress("waiting for its end") as progress:

            async def explain() -> None:
                said = standing(await hub.why(process_id))
                if not progress.is_measured:
                    progress(text=said)

            async with meanwhile(explain, progress), _gauged(hub, process_id, progress):
                return await hub.wait_for(process_id, patience.left)
    except DeadlineExceeded:
        raise
    except TimeoutError:
        unended = f"process <{process_id}> has not ended after {patience.seconds:g} s"
    try:
        async with asyncio.timeout(REASONS_TIMEOUT):
            explanation = await hub.why(process_id)
            if explanation.state.is_final:
                return await hub.get_process(process_id)
    except TimeoutError:
        raise TimedOut(f"{unended}, and the hub does not say why") from None
    raise TimedOut(f"{unended}, still {standing(explanation)}")


async def wait_for_all(hub: Colonies, ids: Sequence[str], patience: Patience) -> list[Process]:
    """Wait until processes have ended; give them in the same order.

    Raises TimedOut, which says how many have not. So many are followed at once that the others
    have ended, more or less, when their turn comes.
    """
    ended: dict[str, Process] = {}
    coming = iter(ids)

    async def follow() -> None:
        for process_id in coming:
            ended[process_id] = await hub.wait_for(process_id)
            progress(len(ended))

    try:
        with output.progress("waiting for their ends", len(ids)) as progress:
            async with (
                output.while_read(),
                asyncio.timeout(patience.left),
                asyncio.TaskGroup() as tasks,
            ):
                for _ in range(min(MOST_FOLLOWED, len(ids))):
                    tasks.create_task(follow())
    except* TimeoutError as errors:
        first = errors.exceptions[0]
        if isinstance(first, DeadlineExceeded):
            raise first from None
        left = len(ids) - len(ended)
        raise TimedOut(
            f"{left} of {len(ids)} have not ended after {patience.seconds:g} s"
        ) from None
    except* ColoniesError as errors:
        raise errors.exceptions[0] from None
    return [ended[process_id] for process_id in ids]


def ended(process: Process) -> Answer[Process]:
    """Answer with the output of a process that has ended, or with why there is none."""
    if process.state is State.SUCCESS:
        return Answer(process, process.output)
    complaints = process.errors or [f"process <{process.process_id}> failed"]
    if process.state is State.CANCELLED:
        by = _cancelled_by(process)
        complaints = [printable(by), *(error for error in process.errors if error != by)]
    return Answer(process, complaints=complaints, status=Status.PROCESS_FAILED)


@asynccontextmanager
async def meanwhile(
    tell: Callable[[], Awaitable[None]], progress: output.Progress
) -> AsyncIterator[None]:
    """During the block, if somebody looks, tell now and then what is waited for.

    If nobody reads the answer any more, that ends the program.
    """

    async def go_on() -> None:
        pause = FIRST_LOOK
        while progress.is_shown:
            await asyncio.sleep(pause)
            with suppress(ColoniesError, TimeoutError):
                await tell()
            pause = LATER_LOOKS

    task = asyncio.ensure_future(go_on())
    try:
        async with output.while_read():
            yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@asynccontextmanager
async def _gauged(hub: Colonies, process_id: str, progress: output.Progress) -> AsyncIterator[None]:
    """Show meanwhile, to whoever looks, how far the process says that it has come."""

    def tell(said: Progress) -> None:
        text = f"running: {said.text}" if said.text else "running"
        progress(said.done / said.total, text, 1.0)

    async def follow() -> None:
        if progress.is_shown:
            with suppress(ColoniesError):  # a bar is nothing to fail by
                await follow_progress(hub, process_id, tell)

    task = asyncio.ensure_future(follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


def standing(explanation: Explanation) -> str:
    """Say in short in which state a process is, and why."""
    reasons = "; ".join(explanation.reasons[:MOST_REASONS])
    return ": ".join(filter(None, (explanation.state.name.lower(), reasons)))


def _cancelled_by(process: Process) -> str:
    reason = f": {process.cancel_reason}" if process.cancel_reason else ""
    return f"cancelled by {process.cancelled_by}{reason}"
