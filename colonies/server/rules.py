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
from colonies.core.cron import Cron
from colonies.core.errors import Conflict, Failure, Forbidden, NotFound, StaleAttempt
from colonies.core.generator import Generator
from colonies.core.process import Process
from colonies.core.process_graph import ProcessGraph
from colonies.core.runtime import Runtime
from colonies.server.call import Call
from colonies.server.lifecycle import Assignment

Check = Callable[[Call, Any], Awaitable[Any]]
Look = Callable[[Call, str], Awaitable[Any]]


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


def about(who: str) -> Callable[[Look], Callable[[str], Rule]]:
    """Make ``look(call, value)`` a rule about whatever field of a request it is given."""

    def name(look: Look) -> Callable[[str], Rule]:
        def of(field: str) -> Rule:
            value = attrgetter(field)

            async def check(call: Call, msg: Any) -> Any:
                return await look(call, value(msg))

            return Rule(who, check)

        of.__doc__ = look.__doc__
        return of

    return name


@about("the colony's owner")
async def colony_owner(call: Call, colony_id: str) -> Colony:
    """Let the owner of a colony call; the subject is the colony."""
    return await _owned_colony(call, colony_id)


@about("an approved runtime of the colony")
async def member(call: Call, colony_id: str) -> Runtime:
    """Let approved runtimes of a colony call; the subject is the runtime."""
    return await _approved_member(call, colony_id)


@about("an approved runtime of the colony, or its owner")
async def member_or_owner(call: Call, colony_id: str) -> None:
    """Let approved runtimes of a colony and its owner call."""
    await _member_or_owner(call, colony_id)


@about("any runtime of the colony, or its owner")
async def any_member_or_owner(call: Call, colony_id: str) -> None:
    """Let every runtime of a colony call, approved or not, and its owner."""
    if call.caller == colony_id:
        await _owned_colony(call, colony_id)
    else:
        await _membership(call, colony_id)


@about("the owner of the runtime's colony")
async def owner_of_runtime(call: Call, runtime_id: str) -> Runtime:
    """Let the owner of a runtime's colony call; the subject is the runtime."""
    runtime = await find_runtime(call, runtime_id)
    await _owned_colony(call, runtime.colony_id)
    return runtime


def itself_or_owner(colony: str, runtime: str) -> Rule:
    """Let an approved runtime call about itself, and its colony's owner; gives the runtime."""
    colony_of, named = attrgetter(colony), attrgetter(runtime)

    async def check(call: Call, msg: Any) -> Runtime:
        colony_id, runtime_id = colony_of(msg), named(msg)
        if call.caller == colony_id:
            await _owned_colony(call, colony_id)
            runtime = await find_runtime(call, runtime_id)
            await _owned_colony(call, runtime.colony_id)  # it may be in others alone
            return runtime
        caller = await _approved_member(call, colony_id)
        if runtime_id not in ("", caller.runtime_id):
            raise Forbidden("only the runtime itself and the owner of its colony may do this")
        return caller

    return Rule("the runtime itself, if it is approved, or its colony's owner", check)


@about("an approved runtime of the runtime's colony, or its owner")
async def fellow_of_runtime(call: Call, runtime_id: str) -> Runtime:
    """Let approved runtimes of a runtime's colony and its owner call; gives the runtime."""
    runtime = await find_runtime(call, runtime_id)
    await _member_or_owner(call, runtime.colony_id)
    return runtime


@about("an approved runtime of the process's colony, or its owner")
async def reader_of_process(call: Call, process_id: str) -> Process:
    """Let approved runtimes of a process's colony and its owner call; gives the process."""
    process = await find_process(call, process_id)
    await _member_or_owner(call, process.colony_id)
    return process


@about("an approved runtime of the process's colony")
async def member_of_process(call: Call, process_id: str) -> Process:
    """Let approved runtimes of a process's colony call; the subject is the process."""
    process = await find_process(call, process_id)
    await _approved_member(call, process.colony_id)
    return process


@about("an approved runtime of the graph's colony, or its owner")
async def reader_of_graph(call: Call, process_graph_id: str) -> ProcessGraph:
    """Let approved runtimes of a graph's colony and its owner call; gives the graph."""
    graph = await find_graph(call, process_graph_id)
    await _member_or_owner(call, graph.colony_id)
    return graph


@about("an approved runtime of the graph's colony")
async def member_of_graph(call: Call, process_graph_id: str) -> ProcessGraph:
    """Let approved runtimes of a graph's colony call; the subject is the graph."""
    graph = await find_graph(call, process_graph_id)
    await _approved_member(call, graph.colony_id)
    return graph


@about("an approved runtime of the cron's colony, or its owner")
async def reader_of_cron(call: Call, cron_id: str) -> Cron:
    """Let approved runtimes of a cron's colony and its owner call; gives the cron."""
    cron = await find_cron(call, cron_id)
    await _member_or_owner(call, cron.colony_id)
    return cron


@about("an approved runtime of the cron's colony")
async def member_of_cron(call: Call, cron_id: str) -> Cron:
    """Let approved runtimes of a cron's colony call; the subject is the cron."""
    cron = await find_cron(call, cron_id)
    await _approved_member(call, cron.colony_id)
    return cron


@about("an approved runtime of the generator's colony, or its owner")
async def reader_of_generator(call: Call, generator_id: str) -> Generator:
    """Let approved runtimes of a generator's colony and its owner call; gives the generator."""
    generator = await find_generator(call, generator_id)
    await _member_or_owner(call, generator.colony_id)
    return generator


@about("an approved runtime of the generator's colony")
async def member_of_generator(call: Call, generator_id: str) -> Generator:
    """Let approved runtimes of a generator's colony call; the subject is the generator."""
    generator = await find_generator(call, generator_id)
    await _approved_member(call, generator.colony_id)
    return generator


@about("an approved runtime of the attribute's colony, or its owner")
async def reader_of_attribute(call: Call, attribute_id: str) -> Attribute:
    """Let approved runtimes of an attribute's colony and its owner call; gives the attribute."""
    attribute = await find_attribute(call, attribute_id)
    await _member_or_owner(call, attribute.target_colony_id)
    return attribute


def assignee(of: str) -> Rule:
    """Let the approved runtime call that a process is assigned to; gives its attempt.

    That it is the assignee, the statement checks that makes the change; `refuse_assignee` then
    says why it did not.
    """
    process_id = attrgetter(of)

    async def check(call: Call, msg: Any) -> Assignment:
        colony_ids = await _colonies_worked_for(call)
        assignment = Assignment(process_id(msg), call.caller, colony_ids, msg.attempt_token)
        if not colony_ids:
            raise await refuse_assignee(call, assignment)
        return assignment

    return Rule("the runtime that the process is assigned to", check)


async def _assignee_of_any(call: Call, _msg: Any) -> list[str]:
    if colony_ids := await _colonies_worked_for(call):
        return colony_ids
    raise Forbidden(f"<{call.caller}> is not an approved runtime of any colony")


async def _colonies_worked_for(call: Call) -> list[str]:
    runtimes = [one for one in await call.members.of(call.caller) if one.is_approved]
    for runtime in runtimes:
        call.hub.hear(runtime)
    return [runtime.colony_id for runtime in runtimes]


assignee_of_any = Rule("the runtimes that the processes are assigned to", _assignee_of_any)


async def refuse_assignee(call: Call, assignment: Assignment) -> Failure:
    """Give why a change was not the caller's to make, or not possible any more."""
    process_id = assignment.process_id
    process = await find_process(call, process_id)
    await _approved_member(call, process.colony_id)
    if assignment.attempt_token:
        tokens = await call.db.fetch_rows(
            "get_attempt_token", colony_ids=assignment.colony_ids, process_id=process_id
        )
        is_same = (assignment.attempt_token,) in tokens
        if not is_same or process.assigned_runtime_id != call.caller:
            return StaleAttempt(f"this attempt at process <{process_id}> is over")
    elif process.assigned_runtime_id != call.caller:
        return Forbidden(f"process <{process_id}> is not assigned to the caller")
    return Conflict(f"process <{process_id}> is not running but {process.state.name.lower()}")


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
    if await call.members.colony_of(call.caller):
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


async def find_graph(call: Call, process_graph_id: str) -> ProcessGraph:
    """Give a graph of the caller's colonies; NotFound for all others, there or not."""
    return await call.db.fetch_one(
        ProcessGraph,
        "get_process_graph",
        process_graph_id=process_graph_id,
        caller=call.caller,
        missing=NotFound(f"there is no workflow <{process_graph_id}>"),
    )


async def find_cron(call: Call, cron_id: str) -> Cron:
    """Give a cron of the caller's colonies; NotFound for all others, there or not."""
    return await call.db.fetch_one(
        Cron,
        "get_cron",
        cron_id=cron_id,
        caller=call.caller,
        missing=NotFound(f"there is no cron <{cron_id}>"),
    )


async def find_generator(call: Call, generator_id: str) -> Generator:
    """Give a generator of the caller's colonies; NotFound for all others, there or not."""
    return await call.db.fetch_one(
        Generator,
        "get_generator",
        generator_id=generator_id,
        caller=call.caller,
        missing=NotFound(f"there is no generator <{generator_id}>"),
    )


async def find_attribute(call: Call, attribute_id: str) -> Attribute:
    """Give an attribute of the caller's colonies; NotFound for all others, there or not."""
    return await call.db.fetch_one(
        Attribute,
        "get_attribute",
        attribute_id=attribute_id,
        caller=call.caller,
        missing=NotFound(f"there is no attribute <{attribute_id}>"),
    )


async def find_runtime(call: Call, runtime_id: str) -> Runtime:
    """Give a runtime of the caller's colonies; NotFound for all others, there or not."""
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
