"""How long what has ended is kept, and that nothing else is ever deleted."""

import asyncio
from datetime import timedelta

import pytest

from colonies.core.errors import NotFound
from colonies.core.process import State
from colonies.server.db import Database
from colonies.server.duties import duties
from colonies.server.metrics import Metrics
from colonies.server.retention import Keep, sweep, sweep_all
from colonies.settings import Settings
from tests.server.leases import submit, take

FOR_EVER = Keep(0, 0, 0)
A_DAY = Keep(1, 1, 1)
ENDED = (State.SUCCESS, State.FAILED, State.CANCELLED)
METRIC = "colonies_processes_swept_total"


@pytest.fixture
def metrics() -> Metrics:
    return Metrics.create()


@pytest.fixture
def ended(sql, colony, people):
    """Make processes that ended ``days`` ago, in our colony or another; gives their ids."""

    async def ended(state: State, days: float, *, count=1, colony_id=colony) -> list[str]:
        rows = await sql.fetch(
            """
            INSERT INTO processes (colony_id, process_id, state, submission_time, end_time, spec,
                runtime_type, runtime_ids, cores, mem, gpus, priority, max_wait_time,
                max_exec_time, max_retries)
            SELECT $1, md5(random()::text), $2, now() - $3::interval, now() - $3::interval, '{}',
                   'cli', '{}', 0, 0, 0, 0, 0, 0, 0
            FROM generate_series(1, $4)
            RETURNING process_id
            """,
            colony_id,
            state,
            timedelta(days=days),
            count,
        )
        return [row["process_id"] for row in rows]

    return ended


@pytest.fixture
def kept(sql):
    """Give the ids of all processes that are there."""

    async def kept() -> set[str]:
        return {row["process_id"] for row in await sql.fetch("SELECT process_id FROM processes")}

    return kept


@pytest.mark.parametrize("state", ENDED)
async def test_a_process_is_deleted_when_it_has_been_kept_for_the_days_of_its_state(
    db, metrics, ended, kept, state
):
    young = [*await ended(state, 6.99), *await ended(state, 0)]
    old = [*await ended(state, 7.01), *await ended(state, 3000)]
    keep = [3.0 if other is not state else 7.0 for other in ENDED]
    assert await kept() == {*young, *old}
    await sweep(db, Keep(*keep), metrics)
    assert await kept() == set(young)


@pytest.mark.parametrize("state", ENDED)
async def test_of_a_state_with_0_days_everything_is_kept(db, metrics, ended, kept, state):
    ids = {other: (await ended(other, 3000))[0] for other in ENDED}
    days = [0.0 if other is state else 1e-6 for other in ENDED]
    assert not await sweep(db, Keep(*days), metrics)
    assert await kept() == {ids[state]}
    assert not await sweep(db, FOR_EVER, metrics)
    assert await kept() == {ids[state]}


async def test_days_beyond_all_time_are_for_ever(db, metrics, ended, kept):
    await ended(State.SUCCESS, 30_000)
    await sweep(db, Keep(1e300, 1e300, 1e300), metrics)
    assert len(await kept()) == 1


async def test_attributes_go_with_their_process_and_no_others_do(db, metrics, member, sql, colony):
    gone, left = [await submit(member, env={"PLACE": "home"}) for _ in range(2)]
    for process_id in (gone, left):
        await take(member)
        await member.add_attribute(process_id, "result", "5")
        await member.close_successful(process_id)
    await sql.execute(
        "UPDATE processes SET end_time = now() - interval '2 days' WHERE process_id = $1", gone
    )
    await sweep(db, A_DAY, metrics)
    with pytest.raises(NotFound):
        await member.get_process(gone)
    assert len((await member.get_process(left)).attributes) == 2
    assert await sql.fetchval("SELECT array_agg(DISTINCT target_id) FROM attributes") == [left]


async def test_what_waits_or_runs_is_never_deleted_however_old_it_is(
    db, metrics, member, sql, kept
):
    waiting, running, cancelling = [await submit(member) for _ in range(3)]
    for _ in range(2):
        await take(member)
    await member.cancel_process(running)
    await sql.execute(
        "UPDATE processes SET submission_time = '2000-01-01', start_time = '2000-01-01', "
        "end_time = '2000-01-01', cancel_time = cancel_time - interval '9 years'"
    )
    assert not await sweep(db, Keep(1e-6, 1e-6, 1e-6), metrics)
    assert await kept() == {waiting, running, cancelling}


async def test_every_colony_is_swept_the_oldest_first_batch_by_batch(
    db, metrics, ended, kept, people
):
    ids = {days: (await ended(State.FAILED, days))[0] for days in (5, 2, 9, 7)}
    theirs = await ended(State.FAILED, 3, count=3, colony_id=people.other_owner.id)
    left = {*ids.values(), *theirs}
    while await sweep(db, A_DAY, metrics, batch=2):
        gone = left - await kept()
        assert len(gone) == 2
        left -= gone
        ours = {days for days, process_id in ids.items() if process_id in left}
        assert not ours or max(ours) < min(ids.keys() - ours, default=10)
    assert await kept() == set()


async def test_a_sweep_says_whether_there_may_be_more(db, metrics, ended):
    await ended(State.SUCCESS, 2, count=10)
    assert await sweep(db, A_DAY, metrics, batch=10)
    assert not await sweep(db, A_DAY, metrics, batch=10)


async def test_what_was_swept_is_counted_by_state(db, metrics, ended):
    await ended(State.SUCCESS, 2, count=3)
    await ended(State.CANCELLED, 2, count=2)
    await sweep(db, A_DAY, metrics)
    counts = {
        state: metrics.registry.get_sample_value(METRIC, {"state": state.name.lower()})
        for state in ENDED
    }
    assert counts == {State.SUCCESS: 3, State.FAILED: 0, State.CANCELLED: 2}


async def test_two_sweeps_at_once_share_the_work_and_wait_for_nobody(
    database_url, db, metrics, ended, kept
):
    """One holds its batch in a transaction that has not ended while the other does the rest."""
    await ended(State.SUCCESS, 2, count=30)
    other = Database(database_url, connections=1)
    await other.open()
    async with db.transaction() as tx:
        assert await sweep(tx, A_DAY, metrics, batch=10)
        assert await sweep(other, A_DAY, metrics, batch=10)
        assert await sweep(other, A_DAY, metrics, batch=10)
        assert not await sweep(other, A_DAY, metrics, batch=10)
        assert len(await kept()) == 10
    await other.close()
    assert await kept() == set()


async def test_many_sweeps_at_once_delete_each_process_once(db, metrics, ended, kept):
    await ended(State.FAILED, 2, count=300)

    async def drain() -> None:
        while await sweep(db, A_DAY, metrics, batch=7):
            pass

    await asyncio.gather(*(drain() for _ in range(4)))
    assert await kept() == set()
    assert metrics.registry.get_sample_value(METRIC, {"state": "failed"}) == 300


async def test_what_is_locked_by_somebody_else_is_left_for_later(db, metrics, ended, kept, sql):
    (held,) = await ended(State.SUCCESS, 9)
    await ended(State.SUCCESS, 2)
    async with sql.transaction():
        await sql.execute("SELECT FROM processes WHERE process_id = $1 FOR UPDATE", held)
        await sweep(db, A_DAY, metrics)
        assert await kept() == {held}
    await sweep(db, A_DAY, metrics)
    assert await kept() == set()


@pytest.mark.settings(keep_failed=1, keep_successful=0)
async def test_to_sweep_is_a_duty_of_the_leader(server, settings, ended, kept):
    (old,) = await ended(State.SUCCESS, 2)
    await ended(State.FAILED, 2)
    every = duties(server.db, server.hub, settings, server.metrics, server.agenda)
    (duty,) = [one for one in every if one.name == "sweep"]
    await duty.work()
    assert server.metrics.registry.get_sample_value(METRIC, {"state": "failed"}) == 1
    assert await kept() == {old}


async def test_a_duty_goes_on_until_it_has_caught_up(db, ended, kept, metrics):
    for state in ENDED:
        await ended(state, 2, count=5)
    await sweep_all(db, A_DAY, metrics, batch=2)
    assert await kept() == set()


def test_the_settings_say_what_is_kept():
    settings = Settings(keep_successful=1, keep_failed=0, keep_cancelled=0.5)
    assert Keep.of(settings).seconds == {State.SUCCESS: 86_400, State.CANCELLED: 43_200}
    usual = Keep.of(Settings()).seconds
    assert usual == dict.fromkeys(ENDED, 30 * 86_400)
