"""``colonies runtime``: added and let in by the colony's owner."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
import msgspec

from colonies.cli import answers
from colonies.cli.answers import Answer
from colonies.cli.command import Noun, Session
from colonies.cli.ids import Id, runtimes
from colonies.cli.spec import read_pairs, reader_of
from colonies.core.runtime import Runtime

COUNT = click.IntRange(0, 2**31 - 1)


@click.group(cls=Noun)
def runtime() -> None:
    """Runtimes: the machines that work."""


@runtime.command("add")
@click.option("--spec", type=click.File("rb"), callback=reader_of(Runtime), metavar="FILE",
              help="Runtime in JSON, YAML or TOML; the options below go before it.")  # fmt: skip
@click.option("--name", help="Name, unique in the colony.")
@click.option("--type", "runtime_type", help="Type of the processes it takes.")
@click.option("--cores", type=int, help="Cores it has.")
@click.option("--mem", type=int, help="Memory it has, in MiB.")
@click.option("--gpus", type=int, help="GPUs it has.")
@click.option("--cpu", help="Model of its CPU.")
@click.option("--gpu", help="Model of its GPUs.")
@click.option("--approve", "is_approved", is_flag=True, help="Let it in at once.")
async def add(
    session: Session, spec: Runtime | None, *, is_approved: bool, **fields: Any
) -> Answer[Runtime]:
    """Add a runtime and print its id. For the colony's owner.

    Its key is new and in the keychain, unless --runtimeid names another machine's.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    runtime = msgspec.structs.replace(spec or Runtime(), colony_id=session.colony_id, **given)
    for name, flag in (("name", "--name"), ("runtime_type", "--type")):
        if not getattr(runtime, name):
            raise click.UsageError(f"missing option {flag}")
    hub = session.acting_as("colony")
    runtime_id = session.identity_for("runtime")
    with answers.naming("runtime", runtime.name):
        added = await hub.add_runtime(msgspec.structs.replace(runtime, runtime_id=runtime_id))
    if is_approved:
        await hub.approve_runtime(runtime_id)
        added = await hub.get_runtime(runtime_id)
    return answers.identity(added, runtime_id)


@runtime.command("approve")
@click.argument("runtime_id", cls=Id, listing=runtimes, is_named=True, setting="runtime_id")
async def approve(session: Session, runtime_id: str) -> None:
    """Let a runtime in. For the colony's owner."""
    await session.acting_as("colony").approve_runtime(runtime_id)


@runtime.command("reject")
@click.argument("runtime_id", cls=Id, listing=runtimes, is_named=True, setting="runtime_id")
async def reject(session: Session, runtime_id: str) -> None:
    """Shut a runtime out. For the colony's owner."""
    await session.acting_as("colony").reject_runtime(runtime_id)


@runtime.command("update")
@click.argument("runtime_id", cls=Id, listing=runtimes, is_named=True, setting="runtime_id")
@click.option("--cores", type=COUNT, help="Cores it has.")
@click.option("--mem", type=COUNT, help="Memory it has, in MiB.")
@click.option("--gpus", type=COUNT, help="GPUs it has.")
@click.option("--cpu", help="Model of its CPU.")
@click.option("--gpu", help="Model of its GPUs.")
async def update(session: Session, runtime_id: str, **fields: Any) -> None:
    """Say what a runtime has, where it does not say so itself. For the colony's owner.

    What is not given stays. One of colonies-run says it anew at each start.
    """
    given = {name: value for name, value in fields.items() if value is not None}
    if not given:
        raise click.UsageError("nothing to update; give --cores, --mem, --gpus, --cpu or --gpu")
    hub = session.acting_as("colony")
    known = await hub.get_runtime(runtime_id)
    figures = msgspec.structs.replace(known.figures, **given)
    await hub.update_runtime(figures, runtime_id, session.colony_id)


@runtime.command("ls", is_list=True)
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", callback=read_pairs,
              help="Only those with this label; repeatable.")  # fmt: skip
async def ls(session: Session, labels: dict[str, str]) -> Answer[Sequence[Runtime]]:
    """List the runtimes of the colony. For its runtimes and its owner."""
    runtimes = await session.read(lambda hub: hub.get_runtimes(session.colony_id))
    those = [one for one in runtimes if labels.items() <= one.labels.items()]
    columns = ("runtime_id", "name", "runtime_type", "state", "last_heard_from_time")
    return answers.table(those, *columns, "cores", "mem", "gpus")


@runtime.command("get")
@click.argument("runtime_id", cls=Id, listing=runtimes, is_named=True, setting="runtime_id")
async def get(session: Session, runtime_id: str) -> Answer[Runtime]:
    """Show a runtime. For its fellows and the colony's owner."""
    return answers.view(await session.read(lambda hub: hub.get_runtime(runtime_id)))


@runtime.command("resolve")
@click.argument("name", cls=Id, listing=runtimes, is_named=True, metavar="NAME")
async def resolve(session: Session, name: str) -> Answer[Runtime]:
    """Print the id of the runtime of that name. For its fellows and the colony's owner."""
    found = await session.read(lambda hub: hub.get_runtime(name))
    return answers.identity(found, found.runtime_id)


@runtime.command("rm")
@click.argument("runtime_id", cls=Id, listing=runtimes, is_named=True, setting="runtime_id")
async def rm(session: Session, runtime_id: str) -> None:
    """Delete a runtime; what it was running returns to the queue. For the colony's owner."""
    await session.acting_as("colony").delete_runtime(runtime_id)
