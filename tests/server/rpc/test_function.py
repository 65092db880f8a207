"""Functions: announced by runtimes, named and checked by submits."""

import pytest
from msgspec.structs import replace

from colonies.client import connect
from colonies.core.errors import Conflict, Malformed
from colonies.core.function import Argument, Function, Kind, Passing
from colonies.core.identity import PrivateKey
from colonies.core.process import Conditions, ProcessSpec, State
from colonies.server import functions as memory
from colonies.server.app import Server
from colonies.server.functions import Functions
from colonies.server.members import Members
from colonies.server.rpc import function as module
from tests.conftest import add_runtime
from tests.server.doors import until
from tests.server.repeats import asked, by_api, content

ADD = Function(name="add", args=[Argument(name="a", type=Kind.INT)])


@pytest.fixture
async def fellow(client, member, people):
    """An approved runtime of the type ``gpu``."""
    key = PrivateKey.generate()
    await add_runtime(client, people.colony_owner, key, runtime_type="gpu")
    return client.acting_as(key)


async def test_a_function_is_listed_as_it_was_announced_and_whose_it_is(member, colony, people):
    said = Function(
        name="add",
        description="Adds.",
        args=[
            Argument(name="a", type=Kind.INT, description="one"),
            Argument(name="b", required=False, default="0", passing=Passing.NAME),
            Argument(name="more", many=True, passing=Passing.POSITION),
        ],
    )
    added = await member.add_function(said)
    whose = {"colony_id": colony, "runtime_id": people.runtime.id, "runtime_type": "cli"}
    assert added == replace(said, **whose)
    assert await member.get_functions() == [added]
    assert await member.get_functions(name="sub") == []
    assert await member.get_functions(runtime_id=people.pending.id) == []


async def test_announced_again_it_is_replaced_and_taken_back_it_is_gone(member, fellow):
    await fellow.add_function(ADD)
    await member.add_function(ADD)
    await member.add_function(replace(ADD, description="new", args=[]))
    told = [(one.runtime_type, one.description) for one in await member.get_functions()]
    assert told == [("cli", "new"), ("gpu", "")]
    await member.remove_function("add")
    await member.remove_function("add")
    assert [one.runtime_type for one in await member.get_functions()] == ["gpu"]


async def test_a_runtime_announces_so_many_and_can_still_replace_them(member, monkeypatch):
    monkeypatch.setattr(module, "MAX_FUNCTIONS", 2)
    for name in ("a", "b", "b"):
        await member.add_function(Function(name=name))
    with pytest.raises(Conflict, match="2 functions at most"):
        await member.add_function(Function(name="c"))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (Function(), "function.name"),
        (Function(name="f" * 257), "function.name"),
        (Function(name="f", args=[Argument(name="a")] * 2), "function.args[1].name"),
        (Function(name="f", description="a" * 5000), "function.description"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_its_field(member, wrong, field):
    with pytest.raises(Malformed) as refusal:
        await member.add_function(wrong)
    assert refusal.value.field == field
    assert await member.get_functions() == []


@pytest.mark.parametrize("gone", ["delete", "reject"])
async def test_what_a_runtime_announced_goes_with_it(*, gone, client, member, fellow, people, sql):
    await fellow.add_function(ADD)
    assert (await member.submit("add", 1)).process.spec.conditions.runtime_type == "gpu"
    owner = client.acting_as(people.colony_owner)
    if gone == "delete":
        await owner.delete_runtime(fellow.key.id)
        assert await sql.fetchval("SELECT count(*) FROM functions") == 0
    else:
        await owner.reject_runtime(fellow.key.id)
    assert await member.get_functions() == []
    with pytest.raises(Malformed, match="who may run it"):
        await member.submit("add", 1)


async def test_it_goes_with_the_colony(client, member, people, sql):
    await member.add_function(ADD)
    await client.acting_as(people.server_owner).delete_colony(people.colony_owner.id)
    assert await sql.fetchval("SELECT count(*) FROM functions") == 0


async def test_a_submit_can_name_a_function_instead_of_a_type(member):
    await member.add_function(ADD)
    process = (await member.submit("add", 1)).process
    assert process.spec.conditions.runtime_type == "cli"
    assert (await member.assign_process(timeout=-1)).process_id == process.process_id


async def test_many_submitted_together_are_resolved_or_refused_together(member):
    await member.add_function(ADD)
    specs = [ProcessSpec(func="add", args=[text]) for text in ("1", "2", "x")]
    with pytest.raises(Malformed) as refusal:
        await member.submit_processes(specs)
    assert refusal.value.field == "specs[2].args[0]"
    assert await member.get_processes(State.WAITING) == []
    await member.submit_processes(specs[:2])
    found = await member.get_processes(State.WAITING)
    assert [one.spec.conditions.runtime_type for one in found] == ["cli", "cli"]


async def test_several_types_are_listed_and_one_may_be_chosen(member, fellow):
    await member.add_function(ADD)
    await fellow.add_function(ADD)
    with pytest.raises(Malformed, match=r"several types announce 'add', choose one: cli, gpu$"):
        await member.submit("add", 1)
    assert (await member.submit("add", 1, runtime_type="gpu")).process.state is State.WAITING


async def test_a_function_that_nobody_announces_is_refused_with_the_nearest(member):
    with pytest.raises(Malformed, match=r"say which: conditions\.runtimetype") as refusal:
        await member.submit("add", 1)
    assert refusal.value.field == "spec.func"
    await member.add_function(ADD)
    with pytest.raises(Malformed, match="did you mean 'add'"):
        await member.submit("adt", 1, runtime_ids=["*"])


@pytest.mark.parametrize("options", [{}, {"runtime_type": "cli"}, {"runtime_type": "cli", "x": 1}])
async def test_wrong_arguments_are_refused_at_the_submit(member, options, people):
    if options.pop("x", None):
        options["runtime_ids"] = [people.runtime.id]
    await member.add_function(ADD)
    with pytest.raises(Malformed, match='expected int for a, got "one"') as refusal:
        await member.submit("add", "one", **options)
    assert refusal.value.field == "spec.args[0]"
    assert await member.get_processes(State.WAITING) == []


async def test_what_is_not_announced_or_is_for_runtimes_by_their_ids_is_not_checked(
    member, fellow, people
):
    await member.add_function(ADD)
    await member.submit("sub", "one", runtime_type="cli")
    await member.submit("add", "one", runtime_type="gpu")
    await member.submit("add", "one", runtime_ids=[people.runtime.id])
    assert len(await member.get_processes(State.WAITING)) == 3


async def test_a_call_that_fits_what_any_runtime_of_the_type_announces_is_taken(
    client, member, people
):
    second = PrivateKey.generate()
    await add_runtime(client, people.colony_owner, second)
    await member.add_function(ADD)
    await client.acting_as(second).add_function(
        replace(ADD, args=[Argument(name="b", type=Kind.STR)])
    )
    for kwargs in ({"a": 1}, {"b": "x"}):
        await member.submit("add", kwargs=kwargs)
    with pytest.raises(Malformed, match="add has no such argument"):
        await member.submit("add", kwargs={"c": 1})


async def test_a_submit_that_is_repeated_has_its_answer_though_the_function_is_gone(
    member, client, people, server
):
    await member.add_function(ADD)
    spec = {"func": "add", "args": ["1"], "conditions": {"colonyid": people.colony_owner.id}}
    one = asked("submitprocessespecmsg", {"spec": spec}, people.runtime)
    first = await by_api(server, one)
    await member.remove_function("add")
    assert not first.error
    assert content(await by_api(server, one)) == content(first)


async def test_another_hub_hears_at_once_what_is_announced(server, settings, member, people):
    async with Server(settings) as other:
        await until(lambda: server.news.is_wanted and other.news.is_wanted)
        elsewhere = replace(settings, server_port=other.port)
        async with connect(elsewhere, key=people.runtime) as there:
            with pytest.raises(Malformed):
                await there.submit("add", 1)
            members = other.peers._members
            before = members.generation
            await member.add_function(ADD)
            await until(lambda: members.generation > before)
            await there.submit("add", 1)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_what_is_announced_is_asked_for_once_and_after_a_change(db, member, colony, sql):
    clock = Clock()
    members = Members(db, clock)
    functions = Functions(db, members, clock)
    spec = ProcessSpec(func="add", args=["1"], conditions=Conditions(colony_id=colony))
    await member.add_function(ADD)
    settled = await functions.settled(spec, "spec")
    assert settled.conditions.runtime_type == "cli"
    await sql.execute("DELETE FROM functions")
    assert await functions.settled(spec, "spec") == settled
    members.forget()
    with pytest.raises(Malformed):
        await functions.settled(spec, "spec")
    await member.add_function(ADD)
    with pytest.raises(Malformed):
        await functions.settled(spec, "spec")
    clock.now += memory.LIFETIME
    assert await functions.settled(spec, "spec") == settled
