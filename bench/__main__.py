"""Measure the hub as a program of its own, with real signatures and durable writes.

Everything is measured in one run on one machine, so that figures can be compared as ratios: what
the hub does is set against what one core can authenticate and what PostgreSQL can commit.

Usage: python -m bench [--seconds S] [--output FILE]
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from statistics import quantiles

import asyncpg
import click
import msgspec

from bench.machine import machine, publish
from colonies import Colonies, Forbidden, NothingToAssign, PrivateKey, Runtime, Settings, connect
from colonies.core.envelope import pack
from colonies.core.identity import recover
from colonies.core.process import Held

COMMAND = Path(sys.executable).with_name("colonies")
TYPE = "bench"

LEASES = 1000
LIVES = 500

COUNTED_AFTER = 3.0
"""Seconds after which PostgreSQL has counted what it did."""

TRANSACTIONS = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"


class People(msgspec.Struct):
    """The keys of everybody who takes part."""

    server: PrivateKey
    colony: PrivateKey
    runtime: PrivateKey


class Line(msgspec.Struct):
    """One measured figure."""

    what: str
    figure: float
    unit: str


@asynccontextmanager
async def hub(folder: Path, people: People, **variables: str) -> AsyncIterator[Settings]:
    """Run a hub with a PostgreSQL of its own, durable, as an operator would."""
    start = (COMMAND, "server", "start", "--port", "0", "--bind", "127.0.0.1")
    options = ("--serverid", people.server.id, "--data-dir", folder)
    with (folder / "hub.log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *start, *options, stdout=PIPE, stderr=log, env={**os.environ, **variables}
        )
    try:
        if child.stdout is None:
            raise RuntimeError("the hub has no output")
        port = int((await child.stdout.readline()).decode().rpartition(":")[2])
        yield Settings(
            server_host="127.0.0.1", server_port=port, colony_id=people.colony.id, timeout=60
        )
    finally:
        with suppress(ProcessLookupError):
            child.terminate()
        await child.wait()


def database_of(folder: Path) -> str:
    """Give the address of the PostgreSQL that a hub with this data folder runs."""
    sockets = (folder / "postgres.socket").read_text()
    return f"postgresql://colonies@/colonies?host={sockets}&port=5432"


async def prepare(settings: Settings, people: People) -> None:
    """Make a colony with one approved runtime."""
    async with connect(settings, key=people.server) as colonies:
        await colonies.add_colony(people.colony.id, "bench")
        owner = colonies.acting_as(people.colony)
        runtime = Runtime(runtime_id=people.runtime.id, name="bench", runtime_type=TYPE)
        await owner.add_runtime(msgspec.structs.replace(runtime, colony_id=people.colony.id))
        await owner.approve_runtime(people.runtime.id)


def measure_recover(seconds: float) -> Line:
    """How many signatures one core can turn into identities."""
    text = pack({"msgtype": "getprocessmsg", "processid": "0" * 64})
    signature = PrivateKey.generate().sign(text)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        recover(text, signature)
        count += 1
    return Line("identities recovered on one core", count / seconds, "/s")


async def per_second(clients: int, seconds: float, work: Callable[[int], Awaitable[None]]) -> float:
    """How often ``work`` is done by so many at once."""
    done = 0
    end = time.perf_counter() + seconds

    async def go_on(number: int) -> None:
        nonlocal done
        while time.perf_counter() < end:
            await work(number)
            done += 1

    started = time.perf_counter()
    await asyncio.gather(*(go_on(number) for number in range(clients)))
    return done / (time.perf_counter() - started)


async def measure_authentication(settings: Settings, seconds: float) -> list[Line]:
    """Calls that are authenticated and refused: all of the way but the database."""
    lines = []
    for clients in (1, 50):
        async with connect(settings, key=PrivateKey.generate()) as stranger:

            async def ask(_number: int, caller: Colonies = stranger) -> None:
                with suppress(Forbidden):
                    await caller.get_statistics()

            rate = await per_second(clients, seconds, ask)
        lines.append(Line(f"authenticate-only calls, {clients} at once", rate, "/s"))
    return lines


async def measure_commits(settings: Settings, people: People, seconds: float) -> Line:
    """Submits by one client: a signed call and one durable statement each."""
    async with connect(settings, key=people.runtime) as colonies:

        async def submit(_number: int) -> None:
            await colonies.submit("noop", runtime_type="nobody")

        rate = await per_second(1, seconds, submit)
        await colonies.acting_as(people.colony).delete_all_processes()
    return Line("durable submits, 1 client", rate, "/s")


async def measure_latency(settings: Settings, people: People, count: int) -> list[Line]:
    """From the submit to the process in the hands of an idle, subscribed runtime."""
    took = []
    async with AsyncExitStack() as stack:
        submitter = await stack.enter_async_context(connect(settings, key=people.runtime))
        runtime = await stack.enter_async_context(connect(settings, key=people.runtime))
        work = await stack.enter_async_context(await runtime.subscribe_assignments(credit=1))
        for _ in range(count):
            started = time.perf_counter()
            submitting = asyncio.create_task(submitter.submit("noop", runtime_type=TYPE))
            process = await anext(work)
            took.append((time.perf_counter() - started) * 1000)
            await submitting
            await runtime.close_successful(process.process_id)
            await asyncio.sleep(0.01)  # idle again, as between real submits
    cuts = quantiles(took, n=100)
    return [
        Line("submit to assigned at the runtime, p50", cuts[49], "ms"),
        Line("submit to assigned at the runtime, p99", cuts[98], "ms"),
    ]


async def measure_cycles(
    settings: Settings, people: People, seconds: float, *, crowds: tuple[int, ...], how: str = ""
) -> list[Line]:
    """Whole lives: submit, assign, close, each signed, each durable; a socket a client."""
    lines = []
    for clients in crowds:
        async with AsyncExitStack() as stack:
            sockets = [
                await stack.enter_async_context(connect(settings, key=people.runtime))
                for _ in range(clients)
            ]
            for one in sockets:
                await one.get_caller()  # a hub takes few sockets at once from whom it does not know

            async def live(number: int, sockets: list[Colonies] = sockets) -> None:
                colonies = sockets[number]
                await colonies.submit("noop", runtime_type=TYPE)
                with suppress(NothingToAssign):
                    process = await colonies.assign_process(timeout=10)
                    await colonies.close_successful(process.process_id)

            rate = await per_second(clients, seconds, live)
        lines.append(Line(f"cycles (submit + assign + close), {clients} clients{how}", rate, "/s"))
    return lines


async def measure_naive(people: People, seconds: float) -> list[Line]:
    """The same from a hub of its own that gives every call a statement of its own."""
    with tempfile.TemporaryDirectory(prefix="colonies-bench-") as folder:
        async with hub(Path(folder), people, COLONIES_DATABASE_BATCH="1") as settings:
            await prepare(settings, people)
            return await measure_cycles(
                settings, people, seconds, crowds=(50,), how=", no shared statements"
            )


async def measure_statements(settings: Settings, people: People, database: str) -> Line:
    """Transactions that the database does for one whole life, as every statement is one."""
    watcher = await asyncpg.connect(database)

    async def count() -> int:
        await asyncio.sleep(COUNTED_AFTER)
        found: int = await watcher.fetchval(TRANSACTIONS)
        return found

    async with connect(settings, key=people.runtime) as colonies:
        idle = -(await count() - await count()) / COUNTED_AFTER  # the hub's own, by the second
        before, started = await count(), time.perf_counter()
        for _ in range(LIVES):
            await colonies.submit("noop", runtime_type=TYPE)
            process = await colonies.assign_process(timeout=10)
            await colonies.close_successful(process.process_id)
        after = await count()
    await watcher.close()
    own = idle * (time.perf_counter() - started)
    return Line("statements a cycle", (after - before - own) / LIVES, "")


async def measure_renewal(settings: Settings, people: People, seconds: float) -> list[Line]:
    """What it takes to renew a thousand leases at once, and one."""
    lines = []
    async with AsyncExitStack() as stack:
        runtime = await stack.enter_async_context(connect(settings, key=people.runtime))
        work = await stack.enter_async_context(await runtime.subscribe_assignments(credit=LEASES))
        for _ in range(LEASES):
            await runtime.submit("noop", runtime_type=TYPE)
        processes = [await anext(work) for _ in range(LEASES)]
        held = [
            Held(process_id=one.process_id, attempt_token=one.attempt_token) for one in processes
        ]
        for count in (1, LEASES):
            holding = held[:count]

            async def renew(_number: int, holding: list[Held] = holding) -> None:
                await runtime.renew(holding)

            rate = await per_second(1, seconds, renew)
            lines.append(Line(f"renewal of {count} of {LEASES} live leases", 1000 / rate, "ms"))
        await runtime.acting_as(people.colony).delete_all_processes()
    return lines


async def measure(seconds: float) -> list[Line]:
    """Measure everything."""
    people = People(*(PrivateKey.generate() for _ in range(3)))
    naive = await measure_naive(people, seconds)
    with tempfile.TemporaryDirectory(prefix="colonies-bench-") as folder:
        async with hub(Path(folder), people) as settings:
            await prepare(settings, people)
            return [
                measure_recover(seconds),
                *await measure_authentication(settings, seconds),
                await measure_commits(settings, people, seconds),
                *await measure_latency(settings, people, count=int(seconds * 50)),
                *naive,
                *await measure_cycles(settings, people, seconds, crowds=(1, 10, 50, 500)),
                await measure_statements(settings, people, database_of(Path(folder))),
                *await measure_renewal(settings, people, seconds),
            ]


def report(lines: list[Line]) -> str:
    """Give the figures as a table, rates also against what one core can authenticate."""
    ceiling = lines[0].figure
    rows = ["| what | figure | of the ceiling |", "|---|---:|---:|"]
    for line in lines:
        share = f"{line.figure / ceiling:.1%}" if line.unit == "/s" else ""
        digits = 0 if line.unit == "/s" else 2
        rows.append(f"| {line.what} | {line.figure:,.{digits}f} {line.unit} | {share} |")
    return "\n".join([f"{machine()}; hub, PostgreSQL and clients on the same cores.", "", *rows])


@click.command()
@click.option("--seconds", default=5.0, show_default=True, help="Length of each measurement.")
@click.option("--output", type=click.Path(path_type=Path), help="File to write the table to.")
def main(seconds: float, output: Path | None) -> None:
    """Measure the hub and print what was measured."""
    publish(report(asyncio.run(measure(seconds))), output)


if __name__ == "__main__":
    main()
