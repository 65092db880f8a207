"""The examples, as the separate programs that they are."""

import pytest

from tests.programs import ROOT, environment, python

FOLDER = ROOT / "examples" / "fibonacci"


@pytest.mark.parametrize("generator", ["generator.py", "generator_longpoll.py"])
@pytest.mark.parametrize("solver", ["solver.py", "solver_longpoll.py"])
async def test_a_generator_waits_for_a_solver_that_comes_later(
    server, colony, people, generator, solver
):
    env = environment(server, colony, people.runtime)
    async with python(FOLDER / generator, "13", env=env) as generating:
        await generating.line_with("submitted 13")
        async with python(FOLDER / solver, env=env) as solving:
            await solving.line_with("solved 12")
            assert await generating.finish() == 0
    assert "fibonacci(12) = 144" in generating.lines
    assert len([line for line in generating.lines if line.startswith("fibonacci(")]) == 13


async def test_a_solver_refuses_what_is_no_number_and_goes_on(server, member, colony, people):
    env = environment(server, colony, people.runtime)
    async with python(FOLDER / "solver.py", env=env) as solving:
        await solving.line_with("waiting for work")
        bad = await member.submit("fibonacci", "many", runtime_type="cli")
        good = await member.submit("fibonacci", 7, runtime_type="cli")
        assert ["13"] == (await good.wait(10)).output
        assert "expected one number" in (await bad.wait(10)).errors[0]


async def test_an_example_without_settings_says_what_is_missing():
    async with python(FOLDER / "generator.py") as generating:
        assert await generating.finish() == 1
    assert len(generating.lines) == 1
    assert "COLONIES_COLONYID" in generating.lines[0]
