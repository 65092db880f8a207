"""Moves that are made together: each has its own result, whatever becomes of the others."""

import asyncio

import pytest

from colonies.core.errors import Conflict
from colonies.core.process import Conditions, Process, ProcessSpec, State
from colonies.server import lifecycle
from colonies.server.db import Database
from colonies.server.intent import NOBODYS, Intent, Seen, recall
from tests.server.leases import row, submit


def spec(colony: str, **fields) -> ProcessSpec:
    conditions = Conditions(colony_id=colony, runtime_type="cli")
    return ProcessSpec(**{"conditions": conditions} | fields)


def together(server, *moves):
    """Ask for all of these at once."""
    return asyncio.gather(*moves, return_exceptions=True)


class TestSubmit:
    async def test_many_after_the_first_take_one_statement_and_keep_their_order(
        self, server, colony, statements
    ):
        specs = [spec(colony, func=f"f{number}", env={"N": f"{number}"}) for number in range(20)]
        submitted = await together(
            server, *(lifecycle.submit(server.db, one, NOBODYS) for one in specs)
        )
        assert statements == ["submit_processes"] * 2
        assert [process.spec for process in submitted] == specs
        assert [process.attributes[0].value for process in submitted] == [
            str(number) for number in range(20)
        ]
        times = [process.submission_time for process in submitted]
        assert times == sorted(set(times))

    async def test_one_that_was_asked_before_is_left_out(self, server, colony, sql):
        again = Intent.of("me", "r", b"d")
        first = await lifecycle.submit(server.db, spec(colony), again)
        results = await together(
            server,
            lifecycle.submit(server.db, spec(colony, env={"A": "B"}), again),
            *(lifecycle.submit(server.db, spec(colony), Intent.of("me", n, b"d")) for n in "12"),
            lifecycle.submit(server.db, spec(colony), Intent.of("me", "1", b"other")),
        )
        kinds = [type(result) for result in results]
        assert kinds == [Conflict, type(first), type(first), Conflict]
        assert await sql.fetchval("SELECT count(*) FROM processes") == 3
        assert await sql.fetchval("SELECT count(*) FROM attributes") == 0

    async def test_one_that_cannot_be_kept_harms_no_other(self, server, colony):
        bad = spec(colony, func="\ud800")
        results = await together(
            server,
            lifecycle.submit(server.db, spec(colony), NOBODYS),
            lifecycle.submit(server.db, bad, NOBODYS),
            lifecycle.submit(server.db, spec(colony), NOBODYS),
        )
        assert [isinstance(result, Exception) for result in results] == [False, True, False]


class TestClaim:
    @pytest.fixture
    def runtimes(self, member, others):
        return [member, *others]

    async def claimed(self, server, runtimes, **options):
        found = [await runtimes[0].get_runtime(one.key.id) for one in runtimes]
        return await together(
            server,
            *(lifecycle.claim(server.db, one, server.hub.bookmarks, **options) for one in found),
        )

    async def test_many_runtimes_share_a_statement_and_each_gets_its_own(
        self, *, server, member, runtimes, statements
    ):
        ids = [await submit(member) for _ in range(3)]
        statements.clear()
        given = await self.claimed(server, runtimes)
        assert statements.count("claim_oldest_of_queue") == 2
        assert [[one.process_id for one in mine] for mine in given] == [[id_] for id_ in ids] + [[]]
        assert [mine[0].assigned_runtime_id for mine in given[:3]] == [
            one.key.id for one in runtimes[:3]
        ]
        assert len({mine[0].attempt_token for mine in given[:3]}) == 3

    async def test_all_get_a_first_before_anybody_gets_a_second(self, server, member, runtimes):
        for _ in range(7):
            await submit(member)
        found = [await member.get_runtime(one.key.id) for one in runtimes]
        given = await together(
            server,
            lifecycle.claim(
                server.db, found[0], server.hub.bookmarks
            ),  # alone; the others meanwhile line up
            *(lifecycle.claim(server.db, one, server.hub.bookmarks, count=5) for one in found),
        )
        assert [len(mine) for mine in given] == [1, 2, 2, 1, 1]

    async def test_one_that_is_shut_out_gets_nothing_and_takes_nobodys_place(
        self, server, member, runtimes, sql
    ):
        ids = {await submit(member) for _ in range(3)}
        await sql.execute("UPDATE runtimes SET state = 2 WHERE runtime_id = $1", member.key.id)
        given = await self.claimed(server, runtimes)
        assert given[0] == []
        assert {mine[0].process_id for mine in given[1:]} == ids

    async def test_what_is_addressed_to_one_of_them_comes_to_it_in_order(
        self, server, member, runtimes
    ):
        other = runtimes[1].key.id
        low = await submit(member, priority=1)
        mine = await submit(member, runtime_type="", runtime_ids=[other], priority=2)
        high = await submit(member, priority=3)
        given = await self.claimed(server, runtimes, count=3)
        found = {one.process_id: one.assigned_runtime_id for each in given for one in each}
        assert set(found) == {low, mine, high}
        assert found[mine] == other

    async def test_a_request_that_was_done_takes_nothing(self, server, member):
        ids = [await submit(member) for _ in range(3)]
        runtime = await member.get_runtime(member.key.id)
        again = Intent.of(member.key.id, "r", b"d")
        (first,) = await lifecycle.claim(server.db, runtime, server.hub.bookmarks, intent=again)
        results = await together(
            server,
            lifecycle.claim(server.db, runtime, server.hub.bookmarks, intent=again),
            lifecycle.claim(
                server.db, runtime, server.hub.bookmarks, intent=Intent.of(member.key.id, "s", b"d")
            ),
        )
        assert [[one.process_id for one in mine] for mine in results] == [[], [ids[1]]]
        assert first.process_id == ids[0]

    async def test_a_request_for_several_is_remembered_with_the_first(self, server, member):
        ids = [await submit(member) for _ in range(3)]
        runtime = await member.get_runtime(member.key.id)
        one = Intent.of(member.key.id, "r", b"d")
        given = await lifecycle.claim(server.db, runtime, server.hub.bookmarks, count=3, intent=one)
        assert [process.process_id for process in given] == ids
        assert await recall(server.db, one) == Seen(one.digest, ids[0], 1)

    async def test_figures_and_types_keep_queues_apart(self, server, member, statements):
        await submit(member, runtime_type="other")
        heavy = await submit(member, cores=4)
        light = await submit(member)
        small = await member.get_runtime(member.key.id)
        given = await together(
            server,
            lifecycle.claim(server.db, small, server.hub.bookmarks, count=2),
            lifecycle.claim(server.db, small, server.hub.bookmarks, count=2, latest=True),
        )
        assert [one.process_id for mine in given for one in mine] == [light]
        assert (await member.get_process(heavy)).state is State.WAITING
        assert statements.count("claim_latest_of_queue") == 1


async def close(db, attempt: lifecycle.Assignment, state: State, **end) -> Process | None:
    """End a process of no workflow: with it nothing else changes."""
    closed = await lifecycle.close(db, attempt, state, **end, intent=NOBODYS)
    assert len(closed) <= 1
    return closed[0] if closed else None


class TestClose:
    async def running(self, member, count):
        for _ in range(count):
            await submit(member)
        return [await member.assign_process(timeout=-1) for _ in range(count)]

    async def test_many_share_statements_and_each_has_its_own_end(self, server, member, statements):
        processes = await self.running(member, 3)
        attempts = [lifecycle.Assignment.of(one) for one in processes]
        statements.clear()
        closed = await together(
            server,
            *(
                close(server.db, one, state, output=output, errors=errors)
                for one, state, output, errors in zip(
                    attempts,
                    (State.SUCCESS, State.FAILED, State.SUCCESS),
                    (["a", 'b "c" ,{}'], [], []),
                    ([], ["why"], []),
                    strict=True,
                )
            ),
        )
        assert statements == ["close_processes"] * 2
        assert [one.process_id for one in closed] == [one.process_id for one in processes]
        assert [one.state for one in closed] == [State.SUCCESS, State.FAILED, State.SUCCESS]
        assert [one.output for one in closed] == [["a", 'b "c" ,{}'], [], []]
        assert [one.errors for one in closed] == [[], ["why"], []]

    async def test_of_two_ends_at_once_the_first_counts(self, server, member, sql):
        (process,) = await self.running(member, 1)
        attempt = lifecycle.Assignment.of(process)
        closed = await together(
            server,
            *(
                close(server.db, attempt, State.SUCCESS, output=[text], errors=[])
                for text in ("first", "second")
            ),
        )
        assert (closed[0].output, closed[1]) == (["first"], None)
        assert (await row(sql, process.process_id))["output"] == ["first"]

    async def test_a_stale_end_beside_the_right_one_changes_nothing(self, server, member):
        (process,) = await self.running(member, 1)
        right = lifecycle.Assignment.of(process)
        stale = lifecycle.Assignment(right.process_id, right.runtime_id, right.colony_ids, "0" * 16)
        closed = await together(
            server,
            *(
                close(server.db, one, State.SUCCESS, output=[text], errors=[])
                for one, text in ((stale, "stale"), (right, "right"))
            ),
        )
        assert (closed[0], closed[1].output) == (None, ["right"])


async def test_without_sharing_each_has_a_statement_of_its_own(database_url, colony, statements):
    alone = Database(database_url, connections=4, batch=1)
    await alone.open()
    statements.clear()
    await asyncio.gather(*(lifecycle.submit(alone, spec(colony), NOBODYS) for _ in range(3)))
    await alone.close()
    assert statements == ["submit_processes"] * 3
