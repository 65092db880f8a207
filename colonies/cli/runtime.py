"""``colonies runtime``: added and let in by the colony's owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from colonies.cli import output
from colonies.cli.command import Noun, Session
from colonies.cli.output import Answer
from colonies.core.runtime import Runtime


@click.group(cls=Noun)
def runtime() -> None:
    """Runtimes: the machines that work."""


@runtime.command("add")
@click.option("--name", required=True, help="Name, unique in the colony.")
@click.option("--type", "runtime_type", required=True, help="Type of the processes it takes.")
@click.option("--cores", type=int, default=0, help="Cores it has.")
@click.option("--mem", type=int, default=0, help="Memory it has, in MiB.")
@click.option("--gpus", type=int, default=0, help="GPUs it has.")
@click.option("--cpu", default="", help="Model of its CPU.")
@click.option("--gpu", default="", help="Model of its GPUs.")
@click.option("--approve", "is_approved", is_flag=True, help="Let it in at once.")
async def add(session: Session, *, is_approved: bool, **fields: Any) -> Answer[Runtime]:
    """Add a runtime and print its id. For the colony's owner.

    Its key is new and in the keychain, unless --runtimeid names another machine's.
    """
    hub = session.acting_as("colony")
    colony_id = session.colony_id
    runtime_id = session.identity_for("runtime")
    added = await hub.add_runtime(Runtime(runtime_id=runtime_id, colony_id=colony_id, **fields))
    if is_approved:
        await hub.approve_runtime(runtime_id)
        added = await hub.get_runtime(runtime_id)
    return output.identity(added, runtime_id)


@runtime.command("approve")
@click.argument("runtime_id", metavar="ID")
async def approve(session: Session, runtime_id: str) -> None:
    """Let a runtime in. For the colony's owner."""
    await session.acting_as("colony").approve_runtime(runtime_id)


@runtime.command("reject")
@click.argument("runtime_id", metavar="ID")
async def reject(session: Session, runtime_id: str) -> None:
    """Shut a runtime out. For the colony's owner."""
    await session.acting_as("colony").reject_runtime(runtime_id)


@runtime.command("ls", is_list=True)
async def ls(session: Session) -> Answer[Sequence[Runtime]]:
    """List the runtimes of the colony. For its runtimes and its owner."""
    runtimes = await session.read(lambda hub: hub.get_runtimes(session.colony_id))
    columns = ("runtime_id", "name", "runtime_type", "state", "last_heard_from_time")
    return output.table(runtimes, *columns)


@runtime.command("get")
@click.argument("runtime_id", metavar="ID")
async def get(session: Session, runtime_id: str) -> Answer[Runtime]:
    """Show a runtime. For its fellows and the colony's owner."""
    return output.view(await session.read(lambda hub: hub.get_runtime(runtime_id)))


@runtime.command("rm")
@click.argument("runtime_id", metavar="ID")
async def rm(session: Session, runtime_id: str) -> None:
    """Delete a runtime; what it was running returns to the queue. For the colony's owner."""
    await session.acting_as("colony").delete_runtime(runtime_id)
