"""Many runtimes that have nothing to do: what they cost, and how soon one of them is at work."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from bench.crowd import runtimes
from bench.parts.latency import pushed
from bench.report import Chapter, Figures, Plot, Table, ms, number, percentiles
from bench.world import TYPE, Hub, World, raise_file_limit
from colonies import PrivateKey, connect
from colonies.server.peers import BEAT

SPARE_FILES = 200
"""Files that a hub has open beside the sockets of runtimes."""

SETTLED_AFTER = 12.0
"""Seconds after which PostgreSQL has counted what was asked before: it tells after ten."""

CONDITIONS = """\
Runtimes with a key and a socket each, subscribed for assignments with credit for one, in a program
of their own. *Memory* is what the hub's process has grown by (RSS), *processor* its share of one
core, *statements* all transactions of its database a second, while nothing happens, less those in
which PostgreSQL tells the hub of its own beat (autovacuum, whose transactions are not the hub's,
rests meanwhile). *Woken* is from before a client signs a submit until the process is at whichever
runtime is idle longest."""


class Idleness(msgspec.Struct, frozen=True):
    """What so many idle runtimes cost."""

    each_bytes: float
    hub: float
    postgres: float
    statements: float
    took: list[float]


async def measure(world: World) -> Chapter:
    """Measure it with more and more of them, each time on a new hub."""
    most = raise_file_limit() - SPARE_FILES
    figures: Figures = {}
    rows = []
    for count in world.scale.idle:
        if count > most:
            rows.append((f"{count:,}", f"this system lets us open {most:,}", *("",) * 5))
            continue
        async with world.new_hub() as hub, without_autovacuum(hub):
            found = await idleness(hub, count, world)
        half, late = percentiles(found.took)
        figures |= {
            f"idle/{count}/bytes": found.each_bytes,
            f"idle/{count}/hub": found.hub,
            f"idle/{count}/statements": found.statements,
            f"idle/{count}/p99": late,
        }
        shares = (f"{found.hub:.1%}", f"{found.postgres:.1%}")
        memory = f"{found.each_bytes / 1000:.1f} kB"
        rows.append((f"{count:,}", memory, *shares, number(found.statements), ms(half), ms(late)))
    head = ("runtimes", "memory each", "processor, hub", "PostgreSQL", "statements/s", "woken, p50")
    table = Table((*head, "p99"), rows)
    return Chapter("Idle runtimes", CONDITIONS, [table], plots(figures), figures)


@asynccontextmanager
async def without_autovacuum(hub: Hub) -> AsyncIterator[None]:
    """Let nobody but the hub ask anything of its database."""
    await hub.beside.execute("ALTER SYSTEM SET autovacuum = off")
    await hub.beside.execute("SELECT pg_reload_conf()")
    try:
        yield
    finally:
        await hub.beside.execute("ALTER SYSTEM RESET autovacuum")
        await hub.beside.execute("SELECT pg_reload_conf()")


async def idleness(hub: Hub, count: int, world: World) -> Idleness:
    """Measure it with so many."""
    keys = [PrivateKey.generate() for _ in range(count)]
    await hub.add_runtimes(keys)
    settled = min(SETTLED_AFTER, 10 * world.scale.idle_seconds)
    await asyncio.sleep(settled)
    empty = hub.resident_bytes()
    async with runtimes(hub, keys) as crowd:
        await asyncio.sleep(settled)
        full = hub.resident_bytes()
        before, asked, started = await hub.cpu(), await hub.transactions(), time.perf_counter()
        await asyncio.sleep(world.scale.idle_seconds)
        used, asked = await hub.cpu() - before, await hub.transactions() - asked
        seconds = time.perf_counter() - started
        async with connect(hub.settings, key=hub.people.runtime) as submitter:
            took = await pushed(submitter, crowd, world.scale.wakes, TYPE)
    return Idleness(
        (full - empty) / count,
        used.hub / seconds,
        used.postgres / seconds,
        asked / seconds - 1 / BEAT,
        took,
    )


def plots(figures: Figures) -> list[Plot]:
    """Draw the memory of each, by how many there are."""
    found = [
        (float(name.split("/")[1]), value / 1000)
        for name, value in figures.items()
        if name.endswith("/bytes")
    ]
    lines = {"memory": found}
    return [Plot("idle", "An idle runtime", "runtimes", "kB each", lines, is_log_x=True)]
