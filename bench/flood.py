"""A colony that asks for all it can get, in a program of its own.

``python -m bench.flood`` reads a `Plan` as one line of standard input, connects, says on standard
output that it is ready, submits and claims until standard input ends, and says how often.
"""

from __future__ import annotations

import asyncio
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import msgspec

from bench.load import LONGEST_POLL, opened
from bench.loop import run
from bench.world import ROOT, TYPE, Hub
from colonies import Colonies, NothingToAssign, PrivateKey, Settings


class Plan(msgspec.Struct, frozen=True):
    """Who floods which hub: so many sockets, so many calls at once on each."""

    port: int
    colony_id: str
    key: str
    sockets: int
    at_once: int


@asynccontextmanager
async def flooded(hub: Hub, sockets: int, at_once: int) -> AsyncIterator[list[float]]:
    """Flood a colony during the block; what is given has the calls a second after it."""
    settings = hub.settings
    key = hub.people.runtime.hex
    plan = Plan(settings.server_port, settings.colony_id, key, sockets, at_once)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.flood"), stdin=PIPE, stdout=PIPE, cwd=ROOT
    )
    assert child.stdin is not None
    assert child.stdout is not None
    rate: list[float] = []
    try:
        child.stdin.write(msgspec.json.encode(plan) + b"\n")
        if not await child.stdout.readline():
            raise RuntimeError("the flood did not begin")
        started = time.perf_counter()
        yield rate
        child.stdin.close()
        rate.append(int(await child.stdout.readline()) / (time.perf_counter() - started))
    finally:
        child.stdin.close()
        await child.wait()


async def _flood(plan: Plan) -> None:
    settings = Settings(
        server_host="127.0.0.1", server_port=plan.port, colony_id=plan.colony_id, timeout=60
    )
    ended = asyncio.Event()
    calls = 0

    async def go_on(colonies: Colonies) -> None:
        nonlocal calls
        while not ended.is_set():
            await colonies.submit("noop", runtime_type=TYPE)
            with suppress(NothingToAssign):
                await colonies.assign_process(timeout=LONGEST_POLL)
            calls += 2

    async with opened(settings, PrivateKey(plan.key), plan.sockets) as sockets:
        asyncio.get_running_loop().add_reader(sys.stdin.fileno(), ended.set)
        _say("ready")
        await asyncio.gather(*(go_on(one) for one in sockets * plan.at_once))
    _say(calls)


def _say(what: object) -> None:
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    run(_flood(msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)))
