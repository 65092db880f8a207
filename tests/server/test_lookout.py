"""Whatever notification is lost, a slow look finds out: here nobody tells anybody anything."""

import asyncio

import pytest

from colonies.core.errors import Forbidden
from colonies.core.process import FINAL_STATES, State
from colonies.core.runtime import Figures
from colonies.server.news import Change
from colonies.server.parties import NOBODY, Cause
from colonies.server.wishes import kind_of
from tests.conftest import held
from tests.server.doors import failure_of, idle, refused, until
from tests.server.leases import OVER, listeners, submit


@pytest.fixture
def other(second, server):
    """A second hub, which the first does not talk to."""
    server.hub._outlet = NOBODY
    return second


@pytest.fixture
def look(other):
    """What the ticker does every so often."""
    return other.ticker.run_once


async def test_a_submit(other, there, member, look):
    waiting = asyncio.ensure_future(there.assign_process(timeout=60))
    await idle(other, 1)
    process_id = await submit(member)
    await look()
    assert (await waiting).process_id == process_id


async def test_an_end_that_somebody_waits_for(away, member, people, look):
    process_id = await submit(member)
    fields = {"processid": process_id, "states": list(FINAL_STATES)}
    await away.ask("subscribeprocessmsg", fields, people.runtime, "follow")
    await look()
    await member.assign_process(timeout=-1)
    await look()
    await member.close_successful(process_id, ["done"])
    assert await away.pushes_so_far(people.runtime) == []
    await look()
    await look()
    assert (await away.pushed()).output == ["done"]
    assert await away.pushes_so_far(people.runtime) == []


async def test_what_was_told_is_not_told_again(away, other, there, people, look):
    fields = {"processid": await submit(there), "states": [0, 1]}
    await away.ask("subscribeprocessmsg", fields, people.runtime, "follow")
    await look()
    await there.assign_process(timeout=-1)
    await look()
    pushes = [(await away.pushed()).state, (await away.pushed()).state]
    assert pushes == [State.WAITING, State.RUNNING]
    assert await away.pushes_so_far(people.runtime) == []


async def test_a_deletion(away, other, member, people, look):
    process_id = await submit(member)
    await away.ask("subscribeprocessmsg", {"processid": process_id}, people.runtime, "follow")
    assert (await away.pushed()).process_id == process_id
    await member.delete_process(process_id)
    await look()
    assert "was deleted" in failure_of(await away.push()).message
    assert listeners(other) == 0


@pytest.fixture
async def working(other, away, subscribe, member):
    """A process that was pushed to our runtime at the other hub."""
    await submit(member, max_exec_time=60)
    await subscribe(away)
    return await away.pushed()


async def test_a_cancel_once(away, working, owner, look, people):
    await owner.cancel_process(working.process_id, "no need")
    await look()
    assert (await away.pushed()).cancel_reason == "no need"
    await look()
    assert await away.pushes_so_far(people.runtime) == []


async def test_a_cancel_that_was_told_when_it_was_brought_along(
    away, subscribe, member, look, people
):
    await submit(member)
    process = await member.assign_process(timeout=-1, leased=True)
    await member.cancel_process(process.process_id)
    await subscribe(away, holding=[held(process)])
    assert (await away.pushed()).is_cancelling
    await look()
    assert await away.pushes_so_far(people.runtime) == []


async def test_an_expiry(away, working, server, sql, look):
    await sql.execute(f"UPDATE processes SET exec_deadline = {OVER}")
    await server.ticker.run_once(stir=False)
    await look()
    told, again = await away.pushed(), await away.pushed()
    assert (told.process_id, told.attempt_token) == (working.process_id, "")
    assert (again.attempt, bool(again.attempt_token)) == (2, True)


async def test_news_from_before_it_was_assigned_do_not_hide_that_it_is_lost(
    *, away, other, working, colony, server, sql, look
):
    """Its submit was a call, of which nobody has to hear; how it was lost is another matter."""
    await sql.execute(f"UPDATE processes SET exec_deadline = {OVER}")
    await server.ticker.run_once(stir=False)
    submitted = Change(working.process_id, State.WAITING, kind_of("cli"), Cause.CALL)
    await other.ticker._lookout.catch_up({(colony, working.process_id): submitted})
    await look()
    told, again = await away.pushed(), await away.pushed()
    assert (told.process_id, told.attempt_token) == (working.process_id, "")
    assert (again.attempt, bool(again.attempt_token)) == (2, True)


async def test_old_news_that_come_last_do_not_hide_newer(away, other, working, colony, member):
    """Two hubs tell, each of what was done there: of the same process, in any order."""
    await member.close_successful(working.process_id, attempt_token=working.attempt_token)
    process_id = await submit(member)
    for state, attempt in ((State.SUCCESS, 1), (State.WAITING, 0)):
        change = Change(working.process_id, state, kind_of("cli"), Cause.CALL, attempt)
        other.peers._keep(colony, change)
    assert (await away.pushed()).process_id == process_id


async def test_what_somebody_else_has_meanwhile_is_not_taken_for_an_assignment(
    *, away, working, server, sql, look, fellow
):
    """The runtime that lost it must not hear that it runs, for it does so elsewhere."""
    await sql.execute(f"UPDATE processes SET exec_deadline = {OVER}")
    await server.ticker.run_once(stir=False)
    assert (await fellow.assign_process(timeout=-1)).process_id == working.process_id
    await look()
    told = await away.pushed()
    assert (told.process_id, told.state) == (working.process_id, State.WAITING)


@pytest.mark.parametrize("how", ["close", "delete"])
async def test_that_credit_is_free(away, working, member, look, how):
    if how == "close":
        await member.close_successful(working.process_id, attempt_token=working.attempt_token)
    else:
        await member.delete_process(working.process_id)
    process_id = await submit(member)
    await look()
    assert (await away.pushed()).process_id == process_id


async def test_that_a_runtime_is_shut_out(*, other, there, away, subscribe, owner, people, look):
    await away.ask("subscribeprocessesmsg", {"runtimetype": "cli"}, people.runtime, "watch")
    await subscribe(away)
    waiting = asyncio.ensure_future(there.assign_process(timeout=60))
    await idle(other, 2)
    await owner.reject_runtime(people.runtime.id)
    await look()
    assert isinstance(await refused(waiting), Forbidden)
    for _ in range(2):
        assert "is not approved" in failure_of(await away.push()).message
    await until(lambda: not (other.hub.lines or listeners(other)))


async def test_that_a_runtime_has_more_now(*, other, there, member, look):
    waiting = asyncio.ensure_future(there.assign_process(timeout=60))
    await idle(other, 1)
    process_id = await submit(member, cores=64)
    await member.update_runtime(Figures(cores=64, mem=1, gpus=0))
    await look()
    assert (await waiting).process_id == process_id


async def test_the_owner_of_a_colony_stays(away, other, member, people, look):
    process_id = await submit(member)
    fields = {"processid": process_id, "states": [2]}
    await away.ask("subscribeprocessmsg", fields, people.colony_owner, "follow")
    await look()
    assert listeners(other) == 1


async def test_nothing_is_asked_when_nobody_is_interested(server, monkeypatch):
    asked = []
    fetch = server.db._fetch

    async def noted(name, arguments):
        asked.append(name)
        return await fetch(name, arguments)

    monkeypatch.setattr(server.db, "_fetch", noted)
    await server.ticker.run_once(stir=False)
    expiry = list(asked)
    await server.ticker.run_once(stir=True)
    assert asked == expiry * 2
