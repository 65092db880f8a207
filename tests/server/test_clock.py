"""A clock that is set is told from answers that take their time."""

import pytest

from colonies.server.clock import SLACK, Steps


@pytest.mark.parametrize(
    ("clock", "answered", "step"),
    [
        (1010.0, 10.0, 0.0),
        (1010.0 + SLACK, 10.0, 0.0),
        (4610.0, 10.0, 3600.0),
        (1010.0 - 3600, 10.0, -3600.0),
        (1010.0, 40.0, 0.0),  # an answer that took half a minute, wherever it was for so long
        (1039.0, 40.0, 0.0),
        (1050.0, 40.0, 10.0),  # it must have been put forward by as much at least
    ],
)
def test_a_step_is_what_slowness_cannot_explain(clock, answered, step):
    steps = Steps()
    assert steps.note(1000.0, asked=0.0, answered=0.0) == 0
    assert steps.note(clock, asked=10.0, answered=answered) == pytest.approx(step)


def test_a_step_is_told_once():
    steps = Steps()
    told = [
        steps.note(clock, asked=at, answered=at + 0.1)
        for clock, at in [(1000.0, 0.0), (4601.0, 1.0), (4602.0, 2.0)]
    ]
    assert [bool(one) for one in told] == [False, True, False]
