"""Who may call what.

A rule looks at who signed the message and at what it is about; it gives the handler that subject,
or refuses. What the caller may not know of is NotFound, exactly as if it were not there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import Any

import msgspec

from colonies.core.attribute import Attribute
from colonies.core.colony import Colony
from colonies.core.errors import Conflict, Failure, Forbidden, NotFound
from colonies.core.process import Process
from colonies.core.runtime import Runtime
from colonies.server.call import Call
from colonies.server.lifecycle import Assignment

Check = Callable[[Call, Any], Awaitable[Any]]


class Rule(msgspec.Struct, frozen=True):
    """Who may call, in words and as a check; the words are published in the docs."""

    who: str
    check: Check
    is_signed: bool = True


async def _nothing(_call: Call, _msg: Any) -> None:
    """Look at nothing: whoever could sign may call."""


anyone = Rule("anyone, unsigned", _nothing, is_signed=False)
any_key = Rule("any key", _nothing)


async def _server_owner(call: Call, _msg: Any) -> None:
    if call.caller != call.settings.server_id:
        raise Forbidden("only the owner of the hub may do this")


server_owner = Rule("the hub's owner", _server_owner)


def colony_owner(of: str) -> Rule:
    """Let the owner of the colony named in field ``of`` call; the subject is the colony."""
    path = attrgetter(of)

    async def check(call: Call, msg: Any) -> Colony:
        return await _owned_colony(call, path(msg))

    return Rule("the colony's owner", check)


def member(of: str) -> Rule:
    """Let approved runtimes of the colony in field ``of`` call; the subject is the runtime."""
    path = attrgetter(of)

    async def check(call: Call, msg: Any) -> Runtime:
        return await _approved_member(call, path(msg))

    return Rule("an approved runtime of the colony", check)


def member_or_owner(of: str) -> Rule:
    """Let approved runtimes and the owner of the colony in field ``of`` call."""
    path = attrgetter(of)

    async def check(call: Call, msg: Any) -> None:
        await _member_or_owner(call, path(msg))

    return Rule("an approved runtime of the colony, or its owner", check)


def any_member_or_owner(of: str) -> Rule:
    """Let every runtime of the colony call, approved or not, and its owner."""
    path = attrgetter(of)

    async def check(call: Call, msg: Any) -> None:
        colony_id = path(msg)
        if call.caller == colony_id:
            await _owned_colony(call, colony_id)
        else:
            await _membership(call, colony_id)

    return Rule("any runtime of the colony, or its owner", check)


def owner_of_runtime(of: str) -> Rule:
    """Let the owner of the runtime's colony call; the subject is the runtime."""
    path = attrgetter(of)

    async def check(call: Call, msg: Any) -> Runtime:
        runtime = await _runtime(call, path(msg))
        await _owned_colony(call, runtime.colony_id)
        return runtime

    return Rule("the owner of the runtime's colony", check)


def fellow_of_runtime(of: str) -> Rule:
    """Let approved runtimes of the runtime's colony and its owner call; gives the runtime."""
    path = attrgetter(of)

    async def check(call: Call, msg: Any) -> Runtime:
        runtime = await _runtime(call, path(msg))
        await _member_or_owner(call, runtime.colony_id)
        return runtime

    return Rule("an approved runtime of the runtime's colony, or its owner", check)


def reader_of_process(of: str) -> Rule:
    """Let approved runtimes of the process's colony and its owner call; gives the process."""
    path = attrgetter(of)

    async def check(call: Call, msg: Any) -> Process:
        process = await find_process(call, path(msg))
        await _member_or_owner(call, process.colony_id)
        return process

    return Rule("an approved runtime of the process's colony, or its owner", check)


def member_of_process(of: str) -> Rule:
    """Let approved runtimes of the process's colony call; the subject is the process."""
    path = attrgetter(of)

    async def check(call: Call, msg: Any) -> Process:
        process = await find_process(call, path(msg))
        await _approved_member(call, process.colony_id)
        return process

    return Rule("an approved runtime of the process's colony", check)


def assignee(of: str) -> Rule:
    """Let the approved runtime call that the process is assigned to; gives its assignment.

    That it is the assignee, the statement checks that makes the change; `refuse_assignee` then
    says why it did not.
    """
    path = attrgetter(of)

    async def check(call: Call, msg: Any) -> Assignment:
        runtimes = [one for one in await call.members.of(call.caller) if one.is_approved]
        if not runtimes:
            raise await refuse_assignee(call, path(msg))
        for runtime in runtimes:
            call.hub.hear(runtime)
        return Assignment(path(msg), call.caller, [runtime.colony_id for runtime in runtimes])

    return Rule("the runtime that the process is assigned to", check)


async def refuse_assignee(call: Call, process_id: str) -> Failure:
    """Give why a change was not the caller's to make, or not possible any more."""
    process = await find_process(call, process_id)
    await _approved_member(call, process.colony_id)
    if process.assigned_runtime_id != call.caller:
        return Forbidden(f"process <{process_id}> is not assigned to the caller")
    return Conflict(f"process <{process_id}> is not running but {process.state.name.lower()}")


def reader_of_attribute(of: str) -> Rule:
    """Let approved runtimes of the attribute's colony and its owner call; gives the attribute."""
    path = attrgetter(of)

    async def check(call: Call, msg: Any) -> Attribute:
        attribute_id = path(msg)
        attribute = await call.db.fetch_one(
            Attribute,
            "get_attribute",
            attribute_id=attribute_id,
            caller=call.caller,
            missing=NotFound(f"there is no attribute <{attribute_id}>", field=of),
        )
        await _member_or_owner(call, attribute.target_colony_id)
        return attribute

    return Rule("an approved runtime of the attribute's colony, or its owner", check)


async def _members_colonies(call: Call, _msg: Any) -> frozenset[str]:
    colony_ids = await colonies_of(call)
    if not colony_ids:
        raise Forbidden(f"<{call.caller}> is not an approved runtime of any colony")
    return colony_ids


member_somewhere = Rule("an approved runtime, or a colony's owner", _members_colonies)


async def colonies_of(call: Call) -> frozenset[str]:
    """Give the colonies whose processes the caller may read."""
    runtimes = await call.members.of(call.caller)
    colony_ids = {runtime.colony_id for runtime in runtimes if runtime.is_approved}
    if await call.db.fetch_maybe(Colony, "get_colony", colony_id=call.caller):
        colony_ids.add(call.caller)
    return frozenset(colony_ids)


async def find_process(call: Call, process_id: str) -> Process:
    """Give a process of the caller's colonies; NotFound for all others, there or not."""
    return await call.db.fetch_one(
        Process,
        "get_process",
        process_id=process_id,
        caller=call.caller,
        missing=NotFound(f"there is no process <{process_id}>"),
    )


async def _runtime(call: Call, runtime_id: str) -> Runtime:
    return await call.db.fetch_one(
        Runtime,
        "get_runtime",
        runtime_id=runtime_id,
        caller=call.caller,
        missing=NotFound(f"there is no runtime <{runtime_id}>"),
    )


async def _owned_colony(call: Call, colony_id: str) -> Colony:
    refusal = Forbidden(f"only the owner of colony <{colony_id}> may do this")
    if call.caller != colony_id:
        raise refusal
    return await call.db.fetch_one(Colony, "get_colony", colony_id=colony_id, missing=refusal)


async def _member_or_owner(call: Call, colony_id: str) -> None:
    if call.caller == colony_id:
        await _owned_colony(call, colony_id)
    else:
        await _approved_member(call, colony_id)


async def _approved_member(call: Call, colony_id: str) -> Runtime:
    runtime = await _membership(call, colony_id)
    if not runtime.is_approved:
        raise not_approved(runtime)
    return runtime


async def _membership(call: Call, colony_id: str) -> Runtime:
    for runtime in await call.members.of(call.caller):
        if runtime.colony_id == colony_id:
            return runtime
    raise Forbidden(f"<{call.caller}> is not a member of colony <{colony_id}>")


def not_approved(runtime: Runtime) -> Failure:
    """Give what a runtime hears that is not, or not any more, let in."""
    return Forbidden(f"runtime <{runtime.runtime_id}> is not approved")
