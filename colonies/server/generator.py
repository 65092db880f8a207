"""Generators: every packed argument is used once, in order, whichever hubs are there.

Arguments are taken and their workflows submitted in one transaction, under the lock of the
generator, which whoever packs needs too.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import msgspec
import structlog

from colonies.core.errors import Failure, NotFound, OverQuota, Unavailable
from colonies.core.generator import ARGUMENT_BYTES, MAX_PACKED_BYTES, Generator
from colonies.core.process import Process
from colonies.core.wire import ZERO_TIME, Time
from colonies.core.workflow import MAX_MEMBERS, WorkflowSpec, read_workflow
from colonies.server import workflow
from colonies.server.agenda import Agenda
from colonies.server.db import Database, Statements, Transaction
from colonies.server.hub import Hub
from colonies.server.intent import Intent
from colonies.server.outages import seen_before
from colonies.server.quota import Quotas

logger = structlog.get_logger()

MOST_AT_ONCE = 100
"""Generators that one look gives; more take further looks."""

MOST_RUNS = 50
"""Workflows that one transaction submits."""


class Packing(msgspec.Struct, frozen=True):
    """An argument, and whose it is."""

    colony_id: str
    generator_id: str
    arg: str
    intent: Intent


async def pack(db: Statements, packing: Packing, agenda: Agenda) -> None:
    """Add an argument to a generator; raise NotFound if there is none, OverQuota if it is full."""
    if failure := await db.batched(_pack_all, packing, agenda):
        raise failure


async def _pack_all(
    db: Statements, asked: Sequence[Packing], agenda: Agenda
) -> list[Failure | None]:
    """Add arguments in order, each for itself; give what was wrong with each, if so."""
    outcomes = await db.fetch_rows(
        "add_generator_args",
        colony_ids=[one.colony_id for one in asked],
        generator_ids=[one.generator_id for one in asked],
        args=[one.arg for one in asked],
        requests=[one.intent.key for one in asked],
        digests=[one.intent.digest for one in asked],
        more_bytes=ARGUMENT_BYTES,
        most_bytes=MAX_PACKED_BYTES,
    )
    if any(is_sooner for *_, is_sooner in outcomes):
        agenda.change()
    return [_failure(one, *outcome) for one, (*outcome, _) in zip(asked, outcomes, strict=True)]


def _failure(one: Packing, is_there: bool, has_room: bool, is_packed: bool) -> Failure | None:  # noqa: FBT001 - a row of the statement
    if not is_there:
        return NotFound(f"there is no generator <{one.generator_id}>")
    if not has_room:
        return OverQuota(
            f"generator <{one.generator_id}> has gathered {MAX_PACKED_BYTES >> 20} MiB: "
            "wait until some were used"
        )
    return None if is_packed else seen_before()


class _Due(Generator):
    """A generator, and since when it has enough."""

    due: Time = ZERO_TIME


async def run_due(db: Database, hub: Hub, quotas: Quotas) -> None:
    """Submit what every generator has enough for. Any number of hubs may do this at once."""
    is_behind = True
    while is_behind:
        is_behind = False
        last = _Due()
        while due := await db.fetch_all(
            _Due,
            "list_generators_due",
            due=last.due,
            generator_id=last.generator_id,
            count=MOST_AT_ONCE,
        ):
            for generator in due:
                submitted = await _run(db, generator, quotas)
                hub.publish(submitted)
                is_behind = is_behind or bool(submitted)
            last = due[-1]


async def _run(db: Database, generator: Generator, quotas: Quotas) -> list[Process]:
    """Use what has been gathered, if it is still enough; give the processes that can start.

    While too much waits in its colony it waits, too. What cannot be run at all is stopped.
    """
    try:
        spec = read_workflow(generator.workflow_spec, generator.colony_id)
        async with db.transaction() as tx:
            locked = await tx.fetch_maybe(Generator, "lock_generator", **_key(generator))
            if not locked:
                return []  # another hub was quicker, or somebody deleted it
            return await _use(tx, locked, spec, quotas)
    except OverQuota as error:
        logger.debug("generator waits", generator=generator.generator_id, error=error.message)
    except Unavailable:
        raise
    except Failure as error:
        logger.error("generator stopped", generator=generator.generator_id, error=error.message)  # noqa: TRY400 - no bug of ours
        await db.execute("set_generator_stopped", **_key(generator))
    return []


async def _use(
    tx: Transaction, generator: Generator, spec: WorkflowSpec, quotas: Quotas
) -> list[Process]:
    members = len(spec.process_specs)
    portions = generator.portions(min(MOST_RUNS, max(1, MAX_MEMBERS // members)))
    async with quotas.submitting(
        generator.added_by, generator.colony_id, members * len(portions)
    ) as submitter:
        rows = await tx.fetch_rows("claim_generator_args", **_key(generator), count=sum(portions))
        args = [arg for _, arg in sorted(rows)]
        left = iter(args)
        submitted = [
            await workflow.submit(tx, spec, submitter=submitter, root_args=list(islice(left, size)))
            for size in portions
        ]
        await tx.execute(
            "set_generator_run",
            **_key(generator),
            last_run=submitted[-1].graph.submission_time,
            count=len(args),
            bytes=sum(len(arg.encode()) + ARGUMENT_BYTES for arg in args),
        )
    return [root for one in submitted for root in one.roots]


def _key(generator: Generator) -> dict[str, Any]:
    return {"colony_id": generator.colony_id, "generator_id": generator.generator_id}
