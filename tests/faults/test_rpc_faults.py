"""Whatever befalls a message on its way, what it asks for is done once, and answered."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest
from msgspec.structs import replace

from colonies.client import Colonies, connect
from colonies.client.work import Changes
from colonies.core.caller import Caller
from colonies.core.errors import DeadlineExceeded
from colonies.core.identity import PrivateKey
from colonies.core.process import State
from colonies.server.app import make_table
from colonies.server.call import Door
from tests.conftest import add_runtime
from tests.faults import effects, effects_of_logs, effects_of_recurring, effects_of_workflows
from tests.faults.effects import MANY, QUICKLY, Meanwhile, Story, World, closing, reading, releasing
from tests.faults.effects_of_recurring import reading_cron, reading_generator
from tests.faults.fault import ALWAYS, Fault, Kind, Message
from tests.faults.proxy import FaultProxy
from tests.server.doors import LONG, noticed, until

TRY = 0.3
"""Seconds after which a client asks again that would get no answer in any other way."""

pytestmark = pytest.mark.settings(timeout=2 * LONG)


async def subscribe_process(world: World) -> Story:
    process_id = await world.submit()
    through = world.faulty()
    changes = yield through.subscribe_process(process_id, states=[State.RUNNING, State.SUCCESS])
    await until(lambda: world.live() == 1, QUICKLY)
    await world.runtime.assign_process(timeout=-1)
    await world.runtime.close_successful(process_id)
    pushed = await received(changes, through, 2)
    assert [one.state for one in pushed] == [State.RUNNING, State.SUCCESS]
    await changes.close()
    assert world.live() == 0


async def subscribe_processes(world: World) -> Story:
    through = world.faulty()
    changes = yield through.subscribe_processes("cli", states=[State.WAITING])
    await until(lambda: world.live() == 1, QUICKLY)
    submitted = [await world.submit() for _ in range(MANY)]
    pushed = await received(changes, through, MANY)
    assert [one.process_id for one in pushed] == submitted
    await changes.close()
    assert world.live() == 0


async def subscribe_assignments(world: World) -> Story:
    """All of the credit can be used, twice."""
    through = world.faulty()
    await forget_members(world)
    changes = yield through.subscribe_assignments(credit=MANY)
    await until(lambda: world.idle() == 1, QUICKLY)
    for _ in range(2):
        await take_and_close(world, changes, {await world.submit() for _ in range(MANY)})
    await changes.close()
    await until(lambda: world.idle() == 0, QUICKLY)


async def subscribe_assignments_with_work_waiting(world: World) -> Story:
    """What is pushed before the caller knows that it has subscribed is not lost to it."""
    submitted = {await world.submit() for _ in range(MANY)}
    await forget_members(world)
    changes = yield world.faulty().subscribe_assignments(credit=MANY)
    await take_and_close(world, changes, submitted)
    await changes.close()


async def forget_members(world: World) -> None:
    """Let the hub look again who its callers are, as it does after a second in any case."""
    await world.owner.approve_runtime(world.people.pending.id)


async def take_and_close(world: World, changes: Changes, submitted: set[str]) -> None:
    pushed = await received(changes, world.faulty(), len(submitted))
    assert {one.process_id for one in pushed} == submitted
    for one in pushed:
        token = one.attempt_token
        await world.runtime.close_successful(one.process_id, attempt_token=token)
        row = await world.row(one.process_id)
        # A push that was never heard of is an attempt, but none that counts as one.
        assert (row["state"], row["retries"]) == (State.SUCCESS, 0)
        assert row["attempt"] == one.attempt <= 2


async def unsubscribe(world: World) -> Story:
    through = world.faulty()
    changes = await through.subscribe_processes("cli", states=[State.WAITING])
    assert (yield changes.close()) is None
    await until(lambda: world.live() == 0, QUICKLY)
    await world.submit()
    assert await received(changes, through, 0) == []
    assert world.live() == 0


async def unsubscribe_by_name(world: World) -> Story:
    through = world.faulty()
    changes = await through.subscribe_processes("cli", states=[State.WAITING])
    assert (yield through.unsubscribe(changes._stream.name)) is None
    await until(lambda: world.live() == 0, QUICKLY)


async def received(changes: Changes, through: Colonies, count: int) -> list[Any]:
    """Give so many pushes, after which no more has come."""
    async with asyncio.timeout(QUICKLY):
        pushed = [await anext(changes) for _ in range(count)]
    await through.get_caller()
    assert changes.unread() == []
    return pushed


async def leader(colonies: Colonies) -> str:
    """Ask for what of the hubs does not change from one look to the next."""
    return (await colonies.get_cluster()).leader.hub_id


TABLE = make_table()

# A row a payload type; what follows a colon is another story about the same one.
EFFECTS: dict[str, Callable[[World], Story]] = {
    "versionmsg": reading(lambda one, *_: one.version()),
    "getclustermsg": reading(lambda one, *_: leader(one), "server_owner"),
    "getstatisticsmsg": reading(lambda one, *_: one.get_statistics(), "server_owner"),
    "getcallermsg": reading(lambda one, *_: one.get_caller()),
    "addcolonymsg": effects.add_colony,
    "deletecolonymsg": effects.delete_colony,
    "resetdatabasemsg": effects.reset_database,
    "getcoloniesmsg": reading(lambda one, *_: one.get_colonies(), "server_owner"),
    "getcolonymsg": reading(lambda one, *_: one.get_colony()),
    "getcolonystatsmsg": reading(lambda one, *_: one.get_colony_stats()),
    "addruntimemsg": effects.add_runtime,
    "getruntimesmsg": reading(lambda one, *_: one.get_runtimes()),
    "getruntimemsg": reading(lambda one, world, _: one.get_runtime(world.people.runtime.id)),
    "approveruntimemsg": effects.approve_runtime,
    "rejectruntimemsg": effects.reject_runtime,
    "labelruntimemsg": effects.label_runtime,
    "updateruntimemsg": effects.update_runtime,
    "deleteruntimemsg": effects.delete_runtime,
    "addfunctionmsg": effects.add_function,
    "getfunctionsmsg": reading(lambda one, *_: one.get_functions()),
    "removefunctionmsg": effects.remove_function,
    "submitprocessespecmsg": effects.submit_process_spec,
    "submitprocessesmsg": effects.submit_processes,
    "assignprocessmsg": effects.assign_process,
    "assignprocessmsg:nothing": effects.nothing_to_assign,
    "getprocesshistmsg": reading(lambda one, *_: one.get_process_hist(State.RUNNING, 600)),
    "getprocessesmsg": reading(lambda one, *_: one.get_processes(State.RUNNING)),
    "getprocessmsg": reading(lambda one, _, process: one.get_process(process.process_id)),
    "getprocesseventsmsg": reading(
        lambda one, _, process: one.get_process_events(process.process_id)
    ),
    "whymsg": reading(lambda one, _, process: one.why(process.process_id)),
    "cancelprocessmsg": effects.cancel_process,
    "cancelprocessmsg:waiting": effects.cancel_what_waits,
    "deleteprocessmsg": effects.delete_process,
    "deleteallprocessesmsg": effects.delete_all_processes,
    "closesuccessfulmsg": closing(is_successful=True),
    "closesuccessfulmsg:tokenless": closing(is_successful=True, has_token=False),
    "closefailedmsg": closing(is_successful=False),
    "closeprocessesmsg": effects.close_processes,
    "releasemsg": releasing(has_token=True, is_taken_again=False),
    "releasemsg:taken-again": releasing(has_token=True, is_taken_again=True),
    "releasemsg:tokenless": releasing(has_token=False, is_taken_again=False),
    "releasemsg:tokenless-taken-again": releasing(has_token=False, is_taken_again=True),
    "renewmsg": effects.renew,
    "addcronmsg": effects_of_recurring.add_cron,
    "getcronmsg": reading_cron(lambda one, cron: one.get_cron(cron.cron_id)),
    "getcronsmsg": reading_cron(lambda one, _: one.get_crons()),
    "runcronmsg": effects_of_recurring.run_cron,
    "deletecronmsg": effects_of_recurring.delete_cron,
    "addgeneratormsg": effects_of_recurring.add_generator,
    "getgeneratormsg": reading_generator(lambda one, made: one.get_generator(made.generator_id)),
    "resolvegeneratormsg": reading_generator(lambda one, made: one.resolve_generator(made.name)),
    "getgeneratorsmsg": reading_generator(lambda one, _: one.get_generators()),
    "packgeneratormsg": effects_of_recurring.pack_generator,
    "deletegeneratormsg": effects_of_recurring.delete_generator,
    "addattributemsg": effects.add_attribute,
    "addattributemsg:tokenless-closed": effects.add_attribute_and_close,
    "submitworkflowspecmsg": effects_of_workflows.submit_workflow_spec,
    "addchildmsg": effects_of_workflows.add_child,
    "cancelprocessgraphmsg": effects_of_workflows.cancel_process_graph,
    "rescueprocessgraphmsg": effects_of_workflows.rescue_process_graph,
    "deleteprocessgraphmsg": effects_of_workflows.delete_process_graph,
    "deleteallprocessgraphsmsg": effects_of_workflows.delete_all_process_graphs,
    "getprocessgraphmsg": effects_of_workflows.get_process_graph,
    "getprocessgraphsmsg": effects_of_workflows.get_process_graphs,
    "getattributemsg": reading(
        lambda one, _, process: one.get_attribute(process.attributes[0].attribute_id)
    ),
    "addlogsmsg": effects_of_logs.add_logs,
    "getlogsmsg": effects_of_logs.get_logs,
    "subscribelogsmsg": effects_of_logs.subscribe_logs,
    "subscribeprocessmsg": subscribe_process,
    "subscribeprocessesmsg": subscribe_processes,
    "subscribeassignmentsmsg": subscribe_assignments,
    "subscribeassignmentsmsg:waiting": subscribe_assignments_with_work_waiting,
    "unsubscribemsg": unsubscribe,
    "unsubscribemsg:by-name": unsubscribe_by_name,
}


def type_of(row: str) -> str:
    return row.split(":", maxsplit=1)[0]


def test_there_is_a_row_for_every_rpc():
    assert {type_of(row) for row in EFFECTS} == TABLE.keys()


DOORS = {"ws": Door.WS, "api": Door.API}
CASES = [
    pytest.param(row, kind, door, id=f"{row}-{kind.name.lower().replace('_', '-')}-{door}")
    for row in EFFECTS
    for kind in Kind
    for door in DOORS
    if type_of(row) in TABLE and DOORS[door] in TABLE[type_of(row)].doors
]

NEVER_CAME = (Kind.DROP_REQUEST, Kind.RESET_MID_FRAME)
UNHEARD = (Kind.DROP_REPLY, Kind.RESET_AFTER_REQUEST)
ANSWERED = (Kind.DUPLICATE, Kind.TRICKLE)


@pytest.fixture
async def proxy(server):
    async with FaultProxy(server.port) as between:
        yield between


@pytest.fixture
def door(request) -> str:
    """Which way the client asks."""
    return getattr(request, "param", "ws")


@pytest.fixture
def there(proxy, settings, request):
    """Settings of who asks through faults, in no hurry where an answer comes however slowly."""
    kind = getattr(request.node, "callspec", None) and request.node.callspec.params.get("kind")
    patience = QUICKLY if kind in ANSWERED else TRY
    return replace(settings, server_port=proxy.port, try_timeout=patience)


@pytest.fixture
async def sql(database_url, db):
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def world(there, door, server, member, people, sql):  # noqa: PLR0917 - fixtures
    async with connect(there, http=door == "api") as through:
        world = World(through, member, people, server, sql)
        await first_answer(world.faulty())
        yield world


async def first_answer(through: Colonies) -> Caller:
    """Let a client know that there is a hub, however slow it is: only then does it try again."""
    async with asyncio.timeout(LONG):
        while True:
            try:
                return await through.get_caller()
            except DeadlineExceeded:
                continue


class Ordeal:
    """What one call goes through."""

    def __init__(self, world: World, proxy: FaultProxy, kind: Kind, payload_type: str) -> None:
        self._world = world
        self._proxy = proxy
        self._kind = kind
        self._type = payload_type

    async def undergo(self, call: Awaitable[Any], meanwhile: Meanwhile) -> Any:
        """Give the answer to a call that a fault befalls, when no copy of it is on its way."""
        before = self._answered() - self._proxy.requests[self._type]
        fault = arm(self._proxy, self._kind, self._type)
        asking = asyncio.ensure_future(call)
        try:
            if self._kind in UNHEARD:
                await fault.struck()
                await meanwhile()
            answer = await asking
            await fault.struck()
            if self._kind not in UNHEARD:
                await meanwhile()
            await self._settle(before)
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
        return answer

    async def _settle(self, before: int) -> None:
        """Wait until the hub has answered everything that it was asked."""
        if self._kind is Kind.DELAY:
            await noticed(self._world.server)
            return
        change = (self._kind is Kind.DUPLICATE) - (self._kind in NEVER_CAME)
        await until(
            lambda: self._answered() - self._proxy.requests[self._type] >= before + change, QUICKLY
        )

    def _answered(self) -> int:
        (metric,) = self._world.server.metrics.rpc_seconds.collect()
        return sum(
            int(one.value)
            for one in metric.samples
            if one.name.endswith("_count") and one.labels["rpc"] == self._type
        )


def arm(proxy: FaultProxy, kind: Kind, matching: Any, times: int = 1) -> Fault:
    """Arm a fault by its kind. What is delayed comes after it was asked for again."""
    if kind is Kind.DELAY:
        return proxy.delay(TRY * 2.5, matching, times=times)
    return getattr(proxy, kind.name.lower())(matching, times=times)


async def nothing() -> None:
    """Do nothing meanwhile."""


@pytest.mark.parametrize(("row", "kind", "door"), CASES, indirect=["door"])
async def test_every_call_is_done_once_and_answered(row, kind, world, proxy):
    story = EFFECTS[row](world)
    asked = await anext(story)
    call, meanwhile = asked if isinstance(asked, tuple) else (asked, nothing)
    answer = await Ordeal(world, proxy, kind, type_of(row)).undergo(call, meanwhile)
    with pytest.raises(StopAsyncIteration):
        await story.asend(answer)


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower().replace("_", "-"))
async def test_work_comes_again_when_a_lost_subscription_is_made_anew(kind, world, proxy):
    changes = await world.faulty().subscribe_assignments(credit=MANY)
    fault = arm(proxy, kind, "subscribeassignmentsmsg")
    proxy.cut()
    await fault.struck()
    await until(lambda: world.through._transport.is_subscribed(changes._stream), QUICKLY)
    await until(lambda: world.idle() == 1, QUICKLY)
    for _ in range(2):
        await take_and_close(world, changes, {await world.submit() for _ in range(MANY)})


@pytest.mark.parametrize("door", DOORS, indirect=True)
async def test_who_was_assigned_the_last_process_need_not_wait_for_another(world, proxy):
    only = await world.submit()
    fault = proxy.reset_after_request("assignprocessmsg")
    async with asyncio.timeout(QUICKLY):
        process = await world.faulty().assign_process(timeout=600)
    await fault.struck()
    row = await world.row(only)
    assert (process.process_id, process.attempt, row["attempt"]) == (only, 1, 1)
    assert process.attempt_token == row["attempt_token"]


async def test_a_wait_that_is_asked_for_twice_takes_one_wake_up(world, proxy):
    """What comes second goes to whoever waits beside."""
    fault = proxy.duplicate("assignprocessmsg")
    async with asyncio.timeout(QUICKLY), asyncio.TaskGroup() as group:
        first = group.create_task(world.faulty().assign_process(timeout=600))
        await fault.struck()
        await noticed(world.server)
        second = group.create_task(world.runtime.assign_process(timeout=600))
        await until(lambda: world.idle() >= 2)
        submitted = {await world.submit(), await world.submit()}
    assert {first.result().process_id, second.result().process_id} == submitted
    assert (first.result().attempt, second.result().attempt) == (1, 1)


class Dice:
    """Draws a fault for every tenth message."""

    def __init__(self, seed: str) -> None:
        self._random = random.Random(seed)
        self._messages = 0
        self._message: Message | None = None
        self._drawn: Kind | None = None
        self.struck: set[Kind] = set()

    def falls_on(self, kind: Kind) -> Callable[[Message], bool]:
        """Give whether it is this fault that was drawn for a message."""
        return lambda message: self._draw(message) is kind

    def _draw(self, message: Message) -> Kind | None:
        if message is not self._message:
            self._messages += 1
            self._message = message
            self._drawn = None
            if self._messages % 10 == 0:
                self._drawn = self._random.choice(list(Kind))
                self.struck.add(self._drawn)
        return self._drawn


ROUNDS = 4


async def take_part(colonies: Colonies, name: str) -> None:
    """Make twenty calls: what one submits, another may be assigned."""
    for one in range(ROUNDS):
        await colonies.submit("work", runtime_type="cli", name=f"{name}.{one}")
        process = await colonies.assign_process(timeout=5)
        id_, token = process.process_id, process.attempt_token
        added = await colonies.add_attribute(id_, "by", name, attempt_token=token)
        assert (await colonies.get_process(id_)).attributes == [added]
        await colonies.close_successful(id_, [f"{name}.{one}"], attempt_token=token)


@pytest.mark.settings(tick=0.05)
async def test_in_a_storm_of_faults_everything_is_done_once(world, there, proxy, client):
    """Ten runtimes make two hundred calls, and one message in ten is befallen."""
    keys = [PrivateKey.generate() for _ in range(10)]
    for key in keys:
        await add_runtime(client, world.people.colony_owner, key)
    dice = Dice("two hundred calls")
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connect(there, key=key, http=at % 2 == 0))
            for at, key in enumerate(keys)
        ]
        for colonies in clients:
            await colonies.get_caller()
        for kind in Kind:
            arm(proxy, kind, dice.falls_on(kind), ALWAYS)
        async with asyncio.TaskGroup() as group:
            for at, colonies in enumerate(clients):
                group.create_task(take_part(colonies, f"{at}"))
    await noticed(world.server)
    assert len(dice.struck) > 4
    names = sorted(f"{at}.{one}" for at in range(10) for one in range(ROUNDS))
    done = await world.owner.get_processes(State.SUCCESS)
    assert sorted(one.spec.name for one in done) == names
    assert sorted(one.output[0] for one in done) == names
    assert {(one.attempt, one.retries, len(one.attributes)) for one in done} == {(1, 0, 1)}
    assert await world.count("processes") == await world.count("attributes") == len(names)
