"""Runtimes that are processes of their own, to be killed and stopped."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import time
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import msgspec

from colonies.core.errors import Failure
from colonies.core.identity import PrivateKey
from colonies.core.process import State
from colonies.settings import Settings
from tests.faults.drivers import Recorded, Station
from tests.faults.history import Recorder
from tests.faults.world import World

# Forked from a server that has imported everything: hundreds can be started.
_MANY = multiprocessing.get_context("forkserver")
_MANY.set_forkserver_preload(["tests.faults.worker"])


class Orders(msgspec.Struct, frozen=True):
    """What a worker is told at its start. ``skew`` is how many seconds its clock is off."""

    settings: Settings
    key: str
    histories: str
    state: str
    slots: int
    skew: float = 0.0


def orders(world: World, key: PrivateKey, state: Path, *, slots: int, skew: float = 0) -> Orders:
    """Give what a worker of this world needs."""
    return Orders(world.settings, key.hex, str(world.folder), str(state), slots, skew)


def start(given: Orders) -> BaseProcess:
    """Start a runtime as people run it."""
    process = _MANY.Process(target=live, args=(given,), daemon=True)
    process.start()
    return process


class Freezer:
    """A runtime that freezes, as by SIGSTOP, whenever it is given a process."""

    def __init__(self, given: Orders) -> None:
        # A child of this very process: only that can be waited for until it has stopped.
        self._answers, answers = multiprocessing.Pipe(duplex=False)
        spawned = multiprocessing.get_context("spawn")
        self._process = spawned.Process(target=freeze, args=(given, answers), daemon=True)
        self._process.start()
        answers.close()

    async def frozen(self) -> None:
        """Wait until it has frozen."""
        await asyncio.to_thread(os.waitid, os.P_PID, self._process.pid, os.WSTOPPED)

    async def thaw(self) -> str:
        """Let it go on, and give how its late close was answered."""
        os.kill(self._process.pid, signal.SIGCONT)
        return await asyncio.to_thread(self._answers.recv)

    async def kill(self) -> None:
        await kill(self._process)


async def kill(process: BaseProcess) -> None:
    """End a worker as kill -9 does."""
    process.kill()
    await asyncio.to_thread(process.join)
    process.close()


def live(given: Orders) -> None:
    """Be a runtime, until killed or told to stop."""
    if given.skew:
        set_clock(given.skew)
    asyncio.run(_live(given))


async def _live(given: Orders) -> None:
    key = PrivateKey(given.key)
    station = Station(
        given.settings,
        key,
        histories=Path(given.histories),
        state=Path(given.state),
        slots=given.slots,
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, station.stop)
    await station.run()


def freeze(given: Orders, answers: Connection) -> None:
    """Be a runtime that stops itself in the middle of every execution."""
    asyncio.run(_freeze(given, answers))


async def _freeze(given: Orders, answers: Connection) -> None:
    key = PrivateKey(given.key)
    with Recorder(Path(given.histories) / f"runtime-{key.id[:16]}.jsonl", key.id) as journal:
        async with Recorded(given.settings, key, journal) as colonies:
            work = await colonies.subscribe_assignments(credit=1)
            async for process in work:
                if process.state is not State.RUNNING:
                    continue
                os.kill(os.getpid(), signal.SIGSTOP)
                try:
                    await colonies.close_successful(
                        process.process_id, ["too late"], attempt_token=process.attempt_token
                    )
                    answers.send("accepted")
                except Failure as refusal:
                    answers.send(refusal.code)


def set_clock(skew: float) -> None:
    """Have everything in this process be told another time of day."""
    real_time, real_now = time.time, datetime.now

    class Datetime(datetime):
        @classmethod
        def now(cls, tz=None):
            return real_now(tz) + timedelta(seconds=skew)

    assert Datetime.now(UTC) != real_now(UTC)
    time.time = lambda: real_time() + skew
    time.time_ns = lambda: int((real_time() + skew) * 1e9)
