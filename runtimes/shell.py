"""Run a process as a command: func is the program, args are its arguments."""

from __future__ import annotations

import asyncio
from typing import Annotated

import structlog

from colonies.core.process import Process
from runtimes.base import Help, Job, Outcome, Runtime, failure
from runtimes.child import (
    Child,
    Tail,
    Telling,
    argv_of,
    child_environment,
    end_group,
    ending,
    kill_leftovers,
    start_child,
)

logger = structlog.get_logger()


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
        max_output: Annotated[int, Help("Bytes of output kept; of more, the end is kept")] = 262144

    settings: Settings

    async def open(self) -> None:
        """End what was left running if an earlier life of this runtime was killed."""
        if self.runtime_id and (count := await asyncio.to_thread(kill_leftovers, self.runtime_id)):
            logger.warning("leftovers killed", count=count)

    async def execute(self, process: Process, job: Job) -> Outcome:
        """Run the command; exit code 0 is success."""
        argv = self._argv(process)
        if not argv[0]:
            return failure("func: expected a program")
        try:
            environment = child_environment(process, self.settings.pass_env)
            child = await start_child(argv, environment, cwd=self.settings.cwd or None)
        except (OSError, ValueError) as error:
            return failure(f"cannot start {argv[0][:200]!r}: {str(error)[:1000]}")
        try:
            return await self._follow(child, job)
        finally:
            await asyncio.shield(end_group(child.process, self.grace))

    def _argv(self, process: Process) -> list[str]:
        words = argv_of(process)
        return ["/bin/sh", "-c", " ".join(words)] if self.settings.allow_shell else words

    async def _follow(self, child: Child, job: Job) -> Outcome:
        output, complaint = (Tail(self.settings.max_output) for _ in range(2))
        telling = Telling(job)
        telling.start(child.stdout, "stdout", output)
        telling.start(child.stderr, "stderr", complaint)
        try:
            code = await child.process.wait()
            # Who took the pipes along into a group of its own is not waited for.
            await telling.finish()
        finally:
            telling.stop()
            child.close()
        if code != 0:
            return failure(ending(code), *complaint.lines(), *output.lines())
        return Outcome(output=output.lines())
