"""One change that many want to hear of."""

from __future__ import annotations

import time

from bench.crowd import followers
from bench.report import Chapter, Table, ms, percentiles
from bench.world import TYPE, World
from colonies import connect

CONDITIONS = """\
Sockets that are subscribed to the processes of a type, in a program of their own. From before the
runtime signs the close of one until it is at the last of them."""


async def measure(world: World) -> Chapter:
    """Measure the time to the first and to the last."""
    count = world.scale.followers
    to_first, to_last = [], []
    async with world.hub() as hub:
        keys = [hub.people.runtime] * count
        async with (
            followers(hub, keys, TYPE) as crowd,
            connect(hub.settings, key=hub.people.runtime) as runtime,
        ):
            for _ in range(world.scale.changes):
                await runtime.submit("noop", runtime_type=TYPE)
                process = await runtime.assign_process()
                started = time.monotonic()
                await runtime.close_successful(process.process_id)
                pushes = [await crowd.next_push() for _ in range(count)]
                to_first.append((min(one.at for one in pushes) - started) * 1000)
                to_last.append((max(one.at for one in pushes) - started) * 1000)
    rows = [
        ("at the first", *map(ms, percentiles(to_first))),
        (f"at the last of {count:,}", *map(ms, percentiles(to_last))),
    ]
    figures = {f"fanout/{count}/last": percentiles(to_last)[0]}
    return Chapter(
        "Fan-out", CONDITIONS, [Table(("close to push", "p50", "p99"), rows)], [], figures
    )
