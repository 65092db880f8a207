"""What tests of crons and generators say again and again."""

from __future__ import annotations

from typing import Any

import asyncpg

from colonies.core.process import Conditions, ProcessSpec
from colonies.core.workflow import WorkflowSpec, write_workflow
from colonies.server import cron as crons
from colonies.server import generator as generators
from colonies.server.app import Server
from colonies.server.quota import Quotas


def workflow_text(**parents: str) -> str:
    """Give a workflow as crons keep it: names, each with the names of its parents in a text."""
    specs = [
        ProcessSpec(
            name=name,
            func="work",
            args=["its own"],
            conditions=Conditions(runtime_type="cli", dependencies=before.split()),
        )
        for name, before in parents.items()
    ]
    return write_workflow(WorkflowSpec(process_specs=specs))


ONE = workflow_text(one="")
"""A workflow of one process."""


async def tick(server: Server) -> None:
    """Have a hub run the crons whose tick has come."""
    await crons.run_due(server.db, server.hub, Quotas(server.db, server.settings))


async def use(server: Server) -> None:
    """Have a hub use what generators have enough of."""
    await generators.run_due(server.db, server.hub, Quotas(server.db, server.settings))


async def come(sql: asyncpg.Connection, seconds: float = 1.0) -> None:
    """Let the next tick of every cron have come so many seconds ago."""
    await sql.execute("UPDATE crons SET next_run = now() - make_interval(secs => $1)", seconds)


async def graphs(sql: asyncpg.Connection) -> list[dict[str, Any]]:
    """Give the graphs that there are, in the order in which they were submitted."""
    rows = await sql.fetch("SELECT * FROM process_graphs ORDER BY submission_time")
    return [dict(row) for row in rows]
