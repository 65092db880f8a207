"""``colonies attribute``: added by the runtime that runs the process, read by its colony."""

from __future__ import annotations

import click

from colonies.cli import answers
from colonies.cli.answers import Answer
from colonies.cli.command import Noun, Session
from colonies.cli.ids import IdOption, processes
from colonies.core.attribute import Attribute


@click.group(cls=Noun)
def attribute() -> None:
    """Attributes: keys and values that a process carries."""


@attribute.command("add")
@click.option(
    "--processid",
    "process_id",
    required=True,
    cls=IdOption,
    listing=processes,
    metavar="ID",
    help="A process the runtime is running.",
)
@click.option("--key", required=True, help="Key; a process has it once.")
@click.option("--value", required=True, help="Value.")
async def add(session: Session, process_id: str, key: str, value: str) -> Answer[Attribute]:
    """Add an attribute and print its id. For the runtime that runs the process."""
    added = await session.acting_as("runtime").add_attribute(process_id, key, value)
    return answers.identity(added, added.attribute_id)


@attribute.command("get")
@click.argument("attribute_id", metavar="ID")
async def get(session: Session, attribute_id: str) -> Answer[Attribute]:
    """Show an attribute. For the colony's runtimes and its owner."""
    return answers.view(await session.read(lambda hub: hub.get_attribute(attribute_id)))
