"""The command line as people run it: a process of its own, with an environment and a keychain."""

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from colonies.client import Keychain

ROOT = Path(__file__).parents[2]
CLI = (sys.executable, "-m", "colonies.cli")
PATIENCE = 60.0


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it said."""

    status: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """The one JSON document of ``--json``."""
        return json.loads(self.out)

    @property
    def rows(self) -> list[list[str]]:
        """The lines of a table or view, as words."""
        return [line.split() for line in self.out.splitlines()]


@dataclass(frozen=True)
class Shell:
    """Runs ``colonies`` with these variables."""

    env: dict[str, str] = field(default_factory=dict)

    def having(self, **variables: str | None) -> "Shell":
        """Give a shell with some variables changed, or unset by None."""
        merged = {**self.env, **variables}
        return replace(self, env={name: text for name, text in merged.items() if text is not None})

    async def __call__(self, *words: str, stdin: bytes = b"", status: int = 0) -> Ran:
        """Run a command to its end; it has to end with this exit code, never with a traceback."""
        async with self.started(*words) as process, asyncio.timeout(PATIENCE):
            out, err = await process.communicate(stdin)
        ran = Ran(process.returncode, out.decode(), err.decode())
        assert "Traceback" not in ran.err, ran.err
        assert status == ran.status, ran
        return ran

    async def refuses(self, *words: str, status: int, stdin: bytes = b"") -> str:
        """Run a command that ends with one line on stderr, nothing on stdout; give that line."""
        ran = await self(*words, status=status, stdin=stdin)
        assert ran.out == ""
        assert ran.err.startswith("error: "), ran.err
        assert ran.err.count("\n") == 1, ran.err
        return ran.err.removeprefix("error: ").rstrip()

    async def refuses_hub(self, *words: str) -> str:
        """Run a command whose hub does not start; give the one line after its log."""
        ran = await self(*words, status=2)
        *log, line = ran.err.splitlines()
        assert all(one.startswith("{") for one in log), ran.err
        assert (ran.out, line.startswith("error: ")) == ("", True), ran
        return line

    @asynccontextmanager
    async def started(
        self, *words: str, argv: tuple[str, ...] = CLI
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Start a command, and end it with the block whatever happens."""
        pipe = asyncio.subprocess.PIPE
        inherited = {name: os.environ[name] for name in ("PATH", "HOME")}
        env = {**inherited, "PYTHONPATH": str(ROOT), **self.env}
        process = await asyncio.create_subprocess_exec(
            *argv, *words, env=env, stdin=pipe, stdout=pipe, stderr=pipe
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()


class Terminal:
    """A terminal of its own, and the command that runs in it."""

    def __init__(self, process: asyncio.subprocess.Process, side: asyncio.StreamReader) -> None:
        self._process = process
        self._side = side
        self._seen = ""

    @property
    def status(self) -> int | None:
        return self._process.returncode

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def until(self, text: str) -> None:
        """Read until this text was drawn; whatever was drawn before counts no more."""
        async with asyncio.timeout(PATIENCE):
            while text not in self._seen:
                assert await self._read(), f"no {text!r} in {self._seen!r}"
        self._seen = self._seen.partition(text)[2]

    async def rest(self, *, raw: bool = False) -> str:
        """Read to the end; what steers the terminal is left out, unless ``raw``."""
        async with asyncio.timeout(PATIENCE):
            while await self._read():
                pass
            await self._process.wait()
        assert "Traceback" not in self._seen, self._seen
        return self._seen if raw else re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self._seen)

    async def _read(self) -> bool:
        try:
            came = await self._side.read(65536)
        except OSError:  # Linux says so when the other side is closed
            came = b""
        self._seen += came.decode(errors="replace").replace("\r\n", "\n")
        return bool(came)


@asynccontextmanager
async def at_terminal(shell: Shell, *words: str, columns: int = 80) -> AsyncIterator[Terminal]:
    """Run a command at a terminal so wide, and end it with the block whatever happens."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    inherited = {name: os.environ[name] for name in ("PATH", "HOME")}
    env = {**inherited, "TERM": "xterm-256color", "PYTHONPATH": str(ROOT), **shell.env}
    process = await asyncio.create_subprocess_exec(
        *CLI, *words, env=env, stdin=theirs, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    loop, side = asyncio.get_running_loop(), asyncio.StreamReader()
    with os.fdopen(ours, "rb", buffering=0) as file:
        transport, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(side), file
        )
        try:
            yield Terminal(process, side)
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()
            transport.close()


@pytest.fixture
def bare(settings) -> Shell:
    """A shell that knows its keychain and nothing else."""
    return Shell({"COLONIES_KEYCHAIN": settings.keychain})


@pytest.fixture
def keychain(settings) -> Keychain:
    return Keychain.of(settings)


@pytest.fixture
async def shell(server, colony, people, keychain, bare) -> Shell:
    """A shell of somebody who owns the hub and our colony, and is its approved runtime."""
    for key in (people.server_owner, people.colony_owner, people.runtime):
        keychain.add(key)
    return bare.having(
        COLONIES_SERVERHOST="127.0.0.1",
        COLONIES_SERVERPORT=str(server.port),
        COLONIES_SERVERID=people.server_owner.id,
        COLONIES_COLONYID=colony,
        COLONIES_RUNTIMEID=people.runtime.id,
    )


@pytest.fixture
async def silent() -> AsyncIterator[tuple[int, asyncio.Event]]:
    """A port where nobody ever answers, and the event of somebody coming there."""
    came = asyncio.Event()

    async def listen(reader, writer):
        came.set()
        await reader.read()
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as listener:
        yield listener.sockets[0].getsockname()[1], came


async def stop(process: asyncio.subprocess.Process, number=signal.SIGTERM) -> Ran:
    """Send a signal and give how the process ended."""
    process.send_signal(number)
    async with asyncio.timeout(PATIENCE):
        out, err = await process.communicate()
    return Ran(process.returncode, out.decode(), err.decode())
