"""Whether the hub counts as answering."""

import asyncio

import pytest

from colonies.core.errors import Unavailable
from runtimes import health
from runtimes.health import Pulse
from tests.programs import PATIENCE


async def test_who_is_late_is_not_heard_until_there_is_an_answer(monkeypatch):
    pulse = Pulse()
    assert not pulse.is_heard
    with pulse.asking():
        pass
    assert pulse.is_heard
    monkeypatch.setattr(health, "PATIENCE", 0.01)
    with pulse.asking():
        async with asyncio.timeout(PATIENCE):
            while pulse.is_heard:
                await asyncio.sleep(0)
    assert pulse.is_heard


async def test_who_gives_an_error_is_not_heard():
    pulse = Pulse()
    pulse.is_heard = True
    with pytest.raises(Unavailable), pulse.asking():
        raise Unavailable("not now")
    assert not pulse.is_heard
