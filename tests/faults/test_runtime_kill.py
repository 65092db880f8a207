"""Runtimes are killed, frozen and told the wrong time of day."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest

from colonies.client import Colonies
from colonies.core.process import State
from tests.faults import worker
from tests.faults.drivers import Submitter
from tests.faults.story import Final
from tests.faults.world import TIMES, TYPE, explain, pause, report, schedule, world
from tests.faults.yardstick import yardstick

KILLS = 200 * TIMES
RUNTIMES = 10
SLOTS = 4
IN_FLIGHT = 20
LEASE = 2
PROMISE = 2.0
"""Seconds after the end of a lease within which the hub has acted on it, on a usual machine."""

FROZEN = 100 * TIMES
FREEZERS = 10

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600 * TIMES)]


async def test_what_killed_runtimes_had_is_run_by_others(tmp_path):
    dice = schedule("runtime kill")
    work = schedule("runtime kill, the work")  # its own: who draws when depends on the hub
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        colony = await stack.enter_async_context(world(tmp_path, runtimes=RUNTIMES))
        ruler = await stack.enter_async_context(yardstick(tmp_path))
        given = [
            worker.orders(colony, key, tmp_path / "state", slots=SLOTS) for key in colony.runtimes
        ]
        alive = [worker.start(one) for one in given]
        client = await stack.enter_async_context(colony.connect(colony.runtimes[0]))
        submitter = stack.enter_context(Submitter("s", client, colony.folder))
        is_over = asyncio.Event()

        async def go_on() -> None:
            options = {"runtime_type": TYPE, "max_retries": -1, "lease": LEASE}
            while not is_over.is_set():
                process_id = await submitter.submit(work.uniform(0.2, 0.8), **options)
                await client.wait_for(process_id)

        submitting = [asyncio.create_task(go_on()) for _ in range(IN_FLIGHT)]
        killed: dict[str, list[float]] = defaultdict(list)
        for _ in range(KILLS):
            await pause(dice.uniform(0.1, 0.4))
            unlucky = dice.randrange(RUNTIMES)
            killed[colony.runtimes[unlucky].id].append(time.time())
            await worker.kill(alive[unlucky])
            alive[unlucky] = worker.start(given[unlucky])
        is_over.set()
        await asyncio.gather(*submitting)
        await colony.quiet(within=60)
        for process in alive:
            await worker.kill(process)
        violations = await colony.judge()
        losses = lateness(await colony.stored(), killed)
    late = [again - kill for kill, again in losses]
    allowed = [LEASE + ruler.stretched(PROMISE, *loss) for loss in losses]
    report(
        f"{submitter.submitted} processes, {KILLS} kills of runtimes took {len(late)} attempts "
        f"along, tried again {max(late, default=0):.1f} s after the kill at most, when up to "
        f"{max(allowed, default=0):.1f} s were allowed, in {time.monotonic() - started:.0f} s"
    )
    assert not violations, explain(violations)
    assert submitter.errors == []
    assert len(late) >= KILLS / 4
    assert [one for one in zip(late, allowed, strict=True) if one[0] > one[1]] == []


def lateness(stored: list[Final], killed: dict[str, list[float]]) -> list[tuple[float, float]]:
    """Give when there was a kill, and when what it took along was begun again by another."""
    late = []
    for one in stored:
        starts = [past.start for past in one.past or []] + [one.start]
        for past, (_, again) in zip(one.past or [], pairwise(starts), strict=False):
            kills = [at for at in killed[past.runtime_id] if past.start <= at <= past.end]
            if past.why == "lease lost" and kills and again:
                late.append((kills[0], again))
    return late


async def test_a_frozen_runtime_writes_nothing_when_it_wakes_up(tmp_path):
    started = time.monotonic()
    async with AsyncExitStack() as stack:
        colony = await stack.enter_async_context(world(tmp_path, runtimes=FREEZERS + 1))
        *keys, other = colony.runtimes
        freezers = {
            key.id: worker.Freezer(worker.orders(colony, key, tmp_path, slots=1)) for key in keys
        }
        client = await stack.enter_async_context(colony.connect(other))
        submitter = stack.enter_context(Submitter("s", client, colony.folder))
        answers = [
            answer
            for _ in range(FROZEN // FREEZERS)
            for answer in await freeze_all(client, submitter, freezers)
        ]
        await colony.quiet(within=60)
        for freezer in freezers.values():
            await freezer.kill()
        violations = await colony.judge()
        stored = await colony.stored()
    report(f"{len(answers)} late closes in {time.monotonic() - started:.0f} s")
    assert not violations, explain(violations)
    assert answers == ["stale_attempt"] * FROZEN
    assert [one.output for one in stored] == [["in time"]] * FROZEN


async def freeze_all(
    client: Colonies, submitter: Submitter, freezers: dict[str, worker.Freezer]
) -> list[str]:
    """Have each freeze over a process that it loses to another; give how its close is answered."""
    options = {"max_retries": -1, "lease": 1}
    other = client.key.id
    for runtime_id in freezers:
        await submitter.submit(0, runtime_ids=[runtime_id, other], **options)
    for freezer in freezers.values():
        await freezer.frozen()
    for _ in freezers:
        process = await client.assign_process(timeout=30)
        assert process.attempt == 2
        await client.close_successful(
            process.process_id, ["in time"], attempt_token=process.attempt_token
        )
    return [await freezer.thaw() for freezer in freezers.values()]


@pytest.mark.parametrize("years", [-20, -1 / 365, 1 / 365, 20])
async def test_the_clock_of_a_runtime_changes_nothing(tmp_path, years):
    """It is given work, keeps a lease that is shorter than the work, and closes."""
    async with AsyncExitStack() as stack:
        colony = await stack.enter_async_context(world(tmp_path, runtimes=2))
        wrong, other = colony.runtimes
        given = worker.orders(colony, wrong, tmp_path, slots=4, skew=years * 365 * 86_400)
        process = worker.start(given)
        client = await stack.enter_async_context(colony.connect(other))
        submitter = stack.enter_context(Submitter("s", client, colony.folder))
        ids = [await submitter.submit(4, runtime_type=TYPE, lease=3) for _ in range(4)]
        ended = [await client.wait_for(process_id) for process_id in ids]
        await worker.kill(process)
        violations = await colony.judge()
    assert not violations, explain(violations)
    assert [one.state for one in ended] == [State.SUCCESS] * 4
    assert all(one.attempt == 1 and one.assigned_runtime_id == wrong.id for one in ended)
