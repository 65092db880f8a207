"""Measure whether a claim costs the same however much waits, has ended, or may not be forgotten.

The statements are the hub's own, on a durable PostgreSQL of its own, without the hub around them.
Ratios are within the run: against the first row, and against the same without the snapshot.

Usage: python -m bench.backlog [--claims N] [--seconds S] [--output FILE]
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from statistics import quantiles

import asyncpg
import click
import msgspec

from bench.machine import machine, publish
from colonies.core import wire
from colonies.core.process import Conditions, Process, ProcessSpec, State, new_id
from colonies.core.runtime import Runtime
from colonies.server import lifecycle
from colonies.server.db import Database
from colonies.server.embedded import EmbeddedPostgres
from colonies.server.intent import Intent
from colonies.server.lifecycle import Assignment
from colonies.server.queue import Bookmarks
from colonies.server.schema import bring_up_to_date

TYPE = "bench"
COLONY = new_id()
RUNTIME = Runtime(runtime_id=new_id(), colony_id=COLONY, runtime_type=TYPE)
SPEC = ProcessSpec(
    name="bench",
    func="noop",
    args=["one", "two"],
    max_wait_time=86_400,
    conditions=Conditions(colony_id=COLONY, runtime_type=TYPE),
)

BOOKMARKS = Bookmarks()

BACKLOGS = (100, 1_000, 100_000, 1_000_000)
FINISHED = 100_000
WORKERS = 50
SNAPSHOT = 60.0
"""Seconds that the old snapshot is held; what counts is the last part of them."""

FILL = """
INSERT INTO processes (colony_id, process_id, state, submission_time, wait_deadline, end_time,
    spec, runtime_type, runtime_ids, cores, mem, gpus, priority, max_wait_time, max_exec_time,
    max_retries)
SELECT $1, encode(sha256(gen_random_uuid()::text::bytea), 'hex'), $2::integer,
       now() + number * interval '1 microsecond', now() + interval '1 day',
       CASE WHEN $2 >= 2 THEN now() END, $3, $4, '{}', 0, 0, 0, 0, 86400, 0, 0
FROM generate_series(1, $5) AS number
"""

ADD_RUNTIME = """
INSERT INTO runtimes (colony_id, runtime_id, runtime_type, name, cpu, cores, mem, gpu, gpus, state,
                      commission_time, location)
VALUES ($1, $2, $3, 'bench', '', 0, 0, '', 0, 1, now(), '{}')
"""


class Latency(msgspec.Struct, frozen=True):
    """What claims took, in milliseconds."""

    what: str
    p50: float
    p99: float
    of_many: float


class Rates(msgspec.Struct, frozen=True):
    """How many processes a second were moved all the way, part by part."""

    what: str
    moved: list[float]


class Bench(msgspec.Struct, frozen=True):
    """The database as the hub sees it, and a connection beside it."""

    url: str
    db: Database
    sql: asyncpg.Connection

    async def fill(self, state: State, count: int) -> None:
        """Add processes, and let PostgreSQL know how many there are."""
        spec = wire.encode(SPEC).decode()
        await self.sql.execute(FILL, COLONY, state, spec, TYPE, count, timeout=600)
        await self.settle()

    async def settle(self) -> None:
        """Do now what autovacuum does sooner or later."""
        await self.sql.execute("VACUUM (ANALYZE) processes", timeout=600)
        await self.sql.execute("CHECKPOINT", timeout=600)

    async def clear(self) -> None:
        """Forget every process."""
        await self.sql.execute("TRUNCATE processes, requests")


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    """Open a durable database with one colony and one approved runtime in it."""
    with tempfile.TemporaryDirectory(prefix="colonies-bench-") as folder:
        async with EmbeddedPostgres(Path(folder) / "data") as postgres:
            db = Database(postgres.url, connections=10)
            await db.open()
            await bring_up_to_date(db)
            sql = await asyncpg.connect(postgres.url)
            await sql.execute("INSERT INTO colonies VALUES ($1, 'bench')", COLONY)
            await sql.execute(ADD_RUNTIME, COLONY, RUNTIME.runtime_id, TYPE)
            try:
                yield Bench(postgres.url, db, sql)
            finally:
                await sql.close()
                await db.close()


def nobodys_twice() -> Intent:
    """Give an intention that is remembered, as those of native clients are."""
    return Intent(RUNTIME.runtime_id, new_id(), "0" * 32)


async def claim(db: Database, count: int = 1) -> list[Process]:
    """Claim as the hub does for a runtime that asked."""
    return await lifecycle.claim(
        db, RUNTIME, BOOKMARKS, count=count, is_leased=True, intent=nobodys_twice()
    )


async def close(db: Database, process: Process) -> None:
    """Close as the hub does for the runtime."""
    await lifecycle.close(
        db,
        Assignment.of(process),
        State.SUCCESS,
        output=["done"],
        errors=[],
        intent=nobodys_twice(),
    )


async def measure_claims(on: Bench, what: str, claims: int) -> Latency:
    """Claim one at a time, then in hundreds; what was claimed is submitted again."""
    took = []
    for _ in range(claims):
        started = time.perf_counter()
        processes = await claim(on.db)
        took.append((time.perf_counter() - started) * 1000)
        assert len(processes) == 1
        await lifecycle.submit(on.db, SPEC, nobodys_twice())
    cuts = quantiles(took, n=100)
    await on.settle()
    of_many = []
    for _ in range(max(claims // 20, 5)):
        started = time.perf_counter()
        processes = await claim(on.db, 100)
        of_many.append((time.perf_counter() - started) * 1000)
        assert len(processes) == 100
        await asyncio.gather(*(lifecycle.submit(on.db, SPEC, nobodys_twice()) for _ in processes))
    return Latency(what, cuts[49], cuts[98], quantiles(of_many, n=2)[0])


async def measure_backlogs(on: Bench, claims: int) -> list[Latency]:
    """Claim beside more and more that waits and that has ended."""
    lines = []
    there = 0
    for backlog in BACKLOGS:
        await on.fill(State.WAITING, backlog - there)
        there = backlog
        lines.append(await measure_claims(on, f"{backlog:,} waiting", claims))
    await on.fill(State.SUCCESS, FINISHED)
    beside = f"beside {FINISHED:,} that have ended"
    lines.append(await measure_claims(on, f"{there:,} waiting, {beside}", claims))
    await on.clear()
    await on.fill(State.SUCCESS, FINISHED)
    await on.fill(State.WAITING, BACKLOGS[0])
    lines.append(await measure_claims(on, f"{BACKLOGS[0]:,} waiting, {beside}", claims))
    await on.clear()
    return lines


async def cycles(db: Database, seconds: float, *, submitting: bool) -> int:
    """Claim and close with fifty at once for some seconds; gives how many were moved."""
    end = time.perf_counter() + seconds
    moved = 0

    async def work() -> None:
        nonlocal moved
        while time.perf_counter() < end:
            if submitting:
                await lifecycle.submit(db, SPEC, nobodys_twice())
            for process in await claim(db):
                await close(db, process)
                moved += 1

    await asyncio.gather(*(work() for _ in range(WORKERS)))
    return moved


async def measure_snapshot(on: Bench, seconds: float) -> list[Rates]:
    """Move processes without and with a transaction elsewhere that still sees all that was."""
    lines = []
    for submitting, backlog, what in (
        (True, BACKLOGS[0], "submit, claim, close"),
        (False, BACKLOGS[-1] // 2, "claim, close"),
    ):
        for is_held in (False, True):
            await on.fill(State.WAITING, backlog)
            beside = "beside an old snapshot" if is_held else "alone"
            async with old_snapshot(on.url) if is_held else nullcontext():
                moved = [
                    await cycles(on.db, seconds, submitting=submitting) / seconds
                    for _ in range(round(SNAPSHOT / seconds))
                ]
            lines.append(Rates(f"{what}, {backlog:,} waiting, {beside}", moved))
            await on.clear()
    return lines


@asynccontextmanager
async def old_snapshot(url: str) -> AsyncIterator[None]:
    """Hold a transaction open that sees all as it was when it began."""
    other = await asyncpg.connect(url)
    async with other.transaction(isolation="repeatable_read"):
        await other.execute("SELECT FROM processes LIMIT 1")
        yield
    await other.close()


def report(latencies: list[Latency], rates: list[Rates], seconds: float) -> str:
    """Give both tables, with ratios."""
    first = latencies[0]
    rows = [
        f"{machine()}; PostgreSQL, durable, and its client on the same cores.",
        "",
        "| a claim with | p50 of 1 | p99 of 1 | p50 of 100 | of 1, ratio | of 100, ratio |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for one in latencies:
        figures = f"{one.p50:.2f} ms | {one.p99:.2f} ms | {one.of_many:.1f} ms"
        ratios = f"{one.p50 / first.p50:.2f} | {one.of_many / first.of_many:.2f}"
        rows.append(f"| {one.what} | {figures} | {ratios} |")
    parts = [f"to {(part + 1) * seconds:.0f} s" for part in range(len(rates[0].moved))]
    rows += [
        "",
        f"| {WORKERS} at once, moved a second | {' | '.join(parts)} | last, ratio |",
        "|---|" + "---:|" * (len(parts) + 1),
    ]
    for alone, beside in zip(rates[::2], rates[1::2], strict=True):
        for one in (alone, beside):
            figures = " | ".join(f"{rate:,.0f}" for rate in one.moved)
            rows.append(f"| {one.what} | {figures} | {one.moved[-1] / alone.moved[-1]:.2f} |")
    return "\n".join(rows)


async def measure(claims: int, seconds: float) -> str:
    """Measure everything."""
    async with bench() as on:
        latencies = await measure_backlogs(on, claims)
        return report(latencies, await measure_snapshot(on, seconds), seconds)


@click.command()
@click.option("--claims", default=300, show_default=True, help="Claims for each row.")
@click.option("--seconds", default=10.0, show_default=True, help="Length of each measurement.")
@click.option("--output", type=click.Path(path_type=Path), help="File to write the tables to.")
def main(claims: int, seconds: float, output: Path | None) -> None:
    """Measure claims beside what should not matter to them."""
    publish(asyncio.run(measure(claims, seconds)), output)


if __name__ == "__main__":
    main()
