"""``colonies generator``: workflows that are submitted when there are arguments enough."""

from __future__ import annotations

from collections.abc import Sequence

import click

from colonies.cli import answers
from colonies.cli.answers import Answer
from colonies.cli.command import Noun, Renamed, Session
from colonies.cli.ids import Id, generators
from colonies.cli.spec import members_in_short, read_workflow, workflow_text
from colonies.core.generator import MAX_TRIGGER, Generator
from colonies.core.workflow import WorkflowSpec


@click.group(cls=Noun)
def generator() -> None:
    """Generators: workflows that are submitted when there are arguments enough."""


@generator.command("add")
@click.option("--name", required=True, help="Name, unique in the colony.")
@click.option(
    "--spec",
    required=True,
    type=click.File("rb"),
    callback=read_workflow,
    metavar="FILE",
    help="WorkflowSpec in JSON, YAML or TOML, or only its list of processes; - is standard input.",
)
@click.option("--trigger", required=True, type=click.IntRange(1, MAX_TRIGGER),
              help="Arguments that make a workflow.")  # fmt: skip
@click.option("--after", "timeout", cls=Renamed, formerly="--timeout", metavar="SECONDS",
              type=click.IntRange(0), default=0, help="When fewer make one; 0: never.")  # fmt: skip
async def add(
    session: Session, name: str, spec: WorkflowSpec, trigger: int, timeout: int
) -> Answer[Generator]:
    """Add a generator and print its id. For the colony's runtimes.

    What is packed replaces the arguments of all processes that depend on no other.
    """
    colony_id = session.colony_id
    generator = Generator(
        colony_id=colony_id,
        name=name,
        workflow_spec=workflow_text(spec, colony_id),
        trigger=trigger,
        timeout=timeout,
    )
    with answers.naming("generator", name):
        added = await session.acting_as("runtime").add_generator(generator)
    return answers.identity(added, added.generator_id)


@generator.command("pack")
@click.argument("generator_id", cls=Id, listing=generators, is_named=True)
@click.argument("args", nargs=-1, required=True)
async def pack(session: Session, generator_id: str, args: tuple[str, ...]) -> None:
    """Pack ARGS, one after the other; each is used once, in order. For the colony's runtimes."""
    hub = session.acting_as("runtime")
    for arg in args:
        await hub.pack_generator(generator_id, arg)


@generator.command("ls")
@click.option("--count", type=click.IntRange(0, 1000), default=100, show_default=True,
              help="At most.")  # fmt: skip
async def ls(session: Session, count: int) -> Answer[Sequence[Generator]]:
    """List generators by name. For the colony's runtimes and its owner."""
    found = await session.read(lambda hub: hub.get_generators(session.colony_id, count=count))
    return answers.table(
        found, "generator_id", "name", "queue_size", "trigger", "timeout", "last_run"
    )


@generator.command("get")
@click.argument("generator_id", cls=Id, listing=generators, is_named=True)
async def get(session: Session, generator_id: str) -> Answer[Generator]:
    """Show a generator. For the colony's runtimes and its owner."""
    found = await session.read(lambda hub: hub.get_generator(generator_id))
    return answers.view(found, {"workflow_spec": members_in_short(found.workflow_spec)})


@generator.command("resolve")
@click.argument("name")
async def resolve(session: Session, name: str) -> Answer[Generator]:
    """Print the id of the generator of a name. For the colony's runtimes and its owner."""
    found = await session.read(lambda hub: hub.resolve_generator(name, session.colony_id))
    return answers.identity(found, found.generator_id)


@generator.command("rm")
@click.argument("generator_id", cls=Id, listing=generators, is_named=True)
async def rm(session: Session, generator_id: str) -> None:
    """Delete a generator with what it has gathered. For the colony's runtimes."""
    await session.acting_as("runtime").delete_generator(generator_id)
