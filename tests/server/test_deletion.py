"""What is deleted while others are at work on it: nobody waits in a circle, and nothing is left."""

import asyncio

import pytest

from colonies.core.errors import NotFound
from colonies.core.log import Append, NewEntry
from tests.conftest import held
from tests.server.doors import blocked
from tests.server.graphs import started
from tests.server.leases import submit, take

SAID = "SELECT (SELECT count(*) FROM logs) + (SELECT count(*) FROM log_entries)"


def append(process, number: int) -> Append:
    return Append(
        process_id=process.process_id,
        attempt_token=process.attempt_token,
        number=number,
        entries=[NewEntry(stream="stdout", offset=2 * number, size=2, text="x\n")],
    )


@pytest.fixture
def deletions(client, people, member, owner, colony):
    """All ways in which processes that run are deleted or taken away, by graph."""

    def deletions(graph_id: str) -> dict:
        hub_owner = client.acting_as(people.server_owner)
        return {
            "graph": lambda: member.delete_process_graph(graph_id),
            "graphs": owner.delete_all_process_graphs,
            "processes": owner.delete_all_processes,
            "colony": lambda: hub_owner.delete_colony(colony),
            "runtime": lambda: owner.delete_runtime(people.runtime.id),
        }

    return deletions


@pytest.mark.parametrize("what", ["graph", "graphs", "processes", "colony", "runtime"])
async def test_who_deletes_waits_for_none_while_it_holds_a_later_one(
    *, deletions, member, sql, what
):
    """A renewal holds the first of what runs, and may want the others."""
    graph = await started(member, a="", b="", c="")
    await graph.take("a", "b", "c")
    first, *later = sorted(graph.ids.values())
    for process_id in (*reversed(later), first):  # the order in which they are in the table
        await sql.execute("UPDATE processes SET lease = 31 WHERE process_id = $1", process_id)
    lock = "SELECT FROM processes WHERE process_id = ANY ($1) FOR UPDATE"
    async with sql.transaction():
        await sql.execute(lock, [first])
        deleting = asyncio.ensure_future(deletions(graph.id)[what]())
        await blocked(sql)
        await sql.execute(f"{lock} NOWAIT", later)
    await deleting
    assert await sql.fetchval("SELECT count(*) FROM processes WHERE state = 1") == 0


@pytest.mark.parametrize("what", ["process", "graph", "graphs", "processes", "colony"])
async def test_what_is_being_said_goes_with_its_process(*, deletions, member, sql, colony, what):
    """The append has seen its process and waits, the deletion comes."""
    if what == "process":
        process_id, graph_id = await submit(member), ""
    else:
        graph = await started(member, a="")
        process_id, graph_id = graph.ids["a"], graph.id
    process = await take(member)
    delete = {"process": lambda: member.delete_process(process_id), **deletions(graph_id)}[what]
    in_the_way = sql.transaction()
    await in_the_way.start()
    await sql.execute("INSERT INTO logs VALUES ($1, $2, 0, 0, 0, '{}')", colony, process_id)
    saying = asyncio.ensure_future(member.add_logs([append(process, 1)]))
    await blocked(sql)
    deleting = asyncio.ensure_future(delete())
    await blocked(sql, 2)
    await in_the_way.rollback()
    assert await saying == [None]
    await deleting
    assert await sql.fetchval(SAID) == 0


async def test_what_is_said_of_what_is_being_deleted_is_refused(member, sql):
    await submit(member)
    process = await take(member)
    assert await member.add_logs([append(process, 1)]) == [None]
    async with sql.transaction():
        for table in ("processes", "logs", "log_entries"):
            await sql.execute(f"DELETE FROM {table} WHERE process_id = $1", process.process_id)
        saying = asyncio.ensure_future(member.add_logs([append(process, 2)]))
        await blocked(sql)
    assert [type(failure) for failure in await saying] == [NotFound]
    assert await sql.fetchval(SAID) == 0


async def test_what_is_being_said_keeps_nobody_from_anything_else(member, sql):
    process_id = await submit(member)
    async with sql.transaction():
        await sql.execute("SELECT FROM processes FOR KEY SHARE")
        process = await take(member)
        assert process.process_id == process_id
        assert await member.renew([held(process)]) == []
        await member.release(process_id, attempt_token=process.attempt_token)
        process = await take(member)
        await member.close_successful(process_id, attempt_token=process.attempt_token)
