"""Workflows: submitted whole or not at all, read, listed and deleted."""

import pytest

from colonies.core.errors import Malformed, NotFound
from colonies.core.process import Conditions, ProcessSpec, State
from colonies.core.wire import ZERO_TIME
from colonies.core.workflow import OnFailure, WorkflowSpec


def workflow(
    colony: str,
    *,
    max_wait_time: int = 0,
    on_failure: OnFailure = OnFailure.CONTINUE,
    **dependencies: str,
) -> WorkflowSpec:
    """Make ``a="", b="a"`` a workflow for runtimes of type ``cli``."""
    return WorkflowSpec(
        colony_id=colony,
        process_specs=[
            ProcessSpec(
                name=name,
                func=name,
                max_wait_time=max_wait_time,
                conditions=Conditions(runtime_type="cli", dependencies=names.split()),
            )
            for name, names in dependencies.items()
        ],
        on_failure=on_failure,
    )


async def test_a_submitted_workflow_waits_with_its_roots_in_the_queue(member, colony, sql):
    spec = workflow(colony, a="", b="a", c="a", d="b c", max_wait_time=60)
    graph = await member.submit_workflow_spec(spec)
    assert (graph.colony_id, graph.state, graph.members) == (colony, State.WAITING, 4)
    assert graph.submission_time != ZERO_TIME
    assert graph.start_time == graph.end_time == ZERO_TIME
    whole = await member.get_process_graph(graph.process_graph_id)
    a, b, d, c = [await member.get_process(one) for one in whole.process_ids]
    assert [one.spec.name for one in (a, b, d, c)] == ["a", "b", "d", "c"]
    assert graph.root_process_ids == [a.process_id]
    assert (a.parents, a.children) == ([], [b.process_id, c.process_id])
    assert (d.parents, d.children) == ([b.process_id, c.process_id], [])
    assert [one.wait_for_parents for one in (a, b, d, c)] == [False, True, True, True]
    assert {one.process_graph_id for one in (a, b, c, d)} == {graph.process_graph_id}
    assert {one.colony_id for one in (a, b, c, d)} == {colony}
    assert (d.wait_deadline - d.submission_time).total_seconds() == 60
    assert (await member.assign_process(timeout=-1)).process_id == a.process_id
    with pytest.raises(NotFound):
        await member.assign_process(timeout=-1)


async def test_what_cannot_run_leaves_nothing_behind(member, colony, sql):
    with pytest.raises(Malformed, match="'b' depends on 'x'") as refusal:
        await member.submit_workflow_spec(workflow(colony, a="", b="x"))
    assert refusal.value.field == "spec.processspecs[1].conditions.dependencies[0]"
    for table in ("processes", "process_graphs", "attributes"):
        assert await sql.fetchval(f"SELECT count(*) FROM {table}") == 0


async def test_the_root_that_is_published_is_as_in_the_database(member, colony, client, people):
    changes = await member.subscribe_processes("cli", states=[State.WAITING])
    spec = workflow(colony, a="", b="a", max_wait_time=5)
    await member.submit_workflow_spec(spec)
    pushed = await anext(changes)
    assert pushed == await member.get_process(pushed.process_id)
    assert changes.unread() == []


async def test_environment_is_kept_as_attributes_that_know_their_graph(member, colony):
    one = ProcessSpec(name="a", env={"K": "V"})
    graph = await member.submit_workflow_spec(WorkflowSpec(colony_id=colony, process_specs=[one]))
    (attribute,) = (await member.get_process(graph.root_process_ids[0])).attributes
    assert (attribute.key, attribute.value) == ("K", "V")
    assert attribute.target_process_graph_id == graph.process_graph_id


async def test_a_graph_is_drawn_as_v1_draws_it(member, colony):
    r"""::

    a ─┬▶ b ─┬▶ d
       └▶ c ─┘
    """
    graph = await member.submit_workflow_spec(workflow(colony, a="", b="a", c="a", d="b c"))
    drawn = await member.get_process_graph(graph.process_graph_id)
    nodes = {node.data.label: node for node in drawn.nodes}
    assert {name: (node.position.x, node.position.y) for name, node in nodes.items()} == {
        "a": (100, 0), "b": (0, 80), "c": (200, 80), "d": (100, 160),
    }  # fmt: skip
    assert [nodes[name].type for name in "abcd"] == ["input", "", "", "output"]
    assert {node.style.background for node in drawn.nodes} == {"#eee8d8"}
    names = {node.id: name for name, node in nodes.items()}
    edges = [names[edge.source] + names[edge.target] for edge in drawn.edges]
    assert edges == ["ab", "ac", "bd", "cd"]
    assert drawn.edges[0].id == f"{drawn.edges[0].source}-{drawn.edges[0].target}"


async def test_graphs_are_listed_by_state_the_last_first(member, colony):
    submitted = [
        (await member.submit_workflow_spec(workflow(colony, a="", b="a"))).process_graph_id
        for _ in range(3)
    ]
    listed = await member.get_process_graphs(count=2)
    assert [one.process_graph_id for one in listed] == submitted[:0:-1]
    assert [(len(one.process_ids), one.nodes, one.edges) for one in listed] == [(2, [], [])] * 2
    assert listed[0].root_process_ids == listed[0].process_ids[:1]
    for state in State:
        if state is not State.WAITING:
            assert await member.get_process_graphs(state=state) == []


async def test_a_list_of_graphs_goes_on_and_one_is_found_by_its_beginning(member, colony, sql):
    ids = [
        (await member.submit_workflow_spec(workflow(colony, a=""))).process_graph_id
        for _ in range(5)
    ]
    await sql.execute("UPDATE process_graphs SET submission_time = now()")
    listed = []
    while page := await member.get_process_graphs(count=2, after=listed):
        listed += page
    assert sorted(one.process_graph_id for one in listed) == sorted(ids)
    found = await member.get_process_graphs(beginning=ids[0][:8])
    assert [one.process_graph_id for one in found] == ids[:1]
    with pytest.raises(Malformed, match="beginning"):
        await member.get_process_graphs(beginning="abc")
