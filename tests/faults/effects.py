"""The one effect of each RPC: how it is asked for, and what there is to see of it afterwards.

A story is a generator: it prepares, yields the call that a fault is to befall, is sent the answer,
and looks. With the call it may yield a ``meanwhile``, which undoes the effect by hand once it is
there, so that a request that is done a second time is seen to be.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg

from colonies.client import Colonies
from colonies.core.colony import Colony
from colonies.core.errors import NothingToAssign
from colonies.core.function import Function
from colonies.core.identity import PrivateKey
from colonies.core.process import AttemptEnd, Conditions, Process, ProcessSpec, State
from colonies.core.runtime import Approval, Figures, Runtime
from colonies.server.app import Server
from tests.conftest import People, held
from tests.server.doors import LONG

QUICKLY = LONG
"""Seconds within which everything has come that comes at all: no test lasts as long."""

MANY = 3
EVERY_CHANGE = (State.WAITING, State.RUNNING, State.SUCCESS)


@dataclass
class World:
    """A colony as seen through faults, past them, and in the database."""

    through: Colonies
    past: Colonies
    people: People
    server: Server
    sql: asyncpg.Connection

    @property
    def runtime(self) -> Colonies:
        """Our runtime, past every fault."""
        return self.past.acting_as(self.people.runtime)

    @property
    def owner(self) -> Colonies:
        """The owner of our colony, past every fault."""
        return self.past.acting_as(self.people.colony_owner)

    def faulty(self, key: PrivateKey | None = None) -> Colonies:
        """Give our runtime, or somebody else, through faults."""
        return self.through.acting_as(key or self.people.runtime)

    async def submit(self, name: str = "", **options: Any) -> str:
        """Have a process waiting."""
        return (await self.runtime.submit("work", runtime_type="cli", name=name, **options)).id

    async def start(self, **options: Any) -> Process:
        """Have a process running."""
        await self.submit(**options)
        return await self.runtime.assign_process(timeout=-1)

    async def row(self, process_id: str) -> asyncpg.Record | None:
        """Give a process as it is stored."""
        query = """
            SELECT *, jsonb_array_length(past) AS endings FROM processes WHERE process_id = $1
        """
        return await self.sql.fetchrow(query, process_id)

    async def count(self, table: str, **columns: Any) -> int:
        """Count rows."""
        where = " AND ".join(f"{name} = ${at}" for at, name in enumerate(columns, 1)) or "true"
        query = f"SELECT count(*) FROM {table} WHERE {where}"
        return await self.sql.fetchval(query, *columns.values())

    async def approval(self, runtime_id: str) -> Approval | None:
        """Give what was decided about a runtime."""
        query = "SELECT state FROM runtimes WHERE runtime_id = $1"
        state = await self.sql.fetchval(query, runtime_id)
        return None if state is None else Approval(state)

    def live(self) -> int:
        """Count the subscriptions to changes that the hub has."""
        return len(self.server.hub.listeners)

    def idle(self) -> int:
        """Count the subscriptions to assignments and the long polls that the hub has."""
        return len(self.server.hub.lines)


Meanwhile = Callable[[], Awaitable[None]]
Call = Awaitable[Any]
Story = AsyncGenerator[Call | tuple[Call, Meanwhile], Any]


def reading(
    ask: Callable[[Colonies, World, Process], Call], who: str = "runtime"
) -> Callable[[World], Story]:
    """Tell of a question: its answer is the one that is given past every fault."""

    async def story(world: World) -> Story:
        key = getattr(world.people, who)
        process = await world.start()
        await world.submit()
        await world.runtime.add_function(Function(name="f"))
        added = await world.runtime.add_attribute(process.process_id, "key", "value")
        process.attributes.append(added)
        expected = await ask(world.past.acting_as(key), world, process)
        assert expected
        assert (yield ask(world.faulty(key), world, process)) == expected
        assert await world.count("processes") == 2

    return story


# The hub, colonies, runtimes.


async def add_colony(world: World) -> Story:
    new = PrivateKey.generate().id
    past = world.past.acting_as(world.people.server_owner)

    async def meanwhile() -> None:
        assert await world.count("colonies", colony_id=new) == 1
        await past.delete_colony(new)

    adding = world.faulty(world.people.server_owner).add_colony(new, "new")
    assert (yield adding, meanwhile) == Colony(colony_id=new, name="new")
    assert await world.count("colonies", colony_id=new) == 0


async def delete_colony(world: World) -> Story:
    ours = world.people.colony_owner.id
    past = world.past.acting_as(world.people.server_owner)
    await world.start()

    async def meanwhile() -> None:
        for table in ("colonies", "runtimes", "processes"):
            assert await world.count(table, colony_id=ours) == 0
        await past.add_colony(ours)

    assert (yield world.faulty(world.people.server_owner).delete_colony(ours), meanwhile) is None
    assert await world.count("colonies", colony_id=ours) == 1
    assert await world.count("colonies") == 2


async def reset_database(world: World) -> Story:
    past = world.past.acting_as(world.people.server_owner)
    await world.start()

    async def meanwhile() -> None:
        for table in ("colonies", "runtimes", "processes", "attributes"):
            assert await world.count(table) == 0
        await past.add_colony(world.people.colony_owner.id)

    assert (yield world.faulty(world.people.server_owner).reset_database(), meanwhile) is None
    assert await world.count("colonies") == 1


async def add_runtime(world: World) -> Story:
    new = PrivateKey.generate().id
    runtime = Runtime(runtime_id=new, name="new", colony_id=world.people.colony_owner.id)

    async def meanwhile() -> None:
        assert await world.count("runtimes", runtime_id=new) == 1
        await world.owner.approve_runtime(new)

    added = yield world.faulty(world.people.colony_owner).add_runtime(runtime), meanwhile
    assert (added.runtime_id, added.name) == (new, "new")
    assert await world.approval(new) is Approval.APPROVED
    assert await world.count("runtimes", runtime_id=new) == 1


async def approve_runtime(world: World) -> Story:
    pending = world.people.pending.id

    async def meanwhile() -> None:
        assert await world.approval(pending) is Approval.APPROVED
        await world.owner.reject_runtime(pending)

    faulty = world.faulty(world.people.colony_owner)
    assert (yield faulty.approve_runtime(pending), meanwhile) is None
    assert await world.approval(pending) is Approval.REJECTED


async def reject_runtime(world: World) -> Story:
    pending = world.people.pending.id

    async def meanwhile() -> None:
        assert await world.approval(pending) is Approval.REJECTED
        await world.owner.approve_runtime(pending)

    faulty = world.faulty(world.people.colony_owner)
    assert (yield faulty.reject_runtime(pending), meanwhile) is None
    assert await world.approval(pending) is Approval.APPROVED


async def delete_runtime(world: World) -> Story:
    process = await world.start()
    runtime = await world.owner.get_runtime(world.people.runtime.id)

    async def meanwhile() -> None:
        assert await world.approval(runtime.runtime_id) is None
        await world.owner.add_runtime(runtime)

    faulty = world.faulty(world.people.colony_owner)
    assert (yield faulty.delete_runtime(runtime.runtime_id), meanwhile) is None
    assert await world.approval(runtime.runtime_id) is Approval.PENDING
    row = await world.row(process.process_id)
    assert (row["state"], row["attempt"], row["endings"]) == (State.WAITING, 1, 1)


async def label_runtime(world: World) -> Story:
    async def meanwhile() -> None:
        assert await world.count("runtimes", labels='{"rack": "1"}') == 1
        await world.runtime.label_runtime({"rack": "2"})

    assert (yield world.faulty().label_runtime({"rack": "1"}), meanwhile) is None
    assert await world.count("runtimes", labels='{"rack": "2"}') == 1


async def update_runtime(world: World) -> Story:
    async def meanwhile() -> None:
        assert await world.count("runtimes", cores=7) == 1
        await world.runtime.update_runtime(Figures(cores=8, mem=1, gpus=0))

    figures = Figures(cores=7, mem=1, gpus=0)
    assert (yield world.faulty().update_runtime(figures), meanwhile) is None
    assert await world.count("runtimes", cores=8) == 1


# Functions.


async def add_function(world: World) -> Story:
    async def meanwhile() -> None:
        assert await world.count("functions", name="f", description="first") == 1
        await world.runtime.add_function(Function(name="f", description="second"))

    added = yield world.faulty().add_function(Function(name="f", description="first")), meanwhile
    assert (added.name, added.runtime_id) == ("f", world.people.runtime.id)
    assert await world.count("functions", description="second") == 1
    assert await world.count("functions") == 1


async def remove_function(world: World) -> Story:
    function = await world.runtime.add_function(Function(name="f"))

    async def meanwhile() -> None:
        assert await world.count("functions") == 0
        await world.runtime.add_function(function)

    assert (yield world.faulty().remove_function("f"), meanwhile) is None
    assert await world.count("functions") == 1


# Processes.


async def submit_process_spec(world: World) -> Story:
    conditions = Conditions(colony_id=world.people.colony_owner.id, runtime_type="cli")
    spec = ProcessSpec(func="work", env={"A": "1"}, conditions=conditions)
    process = yield world.faulty().submit_process_spec(spec)
    assert await world.count("processes") == 1
    assert await world.count("attributes") == 1
    assert process == await world.runtime.get_process(process.process_id)


async def submit_processes(world: World) -> Story:
    conditions = Conditions(runtime_type="cli")
    specs = [ProcessSpec(func=name, env={"A": "1"}, conditions=conditions) for name in "abc"]
    ids = yield world.faulty().submit_processes(specs)
    assert await world.count("processes") == await world.count("attributes") == len(specs)
    assert [(await world.runtime.get_process(id_)).spec.func for id_ in ids] == ["a", "b", "c"]


async def assign_process(world: World) -> Story:
    submitted = {await world.submit() for _ in range(MANY)}
    process = yield world.faulty().assign_process(timeout=-1)
    row = await world.row(process.process_id)
    assert (row["attempt"], row["attempt_token"]) == (1, process.attempt_token)
    assert row["assigned_runtime_id"] == world.people.runtime.id
    waiting = await world.runtime.get_processes(State.WAITING)
    assert {one.process_id for one in waiting} == submitted - {process.process_id}
    assert {one.attempt for one in waiting} == {0}
    token = process.attempt_token
    await world.runtime.close_successful(process.process_id, attempt_token=token)
    assert await world.count("processes", state=State.SUCCESS) == 1


async def cancel_process(world: World) -> Story:
    """Its runtime is told, once."""
    process_id = await world.submit()
    async with await world.runtime.subscribe_assignments(credit=1) as pushed:
        assert (await anext(pushed)).process_id == process_id
        owner = world.faulty(world.people.colony_owner)
        cancelled = yield owner.cancel_process(process_id, "enough")
        assert (cancelled.state, cancelled.cancel_reason) == (State.RUNNING, "enough")
        assert (await anext(pushed)).cancelled_by == world.people.colony_owner.id
        await world.runtime.get_caller()
        assert pushed.unread() == []
    row = await world.row(process_id)
    assert (row["state"], row["cancel_time"]) == (State.RUNNING, cancelled.cancel_time)


async def cancel_what_waits(world: World) -> Story:
    process_id = await world.submit()
    cancelled = yield world.faulty().cancel_process(process_id)
    row = await world.row(process_id)
    assert (cancelled.state, cancelled.end_time) == (State.CANCELLED, row["end_time"])


async def delete_process(world: World) -> Story:
    """It goes with its attributes; whoever held it has its credit back, once."""
    process_id = await world.submit()
    async with await world.runtime.subscribe_assignments(credit=1) as pushed:
        process = await anext(pushed)
        token = process.attempt_token
        await world.runtime.add_attribute(process_id, "key", "value", attempt_token=token)
        others = [await world.submit() for _ in range(MANY)]
        assert (yield world.faulty().delete_process(process_id)) is None
        assert (await anext(pushed)).process_id == others[0]
        await world.runtime.get_caller()
        assert pushed.unread() == []
    assert await world.row(process_id) is None
    assert await world.count("attributes") == 0
    assert await world.count("processes", state=State.WAITING) == MANY - 1


async def delete_all_processes(world: World) -> Story:
    for _ in range(MANY):
        await world.submit()

    async def meanwhile() -> None:
        assert await world.count("processes") == 0
        await world.submit()

    faulty = world.faulty(world.people.colony_owner)
    assert (yield faulty.delete_all_processes(), meanwhile) is None
    assert await world.count("processes") == 1


def closing(*, is_successful: bool, has_token: bool = True) -> Callable[[World], Story]:
    """Tell of an end of either kind."""

    async def story(world: World) -> Story:
        process, other = await world.start(), await world.start()
        faulty, token = world.faulty(), process.attempt_token if has_token else ""
        close = faulty.close_successful if is_successful else faulty.close_failed
        assert (yield close(process.process_id, ["said"], attempt_token=token)) is None
        row = await world.row(process.process_id)
        said = row["output"] if is_successful else row["errors"]
        assert (said, row["attempt"], row["endings"]) == (["said"], 1, 0)
        assert row["state"] == (State.SUCCESS if is_successful else State.FAILED)
        assert (await world.row(other.process_id))["state"] == State.RUNNING
        events = await world.runtime.get_process_events(process.process_id)
        assert len(events) == 3

    return story


async def close_processes(world: World) -> Story:
    processes = [await world.start() for _ in range(MANY)]
    states = (State.SUCCESS, State.FAILED)
    ends = [
        AttemptEnd(one.process_id, one.attempt_token, state, output=["said"])
        for one, state in zip(processes, states, strict=False)
    ]
    assert (yield world.faulty().close_processes(ends)) == [None, None]
    for one, state in zip(processes, (*states, State.RUNNING), strict=True):
        row = await world.row(one.process_id)
        assert (row["state"], row["attempt"], row["endings"]) == (state, 1, 0)


def releasing(*, has_token: bool, is_taken_again: bool) -> Callable[[World], Story]:
    """Tell of a release; the next attempt, by the same runtime, is not touched by it."""

    async def story(world: World) -> Story:
        process = await world.start()
        token = process.attempt_token if has_token else ""

        async def meanwhile() -> None:
            assert (await world.row(process.process_id))["state"] == State.WAITING
            if is_taken_again:
                await world.runtime.assign_process(timeout=-1)

        released = world.faulty().release(process.process_id, attempt_token=token)
        assert (yield released, meanwhile) is None
        row = await world.row(process.process_id)
        state, attempt = (State.RUNNING, 2) if is_taken_again else (State.WAITING, 1)
        assert (row["state"], row["attempt"]) == (state, attempt)
        assert (row["endings"], row["retries"]) == (1, 0)

    return story


async def renew(world: World) -> Story:
    await world.submit()
    process = await world.runtime.assign_process(timeout=-1, leased=True)
    gone = held(await world.start())
    await world.runtime.release(gone.process_id)
    assert (yield world.faulty().renew([held(process), gone])) == [gone.process_id]
    row = await world.row(process.process_id)
    assert row["leased_until"] > process.leased_until
    assert (row["attempt"], row["attempt_token"]) == (1, process.attempt_token)


async def add_attribute(world: World) -> Story:
    process = await world.start()
    token = process.attempt_token
    adding = world.faulty().add_attribute(process.process_id, "key", "value", attempt_token=token)
    attribute = yield adding
    assert attribute == await world.runtime.get_attribute(attribute.attribute_id)
    assert await world.count("attributes", target_id=process.process_id) == 1


async def add_attribute_and_close(world: World) -> Story:
    """Without a token, as v1 has it; the process has ended before it is asked again."""
    process = await world.start()

    async def meanwhile() -> None:
        await world.runtime.close_successful(process.process_id)

    attribute = yield world.faulty().add_attribute(process.process_id, "key", "value"), meanwhile
    assert (attribute.key, attribute.value) == ("key", "value")
    assert await world.count("attributes", target_id=process.process_id) == 1


async def nothing_to_assign(world: World) -> Story:
    """What could not be done may well be asked again, and is not done either."""

    async def nothing() -> bool:
        try:
            await world.faulty().assign_process(timeout=-1)
        except NothingToAssign:
            return True
        return False

    assert (yield nothing())
