"""Measure what a no-op costs from the enqueuing to its end: here, and with other people's queues.

All in one run on one machine, one after the other, each with its server, whoever enqueues and its
worker on the same cores. Usage: python -m bench.peers [--seconds S] [--output FILE]
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
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from importlib import import_module, reload
from importlib.metadata import version
from pathlib import Path
from statistics import median
from types import ModuleType

import asyncpg
import click
import msgspec

from bench.__main__ import TYPE, People, hub, measure_cycles, prepare
from bench.machine import machine, publish
from bench.peer import SERVER, Queue
from colonies import Colonies, Conditions, PrivateKey, ProcessSpec, Settings, connect
from colonies.server.embedded import EmbeddedPostgres
from colonies.version import __version__

CLIENTS = 50
MOST = 20_000
"""Jobs that one measurement enqueues at most."""

WARM_UP = 200
READY_TIMEOUT = 60.0
DRAIN_TIMEOUT = 60.0
STOP_TIMEOUT = 15.0
GLANCE = 0.02

MANY = 1000
CREDIT = 1000

CONDITIONS = """\
No-ops from the enqueuing to their end, for {seconds:.0f} s or {most:,}, then until all are done.
One after the other; medians of {rounds} rounds, and of the ratios within each.
PostgreSQL is durable (fsync, synchronous commit).
Redis is as it comes: snapshots now and then, no append-only file, so the last of it can be lost.
Every message of Colonies is signed and checked by the hub; the others write to their server.
"""

ON_POSTGRES = ("procrastinate", "pgqueuer", "pgqueuer_batch")
ON_REDIS = ("celery", "dramatiq")


class Row(msgspec.Struct, frozen=True):
    """What one way to queue did."""

    name: str
    settings: str
    rate: float = 0.0
    problem: str = ""


async def measure_colonies(seconds: float) -> list[Row]:
    """Signed messages through a hub: one by one, and as many a message as there are."""
    people = People(*(PrivateKey.generate() for _ in range(3)))
    with tempfile.TemporaryDirectory(prefix="colonies-bench-") as folder:
        async with hub(Path(folder), people) as settings:
            await prepare(settings, people)
            (cycles,) = await measure_cycles(settings, people, seconds, crowds=(CLIENTS,))
            pushed = await measure_pushed(settings, people, seconds)
    name = f"Colonies {__version__}, PostgreSQL"
    each = f"{CLIENTS} clients, each on a socket of its own: submit, assign, close, each signed"
    many = (
        f"one client submits {MANY:,} a signed message; one runtime has them pushed, credit "
        f"{CREDIT:,}, and closes each; its client puts closes that meet into one message"
    )
    return [
        Row(f"{name}, one by one", each, cycles.figure),
        Row(f"{name}, batches of {MANY:,}", many, pushed),
    ]


async def measure_pushed(settings: Settings, people: People, seconds: float) -> float:
    """Submit in batches what a runtime has pushed and closes; gives how many a second."""
    spec = ProcessSpec(func="noop", conditions=Conditions(runtime_type=TYPE))
    submitted = 0

    async def submit(colonies: Colonies) -> None:
        nonlocal submitted
        end = time.perf_counter() + seconds
        while submitted < MOST and time.perf_counter() < end:
            submitted += len(await colonies.submit_processes([spec] * MANY))

    async with AsyncExitStack() as stack:
        submitter = await stack.enter_async_context(connect(settings, key=people.runtime))
        runtime = await stack.enter_async_context(connect(settings, key=people.runtime))
        work = await stack.enter_async_context(await runtime.subscribe_assignments(credit=CREDIT))
        started = time.perf_counter()
        submitting = asyncio.create_task(submit(submitter))
        async with asyncio.TaskGroup() as closing:
            taken = 0
            while taken < submitted or not submitting.done():
                process = await anext(work)
                closing.create_task(runtime.close_successful(process.process_id))
                taken += 1
        return taken / (time.perf_counter() - started)


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


async def drained(queue: Queue, timeout: float) -> int:
    """Wait until everything is executed; gives how many are not after so long."""
    end = time.perf_counter() + timeout
    while (left := await queue.left()) and time.perf_counter() < end:  # noqa: ASYNC110 - another's
        await asyncio.sleep(GLANCE)
    return left


async def measure_peer(peer: ModuleType, folder: Path, address: str, seconds: float) -> float:
    """Enqueue while a worker executes; gives how many were done a second, to the last one."""
    async with (
        peer.open_queue() as queue,
        program(peer.worker(), folder / "worker.log", address),
    ):
        await queue.enqueue(READY_TIMEOUT, WARM_UP)
        if await drained(queue, READY_TIMEOUT):
            raise RuntimeError("the worker did nothing")
        started = time.perf_counter()
        enqueued = await queue.enqueue(seconds, MOST)
        left = await drained(queue, DRAIN_TIMEOUT)
        return (enqueued - left) / (time.perf_counter() - started)


async def measure_one(name: str, folder: Path, address: str, seconds: float) -> Row:
    """Measure a peer, or say why not."""
    os.environ[SERVER] = address
    try:
        # Again: some know their server from when they are imported, and each round has its own.
        peer = reload(import_module(f"bench.peer.{name}"))
    except ModuleNotFoundError as error:
        return Row(name, "", problem=f"{error.name} is not installed: make bench-peers")
    package = name.partition("_")[0]
    title = peer.NAME.replace(",", f" {version(package)},", 1)
    try:
        rate = await measure_peer(peer, folder, address, seconds)
    except Exception as error:  # noqa: BLE001 - the others are measured all the same
        return Row(title, peer.SETTINGS, problem=f"failed: {error!r}")
    return Row(title, peer.SETTINGS, rate)


async def measure_on_postgres(seconds: float) -> list[Row]:
    """Measure the peers that use PostgreSQL, each in a database of its own."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="colonies-bench-") as folder:
        async with EmbeddedPostgres(Path(folder) / "data") as postgres:
            for name in ON_POSTGRES:
                sql = await asyncpg.connect(postgres.url)
                await sql.execute(f"CREATE DATABASE {name}")
                await sql.close()
                address = postgres.url.replace("/colonies?", f"/{name}?")
                rows.append(await measure_one(name, Path(folder), address, seconds))
    return rows


async def measure_on_redis(seconds: float) -> list[Row]:
    """Measure the peers that use Redis, each on one of its own."""
    command = shutil.which("redis-server")
    if command is None:
        return [Row(name, "", problem="redis-server is not installed") for name in ON_REDIS]
    rows = []
    for name in ON_REDIS:
        with tempfile.TemporaryDirectory(prefix="colonies-bench-") as folder:
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            argv = [command, "--port", str(port), "--bind", "127.0.0.1", "--dir", folder]
            async with program(argv, Path(folder) / "redis.log"):
                await answers(port)
                address = f"redis://127.0.0.1:{port}/0"
                rows.append(await measure_one(name, Path(folder), address, seconds))
    return rows


async def answers(port: int) -> None:
    """Wait until something listens."""
    async with asyncio.timeout(READY_TIMEOUT):
        while True:
            with suppress(ConnectionError):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return
            await asyncio.sleep(GLANCE)


def report(measured: list[list[Row]], seconds: float) -> str:
    """Give the medians of what was measured, and of the ratios of each round, as a table."""
    rounds = len(measured)
    lines = [
        f"{machine()}; servers, workers and whoever enqueues on the same cores.",
        CONDITIONS.format(seconds=seconds, most=MOST, rounds=rounds),
        "| what | no-ops | to Colonies | settings |",
        "|---|---:|---:|---|",
    ]
    for number, row in enumerate(measured[0]):
        if problem := next((one[number].problem for one in measured if one[number].problem), ""):
            lines.append(f"| {row.name} | {problem} | | {row.settings} |")
            continue
        rate = median(one[number].rate for one in measured)
        ratio = median(one[number].rate / one[0].rate for one in measured)
        lines.append(f"| {row.name} | {rate:,.0f} /s | {ratio:.2f} | {row.settings} |")
    return "\n".join(lines)


async def measure(seconds: float) -> list[Row]:
    """Measure everything."""
    return [
        *await measure_colonies(seconds),
        *await measure_on_postgres(seconds),
        *await measure_on_redis(seconds),
    ]


@click.command()
@click.option("--seconds", default=10.0, show_default=True, help="Length of each measurement.")
@click.option("--rounds", default=3, show_default=True, help="How often everything is measured.")
@click.option("--output", type=click.Path(path_type=Path), help="File to write the table to.")
def main(seconds: float, rounds: int, output: Path | None) -> None:
    """Measure Colonies and its peers, and print what was measured."""
    measured = [asyncio.run(measure(seconds)) for _ in range(rounds)]
    publish(report(measured, seconds), output)


if __name__ == "__main__":
    main()
