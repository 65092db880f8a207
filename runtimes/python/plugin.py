"""Run a process as a call of a Python function, in a child process that is kept for the next."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import msgspec
import structlog

from colonies.core.errors import Misconfigured
from colonies.core.function import Function
from colonies.core.process import Process
from runtimes.base import Help, Job, Outcome, Runtime, failure
from runtimes.child import (
    Telling,
    child_environment,
    end_group,
    inherited_environment,
    not_started,
    open_pipe,
)

logger = structlog.get_logger()

IMPORT_PATIENCE = 30.0
"""Seconds that the modules whose functions are announced have to be imported."""


class Python(Runtime):
    """Calls functions: func is ``module:function``, what it returns is the output."""

    runtime_type = "python"

    class Settings(Runtime.Settings, frozen=True):
        """What the owner allows."""

        allow: Annotated[
            list[str],
            Help(
                "Module whose functions may be called, with those inside it; "
                "its public ones are announced; repeatable"
            ),
        ] = []
        path: Annotated[
            list[str], Help("Folder to import from, before all others; repeatable")
        ] = []
        pass_env: Annotated[
            list[str], Help("Variable of this environment that functions may see; repeatable")
        ] = []

    settings: Settings

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._idle: list[_Interpreter] = []
        self._busy: dict[tuple[str, str], _Interpreter] = {}

    async def check(self) -> list[str]:
        """Say which modules may be called, and from where."""
        await self.open()
        return [
            f"modules: {', '.join(self.settings.allow) or 'any'}",
            f"path: {', '.join(self._path())}",
            "sandbox: none",
        ]

    async def open(self) -> None:
        """Look whether there are the folders to import from."""
        for folder in self._path():
            if not await asyncio.to_thread(Path(folder).is_dir):
                raise Misconfigured(f"path: there is no folder {folder!r}")

    async def close(self) -> None:
        """End the interpreters that are kept."""
        while self._idle:
            await self._idle.pop().end(self.grace)

    async def functions(self) -> list[Function]:
        """Say what the modules offer that may be called; where any may, nothing is said."""
        if not self.settings.allow:
            return []
        interpreter = await self._start()
        is_fit = False
        try:
            async with asyncio.timeout(IMPORT_PATIENCE):
                functions = await interpreter.describe(self.settings.allow, self._environment())
            is_fit = interpreter.is_fit
        except TimeoutError:
            logger.warning("functions not announced", error="the modules take too long to import")
            return []
        finally:
            if is_fit:
                self._idle.append(interpreter)
            else:
                await asyncio.shield(interpreter.end(self.grace))
        return functions

    async def cancel(self, process: Process) -> bool:
        """Interrupt the function: it sees KeyboardInterrupt, or CancelledError if it is async."""
        interpreter = self._busy.get(_attempt(process))
        if interpreter:
            interpreter.interrupt()
        return interpreter is not None

    async def execute(self, process: Process, job: Job) -> Outcome:
        """Call the function; an exception is a failure with its text."""
        module = process.spec.func.partition(":")[0]
        if not self._allows(module):
            return failure(f"func: module {module!r} is not allowed here")
        try:
            environment = child_environment(process, self.settings.pass_env) | self.mark
        except ValueError as error:
            return failure(str(error))
        try:
            interpreter = self._idle.pop() if self._idle else await self._start()
        except OSError as error:
            return not_started("an interpreter", error)
        self._busy[_attempt(process)] = interpreter
        is_fit = False
        try:
            outcome = await interpreter.call(process, environment, job)
            is_fit = interpreter.is_fit
        finally:
            del self._busy[_attempt(process)]
            if is_fit:
                self._idle.append(interpreter)
            else:  # whatever state it is in now, nobody shall inherit it
                await asyncio.shield(interpreter.end(self.grace))
        return outcome

    async def _start(self) -> _Interpreter:
        # To find modules by, as we do; a function does not see it unless it is passed.
        found_by = inherited_environment(["PYTHONPATH"])
        return await _Interpreter.start(self._path(), found_by | self._environment())

    def _environment(self) -> dict[str, str]:
        """Give what functions may see whatever they are called for."""
        return inherited_environment(self.settings.pass_env) | self.mark

    def _allows(self, module: str) -> bool:
        allowed = self.settings.allow
        return not allowed or any(f"{module}.".startswith(f"{name}.") for name in allowed)

    def _path(self) -> list[str]:
        return [str(Path(folder).expanduser().absolute()) for folder in self.settings.path or ["."]]


class _Interpreter:
    """A child that answers one JSON line with another; what a call prints goes to its log."""

    def __init__(self, child: asyncio.subprocess.Process, parcels: socket.socket) -> None:
        self._child = child
        self._parcels = parcels
        self._is_interrupted = False

    @classmethod
    async def start(cls, path: list[str], environment: dict[str, str]) -> _Interpreter:
        # The child's first act is to make room for a function's own prints; see `child.py`.
        parcels, theirs = socket.socketpair()
        with ExitStack() as unless_started, theirs:
            unless_started.callback(parcels.close)
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "runtimes.python.child",
                str(theirs.fileno()),
                *path,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                limit=64 * 1024 * 1024,
            )
            unless_started.pop_all()
        return cls(child, parcels)

    @property
    def is_fit(self) -> bool:
        """Whether it can take another call."""
        return self._child.returncode is None and not self._is_interrupted

    def interrupt(self) -> None:
        if self._is_interrupted:
            return  # a second time would hit the function's own clean-up
        self._is_interrupted = True
        with suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGINT)

    async def call(self, process: Process, environment: dict[str, str], job: Job) -> Outcome:
        spec = process.spec
        request = {
            "func": spec.func,
            "args": spec.args,
            "kwargs": spec.kwargs,
            "in": process.input,
            "in_by_parent": process.input_by_parent,
            "env": environment,
        }
        async with AsyncExitStack() as stack:
            try:
                telling = await stack.enter_async_context(self._telling(job))
            except OSError as error:  # nothing was asked yet
                return not_started("a call", error)
            reply = await self._ask(request, job)
            await telling.finish()
        if isinstance(reply, int):
            if self._is_interrupted:
                raise asyncio.CancelledError  # it ended as it was asked to
            return failure(f"the interpreter ended with code {reply}")
        return Outcome(
            output=reply["output"], errors=reply["errors"], is_success=not reply["errors"]
        )

    async def describe(self, modules: list[str], environment: dict[str, str]) -> list[Function]:
        reply = await self._ask({"modules": modules, "env": environment})
        if isinstance(reply, int):
            reply = {"functions": [], "errors": [f"the interpreter ended with code {reply}"]}
        for error in reply["errors"]:
            logger.warning("functions not announced", error=error)
        return msgspec.convert(reply["functions"], list[Function])

    @asynccontextmanager
    async def _telling(self, job: Job) -> AsyncIterator[Telling]:
        """Give the child pipes for what a call prints, and have that told."""
        telling = Telling(job)
        with ExitStack() as stack:
            with ExitStack() as ends:
                writing = []
                for name in ("stdout", "stderr"):
                    reader, pipe, end = await open_pipe(ends)
                    stack.callback(pipe.close)
                    writing.append(end)
                    telling.start(reader, name)
                stack.callback(telling.stop)
                with suppress(OSError):  # it has gone: its answer will say so
                    socket.send_fds(self._parcels, [b"!"], writing)
            yield telling

    async def _ask(self, request: dict[str, Any], job: Job | None = None) -> dict[str, Any] | int:
        """Give the answer, or the exit code if it ends without one; tell of progress before."""
        stdin, stdout = self._child.stdin, self._child.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("the interpreter has no pipes")
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            await stdin.drain()
            while answer := await stdout.readline():
                reply: dict[str, Any] = json.loads(answer)
                if "done" not in reply:
                    return reply
                if job:
                    await job.progress(**reply)
        except ConnectionError:
            pass
        return await self._child.wait()

    async def end(self, grace: float) -> None:
        self._parcels.close()
        await end_group(self._child, grace)


def _attempt(process: Process) -> tuple[str, str]:
    """Tell an attempt from another one of the same process, which may overlap."""
    return process.process_id, process.attempt_token
