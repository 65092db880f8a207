"""What a runtime can run, as its colony is told: a real runtime at a real hub."""

import asyncpg
import pytest

from colonies.core.errors import Malformed
from colonies.core.function import Function
from colonies.core.process import Conditions, ProcessSpec
from colonies.core.workflow import WorkflowSpec
from runtimes.announcement import announce
from runtimes.python.plugin import Python
from tests.programs import ROOT

MODULE = "tests.runtimes.announced"
RUN = ("python", "--path", ROOT, "--allow", MODULE, "--name", "one")


async def test_python_functions_are_announced_and_called_by_name(launch, member):
    async with launch(*RUN) as running:
        await running.line_with("runtime ready")
        names = [one.name for one in await member.get_functions()]
        expected = ("add", "kind", "odd", "share", "shout", "unknown", "wrapped")
        assert names == [f"{MODULE}:{name}" for name in expected]
        done = await (await member.submit(f"{MODULE}:shout", "12", 2)).wait(60)
        assert done.output == ["12 12"]
        assert done.spec.conditions.runtime_type == "python"
        done = await (await member.submit(f"{MODULE}:kind", 1, 1)).wait(60)
        assert done.output == ["str int"]
        with pytest.raises(Malformed, match='expected int for times, got "often"'):
            await member.submit(f"{MODULE}:shout", "hey", "often")


async def test_what_the_parents_gave_reaches_functions_of_a_workflow(launch, member, colony):
    r"""::

    one ─┬▶ all ─┬▶ part      each a function, and none says which type shall run it
    two ─┘       │
     └───────────┘
    """
    async with launch(*RUN) as running:
        await running.line_with("runtime ready")
        specs = [
            ProcessSpec(
                name=name,
                func=f"{MODULE}:{func}",
                args=args.split(),
                conditions=Conditions(dependencies=parents.split()),
            )
            for name, func, args, parents in (
                ("one", "add", "1", ""),
                ("two", "add", "2", ""),
                ("all", "add", "3", "two one"),
                ("part", "share", "two", "all two"),
            )
        ]
        graph = await member.submit_workflow_spec(
            WorkflowSpec(colony_id=colony, process_specs=specs)
        )
        ended = await member.wait_for_process_graph(graph.process_graph_id, 20)
        nodes = {node.data.label: node.id for node in ended.nodes}
        outputs = {name: (await member.get_process(one)).output for name, one in nodes.items()}
        assert outputs == {"one": ["1"], "two": ["2"], "all": ["6"], "part": ["0.25"]}


async def test_they_are_announced_again_by_a_runtime_that_is_added_again(
    launch, member, client, people
):
    async with launch(*RUN) as running:
        await running.line_with("runtime ready")
        said = await member.get_functions()
        await client.acting_as(people.colony_owner).delete_runtime(said[0].runtime_id)
        assert await member.get_functions() == []
        await running.line_with("shut out by the hub")
        await running.line_with("runtime ready")
        assert await member.get_functions() == said


@pytest.fixture
async def sql(database_url):
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_what_is_not_said_any_more_goes_and_what_differs_is_replaced(member, people, sql):
    us = await member.get_runtime(people.runtime.id)
    same, old, new = (Function(name=name) for name in ("same", "old", "new"))
    changed = Function(name="changed", description="before")
    await announce(member, us, [same, old, changed])
    version = "SELECT xmin::text FROM functions WHERE name = 'same'"
    before = await sql.fetchval(version)
    await announce(member, us, [same, new, Function(name="changed", description="after")])
    told = {one.name: one.description for one in await member.get_functions()}
    assert told == {"same": "", "new": "", "changed": "after"}
    assert await sql.fetchval(version) == before
    await announce(member, us, [])
    assert await member.get_functions() == []


async def test_a_function_that_the_hub_refuses_hides_no_other(member, people):
    us = await member.get_runtime(people.runtime.id)
    await announce(member, us, [Function(name=""), Function(name="good")])
    assert [one.name for one in await member.get_functions()] == ["good"]


@pytest.fixture
async def plugin(request):
    plugin = Python(Python.Settings(path=[str(ROOT)], allow=request.param))
    yield plugin
    await plugin.close()


@pytest.mark.parametrize("plugin", [[]], indirect=True)
async def test_where_any_module_may_be_called_nothing_is_announced(plugin):
    assert await plugin.functions() == []


@pytest.mark.parametrize("plugin", [["no.such.module", MODULE]], indirect=True)
async def test_a_module_that_cannot_be_imported_hides_no_other(plugin):
    assert len(await plugin.functions()) == 7
