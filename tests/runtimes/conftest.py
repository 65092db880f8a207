"""Plugins on their own, without a hub."""

import pytest

from colonies.core.process import Conditions, Process, ProcessSpec, State
from runtimes.base import Job


@pytest.fixture
def job():
    """What a plugin may do with the hub; these plugins do nothing with it."""

    async def refuse(key, value):
        raise AssertionError(f"no attribute expected: {key}")

    return Job(refuse)


@pytest.fixture
def process_of():
    """Make an assigned process of a function and its arguments."""

    def make(func, *args, **fields):
        return Process(
            process_id="1" * 64,
            assigned_runtime_id="2" * 64,
            is_assigned=True,
            state=State.RUNNING,
            spec=ProcessSpec(
                func=func, args=list(args), conditions=Conditions(colony_id="3" * 64), **fields
            ),
        )

    return make
