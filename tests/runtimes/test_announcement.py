"""What a runtime can run, as its colony is told: a real runtime at a real hub."""

import asyncpg
import pytest

from colonies.core.errors import Malformed
from colonies.core.function import Function
from runtimes.announcement import announce
from runtimes.python import Python
from tests.programs import ROOT

MODULE = "tests.runtimes.announced"
RUN = ("python", "--path", ROOT, "--allow", MODULE, "--name", "one")


async def test_python_functions_are_announced_and_called_by_name(launch, member):
    async with launch(*RUN) as running:
        await running.line_with("runtime ready")
        names = [one.name for one in await member.get_functions()]
        assert names == [
            f"{MODULE}:{name}" for name in ("kind", "odd", "shout", "unknown", "wrapped")
        ]
        done = await (await member.submit(f"{MODULE}:shout", "12", 2)).wait(20)
        assert done.output == ["12 12"]
        assert done.spec.conditions.runtime_type == "python"
        done = await (await member.submit(f"{MODULE}:kind", 1, 1)).wait(20)
        assert done.output == ["str int"]
        with pytest.raises(Malformed, match='expected int for times, got "often"'):
            await member.submit(f"{MODULE}:shout", "hey", "often")


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
    assert len(await plugin.functions()) == 5
