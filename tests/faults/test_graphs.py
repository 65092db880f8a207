"""What is found in workflows that a correct hub cannot have left, and workflows under kills."""

import asyncio
import time
from contextlib import AsyncExitStack

import asyncpg
import pytest
from msgspec.structs import replace

from tests.faults.graph_drivers import Spoiler, Worker, random_workflow, until_ended
from tests.faults.graphs import Graph, Member, Stored, judge_graphs, read
from tests.faults.story import CANCELLED, FAILED, RUNNING, SUCCESS
from tests.faults.world import TIMES, TYPE, explain, pause, report, schedule, world

RUNTIMES = 6
SUBMITTERS = 2
KILLS = 8 * TIMES
MOST_MEMBERS = 60 if TIMES == 1 else 200


def member(name: str, state: int = SUCCESS, *, parents: str = "", children: str = "", **more):
    at = ord(name) * 10.0
    plain = {
        "process_id": name, "graph_id": "g", "name": name, "state": state, "attempt": 1,
        "parents": list(parents), "children": list(children), "input": list(parents),
        "output": [name], "errors": [], "cancelled_by": "", "start": at, "end": at + 5,
    }  # fmt: skip
    return Member(**plain | more)


A = member("a", children="b")
B = member("b", parents="a", children="c")
C = member("c", parents="b")
GRAPH = Graph(
    graph_id="g", state=SUCCESS, members=3, successful=3, failed=0, cancelled=0,
    on_failure="continue", roots=["a"], start=A.start, end=C.end,
)  # fmt: skip


def stored(*members: Member, graph: Graph | None = GRAPH, submitted: int = 3) -> Stored:
    graphs = {} if graph is None else {"g": graph}
    return Stored(graphs, {one.process_id: one for one in members}, {"g": submitted})


FAILED_A = replace(A, state=FAILED, output=[])
UNSTARTED = {"attempt": 0, "start": None, "input": [], "output": []}
AFTER_FAILURE = replace(GRAPH, state=FAILED, successful=0, failed=3, end=FAILED_A.end)
DOOMED = [replace(one, state=FAILED, end=A.end, **UNSTARTED) for one in (B, C)]


@pytest.mark.parametrize("world", [stored(A, B, C), stored(FAILED_A, *DOOMED, graph=AFTER_FAILURE)])
def test_what_is_right_is_not_complained_of(world):
    assert judge_graphs(world) == []


@pytest.mark.parametrize(
    ("world", "kind"),
    [
        (stored(A, B), "half written"),
        (stored(A, B, C, graph=None), "half written"),
        (stored(A, B, C, submitted=4), "half written"),
        (stored(graph=None), "half written"),
        (stored(A, B, replace(C, parents=[])), "half written"),
        (stored(A, B, replace(C, state=RUNNING, end=None)), "never ended"),
        (stored(A, B, C, graph=replace(GRAPH, state=RUNNING, end=None)), "never ended"),
        (stored(A, replace(B, start=A.end - 1), C), "early child"),
        (stored(FAILED_A, B, C), "early child"),
        (stored(A, replace(B, input=[]), C), "wrong input"),
        (stored(A, B, C, graph=replace(GRAPH, successful=2)), "wrong counts"),
        (stored(A, B, C, graph=replace(GRAPH, state=FAILED)), "wrong counts"),
        (stored(A, B, C, graph=replace(GRAPH, end=1.0)), "wrong counts"),
        (stored(A, B, C, graph=replace(GRAPH, start=B.start)), "wrong counts"),
        (stored(A, B, replace(C, state=FAILED, **UNSTARTED)), "groundless"),
        (stored(FAILED_A, replace(B, state=CANCELLED, **UNSTARTED), C), "groundless"),
    ],
)
def test_what_is_wrong_is_found(world, kind):
    assert kind in {violation.kind for violation in judge_graphs(world)}


@pytest.mark.faults
@pytest.mark.timeout(300 * TIMES)
async def test_workflows_end_whole_and_in_order_when_the_hub_is_killed(tmp_path):
    """Random graphs with failures, cancels and children added, while the hub is killed."""
    dice, work = schedule("graph kill"), schedule("graph kill, the work")
    started = time.monotonic()
    is_over = asyncio.Event()
    submitted: dict[str, int] = {}
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        colony = await stack.enter_async_context(world(tmp_path, runtimes=RUNTIMES))
        hubs = [await stack.enter_async_context(colony.connect(key)) for key in colony.runtimes]
        workers = [Worker(hub, schedule(f"worker {n}")) for n, hub in enumerate(hubs)]
        for worker in workers:
            group.create_task(worker.run())

        async def submit(number: int) -> None:
            hub, spoiler = hubs[number], Spoiler(hubs[number], work)
            while not is_over.is_set():
                count = work.randint(1, MOST_MEMBERS)
                spec = random_workflow(work, colony.colony_id, TYPE, count)
                graph_id = (await hub.submit_workflow_spec(spec)).process_graph_id
                submitted[graph_id] = count
                await spoiler.spoil(graph_id)
                await until_ended(hub, [graph_id], within=60)

        submitting = [asyncio.create_task(submit(number)) for number in range(SUBMITTERS)]
        for _ in range(KILLS):
            await pause(dice.uniform(0.3, 2))
            await colony.hub.kill()
            await colony.hub.start()
        is_over.set()
        await asyncio.gather(*submitting)
        await colony.quiet(within=60)
        for worker in workers:
            worker.is_over = True
        sql = await asyncpg.connect(colony.database_url, target_session_attrs="primary")
        violations = judge_graphs(await read(sql, submitted))
        await sql.close()
    members = sum(submitted.values())
    seconds = time.monotonic() - started
    report(f"{len(submitted)} graphs of {members}, {KILLS} kills in {seconds:.0f} s")
    assert not violations, explain(violations)
    assert submitted
