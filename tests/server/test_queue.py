"""Where a claim begins: behind what was claimed lately, but before nothing that waits."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from colonies.core.errors import Unavailable
from colonies.core.process import Conditions, Process, ProcessSpec
from colonies.server import lifecycle
from colonies.server.queue import FRONT, LIFETIME, LONGEST, SHARE, Bookmarks, Queue
from tests.server.leases import submit

QUEUE = Queue("colony", "cli", 0, 0, 0, latest=False)
START = datetime(2030, 1, 1, tzinfo=UTC)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def bookmarks(clock) -> Bookmarks:
    return Bookmarks(clock)


def process(second: int, priority: int = 0, **conditions) -> Process:
    conditions = {"colony_id": "colony", "runtime_type": "cli"} | conditions
    spec = ProcessSpec(priority=priority, conditions=Conditions(**conditions))
    return Process(spec=spec, submission_time=START + timedelta(seconds=second))


def claim(bookmarks, *claimed: Process, meanwhile: Process | None = None):
    """Claim these, and give where that began."""
    with bookmarks.look(QUEUE) as look:
        if meanwhile:
            bookmarks.move_back(meanwhile)
        look.end_after(claimed)
    return look.begin


def at(second: int, priority: int = 0):
    return -priority, START + timedelta(seconds=second)


def test_the_first_claim_begins_at_the_front_and_the_next_where_it_ended(bookmarks):
    assert claim(bookmarks, process(5), process(9), process(7)) == FRONT
    assert claim(bookmarks) == at(9)
    assert claim(bookmarks) == at(9)


def test_a_lower_priority_is_further_back_whatever_its_age(bookmarks):
    claim(bookmarks, process(9, priority=2), process(1, priority=1))
    assert claim(bookmarks) == at(1, priority=1)


def test_what_comes_behind_the_bookmark_leaves_it_alone(bookmarks):
    claim(bookmarks, process(5))
    bookmarks.move_back(process(6))
    bookmarks.move_back(process(1, priority=-1))
    assert claim(bookmarks) == at(5)


@pytest.mark.parametrize("came", [process(4), process(9, priority=1)])
def test_it_moves_back_to_what_waits_before_it(bookmarks, came):
    claim(bookmarks, process(5))
    bookmarks.move_back(came)
    assert claim(bookmarks) == (-came.spec.priority, came.submission_time)


def test_what_came_during_a_claim_may_not_have_been_seen_by_it(bookmarks):
    claim(bookmarks, process(5), meanwhile=process(3))
    assert claim(bookmarks) == at(3)


def test_another_type_is_another_queue(bookmarks):
    claim(bookmarks, process(5))
    bookmarks.move_back(process(1, runtime_type="gpu"))
    bookmarks.move_back(process(1, colony_id="other"))
    assert claim(bookmarks) == at(5)


def test_it_is_forgotten_after_a_while_however_it_moved(bookmarks, clock):
    claim(bookmarks, process(5))
    clock.now = LIFETIME * 0.9
    claim(bookmarks, process(6))
    clock.now = LIFETIME
    assert claim(bookmarks, process(8)) == FRONT
    assert claim(bookmarks) == at(8)


def look_from_the_front(bookmarks, clock, *, seconds: float) -> None:
    """Claim something when it is time to look from the front, which takes so long."""
    clock.now += LONGEST
    with bookmarks.look(QUEUE) as look:
        assert look.begin == FRONT
        clock.now += seconds
        look.end_after([process(5)])


@pytest.mark.parametrize(
    ("seconds", "rest"), [(0.001, LIFETIME), (0.1, 0.1 / SHARE), (100.0, LONGEST)]
)
def test_it_is_forgotten_later_if_it_takes_long_to_look_from_the_front(
    bookmarks, clock, seconds, rest
):
    look_from_the_front(bookmarks, clock, seconds=seconds)
    clock.now += rest * 0.99
    assert claim(bookmarks, process(6)) == at(5)
    clock.now += rest * 0.02
    assert claim(bookmarks) == FRONT


def test_a_look_that_finds_nothing_at_all_leaves_it_where_it_was(bookmarks, clock):
    claim(bookmarks, process(5))
    clock.now = LIFETIME
    assert claim(bookmarks) == FRONT
    assert claim(bookmarks) == at(5)


def test_what_came_during_such_a_look_may_not_have_been_seen_by_it(bookmarks, clock):
    claim(bookmarks, process(5))
    clock.now = LIFETIME
    assert claim(bookmarks, meanwhile=process(3)) == FRONT
    assert claim(bookmarks) == at(3)


def test_it_is_not_long_until_a_second_look_from_the_front_counts(bookmarks, clock):
    """Nothing was found behind the bookmark: what that took is not what the front took."""
    claim(bookmarks, process(5))
    with bookmarks.look(QUEUE) as look:
        clock.now += LIFETIME * 0.9
        look.restart()
        look.end_after([process(6)])
    clock.now += LIFETIME * 0.9
    assert claim(bookmarks) == at(6)
    clock.now += LIFETIME * 0.2
    assert claim(bookmarks) == FRONT


def test_a_claim_that_fails_leaves_it_where_it_was(bookmarks):
    claim(bookmarks, process(5))
    with suppress(Unavailable), bookmarks.look(QUEUE) as look:
        look.end_after([process(9)])
        raise Unavailable
    assert claim(bookmarks) == at(5)


async def test_a_claim_that_finds_nothing_behind_it_looks_from_the_front(member, server, sql):
    ids = [await submit(member) for _ in range(3)]
    first, second = [await member.assign_process(timeout=-1) for _ in range(2)]
    assert [first.process_id, second.process_id] == ids[:2]
    # Only the database knows, as if another hub had done it.
    await sql.execute(
        "UPDATE processes SET state = 0, is_assigned = false, assigned_runtime_id = '' "
        "WHERE process_id = $1",
        first.process_id,
    )
    runtime = await member.get_runtime(member.key.id)
    claimed = await lifecycle.claim(server.db, runtime, server.hub.bookmarks, count=2)
    assert [one.process_id for one in claimed] == ids[2:]
    claimed = await lifecycle.claim(server.db, runtime, server.hub.bookmarks, count=2)
    assert [one.process_id for one in claimed] == ids[:1]


async def test_priorities_come_first_also_behind_a_bookmark(member):
    low = [await submit(member) for _ in range(2)]
    assert (await member.assign_process(timeout=-1)).process_id == low[0]
    high = await submit(member, priority=1)
    lower = await submit(member, priority=-1)
    taken = [(await member.assign_process(timeout=-1)).process_id for _ in range(3)]
    assert taken == [high, low[1], lower]


async def test_what_is_released_is_first_again(member):
    ids = [await submit(member) for _ in range(3)]
    first = await member.assign_process(timeout=-1)
    await member.assign_process(timeout=-1)
    await member.release(first.process_id)
    assert (await member.assign_process(timeout=-1)).process_id == ids[0]
