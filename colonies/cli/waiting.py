"""Waiting for processes to end, and what is said when they have, or have not in time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from colonies.cli.output import Answer, printable
from colonies.cli.status import Status
from colonies.core.errors import DeadlineExceeded, TimedOut
from colonies.core.explanation import Explanation
from colonies.core.process import Process, State

if TYPE_CHECKING:
    from colonies.client import Colonies

MOST_REASONS = 2
"""Of the reasons why a process has not ended, those that are said."""

REASONS_TIMEOUT = 3.0
"""Seconds that the hub has to say them: whoever waits here has waited long enough."""


class Patience:
    """How many seconds somebody waits from now on; None is for ever."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._since = time.monotonic()

    @property
    def left(self) -> float | None:
        """The seconds that are left."""
        if self.seconds is None:
            return None
        return max(0.0, self.seconds - (time.monotonic() - self._since))


async def wait_for_end(hub: Colonies, process_id: str, patience: Patience) -> Process:
    """Wait until a process has ended; raise TimedOut, which says why it has not."""
    try:
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
    raise TimedOut(f"{unended}, still {_standing(explanation)}")


def ended(process: Process) -> Answer[Process]:
    """Answer with the output of a process that has ended, or with why there is none."""
    if process.state is State.SUCCESS:
        return Answer(process, process.output)
    complaints = process.errors or [f"process <{process.process_id}> failed"]
    if process.state is State.CANCELLED:
        by = _cancelled_by(process)
        complaints = [printable(by), *(error for error in process.errors if error != by)]
    return Answer(process, complaints=complaints, status=Status.PROCESS_FAILED)


def _standing(explanation: Explanation) -> str:
    reasons = "; ".join(explanation.reasons[:MOST_REASONS])
    return ": ".join(filter(None, (explanation.state.name.lower(), reasons)))


def _cancelled_by(process: Process) -> str:
    reason = f": {process.cancel_reason}" if process.cancel_reason else ""
    return f"cancelled by {process.cancelled_by}{reason}"
