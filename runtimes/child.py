"""Child processes that can always be stopped, and that see no more than they need."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from colonies.core.process import Process, decode_argument
from colonies.settings import SETTINGS
from runtimes.base import Job, Outcome, failure, not_here

PIPE_PATIENCE = 1.0
"""Seconds that whoever else holds the pipes of a child that has ended may go on writing."""

LEFT_IN_PIPE = 2 * 1024 * 1024
"""Bytes that an ended child can have left in a pipe, with what we have read ahead."""

ALWAYS_SEEN = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SHELL")

_SECRETS = {setting.env for setting in SETTINGS.values() if setting.secret}


def child_environment(process: Process, allowed: Iterable[str] = ()) -> dict[str, str]:
    """Give what a child may see: an allow-list of ours, the process's own, never a key.

    Raises ValueError for a variable of the process that no environment can hold.
    """
    return inherited_environment(allowed) | process_environment(process)


def process_environment(process: Process) -> dict[str, str]:
    """Give the environment that a process brings along, and its ids; raise ValueError as above."""
    for name in process.spec.env:
        if not name or "=" in name:
            raise ValueError(f"env: {name!r} cannot name a variable")
    return {
        **process.spec.env,
        "COLONIES_COLONYID": process.colony_id,
        "COLONIES_PROCESSID": process.process_id,
        "COLONIES_RUNTIMEID": process.assigned_runtime_id,
    }


def argv_of(process: Process) -> list[str]:
    """Give a process as a command: func and its arguments, a quoted string as that string."""
    return [process.spec.func, *(_word(text) for text in process.spec.args)]


def _word(text: str) -> str:
    value = decode_argument(text)
    return value if isinstance(value, str) else text


def ending(code: int) -> str:
    """Say how a command ended that did not succeed; below 0 is a signal."""
    return f"exit code {code}" if code > 0 else f"killed by signal {-code}"


SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOSPC)
"""What a machine says that has no more files, processes, memory or space."""


def not_started(what: str, error: Exception) -> Outcome:
    """Say that something could not be started: a failure, unless the machine is to blame."""
    text = f"cannot start {what[:200]!r}: {str(error)[:1000]}"
    is_short = isinstance(error, OSError) and error.errno in SHORTAGES
    return not_here(text) if is_short else failure(text)


def inherited_environment(allowed: Iterable[str] = ()) -> dict[str, str]:
    """Give what a child may see of our environment, whatever it is for; never a key."""
    names = {*ALWAYS_SEEN, *allowed, *(name for name in os.environ if name.startswith("LC_"))}
    return {name: os.environ[name] for name in names if name in os.environ and not _is_secret(name)}


def _is_secret(name: str) -> bool:
    return name in _SECRETS or (name.startswith("COLONIES_") and name.endswith("PRVKEY"))


@dataclass(frozen=True)
class Child:
    """A running program and the reading ends of its output."""

    process: asyncio.subprocess.Process
    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader
    pipes: tuple[asyncio.ReadTransport, ...]

    def close(self) -> None:
        """Close the reading ends, which somebody may still be holding open for writing."""
        for pipe in self.pipes:
            pipe.close()


async def start_child(argv: list[str], env: Mapping[str, str], *, cwd: str | None = None) -> Child:
    """Start a program at the head of a process group of its own, its output in pipes.

    The pipes are ours and not asyncio's, whose ``wait`` would go on until every descendant that
    holds them is gone as well. Raises OSError or ValueError when it cannot be started.
    """
    with ExitStack() as ends:
        stdout, pipe_stdout, write_stdout = await open_pipe(ends)
        stderr, pipe_stderr, write_stderr = await open_pipe(ends)
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=env,
            cwd=cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=write_stdout,
            stderr=write_stderr,
            start_new_session=True,
        )
    return Child(process, stdout, stderr, (pipe_stdout, pipe_stderr))


async def open_pipe(ends: ExitStack) -> tuple[asyncio.StreamReader, asyncio.ReadTransport, int]:
    """Give a reader, its pipe, and the end to write to, which is closed with ``ends``."""
    reading, writing = os.pipe()
    ends.callback(os.close, writing)
    reader = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb")
    )
    return reader, pipe, writing


async def end_group(child: asyncio.subprocess.Process, grace: float) -> None:
    """End a child and all that it started: SIGTERM, then SIGKILL after ``grace`` seconds."""
    _signal_group(child, signal.SIGTERM)
    with suppress(TimeoutError):
        async with asyncio.timeout(grace):
            await child.wait()
    kill_group(child)
    await child.wait()


def kill_group(child: asyncio.subprocess.Process) -> None:
    """Kill what is left of a child's process group."""
    _signal_group(child, signal.SIGKILL)


def _signal_group(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    # The group has the child's number even after the child itself is gone.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, number)


class Telling:
    """What comes out of pipes, into the log of a job; no faster than that takes it."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._tasks: list[asyncio.Task[None]] = []
        self._heard = 0
        self._busy = 0

    def start(self, pipe: asyncio.StreamReader, stream: str, tail: Tail | None = None) -> None:
        """Read a pipe to its end, into a tail as well if there is one."""
        self._tasks.append(asyncio.create_task(self._tell(pipe, stream, tail)))

    async def _tell(self, pipe: asyncio.StreamReader, stream: str, tail: Tail | None) -> None:
        while data := await pipe.read(65536):
            self._heard += len(data)
            self._busy += 1
            if tail:
                tail.add(data)
            await self._job.log(data, stream)
            self._busy -= 1

    async def finish(self) -> None:
        """Wait until the pipes end, or all is heard that an ended child can have left in them."""
        before = self._heard
        while True:
            _, left = await asyncio.wait(self._tasks, timeout=PIPE_PATIENCE)
            # Who waits for a pipe has emptied it; who is held up by the log may not have.
            if not (left and self._busy) or self._heard - before > LEFT_IN_PIPE:
                break
        for task in self._tasks:
            if task.done():
                task.result()

    def stop(self) -> None:
        """Read nothing more."""
        for task in self._tasks:
            task.cancel()


class Tail:
    """The last of what is said."""

    def __init__(self, limit: int) -> None:
        """Keep the last ``limit`` bytes."""
        self._limit = limit
        self._tail = bytearray()
        self._total = 0

    def add(self, data: bytes) -> None:
        """Take what comes next."""
        self._tail += data
        self._total += len(data)
        if len(self._tail) > 2 * self._limit:
            del self._tail[: -self._limit]

    def skip(self, count: int) -> None:
        """Count bytes that came before and were not read."""
        self._total += count

    def lines(self) -> list[str]:
        """Give what is kept, by line, as text that can be stored."""
        text = bytes(self._tail[-self._limit :]).decode(errors="replace").replace("\0", "")
        left_out = self._total - self._limit
        note = [f"[{left_out} bytes left out]"] if left_out > 0 else []
        return [*note, *text.splitlines()]
