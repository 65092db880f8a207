"""``colonies function``: what the runtimes of a colony say they can run."""

from __future__ import annotations

from collections.abc import Sequence

import click

from colonies.cli import answers
from colonies.cli.answers import Answer
from colonies.cli.command import Noun, Session
from colonies.cli.ids import completing, functions
from colonies.core.errors import NotFound
from colonies.core.function import Function


@click.group(cls=Noun)
def function() -> None:
    """Functions: what runtimes announce that they can run."""


@function.command("ls", is_list=True)
async def ls(session: Session) -> Answer[Sequence[Function]]:
    """List the functions of the colony. For its runtimes and its owner.

    One that several runtimes announce alike is listed for each.
    """
    found = await session.read(lambda hub: hub.get_functions(session.colony_id))
    return answers.table(found, "signature", "runtime_type", "runtime_id")


@function.command("get")
@click.argument("name", metavar="NAME", shell_complete=completing(functions))
async def get(session: Session, name: str) -> Answer[list[Function]]:
    """Show a function and its arguments. For the colony's runtimes and its owner.

    What runtimes announce differently under one name is shown for each.
    """
    found = await session.read(lambda hub: hub.get_functions(session.colony_id, name=name))
    if not found:
        raise NotFound(f"no runtime announces a function {name!r}")
    different = list({(one.runtime_type, one.signature): one for one in found}.values())
    views = [answers.view(one) for one in different]
    lines = [line for view in views for line in view.lines]
    return Answer(different, lines, table=views[0].table if len(views) == 1 else None)
