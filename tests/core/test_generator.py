"""A generator: how what it has gathered is divided."""

import pytest

from colonies.core.generator import MAX_TRIGGER, Generator


@pytest.mark.parametrize(
    ("trigger", "gathered", "portions"),
    [
        (10, 73, [10] * 5),
        (10, 25, [10, 10]),
        (10, 10, [10]),
        (10, 9, [9]),
        (1, 3, [1, 1, 1]),
        (MAX_TRIGGER, 3 * MAX_TRIGGER, [MAX_TRIGGER]),
        (MAX_TRIGGER // 2, 3 * MAX_TRIGGER, [MAX_TRIGGER // 2] * 2),
    ],
)
def test_each_workflow_gets_as_many_as_trigger_it_or_the_rest(trigger, gathered, portions):
    assert Generator(trigger=trigger, queue_size=gathered).portions(5) == portions
