"""Functions: what runtimes say they can run."""

from __future__ import annotations

from colonies.core import wire
from colonies.core.errors import Conflict, NotFound
from colonies.core.function import Arguments, Description, Function, Name, check_function
from colonies.core.runtime import Runtime
from colonies.core.wire import Wire
from colonies.server.call import Call
from colonies.server.intent import Seen
from colonies.server.rpc import Request, rpc
from colonies.server.rules import member, member_or_owner

MAX_FUNCTIONS = 1000
"""Functions that one runtime announces at most."""

MAX_LISTED = 10_000
"""Functions that one list gives at most."""


class NewFunction(Wire):
    """What a runtime says of a function; whose it is the hub knows."""

    name: Name
    description: Description = ""
    args: Arguments = []


class AddFunction(Request):
    """A function that the caller can run."""

    colony_id: str
    function: NewFunction


async def _added(call: Call, msg: AddFunction, _seen: Seen) -> Function:
    name = msg.function.name
    return await call.db.fetch_one(
        Function,
        "list_functions",
        colony_id=msg.colony_id,
        runtime_id=call.caller,
        name=name,
        count=1,
        missing=NotFound(f"<{call.caller}> announces no function {name!r}"),
    )


@rpc("addfunctionmsg", rule=member("colony_id"), again=_added)
async def add_function(call: Call, msg: AddFunction, runtime: Runtime) -> Function:
    """Announce a function of the caller, in place of what it said of one of this name."""
    new = msg.function
    check_function(new.args, "function")
    added = await call.db.fetch_maybe(
        Function,
        "add_function",
        colony_id=msg.colony_id,
        runtime_id=runtime.runtime_id,
        name=new.name,
        description=new.description,
        args=wire.encode(new.args).decode(),
        most=MAX_FUNCTIONS,
        **call.intent.parameters,
    )
    if added is None:
        raise Conflict(f"a runtime that is let in announces {MAX_FUNCTIONS} functions at most")
    call.members.forget()
    return added


class GetFunctions(Request):
    """The colony asked for; of one runtime, or of one name, where they are given."""

    colony_id: str
    runtime_id: str = ""
    name: str = ""


@rpc("getfunctionsmsg", rule=member_or_owner("colony_id"))
async def get_functions(call: Call, msg: GetFunctions, _: None) -> list[Function]:
    """List what the approved runtimes of a colony announce, by name; at most 10,000."""
    return await call.db.fetch_all(
        Function,
        "list_functions",
        colony_id=msg.colony_id,
        runtime_id=msg.runtime_id,
        name=msg.name,
        count=MAX_LISTED,
    )


class RemoveFunction(Request):
    """The function of the caller that is no more."""

    colony_id: str
    name: str


@rpc("removefunctionmsg", rule=member("colony_id"))
async def remove_function(call: Call, msg: RemoveFunction, runtime: Runtime) -> None:
    """Take back a function that the caller announced; one that is not there is no error."""
    await call.db.execute(
        "delete_function",
        colony_id=msg.colony_id,
        runtime_id=runtime.runtime_id,
        name=msg.name,
        **call.intent.parameters,
    )
    call.members.forget()
