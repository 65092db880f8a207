"""Colonies: made and removed by the hub's owner, read by their members."""

from __future__ import annotations

from typing import Annotated

import msgspec

from colonies.core.colony import Colony, Statistics
from colonies.core.errors import Forbidden
from colonies.core.wire import Wire
from colonies.server import workflow
from colonies.server.call import Call
from colonies.server.intent import Seen
from colonies.server.rpc import Request, rpc
from colonies.server.rules import member_or_owner, server_owner

Identity = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class NewColony(Wire):
    """A colony to be: its id is the identity of its owner's key."""

    colony_id: Identity
    name: str = ""


class AddColony(Request):
    """The colony to add."""

    colony: NewColony


async def _added(_call: Call, msg: AddColony, _seen: Seen) -> Colony:
    return Colony(colony_id=msg.colony.colony_id, name=msg.colony.name)


@rpc("addcolonymsg", rule=server_owner, again=_added)
async def add_colony(call: Call, msg: AddColony, _: None) -> Colony:
    """Add a colony."""
    new = msg.colony
    (colony,) = await call.db.fetch_all(
        Colony, "add_colony", colony_id=new.colony_id, name=new.name, **call.intent.parameters
    )
    call.members.forget()
    return colony


class DeleteColony(Request):
    """The colony to delete."""

    colony_id: str


@rpc("deletecolonymsg", rule=server_owner)
async def delete_colony(call: Call, msg: DeleteColony, _: None) -> None:
    """Delete a colony with all its runtimes and processes; one that is not there is no error."""
    async with call.db.transaction() as tx:
        await workflow.lock_colony(tx, msg.colony_id)
        await tx.execute("delete_colony", colony_id=msg.colony_id, **call.intent.parameters)
    call.members.forget()
    call.hub.revoke(msg.colony_id, Forbidden(f"colony <{msg.colony_id}> was deleted"))


class GetColonies(Request):
    """No fields."""


@rpc("getcoloniesmsg", rule=server_owner)
async def get_colonies(call: Call, _msg: GetColonies, _: None) -> list[Colony]:
    """List all colonies by name."""
    return await call.db.fetch_all(Colony, "list_colonies")


class GetColony(Request):
    """The colony asked for."""

    colony_id: str


@rpc("getcolonymsg", rule=member_or_owner("colony_id"))
async def get_colony(call: Call, msg: GetColony, _: None) -> Colony:
    """Give a colony."""
    return (await call.db.fetch_all(Colony, "get_colony", colony_id=msg.colony_id))[0]


class GetColonyStats(Request):
    """The colony asked for."""

    colony_id: str


@rpc("getcolonystatsmsg", rule=member_or_owner("colony_id"))
async def get_colony_stats(call: Call, msg: GetColonyStats, _: None) -> Statistics:
    """Count everything in a colony."""
    return (await call.db.fetch_all(Statistics, "get_colony_statistics", colony_id=msg.colony_id))[
        0
    ]
