"""The same thing done by a runtime and by hand: nothing, in each of the ways a process can run.

Podman and Slurm are real ones, set up as the tests set them up. Kubernetes is left out: what the
tests have of it is a stand-in, whose times say nothing of a cluster's.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import msgspec
import psutil

from bench.world import Hub
from tests.runtimes.podman import IMAGE, own_podman
from tests.runtimes.slurm_cluster import Cluster

COMMAND = Path(sys.executable).with_name("colonies-run")

AT_ONCE = 10
"""Processes that a runtime holds at once, and programs by hand beside it."""


class Way(msgspec.Struct, frozen=True):
    """What a plugin is started with and asked for, and the command that does as much by hand."""

    plugin: str
    by_hand: Callable[[], Awaitable[None]]
    func: str = "true"
    options: Sequence[str] = ()
    env: Mapping[str, str] = {}


@asynccontextmanager
async def shell(*options: str) -> AsyncIterator[Way]:
    """Run a program."""
    yield Way("shell", lambda: run("true"), options=options)


@asynccontextmanager
async def python() -> AsyncIterator[Way]:
    """Call a function, by hand in a new interpreter."""
    words = (sys.executable, "-c", "import os; os.getpid()")
    yield Way("python", lambda: run(*words), func="os:getpid")


@asynccontextmanager
async def container() -> AsyncIterator[Way]:
    """Run a program in a container of a podman of our own; raise NotHere if there is none."""
    with own_podman() as podman:
        env = {"CONTAINERS_CONF": str(podman.conf)}
        words = ("podman", *podman.options, "run", "--rm", "--network=none", IMAGE, "true")
        options = [f"--engine-option={one}" for one in podman.options]
        yield Way(
            "container",
            lambda: run(*words, **env),
            options=[*options, "--engine", "podman", "--image", IMAGE],
            env=env,
        )


@asynccontextmanager
async def slurm() -> AsyncIterator[Way]:
    """Run a job on a cluster of our own; raise NotHere if there is none."""
    async with cluster() as running:
        env = running.env

        async def by_hand() -> None:
            words = ("--export=NONE", "--output=/dev/null", "--wrap=true")
            job = await run("sbatch", "--parsable", *words, **env)
            while await run("squeue", "--noheader", f"--jobs={job.strip()}", **env):
                pass

        yield Way("slurm", by_hand, env=env)


@asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    """Have a Slurm of one node, and of one more that is not there; raise NotHere without one."""
    with tempfile.TemporaryDirectory(prefix="colonies-slurm-") as folder:
        running = Cluster(Path(folder))
        try:
            await asyncio.to_thread(running.start)
            yield running
        finally:
            await asyncio.to_thread(running.stop)


WAYS: dict[str, Callable[[], AbstractAsyncContextManager[Way]]] = {
    "shell, no sandbox": lambda: shell("--sandbox", "off"),
    "shell": shell,
    "python": python,
    "container": container,
    "slurm": slurm,
}
"""By the names they have in a report."""


async def run(*words: str, **env: str) -> str:
    """Run a program to its end; gives what it says."""
    child = await asyncio.create_subprocess_exec(
        *words, env={**os.environ, **env}, stdin=DEVNULL, stdout=PIPE, stderr=PIPE
    )
    said, complaint = await child.communicate()
    if child.returncode:
        raise RuntimeError(f"{' '.join(words)}: {complaint.decode()}")
    return said.decode()


@asynccontextmanager
async def runtime(hub: Hub, way: Way, folder: Path, *options: str) -> AsyncIterator[psutil.Process]:
    """Start a runtime that lets itself into the hub's colony; it ends with the block.

    Where something in the block does not come in time, the error says what the runtime said.
    """
    settings = {
        "COLONIES_SERVERHOST": hub.settings.server_host,
        "COLONIES_SERVERPORT": str(hub.settings.server_port),
        "COLONIES_COLONYID": hub.people.colony.id,
        "COLONIES_COLONYPRVKEY": hub.people.colony.hex,
        "COLONIES_KEYCHAIN": str(folder / "keys"),
        "COLONIES_STATE_DIR": str(folder / "state"),
    }
    inherited = {name: value for name, value in os.environ.items() if "COLONIES" not in name}
    said = folder / "runtime.log"
    with said.open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            *(COMMAND, way.plugin, "--name", folder.name, "--drain", "0", *way.options, *options),
            env={**inherited, **settings, **way.env},
            stdout=log,
            stderr=log,
        )
    try:
        yield psutil.Process(child.pid)
    except TimeoutError as error:
        raise RuntimeError(f"{way.plugin} said: {said.read_text()}") from error
    finally:
        if child.returncode is None:
            child.terminate()
        await child.wait()
