"""How long what has ended is kept: deleted by age, so that no table grows for ever."""

from __future__ import annotations

import msgspec

from colonies.core.process import State
from colonies.server.db import Statements
from colonies.server.metrics import Metrics
from colonies.settings import Settings

SWEEP_BATCH = 2000
"""Processes of one state that one sweep deletes at most."""

SECONDS_A_DAY = 86_400.0
MOST_DAYS = 100_000.0
"""Before any time in the database, and not yet before those that it can tell."""


class Keep(msgspec.Struct, frozen=True):
    """Days that processes are kept after they have ended, and logs since they were said.

    0 is for ever, of logs as long as their processes.
    """

    successful: float
    failed: float
    cancelled: float
    logs: float = 0

    @classmethod
    def of(cls, settings: Settings) -> Keep:
        """Give what the settings say."""
        return cls(
            settings.keep_successful,
            settings.keep_failed,
            settings.keep_cancelled,
            settings.keep_logs,
        )

    @property
    def seconds(self) -> dict[State, float]:
        """The same in seconds, of each state that is not kept for ever."""
        days = {
            State.SUCCESS: self.successful,
            State.FAILED: self.failed,
            State.CANCELLED: self.cancelled,
        }
        return {state: min(kept, MOST_DAYS) * SECONDS_A_DAY for state, kept in days.items() if kept}


async def sweep(db: Statements, keep: Keep, metrics: Metrics, *, batch: int = SWEEP_BATCH) -> bool:
    """Delete a batch of what has been kept long enough, of each state, the oldest first.

    What is of a workflow is kept as long as that: by when and how the workflow has ended.
    Gives whether there may be more: then sweep again, after others had their turn. Any number of
    hubs may sweep at once.
    """
    is_behind = False
    for state, seconds in keep.seconds.items():
        for statement in ("delete_ended_processes", "delete_ended_graphs"):
            swept = await db.fetch_value(statement, state=state, age=seconds, count=batch)
            metrics.processes_swept.labels(state.name.lower()).inc(swept)
            is_behind = is_behind or swept >= batch
    return is_behind


async def sweep_logs(db: Statements, keep: Keep, *, batch: int = SWEEP_BATCH) -> None:
    """Delete what was said in logs long enough ago, batch by batch; the rest goes on."""
    seconds = min(keep.logs, MOST_DAYS) * SECONDS_A_DAY
    while seconds:
        if await db.fetch_value("delete_old_log_entries", age=seconds, count=batch) < batch:
            return


async def sweep_orphans(db: Statements) -> None:
    """Delete what came into a colony while that was being deleted: nobody could, or ever will."""
    await db.execute("delete_orphans")


async def sweep_all(
    db: Statements, keep: Keep, metrics: Metrics, *, batch: int = SWEEP_BATCH
) -> None:
    """Delete all that has been kept long enough, batch by batch."""
    while await sweep(db, keep, metrics, batch=batch):
        continue
