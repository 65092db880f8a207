"""Turns: however much one colony asks for, what is done next is the next of everybody's."""

import asyncio

import pytest

from colonies.core.errors import Unavailable
from colonies.server import turns as module
from colonies.server.members import Members
from colonies.server.turns import Turns
from tests.conftest import add_runtime
from tests.server.doors import blocked, idle, until
from tests.server.leases import submit


class Hall:
    """Callers named by their line and a number; each stays in until it is told to go."""

    def __init__(self, most: int) -> None:
        self.turns = Turns(most, line_of=lambda caller: caller[0])
        self.came: list[str] = []
        self._inside: dict[str, asyncio.Event] = {}

    def call(self, *names: str) -> list[asyncio.Task]:
        return [asyncio.ensure_future(self._stay(name)) for name in names]

    async def _stay(self, name: str) -> None:
        await self.turns.take(name)
        self.came.append(name)
        self._inside[name] = asyncio.Event()
        await self._inside[name].wait()
        self.turns.give_back()

    async def let_go(self, *names: str) -> None:
        """Let these go, one after the other, each when it is in."""
        for name in names:
            await until(lambda name=name: name in self._inside)
            self._inside[name].set()


class TestTurns:
    async def test_of_each_line_one_is_next(self):
        hall = Hall(1)
        calls = hall.call("a1", "a2", "a3", "a4", "b1", "b2", "c1")
        await until(lambda: hall.turns.waiting == 6)
        order = ["a1", "a2", "b1", "c1", "a3", "b2", "a4"]
        await hall.let_go(*order)
        await asyncio.gather(*calls)
        assert hall.came == order
        assert hall.turns.waiting == 0

    async def test_who_comes_late_waits_for_one_of_each_other_line(self):
        hall = Hall(1)
        calls = hall.call("a1", "a2", "a3", "a4")
        await hall.let_go("a1")
        await until(lambda: hall.came == ["a1", "a2"])
        calls += hall.call("b1")
        await until(lambda: hall.turns.waiting == 3)
        await hall.let_go("a2", "a3", "b1", "a4")
        await asyncio.gather(*calls)
        assert hall.came == ["a1", "a2", "a3", "b1", "a4"]

    async def test_so_many_are_in_at_once(self):
        hall = Hall(3)
        calls = hall.call("a1", "a2", "a3", "a4", "a5")
        await until(lambda: hall.turns.waiting == 2)
        assert hall.came == ["a1", "a2", "a3"]
        await hall.let_go("a2", "a1", "a3", "a4", "a5")
        await asyncio.gather(*calls)

    async def test_who_only_waits_lets_others_in_and_is_at_once_back(self):
        turns = Turns(1, line_of=str)
        await turns.take("a")
        with turns.set_aside():
            await turns.take("b")
        late = asyncio.ensure_future(turns.take("c"))
        await until(lambda: turns.waiting == 1)
        turns.give_back()
        assert not late.done()
        turns.give_back()
        await late

    async def test_who_gives_up_takes_nobodys_turn(self):
        hall = Hall(1)
        first, gone, last = hall.call("a1", "a2", "a3")
        await until(lambda: hall.turns.waiting == 2)
        gone.cancel()
        await asyncio.wait([gone])
        await hall.let_go("a1", "a3")
        await asyncio.gather(first, last)
        assert hall.came == ["a1", "a3"]

    async def test_who_gives_up_just_when_it_is_let_in_passes_it_on(self):
        turns = Turns(1, line_of=str)
        await turns.take("a")
        gone = asyncio.ensure_future(turns.take("b"))
        last = asyncio.ensure_future(turns.take("c"))
        await until(lambda: turns.waiting == 2)
        turns.give_back()
        gone.cancel()
        await last
        assert gone.cancelled()

    async def test_who_waits_too_long_is_to_ask_again(self, monkeypatch):
        monkeypatch.setattr(module, "LONGEST_WAIT", 0.0)
        turns = Turns(1, line_of=str)
        await turns.take("a")
        with pytest.raises(Unavailable, match="too much to do"):
            await turns.take("b")
        turns.give_back()
        await turns.take("c")


@pytest.mark.settings(max_at_once=1)
async def test_one_colonys_calls_wait_for_each_other_and_not_anothers(
    *, server, member, fellow, foreigner, people, sql
):
    await member.get_caller(), await fellow.get_caller(), await foreigner.get_caller()
    async with sql.transaction():
        await sql.execute("LOCK TABLE processes IN SHARE MODE")
        calls = [asyncio.ensure_future(submit(member))]
        await blocked(sql)
        for waiting, caller in enumerate([member, fellow, member, fellow], 1):
            calls.append(asyncio.ensure_future(submit(caller)))
            await until(lambda waiting=waiting: server.turns.waiting == waiting)
        theirs = asyncio.ensure_future(submit(foreigner, colony_id=people.other_owner.id))
        await until(lambda: server.turns.waiting == 5)
    ours = await asyncio.gather(*calls)
    rows = await sql.fetch("SELECT process_id FROM processes ORDER BY submission_time")
    assert [row["process_id"] for row in rows] == [*ours[:2], await theirs, *ours[2:]]


@pytest.mark.settings(max_at_once=1)
async def test_a_long_poll_keeps_nobody_out(server, member, fellow):
    polling = asyncio.ensure_future(fellow.assign_process(timeout=60))
    await idle(server, 1)
    process_id = await submit(member)
    assert (await polling).process_id == process_id


@pytest.mark.usefixtures("colony")
class TestLine:
    async def test_it_is_shared_by_a_colony_with_its_owner(self, db, people):
        members = Members(db)
        await members.of(people.runtime.id)
        await members.of(people.pending.id)
        line = members.line_of(people.runtime.id)
        assert members.line_of(people.pending.id) == line
        assert members.line_of(people.colony_owner.id) == line
        assert members.line_of(people.foreigner.id) not in {line, ()}

    async def test_nobody_is_drawn_into_anothers(self, db, client, people):
        await add_runtime(client, people.other_owner, people.runtime)
        members = Members(db)
        await members.of(people.runtime.id)
        await members.of(people.foreigner.id)
        assert members.line_of(people.runtime.id) != members.line_of(people.foreigner.id)
