"""Which changes a subscription concerns."""

import pytest

from colonies.core.process import Conditions, Process, ProcessSpec, State
from colonies.core.subscription import Subscription

PROCESS = Process(
    process_id="p",
    state=State.SUCCESS,
    spec=ProcessSpec(conditions=Conditions(colony_id="c", runtime_type="cli")),
)


@pytest.mark.parametrize(
    ("wanted", "concerned"),
    [
        ({"runtime_type": "cli"}, True),
        ({"runtime_type": "other"}, False),
        ({"runtime_type": "cli", "states": {State.FAILED}}, False),
        ({"runtime_type": "cli", "states": {State.FAILED, State.SUCCESS}}, True),
        ({"runtime_type": "cli", "colony_ids": {"d"}}, False),
        ({"runtime_type": "cli", "colony_ids": {"d", "c"}}, True),
        ({"process_id": "p"}, True),
        ({"process_id": "p", "runtime_type": "other"}, True),
        ({"process_id": "q"}, False),
        ({"process_id": "p", "colony_ids": {"d"}}, False),
        ({"process_id": "p", "states": {State.WAITING}}, False),
    ],
)
def test_a_change_concerns_a_subscriber_or_not(wanted, concerned):
    wanted = {"colony_ids": {"c"}, "states": {State.SUCCESS}} | wanted
    subscription = Subscription(
        **{
            name: frozenset(value) if isinstance(value, set) else value
            for name, value in wanted.items()
        }
    )
    assert subscription.concerns(PROCESS) is concerned


def test_a_subscription_goes_by_its_process_or_else_by_its_queues():
    wanted = {"colony_ids": frozenset("cd"), "states": frozenset(), "runtime_type": "cli"}
    of_type, of_one = Subscription(**wanted), Subscription(**wanted, process_id="p")
    assert of_type.keys == of_type.queues == {("c", "cli"), ("d", "cli")}
    assert (of_one.keys, of_one.queues) == ({("p",)}, frozenset())
