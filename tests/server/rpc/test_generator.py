"""Generators as they are asked for: added, packed, read and deleted."""

import pytest
from msgspec.structs import replace

from colonies.core.errors import AlreadyExists, Conflict, Malformed, NotFound, OverQuota
from colonies.core.generator import Generator
from colonies.core.wire import ZERO_TIME
from tests.conftest import add_runtime
from tests.server.recurring import ONE, workflow_text

DEPENDENCY = "processspecs[0].conditions.dependencies[0]"


@pytest.fixture
def new(colony) -> Generator:
    return Generator(colony_id=colony, name="words", workflow_spec=ONE, trigger=3)


async def test_a_generator_is_stored_as_sent_and_empty(member, new):
    sent = replace(new, queue_size=7, timeout=9)
    generator = await member.add_generator(sent)
    assert len(generator.generator_id) == 64
    assert generator == replace(
        sent, generator_id=generator.generator_id, queue_size=0, added_by=member.key.id
    )
    got = await member.get_generator(generator.generator_id)
    assert got == replace(generator, checker_period=3_600_000)
    assert await member.get_generators() == [generator]


async def test_generators_are_listed_by_name_and_there_may_be_none(member, new):
    assert await member.get_generators() == []
    for name in ("c", "a", "b"):
        await member.add_generator(replace(new, name=name))
    assert [one.name for one in await member.get_generators()] == ["a", "b", "c"]
    assert [one.name for one in await member.get_generators(count=1)] == ["a"]


async def test_a_name_is_unique_in_the_colony_and_free_to_others(member, foreigner, new, people):
    await member.add_generator(new)
    with pytest.raises(AlreadyExists) as refusal:
        await member.add_generator(new)
    assert refusal.value.field == "generator.name"
    await foreigner.add_generator(replace(new, colony_id=people.other_owner.id))


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"name": ""}, "generator.name", "expected str of length >= 1"),
        ({"trigger": 0}, "generator.trigger", "expected int >= 1"),
        ({"trigger": -1}, "generator.trigger", "expected int >= 1"),
        ({"trigger": 10_001}, "generator.trigger", "expected int <= 10000"),
        ({"timeout": -1}, "generator.timeout", "expected int >= 0"),
        (
            {"workflow_spec": workflow_text(a="b")},
            "generator.workflowspec",
            f"{DEPENDENCY}: 'a' depends on 'b', which is not there",
        ),
        (
            {"workflow_spec": '{"colonyid": "another", "processspecs": [{"name": "a"}]}'},
            "generator.workflowspec",
            "colonyid: expected the colony that it is for",
        ),
    ],
)
async def test_what_makes_no_sense_is_refused_and_says_why(
    *, member, new, changes, field, message, sql
):
    with pytest.raises(Malformed) as refusal:
        await member.add_generator(replace(new, **changes))
    assert (refusal.value.field, refusal.value.message) == (field, f"{field}: {message}")
    assert await sql.fetchval("SELECT count(*) FROM generators") == 0


async def test_it_is_found_by_its_name_in_the_colonies_of_the_caller(
    *, member, foreigner, client, new, people
):
    ours = await member.add_generator(new)
    theirs = await foreigner.add_generator(replace(new, colony_id=people.other_owner.id))
    assert await member.resolve_generator("words") == ours
    with pytest.raises(NotFound):
        await member.resolve_generator("letters")
    with pytest.raises(NotFound):
        await member.resolve_generator("words", people.other_owner.id)
    await add_runtime(client, people.other_owner, people.runtime)
    assert await member.resolve_generator("words", people.other_owner.id) == theirs


async def test_a_name_that_is_there_twice_asks_which_colony(
    *, member, foreigner, client, new, people, socket
):
    await member.add_generator(new)
    await foreigner.add_generator(replace(new, colony_id=people.other_owner.id))
    await add_runtime(client, people.other_owner, people.runtime)
    with pytest.raises(Conflict) as refusal:
        await socket.ask("resolvegeneratormsg", {"generatorname": "words"}, people.runtime)
    assert refusal.value.field == "colonyid"


async def test_what_is_packed_is_gathered_in_order(member, new, sql):
    generator = await member.add_generator(new)
    now = await sql.fetchval("SELECT now()")
    for arg in ("a", "", "c"):
        await member.pack_generator(generator.generator_id, arg)
    packed = await member.get_generator(generator.generator_id)
    assert (packed.queue_size, packed.last_run) == (3, ZERO_TIME)
    assert packed.first_pack > now
    args = await sql.fetch("SELECT arg FROM generator_args ORDER BY number")
    assert [arg for (arg,) in args] == ["a", "", "c"]


@pytest.mark.settings(max_message_bytes=8 * 1024 * 1024)
async def test_a_generator_that_has_gathered_too_much_takes_no_more(member, new, sql):
    generator = await member.add_generator(replace(new, trigger=100))
    half = "x" * (5 * 1024 * 1024)
    for _ in range(3):
        await member.pack_generator(generator.generator_id, half)
    with pytest.raises(OverQuota, match="16 MiB"):
        await member.pack_generator(generator.generator_id, half)
    await member.pack_generator(generator.generator_id, "small")
    assert (await member.get_generator(generator.generator_id)).queue_size == 4
    assert await sql.fetchval("SELECT count(*) FROM generator_args") == 4


async def test_a_deleted_generator_is_gone_with_what_it_has_gathered(member, new, sql):
    generator = await member.add_generator(new)
    await member.pack_generator(generator.generator_id, "a")
    await member.delete_generator(generator.generator_id)
    for asked in (member.get_generator, member.delete_generator):
        with pytest.raises(NotFound):
            await asked(generator.generator_id)
    with pytest.raises(NotFound):
        await member.pack_generator(generator.generator_id, "a")
    assert await sql.fetchval("SELECT count(*) FROM generator_args") == 0


async def test_generators_go_with_their_colony(*, member, foreigner, new, client, people, sql):
    theirs = replace(new, colony_id=people.other_owner.id)
    for hub, sent in ((member, new), (foreigner, theirs)):
        generator = await hub.add_generator(sent)
        await hub.pack_generator(generator.generator_id, "a")
    await client.acting_as(people.server_owner).delete_colony(new.colony_id)
    for table in ("generators", "generator_args"):
        left = await sql.fetchval(f"SELECT array_agg(colony_id) FROM {table}")
        assert left == [people.other_owner.id]
