"""What a runtime costs that holds a thousand jobs of a real Slurm, and what a job costs.

``python -m bench.batch`` prints it; it needs Slurm, as the tests of it do (``make slurm``).
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median

import psutil

from bench.scale import QUICK
from bench.world import Hub, World, cpu_seconds
from colonies import Colonies, connect
from colonies.server.embedded import EmbeddedPostgres
from tests.runtimes.slurm_cluster import MISSING, WHY, Cluster

COUNT = 1000
SECONDS = 60.0
ONE_BY_ONE = 10
COMMAND = Path(sys.executable).with_name("colonies-run")


@asynccontextmanager
async def runtime(
    hub: Hub, name: str, folder: Path, *options: str, **env: str
) -> AsyncIterator[psutil.Process]:
    """Run a runtime that lets itself in."""
    settings = {
        "COLONIES_SERVERHOST": "127.0.0.1",
        "COLONIES_SERVERPORT": str(hub.settings.server_port),
        "COLONIES_COLONYID": hub.people.colony.id,
        "COLONIES_COLONYPRVKEY": hub.people.colony.hex,
        "COLONIES_KEYCHAIN": str(folder / "keys"),
        "COLONIES_STATE_DIR": str(folder / "state"),
    }
    inherited = {key: value for key, value in os.environ.items() if "COLONIES" not in key}
    with (folder / f"{name}.log").open("ab") as log:
        child = await asyncio.create_subprocess_exec(
            COMMAND, name, *options, env={**inherited, **settings, **env}, stdout=log, stderr=log
        )
    try:
        yield psutil.Process(child.pid)
    finally:
        child.kill()
        await child.wait()


async def queued(hub: Hub, member: Colonies, cluster: Cluster, folder: Path) -> None:
    """Hold a thousand jobs that wait, and weigh what holds them."""
    elsewhere = {"partition": "other"}  # whose node is not there
    options = (
        "--allow-partition",
        "debug",
        "--allow-partition",
        "other",
        "--max-pending",
        str(COUNT),
        "--drain",
        "0",
    )
    async with runtime(hub, "slurm", folder, *options, **cluster.env) as program:
        await (await member.submit("true", runtime_type="slurm", lease=600)).wait(60)
        empty = program.memory_info().rss
        started = time.perf_counter()
        for _ in range(COUNT):
            await member.submit("true", runtime_type="slurm", lease=600, kwargs=elsewhere)
        await asyncio.to_thread(cluster.wait, lambda: waiting(cluster) == COUNT)
        say(f"{COUNT} jobs submitted to Slurm in {time.perf_counter() - started:.1f} s")
        await asyncio.sleep(5)
        own, family = program.cpu_times(), cpu_seconds(program)
        await asyncio.sleep(SECONDS)
        after, all_after = program.cpu_times(), cpu_seconds(program)
        alone = after.user + after.system - own.user - own.system
        say(f"processor, runtime alone: {alone / SECONDS:.2%} of a core")
        say(f"processor, with squeue:   {(all_after - family) / SECONDS:.2%} of a core")
        full = program.memory_info().rss
        say(f"memory: {empty / 1e6:.1f} MB empty, {full / 1e6:.1f} MB with {COUNT} jobs")


def say(text: str) -> None:
    """Print it at once."""
    print(text, flush=True)


def waiting(cluster: Cluster) -> int:
    """Give how many jobs wait."""
    return sum("PENDING" in states for states in cluster.jobs().values())


async def overhead(hub: Hub, member: Colonies, name: str, folder: Path, **env: str) -> None:
    """Run processes that do nothing, one by one."""
    async with runtime(hub, name, folder, "--slots", "100", **env):
        await (await member.submit("true", runtime_type=name)).wait(60)
        took = []
        for _ in range(ONE_BY_ONE):
            started = time.perf_counter()
            await (await member.submit("true", runtime_type=name)).wait(60)
            took.append(time.perf_counter() - started)
        started = time.perf_counter()
        submitted = [await member.submit("true", runtime_type=name) for _ in range(100)]
        await asyncio.gather(*(one.wait(120) for one in submitted))
        many = time.perf_counter() - started
        say(f"{name}: true takes {median(took) * 1000:.0f} ms alone; 100 at once {many:.1f} s")


async def main() -> None:
    """Measure all of it."""
    with tempfile.TemporaryDirectory(prefix="colonies-bench-") as place:
        folder = Path(place)
        (folder / "cluster").mkdir()
        cluster = Cluster(folder / "cluster")
        async with (
            EmbeddedPostgres(folder / "data") as server,
            World(server.url, folder, QUICK) as world,
            world.new_hub() as hub,
            connect(hub.settings, key=hub.people.runtime) as member,
        ):
            try:
                cluster.start()
                for name in ("held", "shell", "slurm"):
                    (folder / name).mkdir()
                for name in ("shell", "slurm"):
                    await overhead(hub, member, name, folder / name, **cluster.env)
                await queued(hub, member, cluster, folder / "held")
            finally:
                cluster.stop()


if __name__ == "__main__":
    if MISSING:
        sys.exit(WHY)
    asyncio.run(main())
