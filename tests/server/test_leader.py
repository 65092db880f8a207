"""One hub leads, and another takes over when it is gone."""

import asyncio

import pytest

from colonies.core.errors import Unavailable
from colonies.server.app import Server
from colonies.server.leader import Duty, Leader
from tests.server.doors import until
from tests.server.hubs import acquainted, terminate_session


def duty(work) -> Duty:
    return Duty("count", 0.0, work)


async def test_duties_are_done_only_while_leading():
    done = []

    async def work():
        done.append(leader.is_leading)

    async with Leader("me", [duty(work)]) as leader:
        await asyncio.sleep(0)
        assert done == []
        leader.gain()
        leader.gain()
        await until(lambda: len(done) > 2)
        leader.lose()
        leader.lose()
        count = len(done)
        for _ in range(5):
            await asyncio.sleep(0)
        assert (len(done), set(done)) == (count, {True})
        leader.gain()
        await until(lambda: len(done) > count)


async def test_a_duty_is_stopped_in_the_middle_when_the_lead_is_lost():
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work():
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with Leader("me", [duty(work)]) as leader:
        leader.gain()
        await begun.wait()
        leader.lose()
        await ended.wait()


@pytest.mark.parametrize("error", [Unavailable("away"), ValueError("a bug")])
async def test_a_duty_that_fails_is_logged_and_done_again(log, error):
    done = []

    async def work():
        done.append(1)
        raise error

    async with Leader("me", [duty(work)]) as leader:
        leader.gain()
        await until(lambda: len(done) > 1)
    events = {one["event"] for one in log}
    assert events & {"duty skipped", "duty failed"}
    assert {"leader gained", "leader lost"} <= events


async def test_one_of_two_hubs_leads(settings, server, log):
    async with Server(settings) as other:
        await acquainted(server, other)
        assert (server.leader.is_leading, other.leader.is_leading) == (True, False)


async def test_the_other_takes_over_when_the_leader_stops(settings, db, complaints):
    async with Server(settings) as other:
        assert other.leader.is_leading
        async with Server(settings) as heir:
            await acquainted(other, heir)
            await other.__aexit__(None, None, None)
            assert not other.leader.is_leading
            await until(lambda: heir.leader.is_leading)


async def test_a_leader_that_loses_its_connection_stops_at_once(settings, server, sql):
    """And somebody leads again soon, never two."""
    async with Server(settings) as other:
        await acquainted(server, other)
        await terminate_session(sql, server)
        await until(lambda: not server.leader.is_leading)
        both = (server.leader, other.leader)
        await until(lambda: any(one.is_leading for one in both))
        assert [one.is_leading for one in both].count(True) == 1
