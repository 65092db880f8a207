"""``colonies colony``: made and removed by the hub's owner, read by its members."""

from __future__ import annotations

from collections.abc import Sequence

import click

from colonies.cli import answers, output
from colonies.cli.answers import Answer
from colonies.cli.command import Noun, Session
from colonies.cli.ids import Id, colonies
from colonies.cli.spec import reader_of
from colonies.core.colony import Colony, Statistics
from colonies.core.errors import NotFound


@click.group(cls=Noun)
def colony() -> None:
    """Colonies: sets of runtimes that trust each other."""


@colony.command("add")
@click.option("--name", default="", help="Name for people; need not be unique.")
@click.option("--spec", type=click.File("rb"), callback=reader_of(Colony), metavar="FILE",
              help="Colony in JSON, YAML or TOML, instead of --name.")  # fmt: skip
async def add(session: Session, name: str, spec: Colony | None) -> Answer[Colony]:
    """Add a colony and print its id. For the hub's owner.

    Its key is new and in the keychain, unless --colonyid names somebody else's.
    """
    name = name or (spec.name if spec else "")
    if not name.strip():
        raise click.BadParameter("expected a name", param_hint="--name")
    hub = session.acting_as("server")
    added = await hub.add_colony(session.identity_for("colony"), name)
    return answers.identity(added, added.colony_id)


@colony.command("ls", is_list=True)
async def ls(session: Session) -> Answer[Sequence[Colony]]:
    """List all colonies. For the hub's owner."""
    return answers.table(await session.acting_as("server").get_colonies(), "colony_id", "name")


@colony.command("get")
async def get(session: Session) -> Answer[Colony]:
    """Show the colony of --colonyid. For its members and its owner."""
    return answers.view(await session.read(lambda hub: hub.get_colony(session.colony_id)))


@colony.command("stats")
async def stats(session: Session) -> Answer[Statistics]:
    """Count what is in the colony of --colonyid. For its members and its owner."""
    counted = await session.read(lambda hub: hub.get_colony_stats(session.colony_id))
    return answers.view(counted, has_zeros=True)


@colony.command("rm")
@click.argument("colony_id", cls=Id, listing=colonies, is_named=True, setting="colony_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def rm(session: Session, colony_id: str, *, yes: bool) -> None:
    """Delete a colony with all its runtimes and processes. For the hub's owner."""
    hub = session.acting_as("server")
    names = {one.colony_id: one.name for one in await hub.get_colonies()}
    if colony_id not in names:
        raise NotFound(f"there is no colony <{colony_id}>")
    if not yes:
        await output.confirm_deletion(
            f"Delete the colony {names[colony_id]!r} with all its runtimes and processes?"
        )
    await hub.delete_colony(colony_id)
