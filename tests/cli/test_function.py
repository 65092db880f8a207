"""``colonies function``, and calls by the name of a function."""

import pytest

from colonies.core.function import Argument, Function, Kind

ADD = Function(
    name="add", description="Adds.", args=[Argument(name="a", type=Kind.INT, description="one")]
)


@pytest.fixture
async def announced(member):
    return await member.add_function(ADD)


async def test_functions_are_listed_and_shown(shell, announced, people):
    ran = await shell("function", "ls")
    assert ran.rows[1:] == [["add(a:", "int)", "cli", people.runtime.id]]
    assert (await shell("function", "ls", "--json")).answer[0]["args"][0]["type"] == "int"
    ran = await shell("function", "get", "add")
    assert ["description", "Adds."] in ran.rows
    assert ["args", "a:", "int", "#", "one"] in ran.rows
    (answer,) = (await shell("function", "get", "add", "--json")).answer
    assert answer["runtimetype"] == announced.runtime_type


async def test_a_function_that_nobody_announces_is_not_found(shell):
    assert "'add'" in await shell.refuses("function", "get", "add", status=4)


async def test_a_call_needs_no_type_and_wrong_arguments_are_refused(shell, announced, member):
    ran = await shell("process", "run", "add", "1")
    process = await member.get_process(ran.out.strip())
    assert process.spec.conditions.runtime_type == announced.runtime_type
    said = await shell.refuses("process", "run", "add", "x", status=2)
    assert said == 'spec.args[0]: expected int for a, got "x": add(a: int)'
    said = await shell.refuses("process", "run", "ad", "1", status=2)
    assert "No runtime announces 'ad'; did you mean 'add'?" in said
    said = await shell.refuses(
        "process", "submit", "--spec", "-", stdin=b'{"func": "add"}', status=2
    )
    assert said.startswith("spec.args: expected a value for a")
