"""Run a process in a container: podman, docker or apptainer, by their command line."""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import structlog

from colonies.core.errors import Misconfigured
from colonies.core.process import Process
from runtimes.base import Help, Job, Outcome, Runtime, failure
from runtimes.child import Child, Tail, Telling, end_group, ending, start_child
from runtimes.container.asking import Asking, EngineFailed, engine_environment
from runtimes.container.engine import (
    ENGINES,
    KEEPER_LABEL,
    RUNTIME_LABEL,
    Engine,
    House,
    Wanted,
    apptainer_argv,
    apptainer_environment,
    unspeakable,
)
from runtimes.container.life import Containers, this_keeper
from runtimes.container.looks import Look, Looks
from runtimes.container.terms import Allowed, Refused, allowed_mounts
from runtimes.job_state import Ending
from runtimes.machine import count_cores, count_memory

logger = structlog.get_logger()


class Container(Runtime):
    """Runs processes in containers. Standard output, by line, is the output."""

    runtime_type = "container"

    class Settings(Runtime.Settings, frozen=True):
        """What the owner allows."""

        engine: Annotated[
            Literal["auto", "podman", "docker", "apptainer"],
            Help("What runs containers; auto is the first of these that is there"),
        ] = "auto"
        engine_option: Annotated[
            list[str], Help("Option for every command of the engine; repeatable")
        ] = []
        container_option: Annotated[
            list[str], Help("Option for every container that is made; repeatable")
        ] = []
        image: Annotated[
            list[str],
            Help("Image that processes may have, * for any part; the usual one first; repeatable"),
        ] = []
        pull: Annotated[
            Literal["missing", "always", "never"],
            Help("When images are fetched"),
        ] = "missing"
        mount: Annotated[
            list[str], Help("Folder that processes may mount, /folder or /folder:rw; repeatable")
        ] = []
        network: Annotated[
            list[str], Help("Network that processes may choose instead of none; repeatable")
        ] = []
        max_cores: Annotated[int, Help("Cores of a container (default: the machine's)")] = 0
        max_memory: Annotated[
            int, Help("MiB of memory of a container (default: the machine's)")
        ] = 0
        max_processes: Annotated[int, Help("Processes in a container")] = 512
        tmp_size: Annotated[int, Help("MiB of a container's own /tmp")] = 64
        user: Annotated[str, Help("User and group in the container, as numbers")] = "65534:65534"
        writable: Annotated[bool, Help("Let containers write to their copy of the image")] = False
        status_period: Annotated[
            Annotated[float, msgspec.Meta(ge=1)], Help("Seconds between status calls at least")
        ] = 1.0
        patience: Annotated[float, Help("Seconds that a command of the engine may take")] = 30.0
        pull_patience: Annotated[float, Help("Seconds that fetching an image may take")] = 600.0
        max_output: Annotated[int, Help("Bytes of output kept; of more, the end is kept")] = 262144

    settings: Settings

    def prepare(self) -> None:
        """Find the engine, and read what is allowed; raise Misconfigured if that cannot be."""
        self._allowed, self._house = _allowed(self.settings), _house(self.settings)
        self._engine = _find(self.settings)
        asking = Asking(
            self._engine,
            patience=self.settings.patience,
            pull_patience=self.settings.pull_patience,
        )
        looks = Looks(asking, self.settings.status_period)
        self.containers = Containers(asking, looks, self._house, self.runtime_id)

    async def check(self) -> list[str]:
        """Say what runs containers, what they may have, and what they are kept from."""
        self.prepare()
        await self._try_engine()
        own, house, allowed = self.settings, self._house, self._allowed
        networks = ", ".join(allowed.networks)
        lines = [
            f"engine: {' '.join(self._engine.command)}",
            f"images: {', '.join(allowed.images)}; fetched: {own.pull}",
            f"mounts: {', '.join(own.mount) or 'none'}",
            f"network: none{f', or of {networks}' if networks else ''}",
            f"limits: {allowed.cores} cores, {allowed.memory} MiB, {house.processes} processes",
        ]
        if self._engine.kind == "apptainer":
            return lines
        root = "writable" if house.is_writable else "read only"
        return [
            *lines,
            f"closed: {root}, user {house.user}, no capabilities, no new privileges",
        ]

    async def _try_engine(self) -> None:
        """Raise Misconfigured unless the engine answers."""
        engine = self._engine
        is_apptainer = engine.kind == "apptainer"
        argv = [*engine.command, "--version"] if is_apptainer else engine.names_of("none")
        asking = Asking(engine, patience=self.settings.patience, pull_patience=0)
        try:
            await asking.need(argv)
        except EngineFailed as error:
            raise Misconfigured(f"engine: {engine.kind} does not work here: {error}") from error

    async def open(self) -> None:
        """Get ready, and remove what an earlier start has left."""
        self.prepare()
        if self._engine.kind != "apptainer":
            await self.containers.sweep()
        logger.info("containers ready", engine=" ".join(self._engine.command))

    async def close(self) -> None:
        """Leave no container behind."""
        if self._engine.kind != "apptainer":
            await self.containers.close()

    async def execute(self, process: Process, job: Job) -> Outcome:
        """Run the container to its end; exit code 0 is success."""
        try:
            wanted = self._wanted(process)
        except Refused as refused:
            return failure(*(f"{Ending.REFUSED}: {reason}" for reason in refused.reasons))
        folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="colonies-container-"))
        try:
            if self._engine.kind == "apptainer":
                return await self._run_apptainer(wanted, job)
            return await self._run(wanted, job, folder)
        except EngineFailed as error:
            return failure(f"{Ending.NOT_STARTED}: {error}")
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    def _wanted(self, process: Process) -> Wanted:
        labels = {
            RUNTIME_LABEL: self.runtime_id,
            KEEPER_LABEL: this_keeper(),
            "colonies.process": process.process_id,
            "colonies.attempt": str(process.attempt),
        }
        name = f"colonies-{process.process_id}-{process.attempt}"
        wanted = self._allowed.wanted(process, name, labels)
        reasons = unspeakable(self._engine.kind, wanted)
        if reasons:
            raise Refused(reasons)
        return wanted

    async def _run(self, wanted: Wanted, job: Job, folder: Path) -> Outcome:
        await self.containers.tidy()
        try:
            await self.containers.make(wanted, folder, self.settings.pull)
            child = await self.containers.start(wanted.name, folder)
            return await self._follow(wanted, child, job, folder)
        finally:
            await asyncio.shield(self.containers.remove(wanted.name))

    async def _follow(self, wanted: Wanted, child: Child, job: Job, folder: Path) -> Outcome:
        said = _Said(child, job, self.settings.max_output)
        try:
            await self.containers.followed(wanted.name, child)
            await said.finish()
        except asyncio.CancelledError:
            await asyncio.shield(self.containers.stop(wanted.name, self.grace))
            raise
        finally:
            said.stop()
            await asyncio.shield(end_group(child.process, self.grace))
        try:
            look = await self.containers.end_of(wanted.name)
        except EngineFailed as error:
            return said.failure(f"{Ending.VANISHED}: {error}")
        # Some engines say it by a file where they were started, and by nothing else.
        is_over = look.state.oom_killed or (folder / "oom").exists()
        # Who follows it to its end is told how it ended, and gives that as an own exit code.
        is_whole = child.process.returncode == look.state.exit_code
        return _outcome(said, look, wanted, is_over=is_over, is_whole=is_whole)

    async def _run_apptainer(self, wanted: Wanted, job: Job) -> Outcome:
        if self.settings.pull == "never" and "://" in wanted.image:
            raise EngineFailed(f"image {wanted.image} is not here, and none is fetched")
        argv = apptainer_argv(self._engine.command, wanted, self._house)
        environment = engine_environment() | apptainer_environment(wanted)
        try:
            child = await start_child(argv, environment)
        except (OSError, ValueError) as error:
            raise EngineFailed(str(error)) from error
        said = _Said(child, job, self.settings.max_output)
        try:
            code = await child.process.wait()
            await said.finish()
        finally:
            said.stop()
            await asyncio.shield(end_group(child.process, self.grace))
        return said.success() if code == 0 else said.failure(ending(code))


class _Said:
    """What comes out of a container, told live and its end kept."""

    def __init__(self, child: Child, job: Job, limit: int) -> None:
        self._child = child
        self._output, self._complaint = Tail(limit), Tail(limit)
        self._telling = Telling(job)
        self._telling.start(child.stdout, "stdout", self._output)
        self._telling.start(child.stderr, "stderr", self._complaint)

    async def finish(self) -> None:
        """Hear what is left to be heard."""
        await self._telling.finish()

    def stop(self) -> None:
        """Listen no more."""
        self._telling.stop()
        self._child.close()

    def success(self) -> Outcome:
        """Give what was put out."""
        return Outcome(output=self._output.lines())

    def failure(self, reason: str) -> Outcome:
        """Give a reason, and after it all that was said."""
        return failure(reason, *self._complaint.lines(), *self._output.lines())


def _outcome(said: _Said, look: Look, wanted: Wanted, *, is_over: bool, is_whole: bool) -> Outcome:
    state = look.state
    if look.is_unstarted:
        return said.failure(f"{Ending.NOT_STARTED}: {state.error or 'the engine says no more'}")
    if not look.is_ended:
        return said.failure(f"{Ending.VANISHED}: the engine followed it no more ({state.status})")
    if state.exit_code == 0:
        if is_whole:
            return said.success()
        lost = "it succeeded, but the engine followed it no more: its output may be lost"
        return said.failure(f"{Ending.VANISHED}: {lost}")
    number = state.exit_code - 128
    # A program may exit with such a code as well: engines do not tell the one from the other.
    note = f" (signal {number})" if 0 < number < signal.NSIG else ""
    reason = f"exit code {state.exit_code}{note}"
    if is_over:
        return said.failure(f"{Ending.OUT_OF_MEMORY}: over {wanted.memory} MiB, {reason}")
    return said.failure(reason)


def _find(settings: Container.Settings) -> Engine:
    """Give the engine that is meant; raise Misconfigured when there is none."""
    kinds = ENGINES if settings.engine == "auto" else [settings.engine]
    for kind in kinds:
        if path := shutil.which(kind):
            return Engine(kind, (path, *settings.engine_option))
    raise Misconfigured(f"no {' or '.join(kinds)} found on PATH")


def _allowed(settings: Container.Settings) -> Allowed:
    if not settings.image:
        raise Misconfigured("which images? Give --image, as often as needed")
    return Allowed(
        images=settings.image,
        mounts=allowed_mounts(settings.mount),
        networks=settings.network,
        cores=settings.max_cores if settings.max_cores > 0 else count_cores(),
        memory=settings.max_memory if settings.max_memory > 0 else count_memory(),
    )


def _house(settings: Container.Settings) -> House:
    return House(
        user=settings.user,
        is_writable=settings.writable,
        tmp_size=settings.tmp_size,
        processes=settings.max_processes,
        options=settings.container_option,
    )
