"""Run a process as a command: func is the program, args are its arguments."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import structlog

from colonies.core.errors import Misconfigured
from colonies.core.process import Process
from runtimes.base import Amount, Count, Help, Job, Outcome, Runtime, failure
from runtimes.child import (
    Child,
    Tail,
    Telling,
    argv_of,
    child_environment,
    end_group,
    ending,
    not_started,
    start_child,
)
from runtimes.shell.place import Place
from runtimes.shell.sandbox import Confined, Limits, Sandbox

logger = structlog.get_logger()

LIMITS = (
    *("max_memory", "max_cores", "max_cpu_seconds"),
    *("max_processes", "max_open_files", "max_file_size"),
)
"""The settings that say how much of something a command may have; 0 is no limit."""


class Shell(Runtime):
    """Runs commands. Standard output, by line, is the output."""

    runtime_type = "shell"

    class Settings(Runtime.Settings, frozen=True):
        """What the owner allows."""

        allow_shell: Annotated[
            bool, Help("Hand func and args to /bin/sh as one line, with all that it can do")
        ] = False
        pass_env: Annotated[
            list[str], Help("Variable of this environment that commands may see; repeatable")
        ] = []
        cwd: Annotated[str, Help("Folder that commands run in (default: this one)")] = ""
        sandbox: Annotated[
            Literal["auto", "require", "off"],
            Help("Confine commands: by what works here, by all there is, or not at all"),
        ] = "auto"
        write: Annotated[
            list[str], Help("Folder that commands in a sandbox may write to; repeatable")
        ] = []
        offline: Annotated[bool, Help("Let commands in a sandbox have no network")] = False
        max_memory: Annotated[Count, Help("MiB of memory of a command (default: no limit)")] = 0
        max_cores: Annotated[Amount, Help("Cores of a command, where they are counted")] = 0
        max_cpu_seconds: Annotated[Count, Help("Seconds of processor time of a command")] = 0
        max_processes: Annotated[Count, Help("Processes at once, of a command or of the user")] = 0
        max_open_files: Annotated[Count, Help("Files that a process may have open")] = 0
        max_file_size: Annotated[Count, Help("MiB of a file that is written")] = 0
        max_output: Annotated[Count, Help("Bytes of output kept; of more, the end is kept")] = (
            262144
        )

    settings: Settings

    sandbox: Sandbox | None = None
    """What confines commands, if anything does; known once it is open."""

    async def check(self) -> list[str]:
        """Say which protections work here."""
        sandbox = await self._prepare()
        if sandbox is None:
            return ["sandbox: turned off"]
        set_here = msgspec.structs.asdict(self.settings).items()
        limits = [f"{name} {most:g}" for name, most in set_here if name in LIMITS and most > 0]
        network = "none" if self.settings.offline else "that of the machine"
        return [
            f"sandbox: {', '.join(sandbox.active)}",
            *(f"missing: {name}: {why}" for name, why in sandbox.missing.items()),
            f"limits: {', '.join(limits) or 'none'}",
            f"network: {network}",
        ]

    async def open(self) -> None:
        """Find out what protects here, and say so."""
        self.sandbox = await self._prepare()
        if self.sandbox is None:
            logger.warning("sandbox turned off")
            return
        for name, why in self.sandbox.missing.items():
            logger.warning("protection missing", protection=name, error=why)
        logger.info("sandbox ready", active=self.sandbox.active)

    async def _prepare(self) -> Sandbox | None:
        """Find out what works here; raise Misconfigured where that is not enough."""
        own = self.settings
        await asyncio.to_thread(self._place.check)
        if own.sandbox == "off":
            if own.offline:
                raise Misconfigured("offline: needs the sandbox, which is turned off")
            return None
        sandbox = await asyncio.to_thread(self._find_sandbox)
        sandbox.insist(own.sandbox)
        return sandbox

    def _find_sandbox(self) -> Sandbox:
        own = self.settings
        limits = Limits(
            cpu_seconds=own.max_cpu_seconds,
            memory=own.max_memory,
            cores=own.max_cores,
            processes=own.max_processes,
            open_files=own.max_open_files,
            file_size=own.max_file_size,
        )
        return Sandbox(limits, self._place)

    @property
    def _place(self) -> Place:
        own = self.settings
        has_network = not own.offline
        return Place(own.cwd, tuple(own.write), has_network=has_network, hidden=self.private)

    async def execute(self, process: Process, job: Job) -> Outcome:
        """Run the command; exit code 0 is success."""
        argv = self._argv(process)
        if not argv[0]:
            return failure("func: expected a program")
        try:
            environment = child_environment(process, self.settings.pass_env) | self.mark
            if self.sandbox is None:
                return await self._run(Confined(argv, environment), job)
            self._need(argv[0], environment)
            async with self.sandbox.confine(argv, environment) as confined:
                return await self._run(confined, job)
        except (OSError, ValueError) as error:
            return not_started(argv[0], error)

    async def _run(self, confined: Confined, job: Job) -> Outcome:
        child = await start_child(confined.argv, confined.env, cwd=self.settings.cwd or None)
        telling = Telling(job)
        try:
            return await self._follow(child, telling, confined)
        finally:
            # Heard until it has ended: who can write no more dies of that, instead of ending well.
            try:
                await asyncio.shield(end_group(child.process, self.grace))
            finally:
                telling.stop()
                child.close()

    def _need(self, program: str, environment: dict[str, str]) -> None:
        """Raise OSError unless there is such a program."""
        place = str(Path(self.settings.cwd, program)) if "/" in program else program
        if not shutil.which(place, path=environment.get("PATH")):
            raise FileNotFoundError(f"no such program: {program[:200]!r}")

    def _argv(self, process: Process) -> list[str]:
        words = argv_of(process)
        return ["/bin/sh", "-c", " ".join(words)] if self.settings.allow_shell else words

    async def _follow(self, child: Child, telling: Telling, confined: Confined) -> Outcome:
        output, complaint = (Tail(self.settings.max_output) for _ in range(2))
        telling.start(child.stdout, "stdout", output)
        telling.start(child.stderr, "stderr", complaint)
        code = await child.process.wait()
        # Who took the pipes along into a group of its own is not waited for.
        await telling.finish()
        if code != 0:
            how = f"out of memory: {ending(code)}" if confined.is_out_of_memory else ending(code)
            return failure(how, *complaint.lines(), *output.lines())
        return Outcome(output=output.lines())
