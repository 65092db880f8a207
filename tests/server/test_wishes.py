"""Nobody is told what nobody waits for, and nobody misses what he has just begun to wait for."""

import msgspec
import pytest

from colonies.core import wire
from colonies.core.process import Conditions, Process, ProcessSpec, State, new_id
from colonies.core.runtime import Runtime
from colonies.server.intent import NOBODYS
from colonies.server.lines import Lines
from colonies.server.moves import Claim
from colonies.server.news import MAX_PENDING, ON_THE_WAY, RECENT, News, Notice
from colonies.server.parties import Cause, Wish
from colonies.server.wishes import LINGER, MOST, NOTHING, Wants, Wishes

ME, OTHER = "a" * 32, "b" * 32
MINE, THEIRS = "c" * 64, "d" * 64


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wishes(clock) -> Wishes:
    """What the other hub wants."""
    return Wishes(clock)


@pytest.fixture
def news(clock) -> News:
    """What we tell a hub that wants nothing."""
    news = News(clock)
    news.meet([OTHER])
    news.learn(OTHER, NOTHING)
    return news


def changed(state: State, *, process_id="", colony=MINE, kind="cli", attempt=1) -> Process:
    spec = ProcessSpec(func="f", conditions=Conditions(colony_id=colony, runtime_type=kind))
    return Process(process_id=process_id or new_id(), state=state, spec=spec, attempt=attempt)


def told(news: News) -> list[State]:
    """Give the states that are told next, of whatever process."""
    notices = [wire.decode(payload, Notice) for payload in news.take(ME)]
    return [one.state for notice in notices for some in notice.changed.values() for one in some]


def test_who_has_not_said_what_he_wants_is_told_everything(news):
    news.meet([OTHER, "new"])
    news.change(changed(State.RUNNING), Cause.CALL)
    assert told(news) == [State.RUNNING]


@pytest.mark.parametrize("state", State)
def test_who_wants_nothing_is_told_nothing_and_who_follows_everything(news, wishes, state):
    news.change(changed(state), Cause.CALL)
    assert told(news) == []
    wishes.utter(Wish.ALL, MINE)
    news.learn(OTHER, wishes.give())
    told(news)
    news.change(changed(state), Cause.CALL)
    news.change(changed(state, colony=THEIRS), Cause.CALL)
    assert told(news) == [state]


def test_who_is_idle_is_told_of_what_waits_for_him(news, wishes):
    wishes.utter(Wish.WORK, MINE, "cli")
    news.learn(OTHER, wishes.give())
    for process in (
        changed(State.WAITING),
        changed(State.WAITING, kind=""),  # addressed to whomever
        changed(State.WAITING, kind="other"),
        changed(State.WAITING, colony=THEIRS),
        changed(State.RUNNING),
    ):
        news.change(process, Cause.CALL)
    assert told(news) == [State.WAITING] * 2


def test_what_waited_and_was_taken_before_it_was_told_is_told_to_nobody(news, wishes):
    wishes.utter(Wish.WORK, MINE, "cli")
    news.learn(OTHER, wishes.give())
    news.change(changed(State.WAITING, process_id="p"), Cause.CALL)
    news.change(changed(State.RUNNING, process_id="p"), Cause.CALL)
    assert told(news) == []


@pytest.mark.parametrize(
    ("state", "cause", "is_held_here", "is_told"),
    [
        (State.RUNNING, Cause.CALL, False, False),
        (State.SUCCESS, Cause.CALL, False, True),
        (State.SUCCESS, Cause.CALL, True, False),
        (State.WAITING, Cause.CALL, False, True),
        (State.WAITING, Cause.SILENCE, True, True),
    ],
)
def test_a_holder_is_told_what_he_may_not_know(
    *, news, wishes, state, cause, is_held_here, is_told
):
    wishes.utter(Wish.HELD, MINE)
    news.learn(OTHER, wishes.give())
    news.change(changed(state), cause, is_held_here=is_held_here)
    assert bool(told(news)) is is_told


def test_a_holder_is_told_that_he_shall_stop(news, wishes):
    wishes.utter(Wish.HELD, MINE)
    news.learn(OTHER, wishes.give())
    stopping = msgspec.structs.replace(changed(State.RUNNING), cancelled_by="x")
    assert stopping.is_cancelling
    news.change(stopping, Cause.CALL)
    assert told(news) == [State.RUNNING]


def test_what_was_lost_stays_news_to_its_holder_when_it_goes_on(news, wishes):
    wishes.utter(Wish.HELD, MINE)
    news.learn(OTHER, wishes.give())
    news.change(changed(State.WAITING, process_id="p"), Cause.SILENCE)
    news.change(changed(State.RUNNING, process_id="p", attempt=2), Cause.CALL)
    assert told(news) == [State.RUNNING]


def test_what_came_just_before_somebody_wanted_it_is_told(news, wishes, clock):
    news.change(changed(State.RUNNING), Cause.CALL)
    clock.now += RECENT + 1
    news.change(changed(State.SUCCESS), Cause.CALL)
    news.change(changed(State.FAILED, colony=THEIRS), Cause.CALL)
    assert told(news) == []
    wishes.utter(Wish.ALL, MINE)
    news.learn(OTHER, wishes.give())
    assert told(news) == [State.SUCCESS]
    news.learn(OTHER, wishes.give())
    assert told(news) == []


@pytest.mark.parametrize(("age", "expected"), [(0.9, [State.WAITING]), (1.1, [])])
def test_who_begins_to_want_work_has_looked_for_what_came_earlier(
    news, wishes, clock, age, expected
):
    news.change(changed(State.WAITING), Cause.CALL)
    clock.now += age * ON_THE_WAY
    wishes.utter(Wish.WORK, MINE, "cli")
    news.learn(OTHER, wishes.give())
    assert told(news) == expected


def wanted_work(wishes: Wishes) -> bool:
    return bool(wishes.give().work)


def test_work_is_wanted_from_others_once_a_look_has_found_too_little(news):
    runtime = Runtime(runtime_id="r", colony_id=MINE, runtime_type="cli")
    lines = Lines(news)
    with lines.waiting(runtime, Claim("r", 1, True, "", NOBODYS)) as waiter:
        lines.line_up(waiter)
        assert lines.queues() == [(MINE, "cli")]
        assert lines.idle_queues() == []
        assert not wanted_work(news.wishes)
        lines.rest(waiter)
        assert lines.idle_queues() == [(MINE, "cli")]
        assert wanted_work(news.wishes)
        lines.line_up(waiter)
        assert lines.idle_queues() == []


def test_who_was_promised_something_stays_idle_and_who_was_woken_does_not(news):
    runtime = Runtime(runtime_id="r", colony_id=MINE, runtime_type="cli")
    lines = Lines(news)
    process = changed(State.WAITING)
    with lines.waiting(runtime, Claim("r", 1, True, "", NOBODYS)) as waiter:
        lines.line_up(waiter)
        lines.rest(waiter)
        waiter._room = 1
        assert lines.promise(process.spec.conditions) is waiter
        assert lines.idle_queues() == [(MINE, "cli")]
        lines.offer(process)
        assert lines.idle_queues() == []
        lines.rest(waiter)
        assert lines.idle_queues() == []


def test_what_nobody_wants_is_bounded(news):
    for _ in range(MAX_PENDING + 10):
        news.change(changed(State.RUNNING), Cause.CALL)
    assert len(news._unwanted) == MAX_PENDING


def test_what_one_said_earlier_does_not_undo_what_he_said_later(news, wishes):
    before = wishes.give()
    wishes.utter(Wish.ALL, MINE)
    news.learn(OTHER, wishes.give())
    news.learn(OTHER, before)
    news.change(changed(State.RUNNING), Cause.CALL)
    assert told(news) == [State.RUNNING]


def test_a_new_wish_is_told_at_once_and_the_same_again_is_not(news):
    def wants() -> list[Wants | None]:
        return [wire.decode(payload, Notice).wants for payload in news.take(ME)]

    assert wants() == []
    news.wish(Wish.WORK, MINE, "cli")
    assert news._is_urgent.is_set()
    (one,) = wants()
    assert one is not None
    assert one.has(MINE, 0, State.RUNNING, is_for_holder=True) is False
    assert len(one.work) == 2
    news.wish(Wish.WORK, MINE, "cli")
    assert wants() == []


def test_a_wish_lingers_and_is_forgotten(wishes, clock):
    wishes.utter(Wish.WORK, MINE, "cli")
    wishes.utter(Wish.ALL, MINE)
    clock.now += LINGER - 1
    wishes.renew([(Wish.ALL, MINE, "")])
    assert wishes.give().work
    clock.now += 2
    wishes.renew([(Wish.ALL, MINE, "")])
    assert not wishes.give().work
    assert wishes.give().all


def test_who_wants_too_much_wants_everything_and_so_does_who_counts_what_runs(wishes):
    for number in range(MOST):
        wishes.utter(Wish.WORK, MINE, str(number))
    assert not wishes.give().is_everything
    payload = wire.encode(Notice(ME, beat="b" * 32, wants=wishes.give()))
    assert len(payload) < 8000
    wishes.utter(Wish.ALL, MINE)
    assert wishes.give().is_everything
    few = Wishes()
    few.are_all = True
    assert few.give().is_everything


def logged(news: News) -> list[str]:
    """Give the logs of which it is told next that there is more."""
    notices = [wire.decode(payload, Notice) for payload in news.take(ME)]
    return [process_id for notice in notices for process_id in notice.logged]


async def test_who_follows_a_log_is_told_of_that_and_of_no_other(news, wishes):
    news.log("mine")
    assert logged(news) == []
    wishes.utter(Wish.ALL, MINE)
    wishes.utter(Wish.LOG, "mine")
    news.learn(OTHER, wishes.give())
    logged(news)
    for process_id in ("mine", "another", "mine"):
        news.log(process_id)
    assert logged(news) == ["mine"]


async def test_what_was_said_just_before_somebody_followed_it_is_told(news, wishes, clock):
    news.log("long ago")
    clock.now += RECENT + 1
    for process_id in ("mine", "another"):
        news.log(process_id)
    wishes.utter(Wish.LOG, "mine")
    wishes.utter(Wish.LOG, "long ago")
    news.learn(OTHER, wishes.give())
    assert logged(news) == ["mine"]
    news.learn(OTHER, wishes.give())
    assert logged(news) == []


async def test_of_logs_that_nobody_follows_no_more_is_kept_than_of_changes(news):
    for _ in range(MAX_PENDING + 10):
        news.log(new_id())
    assert len(news._unwanted_logs) == MAX_PENDING
    news.clear()
    assert not news._unwanted_logs


async def test_who_has_not_said_which_logs_he_follows_is_told_of_all(news):
    news.meet([OTHER, "new"])
    news.log("any")
    assert logged(news) == ["any"]
    news.meet([OTHER])
    news.log("any")
    assert logged(news) == []


def test_who_follows_too_many_logs_wants_all_of_them_and_nothing_else_more(wishes):
    wishes.utter(Wish.ALL, MINE)
    for number in range(2 * MOST - 2):
        wishes.utter(Wish.LOG, str(number))
    wants = wishes.give()
    assert len(wire.encode(Notice(ME, beat="b" * 32, wants=wants))) < 8000
    assert wants.has_log("5")
    assert not wants.has_log("x")
    wishes.utter(Wish.LOG, "one more")
    wants = wishes.give()
    assert wants.has_log("x")
    assert not wants.is_everything
    assert not wants.has(THEIRS, 0, State.WAITING, is_for_holder=True)
    assert (NOTHING | wants).has_log("x")


def test_who_counts_what_runs_wants_no_log_but_what_he_follows(wishes):
    wishes.are_all = True
    wishes.utter(Wish.LOG, "mine")
    wants = wishes.give()
    assert wants.is_everything
    assert (wants.has_log("mine"), wants.has_log("another")) == (True, False)
    assert not (NOTHING | wants).has_log("another")
