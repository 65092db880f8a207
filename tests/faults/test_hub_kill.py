"""The hub is killed again and again while forty runtimes work."""

import asyncio
import time
from contextlib import AsyncExitStack

import pytest

from tests.faults.drivers import Station, Submitter
from tests.faults.world import TIMES, TYPE, explain, pause, report, schedule, world
from tests.faults.writers import open_submitters

RUNTIMES = 40
SUBMITTERS = 8
CYCLES = 20 * TIMES
PROCESSES = 5_000 * TIMES
BACKLOG = 400
LEASE = 5


@pytest.mark.faults
@pytest.mark.timeout(600 * TIMES)
async def test_nothing_is_lost_when_the_hub_is_killed(tmp_path, record_property):
    dice = schedule("hub kill")
    work = schedule("hub kill, the work")  # its own: who draws when depends on the hub
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        colony = await stack.enter_async_context(world(tmp_path, runtimes=RUNTIMES))
        stations = [
            Station(
                colony.settings,
                key,
                histories=colony.folder,
                state=tmp_path / "state",
                slots=4,
            )
            for key in colony.runtimes
        ]
        working = [asyncio.create_task(station.run()) for station in stations]
        is_over = asyncio.Event()
        room = asyncio.Semaphore(BACKLOG)
        submitters = await open_submitters(stack, colony, colony.runtimes[:SUBMITTERS])

        async def go_on(submitter: Submitter) -> None:
            options = {"runtime_type": TYPE, "max_retries": -1, "lease": LEASE}
            while not is_over.is_set() or sum(one.submitted for one in submitters) < PROCESSES:
                await room.acquire()
                await submitter.submit(work.uniform(0, 0.05), **options)

        async def make_room() -> None:
            """Let the submitters be no further ahead than the runtimes can follow."""
            done = 0
            async with colony.connect(colony.colony_owner) as owner:
                while True:
                    stats = await owner.get_colony_stats()
                    for _ in range(stats.successful_processes + stats.failed_processes - done):
                        room.release()
                        done += 1
                    await pause(0.1)

        submitting = [asyncio.create_task(go_on(one)) for one in submitters]
        pacing = asyncio.create_task(make_room())
        for _ in range(CYCLES):
            await pause(dice.uniform(0.3, 3))
            await colony.hub.kill()
            await colony.hub.start()
        is_over.set()
        await asyncio.gather(*submitting)
        pacing.cancel()
        await colony.quiet(within=120)
        for station in stations:
            station.stop()
        await asyncio.gather(*working)
        violations = await colony.judge()
        errors = [error for one in submitters for error in one.errors]
        submitted = sum(one.submitted for one in submitters)
    report(
        f"{submitted} processes, {CYCLES} kills of the hub in {time.monotonic() - started:.0f} s"
    )
    assert not violations, explain(violations)
    assert errors == []
    assert submitted >= PROCESSES
