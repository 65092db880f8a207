"""The life of a container, from its being made until nothing is left of it.

An engine is asked by its commands, and is not believed: a command may fail, hang, be killed or say
nonsense, and the container may have been made, or be running, all the same. So what is removed is
removed by name, whatever the engine has said, and what could not be is tried again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import structlog

from runtimes.child import Child, inherited_environment, kill_group, start_child
from runtimes.container.engine import Engine, House, Wanted

logger = structlog.get_logger()

ENGINE_SEES = (
    *("CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF"),
    *("CONTAINER_HOST", "REGISTRY_AUTH_FILE", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT"),
    *("DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "APPTAINER_CACHEDIR", "APPTAINER_TMPDIR"),
    *("XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "DBUS_SESSION_BUS_ADDRESS"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
)
"""What an engine may see of our environment; none of it comes into a container."""

MOST_SAID = 65_536


class EngineFailed(Exception):
    """An engine did not do what it was asked, or did not say so in time."""


class Look(msgspec.Struct, frozen=True, rename="pascal"):
    """How a container is, as its engine says it."""

    status: str
    exit_code: int
    running: bool = False
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    error: str = ""

    @property
    def is_ended(self) -> bool:
        """Whether it has run, and does no more."""
        return not self.running and self.status in ("exited", "stopped", "dead")


@dataclass(frozen=True)
class Asking:
    """How engines are asked: ``patience`` is in seconds, of pulling and of everything else.

    Who follows a container asks every ``look_period`` seconds whether it still runs.
    """

    engine: Engine
    patience: float
    pull_patience: float
    look_period: float

    async def ask(
        self, argv: Sequence[str], *, patience: float = 0, cwd: str | None = None
    ) -> tuple[int, str]:
        """Run a command of the engine; gives its exit code and what it said.

        It is killed when it takes too long, which raises EngineFailed; or when this is cancelled.
        """
        patience = patience or self.patience
        verb = " ".join(argv[: len(self.engine.command) + 1])
        try:
            child = await start_child(list(argv), engine_environment(), cwd=cwd)
        except (OSError, ValueError) as error:
            raise EngineFailed(f"{verb}: {error}") from error
        try:
            async with asyncio.timeout(patience):
                said = await asyncio.gather(_listen(child.stdout), _listen(child.stderr))
                code = await child.process.wait()
        except TimeoutError:
            raise EngineFailed(f"{verb}: no answer within {patience:g} s") from None
        finally:
            kill_group(child.process)
            child.close()
            await child.process.wait()
        return code, (said[0] if code == 0 else said[1] or said[0]).strip()

    async def need(self, argv: Sequence[str], *, patience: float = 0, cwd: str = "") -> str:
        """Run a command that must succeed; gives what it said, or raises EngineFailed."""
        code, said = await self.ask(argv, patience=patience, cwd=cwd or None)
        if code != 0:
            raise EngineFailed(said[-1000:] or f"{argv[0]}: exit code {code}")
        return said


async def _listen(stream: asyncio.StreamReader) -> str:
    """Read a pipe to its end, and give the last of it."""
    kept = b""
    while data := await stream.read(MOST_SAID):
        kept = (kept + data)[-MOST_SAID:]
    return kept.decode(errors="replace").replace("\0", "")


def engine_environment() -> dict[str, str]:
    """Give what an engine sees of our environment."""
    return inherited_environment(ENGINE_SEES)


class Containers:
    """The containers of one runtime at one engine."""

    def __init__(self, asking: Asking, house: House, runtime_id: str) -> None:
        self._asking = asking
        self._engine = asking.engine
        self._house = house
        self._runtime_id = runtime_id
        self._held: set[str] = set()
        self._left: set[str] = set()

    async def fetch(self, image: str, policy: str) -> None:
        """Have an image here, as the policy says; raise EngineFailed if it cannot be."""
        if policy != "always":
            code, _ = await self._asking.ask(self._engine.has_image(image))
            if code == 0:
                return
            if policy == "never":
                raise EngineFailed(f"image {image} is not here, and none is fetched")
        await self._asking.need(self._engine.pull(image), patience=self._asking.pull_patience)

    async def create(self, wanted: Wanted, folder: Path) -> None:
        """Make a container; whatever comes of it, `remove` must follow.

        Its engine works in ``folder``, which is the container's own: some leave things there.
        """
        self._held.add(wanted.name)
        await self._asking.need(self._engine.create(wanted, self._house), cwd=str(folder))

    async def start(self, name: str, folder: Path) -> Child:
        """Start a container; gives the command that follows it to its end."""
        try:
            argv = self._engine.start(name)
            return await start_child(argv, engine_environment(), cwd=str(folder))
        except (OSError, ValueError) as error:
            raise EngineFailed(str(error)) from error

    async def followed(self, name: str, child: Child) -> None:
        """Wait until the command that follows a container ends, or nothing has run for a while."""
        was_idle = is_idle = False
        while not (was_idle and is_idle):
            try:
                async with asyncio.timeout(self._asking.look_period):
                    await child.process.wait()
                    return
            except TimeoutError:
                was_idle, is_idle = is_idle, await self._is_idle(name)
        logger.warning("engine hung", container=name)

    async def _is_idle(self, name: str) -> bool:
        try:
            return not (await self.look(name)).running
        except EngineFailed as error:
            logger.warning("container not seen", container=name, error=str(error))
            return False

    async def look(self, name: str) -> Look:
        """Say how a container is; raise EngineFailed when that is not known."""
        said = await self._asking.need(self._engine.state(name))
        try:
            return msgspec.json.decode(said, type=Look)
        except ValueError as error:
            raise EngineFailed(f"{said[:200]!r} says nothing of {name}: {error}") from error

    async def stop(self, name: str, grace: float) -> None:
        """Ask a container to end, and have it killed if it does not."""
        seconds = max(round(grace), 0)
        try:
            argv = self._engine.stop(name, seconds)
            await self._asking.need(argv, patience=self._asking.patience + seconds)
        except EngineFailed as error:
            logger.warning("container not stopped", container=name, error=str(error))

    async def remove(self, name: str) -> bool:
        """Remove a container, if there is one; says whether none is left."""
        for _ in range(2):
            try:
                code, said = await self._asking.ask(self._engine.remove(name))
                if code == 0 or name not in await self._names():
                    self._held.discard(name)
                    self._left.discard(name)
                    return True
            except EngineFailed as error:
                said = str(error)
            logger.warning("container not removed", container=name, error=said[-1000:])
        self._held.discard(name)
        self._left.add(name)
        return False

    async def tidy(self) -> None:
        """Try again to remove what could not be."""
        for name in sorted(self._left):
            await self.remove(name)

    async def sweep(self) -> None:
        """Remove what is this runtime's and held by nobody: left by an earlier start, or by us.

        Raises EngineFailed when the engine does not say what there is.
        """
        for name in await self._names():
            if name in self._held or not await self._is_orphan(name):
                continue
            await self.remove(name)
            logger.info("container swept", container=name)

    async def _names(self) -> list[str]:
        return (await self._asking.need(self._engine.names_of(self._runtime_id))).split()

    async def _is_orphan(self, name: str) -> bool:
        code, keeper = await self._asking.ask(self._engine.keeper(name))
        return code == 0 and (keeper == this_keeper() or not is_alive(keeper))


def this_keeper() -> str:
    """Name this very process, as no other of this machine was or will be named."""
    return _keeper(os.getpid())


def is_alive(keeper: str) -> bool:
    """Whether the process of that name runs; on another machine, or before a boot, none does."""
    pid = keeper.rpartition(" ")[0].rpartition(" ")[2]
    try:
        return pid.isdecimal() and _keeper(int(pid)) == keeper
    except OSError:
        return False


def _keeper(pid: int) -> str:
    """Give boot, process namespace, number and time of start."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = Path("/proc/self/ns/pid").readlink()
        since = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except FileNotFoundError:  # no Linux, or no such process
        return f"unknown {pid} 0"
    return f"{boot} {space} {pid} {since}"
