"""Graphs of every shape, with failures, cancels and children added on the way."""

import asyncio
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.faults.graph_drivers import Spoiler, Worker, random_workflow, until_ended
from tests.faults.graphs import judge_graphs, read

WORKERS = 4
LONG = 60.0


@given(count=st.integers(1, 200), seed=st.integers(0, 2**32))
@settings(
    max_examples=4,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_no_child_starts_before_its_parents_and_every_graph_ends(
    member, colony, sql, count, seed
):
    dice = Random(seed)
    workers = [Worker(member, Random(f"{seed} {number}")) for number in range(WORKERS)]
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            group.create_task(worker.run())
        specs = [random_workflow(dice, colony, "cli", count) for _ in range(2)]
        graphs = [await member.submit_workflow_spec(spec) for spec in specs]
        ids = [graph.process_graph_id for graph in graphs]
        await Spoiler(member, dice).spoil(ids[0])
        await until_ended(member, ids, within=LONG)
        for worker in workers:
            worker.is_over = True
    stored = await read(sql, dict.fromkeys(ids, count))
    assert judge_graphs(stored) == []
    # Hypothesis makes chance repeat itself, and with it the ids of requests.
    for table in ("processes", "process_graphs", "requests"):
        await sql.execute(f"DELETE FROM {table}")
