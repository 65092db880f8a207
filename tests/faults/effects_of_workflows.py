"""The one effect of each RPC about workflows, told as in `effects`."""

from __future__ import annotations

from colonies.core.process import Conditions, Process, ProcessSpec, State
from colonies.core.process_graph import ProcessGraph
from colonies.core.workflow import Edit, WorkflowSpec
from tests.faults.effects import Story, World


def spec_of(world: World, **dependencies: str) -> WorkflowSpec:
    """Make ``a="", b="a"`` a workflow for our runtime."""
    return WorkflowSpec(
        colony_id=world.people.colony_owner.id,
        process_specs=[
            ProcessSpec(
                name=name,
                args=["old"],
                conditions=Conditions(runtime_type="cli", dependencies=names.split()),
            )
            for name, names in dependencies.items()
        ],
    )


async def waiting(world: World) -> ProcessGraph:
    """Have a workflow waiting: b for a."""
    return await world.runtime.submit_workflow_spec(spec_of(world, a="", b="a"))


async def started(world: World) -> tuple[ProcessGraph, Process]:
    """Have a workflow of which the first is running."""
    graph = await waiting(world)
    return graph, await world.runtime.assign_process(timeout=-1)


async def submit_workflow_spec(world: World) -> Story:
    graph = yield world.faulty().submit_workflow_spec(spec_of(world, a="", b="a"))
    assert await world.count("process_graphs") == 1
    assert await world.count("processes", process_graph_id=graph.process_graph_id) == 2
    assert await world.count("processes") == 2


async def add_child(world: World) -> Story:
    graph, parent = await started(world)
    token = parent.attempt_token
    child = yield world.faulty().add_child(
        parent.process_id, ProcessSpec(name="c"), attempt_token=token
    )
    assert await world.count("processes", process_graph_id=graph.process_graph_id) == 3
    row = await world.row(parent.process_id)
    assert row["children"][1:] == [child.process_id]
    assert (await world.row(child.process_id))["parents"] == [parent.process_id]
    assert await world.count("process_graphs", members=3) == 1


async def cancel_process_graph(world: World) -> Story:
    graph, parent = await started(world)
    cancelled = yield world.faulty().cancel_process_graph(graph.process_graph_id, "why")
    assert (cancelled.state, cancelled.cancelled) == (State.RUNNING, 1)
    row = await world.row(parent.process_id)
    assert (row["state"], row["cancel_reason"]) == (State.RUNNING, "why")
    assert await world.count("processes", state=State.CANCELLED) == 1


async def rescue_process_graph(world: World) -> Story:
    """What was given back fails again meanwhile, and is not given back again."""
    graph, parent = await started(world)
    await world.runtime.close_failed(parent.process_id, ["broken"])

    async def meanwhile() -> None:
        assert await world.count("processes", state=State.WAITING) == 2
        again = await world.runtime.assign_process(timeout=-1)
        assert (again.attempt, again.spec.args) == (2, ["new"])
        await world.runtime.close_failed(again.process_id, ["again"])

    edits = {"a": Edit(args=["new"])}
    yield world.faulty().rescue_process_graph(graph.process_graph_id, edits), meanwhile
    assert await world.count("processes", state=State.FAILED) == 2
    assert (await world.row(parent.process_id))["endings"] == 1


async def delete_process_graph(world: World) -> Story:
    graph, other = await waiting(world), await waiting(world)
    assert (yield world.faulty().delete_process_graph(graph.process_graph_id)) is None
    assert await world.count("processes") == 2
    assert await world.count("process_graphs", process_graph_id=other.process_graph_id) == 1


async def delete_all_process_graphs(world: World) -> Story:
    await waiting(world)
    await world.submit()

    async def meanwhile() -> None:
        assert await world.count("processes") == 1
        await waiting(world)

    owner = world.faulty(world.people.colony_owner)
    assert (yield owner.delete_all_process_graphs(), meanwhile) is None
    assert await world.count("processes") == 3
    assert await world.count("process_graphs") == 1


async def get_process_graph(world: World) -> Story:
    graph = await waiting(world)
    expected = await world.runtime.get_process_graph(graph.process_graph_id)
    assert (yield world.faulty().get_process_graph(graph.process_graph_id)) == expected


async def get_process_graphs(world: World) -> Story:
    await waiting(world)
    expected = await world.runtime.get_process_graphs()
    assert len(expected) == 1
    assert (yield world.faulty().get_process_graphs()) == expected
