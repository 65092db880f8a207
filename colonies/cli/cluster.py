"""``colonies cluster``: the hubs that serve one database together."""

from __future__ import annotations

import click

from colonies.cli import answers
from colonies.cli.answers import Answer
from colonies.cli.command import Noun, Session
from colonies.core.cluster import Cluster


@click.group(cls=Noun)
def cluster() -> None:
    """The hubs that serve together, on one database."""


@cluster.command("info", is_list=True)
async def info(session: Session) -> Answer[Cluster]:
    """List the hubs, and which one leads. For the hub's owner."""
    found = await session.acting_as("server").get_cluster()
    columns = ("name", "host", "api_port", "version", "started", "last_seen", "is_leader")
    listed = answers.table(found.nodes, *columns)
    return Answer(found, listed.lines, table=listed.table)
