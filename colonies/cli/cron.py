"""``colonies cron``: workflows that are submitted again and again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from random import random
from typing import Any

import click

from colonies.cli import answers
from colonies.cli.answers import Answer
from colonies.cli.command import Noun, Session
from colonies.cli.ids import Id, crons
from colonies.cli.spec import members_in_short, read_workflow, workflow_text
from colonies.core.cron import NO_INTERVAL, Catchup, Cron
from colonies.core.errors import Malformed
from colonies.core.schedule import parse
from colonies.core.workflow import WorkflowSpec

EXPRESSION_HELP = 'When: "second minute hour day-of-month month day-of-week", or @daily …'


@click.group(cls=Noun)
def cron() -> None:
    """Crons: workflows that are submitted again and again."""


@cron.command("add")
@click.option("--name", required=True, help="Name, unique in the colony.")
@click.option(
    "--spec",
    required=True,
    type=click.File("rb"),
    callback=read_workflow,
    metavar="FILE",
    help="WorkflowSpec in JSON, YAML or TOML, or only its list of processes; - is standard input.",
)
@click.option("--cron", "cron_expression", default="", metavar="EXPRESSION", help=EXPRESSION_HELP)
@click.option("--interval", type=click.IntRange(1), help="Or every so many seconds.")
@click.option("--random", is_flag=True, help="At a random time within the interval.")
@click.option("--wait-previous", "--waitprevious", "wait_for_prev_process_graph", is_flag=True,
              help="Not before the workflow submitted last has ended.")  # fmt: skip
@click.option(
    "--catchup",
    type=click.Choice([one.value for one in Catchup]),
    default=Catchup.ONE.value,
    show_default=True,
    help="For all times that were missed, run none or one.",
)
async def add(
    session: Session, spec: WorkflowSpec, interval: int | None, *, catchup: str, **fields: Any
) -> Answer[Cron]:
    """Add a cron and print its id. For the colony's runtimes.

    Times are in UTC, unless the expression begins with a zone: "TZ=Europe/Stockholm 0 30 7 * * *".
    What comes out of one workflow goes into the next.
    """
    if fields["cron_expression"] and interval:
        raise click.UsageError("give --cron or --interval, not both")
    if not fields["cron_expression"] and not interval:
        raise click.UsageError("when? Give --cron or --interval")
    if fields["random"] and not interval:
        raise click.UsageError("--random is a time within an --interval")
    cron = Cron(
        colony_id=session.colony_id,
        workflow_spec=workflow_text(spec, session.colony_id),
        interval=interval or NO_INTERVAL,
        catchup=Catchup(catchup),
        **fields,
    )
    with answers.naming("cron", cron.name):
        added = await session.acting_as("runtime").add_cron(cron)
    return answers.identity(added, added.cron_id)


@cron.command("ls")
@click.option("--count", type=click.IntRange(0, 1000), default=100, show_default=True,
              help="At most.")  # fmt: skip
async def ls(session: Session, count: int) -> Answer[Sequence[Cron]]:
    """List crons by name. For the colony's runtimes and its owner."""
    found = await session.read(lambda hub: hub.get_crons(session.colony_id, count=count))
    return answers.table(found, "cron_id", "name", "times", "last_run", "next_run")


@cron.command("get")
@click.argument("cron_id", cls=Id, listing=crons, is_named=True)
async def get(session: Session, cron_id: str) -> Answer[Cron]:
    """Show a cron. For the colony's runtimes and its owner."""
    found = await session.read(lambda hub: hub.get_cron(cron_id))
    instead = {"workflow_spec": members_in_short(found.workflow_spec)}
    if found.interval == NO_INTERVAL:
        instead["interval"] = []
    return answers.view(found, instead)


@cron.command("run")
@click.argument("cron_id", cls=Id, listing=crons, is_named=True)
async def run(session: Session, cron_id: str) -> Answer[Cron]:
    """Submit the workflow of a cron now and print its id. For the colony's runtimes.

    Its next time is counted from now.
    """
    ran = await session.acting_as("runtime").run_cron(cron_id)
    return answers.identity(ran, ran.prev_process_graph_id)


@cron.command("rm")
@click.argument("cron_id", cls=Id, listing=crons, is_named=True)
async def rm(session: Session, cron_id: str) -> None:
    """Delete a cron; what it has submitted goes on. For the colony's runtimes."""
    await session.acting_as("runtime").delete_cron(cron_id)


@cron.command("next", settings=())
@click.argument("expression")
@click.option("--count", type=click.IntRange(1, 1000), default=5, show_default=True,
              help="How many.")  # fmt: skip
def next_(_session: Session, expression: str, count: int) -> Answer[list[datetime]]:
    """Show when an expression comes next, seen from now. Asks no hub."""
    schedule = parse(expression, "EXPRESSION")
    now = datetime.now(UTC)
    found: list[datetime] = []
    comes = schedule.first(now, random)
    while comes and len(found) < count:
        found.append(comes)
        comes = schedule.following(comes, comes, random)
    if not found:
        raise Malformed(f"{expression!r} does not come in the next years")
    return Answer(found, [f"{one:%Y-%m-%d %H:%M:%S}Z" for one in found])
