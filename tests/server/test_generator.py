"""What generators have gathered: used once, in order, by whichever hub."""

import asyncio
from itertools import chain

import pytest
from msgspec.structs import replace

from colonies.core.errors import Conflict, NotFound
from colonies.core.generator import Generator
from colonies.core.wire import ZERO_TIME
from colonies.server import generator as packing
from colonies.server.generator import Packing
from colonies.server.intent import NOBODYS, Intent
from tests.server.doors import until
from tests.server.recurring import ONE, graphs, use, workflow_text


@pytest.fixture
def new(colony) -> Generator:
    return Generator(colony_id=colony, name="words", workflow_spec=ONE, trigger=3)


async def used(sql) -> list[list[str]]:
    """Give the arguments of the roots, in the order in which they were submitted."""
    rows = await sql.fetch(
        """
        SELECT ARRAY(SELECT json_array_elements_text(spec->'args')) FROM processes
        WHERE parents = '{}' ORDER BY submission_time
        """
    )
    return [args for (args,) in rows]


async def pack(hub, generator: Generator, *args: object) -> None:
    for arg in args:
        await hub.pack_generator(generator.generator_id, str(arg))


async def test_so_many_arguments_make_a_workflow_and_the_rest_stays(server, member, new, sql):
    generator = await member.add_generator(new)
    await pack(member, generator, 1, 2)
    await use(server)
    assert await graphs(sql) == []
    await pack(member, generator, 3, 4, 5, 6, 7)
    await use(server)
    assert await used(sql) == [["1", "2", "3"], ["4", "5", "6"]]
    left = await member.get_generator(generator.generator_id)
    assert left.queue_size == 1
    assert ZERO_TIME < left.first_pack < left.last_run == (await graphs(sql))[-1]["submission_time"]
    assert await sql.fetchval("SELECT array_agg(arg) FROM generator_args") == ["7"]
    await use(server)
    assert len(await graphs(sql)) == 2


async def test_what_has_been_used_makes_room(server, member, new, sql):
    generator = await member.add_generator(new)
    await pack(member, generator, 1, "zwölf", 3, 4)
    await use(server)
    await pack(member, generator, 5, 6)
    await use(server)
    assert await sql.fetchval("SELECT queue_bytes FROM generators") == 0


async def test_all_roots_get_the_arguments_and_nobody_else(server, member, new, sql):
    text = workflow_text(a="", b="", c="a b")
    generator = await member.add_generator(replace(new, workflow_spec=text, trigger=1))
    await pack(member, generator, "x")
    await use(server)
    rows = await sql.fetch("SELECT spec->>'name', spec->'args'->>0, colony_id FROM processes")
    assert {tuple(row) for row in rows} == {
        ("a", "x", new.colony_id),
        ("b", "x", new.colony_id),
        ("c", "its own", new.colony_id),
    }


async def test_fewer_make_one_when_the_oldest_has_waited_long_enough(server, member, new, sql):
    generator = await member.add_generator(replace(new, timeout=60))
    await pack(member, generator, 1, 2)
    await use(server)
    assert await graphs(sql) == []
    await let_wait(sql)
    await use(server)
    assert await used(sql) == [["1", "2"]]
    empty = await member.get_generator(generator.generator_id)
    assert (empty.queue_size, empty.first_pack) == (0, ZERO_TIME)
    await use(server)
    assert len(await graphs(sql)) == 1


async def let_wait(sql) -> None:
    """Let a minute have passed since everything was packed."""
    minute = "interval '1 minute'"
    await sql.execute(f"UPDATE generator_args SET pack_time = pack_time - {minute}")
    await sql.execute(
        f"UPDATE generators SET first_pack = first_pack - {minute}, due = due - {minute}"
    )


async def test_what_stays_waits_from_when_it_was_packed(server, member, new, sql):
    generator = await member.add_generator(replace(new, timeout=60))
    await pack(member, generator, 1, 2, 3, 4)
    await let_wait(sql)
    await pack(member, generator, 5)
    await use(server)
    assert await used(sql) == [["1", "2", "3"], ["4", "5"]]


async def test_without_a_timeout_fewer_wait_for_ever(server, member, new, sql):
    generator = await member.add_generator(new)
    await pack(member, generator, 1, 2)
    await let_wait(sql)
    await use(server)
    assert await graphs(sql) == []


async def test_two_hubs_that_both_believe_to_lead_use_each_argument_once(
    *, server, second, member, there, new, sql
):
    """Packed at both while both use; in the order in which each of them was told."""
    generator = await member.add_generator(new)
    streams = [[f"{name}{number}" for number in range(60)] for name in "abcd"]
    packing = [
        asyncio.create_task(pack(hub, generator, *stream))
        for hub, stream in zip((member, there, member, there), streams, strict=True)
    ]
    while not all(one.done() for one in packing):
        await asyncio.gather(use(server), use(second))
    await asyncio.gather(*packing)
    await asyncio.gather(use(server), use(second))
    portions = await used(sql)
    assert {len(portion) for portion in portions} == {3}
    order = list(chain.from_iterable(portions))
    assert len(order) == len(set(order)) == 240
    for name, stream in zip("abcd", streams, strict=True):
        assert [arg for arg in order if arg[0] == name] == stream


async def test_many_that_are_packed_at_once_share_statements(server, member, new, sql):
    generators = [await member.add_generator(replace(new, name=name, trigger=50)) for name in "ab"]
    asked = [(generators[number % 2], number) for number in range(100)]
    await asyncio.gather(*(pack(member, *one) for one in asked))
    times = await sql.fetchval("SELECT count(DISTINCT pack_time) FROM generator_args")
    assert times < 100
    await use(server)
    found = [sorted(map(int, args)) for args in await used(sql)]
    assert sorted(found) == [list(range(start, 100, 2)) for start in (0, 1)]


async def test_the_same_request_twice_in_one_statement_is_packed_once(server, member, new, sql):
    """A hub lets one wait for the other; the statement does not rely on it."""
    generator = await member.add_generator(new)
    packings = [
        Packing(
            new.colony_id,
            generator.generator_id,
            arg,
            Intent.of("me", request, b"") if request else NOBODYS,
        )
        for arg, request in (("a", "1"), ("b", "2"), ("a", "1"), ("c", ""), ("c", ""))
    ]
    said = await asyncio.gather(
        *(packing.pack(server.db, one, server.agenda) for one in packings), return_exceptions=True
    )
    assert [type(one) for one in said if one] == [Conflict]
    args = await sql.fetch("SELECT arg FROM generator_args ORDER BY number")
    assert sorted(arg for (arg,) in args) == ["a", "b", "c", "c"]
    assert (await member.get_generator(generator.generator_id)).queue_size == 4


async def test_packing_into_one_that_is_being_deleted_leaves_nothing_behind(
    server, member, new, sql
):
    generator = await member.add_generator(new)
    tasks = [asyncio.create_task(pack(member, generator, number)) for number in range(20)]
    await member.delete_generator(generator.generator_id)
    failures = [one for one in await asyncio.gather(*tasks, return_exceptions=True) if one]
    assert {type(one) for one in failures} <= {NotFound}
    assert await sql.fetchval("SELECT count(*) FROM generator_args") == 0


async def test_a_backlog_is_used_up_in_one_pass(server, member, new, sql):
    generator = await member.add_generator(replace(new, trigger=1))
    await asyncio.gather(*(pack(member, generator, number) for number in range(120)))
    await use(server)
    assert sorted(await used(sql), key=lambda args: int(args[0])) == [[str(n)] for n in range(120)]


@pytest.mark.settings(max_waiting=1)
async def test_while_too_much_waits_in_the_colony_arguments_wait(server, member, new, sql):
    generator = await member.add_generator(replace(new, trigger=1))
    await member.submit("work", runtime_type="cli")
    await pack(member, generator, 1)
    await use(server)
    assert await graphs(sql) == []
    assert (await member.get_generator(generator.generator_id)).queue_size == 1
    await sql.execute("DELETE FROM processes")
    await use(server)
    assert await used(sql) == [["1"]]


async def test_what_cannot_be_run_at_all_is_stopped_and_holds_up_nobody(
    server, member, new, sql, log
):
    broken = await member.add_generator(replace(new, trigger=1))
    good = await member.add_generator(replace(new, name="good", trigger=1))
    await sql.execute(
        "UPDATE generators SET workflow_spec = '{}' WHERE generator_id = $1", broken.generator_id
    )
    for generator in (broken, good):
        await pack(member, generator, generator.name)
    for _ in range(2):
        await use(server)
    assert await used(sql) == [["good"]]
    (event,) = [one for one in log if one["event"] == "generator stopped"]
    assert "at least one process" in event["error"]
    assert (await member.get_generator(broken.generator_id)).queue_size == 1


@pytest.mark.settings(tick=0.05)
async def test_the_leader_uses_what_is_enough_and_idle_runtimes_hear_of_it(server, member, new):
    async with await member.subscribe_assignments(credit=1) as pushed:
        await until(lambda: bool(server.hub.lines))
        generator = await member.add_generator(new)
        await pack(member, generator, 1, 2, 3)
        process = await anext(pushed)
        assert process.spec.args == ["1", "2", "3"]
        await member.close_successful(process.process_id, attempt_token=process.attempt_token)
