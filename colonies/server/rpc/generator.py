"""Generators: added, packed, read and deleted; what they gather is used by the hub that leads."""

from __future__ import annotations

from typing import Annotated

import msgspec

from colonies.core.errors import Conflict, NotFound
from colonies.core.generator import Generator, Timeout, Trigger
from colonies.core.process import new_id
from colonies.core.runtime import Runtime
from colonies.core.wire import Label, Wire
from colonies.server import generator as generators
from colonies.server.call import Call
from colonies.server.generator import Packing
from colonies.server.intent import Seen
from colonies.server.rpc import Request, rpc
from colonies.server.rules import (
    find_generator,
    member,
    member_of_generator,
    member_or_owner,
    member_somewhere,
    reader_of_generator,
)

MAX_COUNT = 1000
"""Generators that one list gives at most."""

MILLISECONDS = 1000

Name = Annotated[Label, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class NewGenerator(Wire):
    """A generator to be; its id and all that it does are the hub's to fill in."""

    colony_id: str
    name: Name
    trigger: Trigger
    workflow_spec: str = ""
    timeout: Timeout = 0


class AddGenerator(Request):
    """The generator to add; its workflow is the JSON of a WorkflowSpec, as text."""

    generator: NewGenerator


async def _added(call: Call, _msg: AddGenerator, seen: Seen) -> Generator:
    return await find_generator(call, seen.process_id)


@rpc("addgeneratormsg", rule=member("generator.colony_id"), again=_added)
async def add_generator(call: Call, msg: AddGenerator, _member: Runtime) -> Generator:
    """Add a generator."""
    asked = msgspec.structs.asdict(msg.generator)
    asked["workflow_spec"] = await call.functions.settled_text(
        msg.generator.workflow_spec,
        msg.generator.colony_id,
        "generator.workflowspec",
        have_roots_args=False,
    )
    (added,) = await call.db.fetch_all(
        Generator,
        "add_generator",
        generator_id=new_id(),
        added_by=call.caller,
        **asked,
        **call.intent.parameters,
    )
    return added


class GetGenerator(Request):
    """The generator asked for."""

    generator_id: str


@rpc("getgeneratormsg", rule=reader_of_generator("generator_id"))
async def get_generator(call: Call, _msg: GetGenerator, generator: Generator) -> Generator:
    """Give a generator, with how much it has gathered."""
    period = int(call.settings.tick * MILLISECONDS)
    return msgspec.structs.replace(generator, checker_period=period)


class ResolveGenerator(Request):
    """The name of a generator, and its colony if the caller is in several."""

    generator_name: str
    colony_id: str = ""


@rpc("resolvegeneratormsg", rule=member_somewhere)
async def resolve_generator(
    call: Call, msg: ResolveGenerator, colony_ids: frozenset[str]
) -> Generator:
    """Give the generator of a name."""
    named = await call.db.fetch_all(
        Generator,
        "list_generators_named",
        colony_ids=sorted(colony_ids & {msg.colony_id} if msg.colony_id else colony_ids),
        name=msg.generator_name,
    )
    if not named:
        raise NotFound(f"there is no generator named {msg.generator_name!r}")
    if len(named) > 1:
        raise Conflict(
            f"generators of several colonies are named {msg.generator_name!r}: say which colony",
            field="colonyid",
        )
    return named[0]


class GetGenerators(Request):
    """Of which colony, and how many at most."""

    colony_id: str
    count: Count = 0


@rpc("getgeneratorsmsg", rule=member_or_owner("colony_id"))
async def get_generators(call: Call, msg: GetGenerators, _: None) -> list[Generator]:
    """List the generators of a colony by name."""
    return await call.db.fetch_all(
        Generator, "list_generators", colony_id=msg.colony_id, count=msg.count
    )


class PackGenerator(Request):
    """The generator, and an argument for one of its workflows."""

    generator_id: str
    arg: str = ""


@rpc("packgeneratormsg", rule=member_of_generator("generator_id"))
async def pack_generator(call: Call, msg: PackGenerator, generator: Generator) -> None:
    """Pack an argument: it is used once, after those packed before it."""
    await call.functions.check_packed(generator, msg.arg, "arg")
    packing = Packing(generator.colony_id, generator.generator_id, msg.arg, call.intent)
    await generators.pack(call.db, packing, call.agenda)


class DeleteGenerator(Request):
    """The generator to delete."""

    generator_id: str


@rpc("deletegeneratormsg", rule=member_of_generator("generator_id"))
async def delete_generator(call: Call, _msg: DeleteGenerator, generator: Generator) -> None:
    """Delete a generator with what it has gathered; what it has submitted goes on."""
    await call.db.execute(
        "delete_generator",
        colony_id=generator.colony_id,
        generator_id=generator.generator_id,
        **call.intent.parameters,
    )
