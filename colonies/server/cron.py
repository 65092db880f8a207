"""Crons: every tick submits its workflow once, whichever hubs are there and whatever dies.

A tick is run in one transaction, under the lock of its cron, and only if it is still the one that
comes next. The id of its workflow follows from it, so that there cannot be a second one.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from random import random
from typing import Any

import structlog

from colonies.core.cron import Cron, graph_id_of
from colonies.core.errors import AlreadyExists, Failure, NotFound, OverQuota, Unavailable
from colonies.core.process import Process, new_id
from colonies.core.wire import ZERO_TIME, Time
from colonies.core.workflow import WorkflowSpec, read_workflow
from colonies.server import workflow
from colonies.server.db import Database, Statements, Transaction
from colonies.server.hub import Hub
from colonies.server.intent import NOBODYS, Intent, Submitter
from colonies.server.quota import Quotas

logger = structlog.get_logger()

MOST_AT_ONCE = 100
"""Crons that one look gives; more take further looks."""

TOGETHER = 4
"""Ticks that are run side by side: each waits for the disk, and takes a connection from calls."""


class _Locked(Cron):
    """A cron that nobody else runs for now, and when that is."""

    now: Time = ZERO_TIME


async def first_run(db: Statements, cron: Cron) -> datetime | None:
    """Give when a cron ticks first; None if it never does."""
    now: datetime = await db.fetch_value("get_now")
    return cron.schedule.first(now, random)


async def run_now(
    db: Database, cron: Cron, quotas: Quotas, caller: str, intent: Intent
) -> tuple[Cron, list[Process]]:
    """Submit the workflow of a cron at once; its next tick is counted from now.

    Gives the cron as it is then, and the processes that can start; raises NotFound if the cron was
    deleted meanwhile.
    """
    spec = read_workflow(cron.workflow_spec, cron.colony_id)
    count = len(spec.process_specs)
    async with (
        quotas.submitting(caller, cron.colony_id, count) as submitter,
        db.transaction() as tx,
    ):
        locked = await _lock(tx, cron)
        if not locked:
            raise NotFound(f"there is no cron <{cron.cron_id}>")
        following = cron.schedule.first(locked.now, random)
        return await _submit(
            tx,
            locked,
            spec,
            graph_id=new_id(),
            following=following,
            submitter=submitter,
            intent=intent,
        )


async def run_due(db: Database, hub: Hub, quotas: Quotas) -> None:
    """Run every tick that has come. Any number of hubs may do this at once."""
    last = Cron()
    while due := await db.fetch_all(
        Cron,
        "list_crons_due",
        next_run=last.next_run,
        cron_id=last.cron_id,
        count=MOST_AT_ONCE,
    ):
        for start in range(0, len(due), TOGETHER):
            some = due[start : start + TOGETHER]
            ticks = (_run_tick(db, hub, cron, quotas) for cron in some)
            for failure in await asyncio.gather(*ticks, return_exceptions=True):
                if failure:
                    raise failure
        last = due[-1]


async def _run_tick(db: Database, hub: Hub, cron: Cron, quotas: Quotas) -> None:
    """Run the tick that comes next, and tell of the processes that can start.

    While too much waits in its colony it waits, too. What cannot be run at all is stopped.
    """
    try:
        spec = read_workflow(cron.workflow_spec, cron.colony_id)
        count = len(spec.process_specs)
        async with quotas.submitting(cron.added_by, cron.colony_id, count) as submitter:
            hub.publish(await _submit_tick(db, cron, spec, submitter))
    except OverQuota as error:
        logger.debug("cron waits", cron=cron.cron_id, error=error.message)
    except AlreadyExists:
        # Its workflow is there: the clock of the database was put back, and somebody ran the cron.
        now = await db.fetch_value("get_now")
        await _skip(db, cron, cron.schedule.following(cron.next_run, now, random))
    except Unavailable:
        raise
    except Failure as error:
        logger.error("cron stopped", cron=cron.cron_id, error=error.message)  # noqa: TRY400 - no bug of ours
        await _skip(db, cron, None)


async def _submit_tick(
    db: Database, cron: Cron, spec: WorkflowSpec, submitter: Submitter
) -> list[Process]:
    async with db.transaction() as tx:
        locked = await _lock(tx, cron)
        if not locked or locked.next_run != cron.next_run:
            return []  # another hub was quicker, or somebody deleted it
        following = cron.schedule.following(cron.next_run, locked.now, random)
        graph_id = graph_id_of(cron.cron_id, cron.next_run)
        if cron.skips(locked.now):
            await _skip(tx, cron, following)
            return []
        _, roots = await _submit(
            tx, locked, spec, graph_id=graph_id, following=following, submitter=submitter
        )
        return roots


async def _submit(
    tx: Transaction,
    cron: Cron,
    spec: WorkflowSpec,
    *,
    graph_id: str,
    following: datetime | None,
    submitter: Submitter,
    intent: Intent = NOBODYS,
) -> tuple[Cron, list[Process]]:
    """Submit a workflow whose input is what came out of the one before."""
    outputs: list[tuple[list[str]]] = []
    if previous := cron.prev_process_graph_id:
        outputs = await tx.fetch_rows(
            "list_leaf_outputs", colony_id=cron.colony_id, process_graph_id=previous
        )
    submitted = await workflow.submit(
        tx,
        spec,
        submitter=submitter,
        graph_id=graph_id,
        root_input=[text for (output,) in outputs for text in output],
    )
    (run,) = await tx.fetch_all(
        Cron,
        "set_cron_run",
        **_key(cron),
        next_run=following,
        last_run=submitted.graph.submission_time,
        process_graph_id=graph_id,
        **intent.parameters,
    )
    return run, submitted.roots


async def _skip(db: Statements, cron: Cron, following: datetime | None) -> None:
    """Submit nothing for a tick, if it still comes next."""
    await db.execute("set_next_run", **_key(cron), tick=cron.next_run, next_run=following)


async def _lock(tx: Transaction, cron: Cron) -> _Locked | None:
    return await tx.fetch_maybe(_Locked, "lock_cron", **_key(cron))


def _key(cron: Cron) -> dict[str, Any]:
    return {"colony_id": cron.colony_id, "cron_id": cron.cron_id}
