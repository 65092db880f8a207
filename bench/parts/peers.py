"""What a no-op costs from the enqueuing to its end: here, and with other people's queues.

One after the other, each with its server, whoever enqueues and its worker on the same cores. How
each is set up is in `bench/peer/`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import tempfile
import time
from asyncio.subprocess import STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib import import_module, reload
from importlib.metadata import version
from pathlib import Path
from statistics import median
from types import ModuleType

import msgspec

from bench.load import cycles
from bench.parts.bulk import CREDIT, MANY, processed
from bench.peer import SERVER, Queue
from bench.report import Chapter, Figures, Table, number, rate
from bench.world import World
from colonies.version import __version__

CLIENTS = 50
MOST = 20_000
"""Jobs that one measurement enqueues at most."""

WARM_UP = 200
READY_TIMEOUT = 60.0
DRAIN_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0
GLANCE = 0.02

CONDITIONS = """\
No-ops from the enqueuing to their end, for {seconds:.0f} s or {most:,}, then until all are done.
One after the other; medians of {rounds} rounds, and of the ratios within each. Redis is as it
comes: snapshots now and then, no append-only file, so the last of it can be lost. Every message of
Colonies is signed and checked by the hub; the others write to their server."""

ON_POSTGRES = frozenset({"procrastinate", "pgqueuer", "pgqueuer_batch"})


class Row(msgspec.Struct, frozen=True):
    """What one way to queue did."""

    key: str
    name: str
    settings: str
    rate: float = 0.0
    problem: str = ""


async def measure(world: World) -> Chapter:
    """Measure Colonies and all peers, as many rounds as wanted."""
    measured = [
        [
            *await measure_colonies(world),
            *[await measure_one(world, one) for one in world.scale.peers],
        ]
        for _ in range(world.scale.rounds)
    ]
    figures: Figures = {
        f"peers/{row.key}": median(one[place].rate for one in measured)
        for place, row in enumerate(measured[0])
        if not any(one[place].problem for one in measured)
    }
    conditions = CONDITIONS.format(
        seconds=world.scale.seconds, most=MOST, rounds=world.scale.rounds
    )
    return Chapter("Other people's queues", conditions, [table(measured)], figures=figures)


def table(measured: list[list[Row]]) -> Table:
    """Show the medians, and those of the ratios of each round."""
    rows = []
    for place, row in enumerate(measured[0]):
        found = [one[place] for one in measured]
        if problem := next((one.problem for one in found if one.problem), ""):
            rows.append((row.name, problem, "", row.settings))
            continue
        ratio = median(
            one.rate / first.rate for (first, *_), one in zip(measured, found, strict=True)
        )
        rows.append(
            (row.name, rate(median(one.rate for one in found)), number(ratio), row.settings)
        )
    return Table(("what", "no-ops", "to Colonies", "settings"), rows)


async def measure_colonies(world: World) -> list[Row]:
    """Signed messages through a hub: one by one, and as many a message as there are."""
    async with world.hub() as hub:
        single = await cycles(hub, min(CLIENTS, world.scale.clients[-1]), world.scale.seconds)
        await hub.clear()
        pushed = await processed(hub, min(MOST, world.scale.bulk), world.scale.seconds)
    name = f"Colonies {__version__}, PostgreSQL"
    each = f"{CLIENTS} clients, each on a socket of its own: submit, assign, close, each signed"
    many = (
        f"one client submits {MANY:,} a signed message; one runtime has them pushed, credit "
        f"{CREDIT:,}, and closes each; its client puts closes that meet into one message"
    )
    return [
        Row("colonies", f"{name}, one by one", each, single.rate),
        Row("colonies_batch", f"{name}, batches of {MANY:,}", many, pushed),
    ]


async def measure_one(world: World, key: str) -> Row:
    """Measure a peer on a server of its own, or say why not."""
    if key in ON_POSTGRES:
        async with world.database() as database:
            return await measure_at(world, key, world.url_of(database))
    command = shutil.which("redis-server")
    if command is None:
        return Row(key, key, "", problem="redis-server is not installed")
    with tempfile.TemporaryDirectory(prefix="colonies-bench-") as folder:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        argv = [command, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
        async with program(argv, world.folder / "redis.log"):
            await answers(port)
            return await measure_at(world, key, f"redis://127.0.0.1:{port}/0")


async def measure_at(world: World, key: str, address: str) -> Row:
    """Measure a peer whose server is there."""
    os.environ[SERVER] = address
    try:
        # Again: some know their server from when they are imported, and each round has its own.
        peer = reload(import_module(f"bench.peer.{key}"))
    except ModuleNotFoundError as error:
        return Row(key, key, "", problem=f"{error.name} is not installed")
    name = peer.NAME.replace(",", f" {version(key.partition('_')[0])},", 1)
    try:
        found = await executed(peer, world, address)
    except Exception as error:  # noqa: BLE001 - the others are measured all the same
        return Row(key, name, peer.SETTINGS, problem=f"failed: {error!r}")
    return Row(key, name, peer.SETTINGS, found)


async def executed(peer: ModuleType, world: World, address: str) -> float:
    """Enqueue while the worker works; gives how many were executed a second until the last."""
    log = world.folder / f"{peer.__name__}.log"
    async with peer.open_queue() as queue, program(peer.worker(), log, address):
        await queue.enqueue(READY_TIMEOUT, WARM_UP)
        if await drained(queue, READY_TIMEOUT):
            raise RuntimeError("the worker did nothing")
        started = time.perf_counter()
        enqueued = await queue.enqueue(world.scale.seconds, MOST)
        left = await drained(queue, DRAIN_TIMEOUT)
        return (enqueued - left) / (time.perf_counter() - started)


async def drained(queue: Queue, timeout: float) -> int:
    """Wait until everything is executed; gives how many are not after so long."""
    end = time.perf_counter() + timeout
    while (left := await queue.left()) and time.perf_counter() < end:  # noqa: ASYNC110 - another's
        await asyncio.sleep(GLANCE)
    return left


@asynccontextmanager
async def program(argv: list[str], log: Path, address: str = "") -> AsyncIterator[None]:
    """Run a program while the block lasts."""
    with log.open("ab") as file:
        child = await asyncio.create_subprocess_exec(
            *argv, stdout=file, stderr=STDOUT, env={**os.environ, SERVER: address}
        )
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), STOP_TIMEOUT)
        except TimeoutError:
            child.kill()
            await child.wait()


async def answers(port: int) -> None:
    """Wait until something listens."""
    async with asyncio.timeout(READY_TIMEOUT):
        while True:
            with suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(GLANCE)
