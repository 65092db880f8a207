"""``colonies cluster``: the hubs that serve one database together."""

from __future__ import annotations

import click
import msgspec

from colonies.cli import output
from colonies.cli.command import Noun, Session
from colonies.cli.output import Answer


@click.group(cls=Noun)
def cluster() -> None:
    """The hubs that serve together, on one database."""


@cluster.command("info")
async def info(session: Session) -> Answer:
    """List the hubs, and which one leads. For the hub's owner."""
    found = await session.acting_as("server").get_cluster()
    columns = ("name", "host", "api_port", "version", "started", "last_seen", "is_leader")
    table = output.table(found.nodes, *columns)
    return msgspec.structs.replace(table, value=found)
