"""Nobody waits for others, unless there are some and statements are slow."""

import pytest

from colonies.server.pace import DOUBLED_IN, LONGEST, ROW, STALE, Pace

QUICK, SLOW = 0.0015, 0.010


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def pace(clock) -> Pace:
    """One that knows how quick a statement can be."""
    pace = Pace(clock)
    pace.note(QUICK, calls=1, rows=1)
    return pace


def note(pace: Pace, seconds: float, *, calls: int = 5, rows: int = 5) -> None:
    for _ in range(20):
        pace.note(seconds, calls=calls, rows=rows)


def test_nobody_waits_at_first(clock):
    assert Pace(clock).pause() == 0


def test_nobody_waits_while_statements_are_as_quick_as_ever(pace):
    note(pace, 2 * QUICK)
    assert pace.pause() == 0


def test_where_statements_are_slow_others_are_waited_for_but_not_long(pace):
    note(pace, SLOW)
    assert 0 < pace.pause() <= LONGEST
    note(pace, 100 * SLOW)
    assert pace.pause() == LONGEST


def test_who_is_alone_does_not_wait(pace):
    note(pace, SLOW, calls=1, rows=1)
    assert pace.pause() == 0


def test_who_comes_after_a_while_does_not_wait(pace, clock):
    note(pace, SLOW)
    clock.now += STALE * 1.1
    assert pace.pause() == 0
    pace.note(QUICK, calls=5, rows=5)
    assert pace.pause() == 0


def test_what_takes_long_because_it_is_much_is_not_slow(pace):
    note(pace, QUICK + 200 * ROW, calls=2, rows=200)
    assert pace.pause() == 0


def test_what_found_nothing_to_do_is_no_measure(pace):
    note(pace, 0.0001)
    note(pace, 2 * QUICK)
    assert pace.pause() == 0


def test_what_has_become_slower_for_good_is_got_used_to(pace, clock):
    for _ in range(30):
        clock.now += DOUBLED_IN / 10
        note(pace, SLOW)
    assert pace.pause() == 0
