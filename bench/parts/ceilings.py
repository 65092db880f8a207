"""What the hub is made of, each alone: signatures, rows, messages."""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import asyncpg
from websockets.asyncio.client import connect as open_websocket

from bench.load import per_second
from bench.report import Chapter, Figures, Table, ms, percentiles, rate
from bench.world import ROOT, World, stopwatch
from colonies import PrivateKey
from colonies.core.envelope import pack
from colonies.core.identity import recover

FRAME = "x" * 600
"""About as long as a submit or a close is."""

CONNECTIONS = 10
ROWS = 100
SOCKETS = 50
PAUSE = 0.015
"""Seconds between commits that do not follow one another."""

TABLE = "CREATE TABLE ceiling (id bigserial PRIMARY KEY, content text NOT NULL)"
ONE = "INSERT INTO ceiling (content) VALUES ($1)"
MANY = "INSERT INTO ceiling (content) SELECT unnest($1::text[])"

CONDITIONS = f"""\
Each with nothing else beside it. A row and a message have {len(FRAME)} bytes. Rows are durable:
each statement waits until it is on disk. Messages go to a server on uvicorn and back, over
{SOCKETS} sockets of the `websockets` library, client and server on the same cores."""


async def measure(world: World) -> Chapter:
    """Measure all three."""
    figures = {"ceilings/recover": recovered(world.scale.seconds)}
    async with world.database() as database:
        figures |= await measure_rows(world, world.url_of(database))
    figures["ceilings/echo"] = await measure_echo(world.scale.seconds)
    return Chapter("Ceilings", CONDITIONS, [table(figures)], figures=figures)


def recovered(seconds: float) -> float:
    """How many signatures one core turns into identities in a second."""
    text = pack({"msgtype": "getprocessmsg", "processid": "0" * 64})
    signature = PrivateKey.generate().sign(text)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        recover(text, signature)
        count += 1
    return count / seconds


async def measure_rows(world: World, url: str) -> Figures:
    """Durable rows a second, by one connection and by more, one a statement and many."""
    async with asyncpg.create_pool(url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        await pool.execute(TABLE)
        took: list[float] = []
        for _ in range(world.scale.samples):
            await asyncio.sleep(PAUSE)
            with stopwatch(took):
                await pool.execute(ONE, FRAME)
        figures = {"ceilings/commit": percentiles(took)[0]}
        for connections in (1, CONNECTIONS):
            figures[f"ceilings/rows/{connections}"] = await _inserted(
                pool, connections, world.scale.seconds, lambda on: on.execute(ONE, FRAME)
            )
            figures[f"ceilings/rows/{connections}/{ROWS}"] = ROWS * await _inserted(
                pool, connections, world.scale.seconds, lambda on: on.execute(MANY, [FRAME] * ROWS)
            )
    return figures


async def _inserted(
    pool: asyncpg.Pool,
    connections: int,
    seconds: float,
    insert: Callable[[asyncpg.Connection], Awaitable[object]],
) -> float:
    async with AsyncExitStack() as stack:
        held = [await stack.enter_async_context(pool.acquire()) for _ in range(connections)]

        async def work(number: int) -> None:
            await insert(held[number])

        return await per_second(connections, seconds, work)


async def measure_echo(seconds: float) -> float:
    """Messages there and back a second."""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.echo"), stdout=PIPE, cwd=ROOT
    )
    assert server.stdout is not None
    try:
        url = f"ws://127.0.0.1:{int(await server.stdout.readline())}/"
        async with AsyncExitStack() as stack:
            sockets = []
            for _ in range(SOCKETS):
                socket = open_websocket(url, compression=None, proxy=None)
                sockets.append(await stack.enter_async_context(socket))

            async def ask(number: int) -> None:
                await sockets[number].send(FRAME)
                await sockets[number].recv()

            return await per_second(SOCKETS, seconds, ask)
    finally:
        server.terminate()
        await server.wait()


def table(figures: Figures) -> Table:
    """Show them."""
    rows = [("identities recovered on one core", rate(figures["ceilings/recover"]))]
    for connections in (1, CONNECTIONS):
        by = "1 connection" if connections == 1 else f"{connections} connections"
        name = f"ceilings/rows/{connections}"
        rows += [
            (f"rows inserted one a statement, {by}", rate(figures[name])),
            (f"rows inserted {ROWS} a statement, {by}", rate(figures[f"{name}/{ROWS}"])),
        ]
    rows += [
        ("one row after a pause, p50", ms(figures["ceilings/commit"])),
        (f"messages there and back, {SOCKETS} sockets", rate(figures["ceilings/echo"])),
    ]
    return Table(("what", "figure"), rows)
