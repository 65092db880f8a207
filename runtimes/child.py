"""Child processes that can always be stopped, and that see no more than they need."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from colonies.core.process import Process

ALWAYS_SEEN = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "SHELL")


def child_environment(process: Process, allowed: Iterable[str] = ()) -> dict[str, str]:
    """Give what a child may see: an allow-list of ours, the process's own, never a key.

    Raises ValueError for a variable of the process that no environment can hold.
    """
    for name in process.spec.env:
        if not name or "=" in name:
            raise ValueError(f"env: {name!r} cannot name a variable")
    return {
        **inherited_environment(allowed),
        **process.spec.env,
        "COLONIES_COLONYID": process.colony_id,
        "COLONIES_PROCESSID": process.process_id,
        "COLONIES_RUNTIMEID": process.assigned_runtime_id,
    }


def inherited_environment(allowed: Iterable[str] = ()) -> dict[str, str]:
    """Give what a child may see of our environment, whatever it is for; never a key."""
    names = {*ALWAYS_SEEN, *allowed, *(name for name in os.environ if name.startswith("LC_"))}
    return {name: os.environ[name] for name in names if name in os.environ and not _is_secret(name)}


def _is_secret(name: str) -> bool:
    return name.startswith("COLONIES_") and name.endswith("PRVKEY")


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
        stdout, pipe_stdout, write_stdout = await _pipe(ends)
        stderr, pipe_stderr, write_stderr = await _pipe(ends)
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


async def _pipe(ends: ExitStack) -> tuple[asyncio.StreamReader, asyncio.ReadTransport, int]:
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


class Tail:
    """The last of what comes out of a pipe."""

    def __init__(self, limit: int) -> None:
        """Keep the last ``limit`` bytes."""
        self._limit = limit
        self._tail = bytearray()
        self._total = 0

    async def read(self, stream: asyncio.StreamReader) -> None:
        """Read a pipe to its end; what was read is kept if this is cancelled."""
        while chunk := await stream.read(65536):
            self._tail += chunk
            self._total += len(chunk)
            if len(self._tail) > 2 * self._limit:
                del self._tail[: -self._limit]

    def lines(self) -> list[str]:
        """Give what is kept, by line, as text that can be stored."""
        text = bytes(self._tail[-self._limit :]).decode(errors="replace").replace("\0", "")
        left_out = self._total - self._limit
        note = [f"[{left_out} bytes left out]"] if left_out > 0 else []
        return [*note, *text.splitlines()]
