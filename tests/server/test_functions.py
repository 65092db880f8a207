"""Functions that members of workflows name, whoever submits these."""

from functools import partial

import pytest
from msgspec.structs import replace

from colonies.core.cron import Cron
from colonies.core.errors import Malformed
from colonies.core.function import Argument, Function, Kind
from colonies.core.generator import Generator
from colonies.core.process import Conditions, Process, ProcessSpec, State
from colonies.core.wire import ZERO_TIME
from colonies.core.workflow import Edit, WorkflowSpec, read_workflow, write_workflow
from tests.server.recurring import come, tick, use

ADD = Function(name="add", args=[Argument(name="a", type=Kind.INT)])


@pytest.fixture
async def calls(member, colony):
    """Make a workflow of calls, each after the one before, of a function that is announced."""
    await member.add_function(ADD)

    def make(*texts: str, func: str = "add") -> WorkflowSpec:
        names = [f"n{number}" for number, _ in enumerate(texts)]
        specs = [
            ProcessSpec(
                name=name,
                func=func,
                args=[text],
                conditions=Conditions(dependencies=names[number - 1 : number]),
            )
            for number, (name, text) in enumerate(zip(names, texts, strict=True))
        ]
        return WorkflowSpec(colony_id=colony, process_specs=specs)

    return make


@pytest.fixture
def add_cron(member, colony):
    async def add(workflow: WorkflowSpec) -> Cron:
        text = write_workflow(workflow)
        return await member.add_cron(
            Cron(colony_id=colony, name="cron", interval=3600, workflow_spec=text)
        )

    return add


@pytest.fixture
def add_generator(member, colony):
    async def add(workflow: WorkflowSpec) -> Generator:
        text = write_workflow(workflow)
        return await member.add_generator(
            Generator(colony_id=colony, name="generator", trigger=1, workflow_spec=text)
        )

    return add


async def types_of(member, *states: State) -> list[str]:
    found: list[Process] = []
    for state in states:
        found += await member.get_processes(state)
    return [one.spec.conditions.runtime_type for one in found]


async def test_a_workflow_names_functions_instead_of_types(member, calls):
    await member.submit_workflow_spec(calls("1", "2"))
    first = await member.assign_process(timeout=-1)
    await member.close_successful(first.process_id)
    second = await member.assign_process(timeout=-1)
    assert [one.spec.conditions.runtime_type for one in (first, second)] == ["cli", "cli"]


@pytest.mark.parametrize(
    ("func", "field", "said"),
    [
        ("add", "processspecs[2].args[0]", 'expected int for a, got "x"'),
        ("ad", "processspecs[0].func", "did you mean 'add'?"),
    ],
)
async def test_what_does_not_fit_is_refused_by_its_path_and_nothing_is_there(
    *, member, calls, add_cron, add_generator, func, field, said
):
    workflow = calls("1", "2", "x", func=func)
    asks = {
        "spec": member.submit_workflow_spec,
        "cron.workflowspec": add_cron,
        "generator.workflowspec": add_generator,
    }
    for at, ask in asks.items():
        with pytest.raises(Malformed) as refusal:
            await ask(workflow)
        path = f"spec.{field}" if at == "spec" else f"{at}: {field}"
        assert refusal.value.message.startswith(f"{path}: ")
        assert said in refusal.value.message
        assert refusal.value.field == (f"spec.{field}" if at == "spec" else at)
    assert await member.get_process_graphs() == []
    assert await member.get_crons() == await member.get_generators() == []


async def test_what_is_kept_for_later_has_its_types_though_the_function_has_gone(
    *, server, member, calls, add_cron, add_generator, sql
):
    cron, generator = await add_cron(calls("1")), await add_generator(calls("1", "2"))
    for kept in (cron, generator):
        specs = read_workflow(kept.workflow_spec, kept.colony_id).process_specs
        assert {one.conditions.runtime_type for one in specs} == {"cli"}
    await member.remove_function("add")
    await come(sql)
    await tick(server)
    await member.run_cron(cron.cron_id)
    await member.pack_generator(generator.generator_id, "3")
    await use(server)
    assert await types_of(member, State.WAITING) == ["cli"] * 4
    assert (await member.get_cron(cron.cron_id)).next_run != ZERO_TIME


async def test_what_needs_no_settling_is_kept_as_it_was_written(member, colony):
    text = (
        f'{{"colonyid": "{colony}",  "theirs": 1, "processspecs": '
        '[{"name": "a", "func": "f", "conditions": {"runtimetype": "cli"}}]}'
    )
    cron = await member.add_cron(Cron(colony_id=colony, name="a", interval=9, workflow_spec=text))
    assert cron.workflow_spec == text


async def test_arguments_of_those_whom_a_generator_gives_others_are_not_asked_for(
    calls, add_generator
):
    workflow = calls("whatever", "2")
    assert await add_generator(workflow)
    with pytest.raises(Malformed, match=r"processspecs\[1\]\.args\[0\]"):
        await add_generator(calls("whatever", "x"))


async def test_what_is_packed_has_to_fit_the_functions_that_it_is_for(
    *, member, calls, add_generator, server
):
    generator = await add_generator(calls("whatever", "2"))
    with pytest.raises(Malformed, match='arg: expected int for a, got "x"') as refusal:
        await member.pack_generator(generator.generator_id, "x")
    assert refusal.value.field == "arg"
    await member.pack_generator(generator.generator_id, "3")
    await use(server)
    assert (await member.assign_process(timeout=-1)).spec.args == ["3"]
    await member.remove_function("add")
    await member.pack_generator(generator.generator_id, "x")


async def test_a_child_that_is_added_names_a_function(member, calls):
    await member.submit_workflow_spec(calls("1"))
    parent = await member.assign_process(timeout=-1)
    add = partial(member.add_child, parent.process_id)
    child = await add(ProcessSpec(name="c", func="add", args=["2"]))
    assert child.spec.conditions.runtime_type == "cli"
    for wrong, field in (
        (ProcessSpec(name="d", func="add", args=["x"]), "spec.args[0]"),
        (ProcessSpec(name="d", func="sub"), "spec.func"),
        (ProcessSpec(conditions=Conditions(colony_id="f" * 64)), "spec.conditions.colonyid"),
    ):
        with pytest.raises(Malformed) as refusal:
            await add(wrong)
        assert refusal.value.field == field
    assert len((await member.get_process(parent.process_id)).children) == 1


async def test_other_arguments_for_what_is_tried_again_have_to_fit(member, calls):
    graph = await member.submit_workflow_spec(calls("1"))
    process = await member.assign_process(timeout=-1)
    await member.close_failed(process.process_id, ["no"])
    rescue = partial(member.rescue_process_graph, graph.process_graph_id)
    with pytest.raises(Malformed) as refusal:
        await rescue({"n0": Edit(args=["x"])})
    assert refusal.value.field == "edits.n0.args[0]"
    assert (await member.get_process(process.process_id)).state is State.FAILED
    await rescue({"n0": Edit(args=["7"])})
    assert (await member.assign_process(timeout=-1)).spec.args == ["7"]


async def test_who_is_addressed_by_id_is_asked_for_no_function(member, calls, people):
    workflow = calls("x")
    (spec,) = workflow.process_specs
    addressed = replace(spec, conditions=replace(spec.conditions, runtime_ids=[people.runtime.id]))
    await member.submit_workflow_spec(replace(workflow, process_specs=[addressed]))
    assert (await member.assign_process(timeout=-1)).spec.args == ["x"]
