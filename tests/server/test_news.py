"""What is told: ids only, the latest of each process, in payloads that fit, and never too much."""

import asyncio

import pytest

from colonies.core import wire
from colonies.core.process import Conditions, Process, ProcessSpec, State, new_id
from colonies.server.news import MAX_PENDING, PAUSE, Change, News, Notice, kind_of
from colonies.server.parties import Cause

ME = "a" * 32
LARGEST_PAYLOAD = 8000


def changed(colony="c" * 64, process_id="", state=State.WAITING, kind="cli", attempt=0) -> Process:
    spec = ProcessSpec(func="secret", conditions=Conditions(colony_id=colony, runtime_type=kind))
    return Process(
        process_id=process_id or new_id(),
        state=state,
        spec=spec,
        output=["secret"],
        attempt=attempt,
    )


@pytest.fixture
def news() -> News:
    news = News()
    news.meet(["other"])
    return news


def told(news: News) -> list[Notice]:
    return [wire.decode(payload, Notice) for payload in news.take(ME)]


def test_nothing_is_kept_that_nobody_wants(news):
    news.meet([])
    news.change(changed(), Cause.CALL)
    news.shut_out("c", "r")
    news.refit("c", "r")
    news.remove("c", "p")
    news.forget_members()
    news.overflow()
    assert news.take(ME) == []


def test_a_change_is_told_by_ids_alone(news):
    process = changed()
    news.change(process, Cause.CALL)
    (payload,) = news.take(ME)
    assert "secret" not in payload
    notice = wire.decode(payload, Notice)
    change = Change(process.process_id, State.WAITING, kind_of("cli"))
    assert notice == Notice(ME, changed={"c" * 64: [change]})
    assert news.take(ME) == []


def test_of_each_process_the_latest_is_told_but_the_cause_is_kept(news):
    news.change(changed(process_id="p"), Cause.SILENCE)
    news.change(changed(process_id="p", state=State.RUNNING), Cause.CALL)
    (notice,) = told(news)
    expected = Change("p", State.RUNNING, kind_of("cli"), Cause.SILENCE)
    assert notice.changed == {"c" * 64: [expected]}


def test_what_is_noted_late_does_not_hide_what_is_told_of_a_later_attempt(news):
    news.change(changed(process_id="p", state=State.CANCELLED, attempt=2), Cause.CALL)
    news.change(changed(process_id="p", attempt=1), Cause.SILENCE)
    (notice,) = told(news)
    expected = Change("p", State.WAITING, kind_of("cli"), Cause.SILENCE, attempt=2)
    assert notice.changed == {"c" * 64: [expected]}


@pytest.mark.parametrize("colonies", [1, MAX_PENDING])
def test_every_payload_fits(news, colonies):
    kinds = [f"type {number}" for number in range(1000)]
    for number in range(MAX_PENDING):
        colony = f"{number % colonies:064x}"
        news.change(changed(colony, kind=kinds[number % 1000]), Cause.SILENCE)
    payloads = news.take(ME)
    assert len(payloads) < 250
    assert max(len(payload.encode()) for payload in payloads) < LARGEST_PAYLOAD
    notices = [wire.decode(payload, Notice) for payload in payloads]
    assert sum(len(some) for one in notices for some in one.changed.values()) == MAX_PENDING


def test_pairs_fit_too(news):
    for number in range(1000):
        news.shut_out("c" * 64, f"{number:064x}")
        news.refit("c" * 64, f"{number:064x}")
        news.remove("c" * 64, f"{number:064x}")
    payloads = news.take(ME)
    assert max(len(payload.encode()) for payload in payloads) < LARGEST_PAYLOAD
    notices = [wire.decode(payload, Notice) for payload in payloads]
    assert sum(len(one.shut_out) for one in notices) == 1000
    assert sum(len(one.refitted) for one in notices) == 1000
    assert sum(len(one.removed) for one in notices) == 1000


def test_too_much_is_dropped_and_the_others_shall_look(news):
    for _ in range(MAX_PENDING + 1):
        news.change(changed(), Cause.CALL)
    assert told(news) == [Notice(ME, members=True, recurs=True, look=True)]
    news.change(changed(process_id="p"), Cause.CALL)
    (notice,) = told(news)
    assert not notice.look
    assert len(notice.changed) == 1


async def test_who_waits_wakes_when_there_is_something_to_tell(news):
    waiting = asyncio.ensure_future(news.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    news.remove("c", "p")
    await waiting
    assert told(news) == [Notice(ME, removed=[("c", "p")])]


async def test_what_comes_alone_is_told_at_once_and_what_follows_is_gathered():
    now = 1000.0
    news = News(lambda: now)
    news.meet(["other"])

    async def gathers() -> bool:
        """Whether it waits for more, until it is urgent."""
        gathering = asyncio.ensure_future(news.gather())
        await asyncio.sleep(0)
        is_waiting = not gathering.done()
        news._is_urgent.set()
        await gathering
        return is_waiting

    assert not await gathers()
    news.remove("c", "p")
    assert told(news)
    assert await gathers()
    assert not told(news), "which was nothing"
    now += 3 * PAUSE
    assert not await gathers()


async def test_of_logs_it_is_told_a_moment_later_and_once_that_there_is_more(news):
    ids = [f"{number:064x}" for number in range(100)]
    for process_id in [*ids, *ids]:
        news.log(process_id)
    await news.wait()
    payloads = news.take(ME)
    assert max(len(payload.encode()) for payload in payloads) < LARGEST_PAYLOAD
    notices = [wire.decode(payload, Notice) for payload in payloads]
    assert [process_id for one in notices for process_id in one.logged] == ids
    assert news.take(ME) == []


async def test_of_logs_nothing_is_kept_that_nobody_wants_nor_too_much(news):
    for _ in range(MAX_PENDING + 1):
        news.log(new_id())
    assert sum(len(one.logged) for one in told(news)) == MAX_PENDING
    news.meet([])
    news.log("p")
    assert news.take(ME) == []
