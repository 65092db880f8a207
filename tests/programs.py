"""Real programs in tests: started with an environment of their own, read line by line."""

import asyncio
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[1]
PATIENCE = 60.0
"""Seconds that anything may take: a machine with much to do is no reason to fail."""


class NotHere(Exception):
    """Some real system that is not installed, or does not work on this machine; says why."""


class Program:
    """A child process whose output is awaited, never slept for; ended with its block."""

    def __init__(self, *argv: str | Path, env: dict[str, str] | None = None) -> None:
        self._argv = [str(word) for word in argv]
        inherited = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._env = {**inherited, "PYTHONUNBUFFERED": "1", **(env or {})}
        self.lines: list[str] = []

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            *self._argv,
            cwd=ROOT,
            env=self._env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=4 * 1024 * 1024,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        # Lets the transport of the pipe close before the loop does.
        await self.process.stdout.read()

    async def line_with(self, *texts: str) -> str:
        """Read until a line holds all of these texts."""
        async with asyncio.timeout(PATIENCE):
            while raw := await self.process.stdout.readline():
                line = raw.decode().rstrip("\n")
                self.lines.append(line)
                if all(text in line for text in texts):
                    return line
        raise AssertionError(f"no line with {texts} in:\n" + "\n".join(self.lines))

    async def finish(self) -> int:
        """Read to the end and give the exit code."""
        async with asyncio.timeout(PATIENCE):
            rest = await self.process.stdout.read()
            self.lines += rest.decode().splitlines()
            return await self.process.wait()

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


def python(*argv: str | Path, env: dict[str, str] | None = None) -> Program:
    """Give a Python script as a program."""
    return Program(sys.executable, *argv, env=env)


def processes_in(folder: Path) -> list[int]:
    """Give the processes that work in a folder, or below it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            cwd = (process / "cwd").readlink()
        except OSError:
            continue
        if cwd.is_relative_to(folder):
            found.append(int(process.name))
    return found


@contextmanager
def data_folder(parent: Path) -> Iterator[Path]:
    """Give a folder for the data of a hub, of whose run nothing may be left."""
    yield parent / "data"
    assert processes_in(parent) == []
    assert list(parent.rglob("postmaster.pid")) == []
    assert list(parent.rglob("postgres.socket")) == []


def environment(server, colony_id: str, key=None) -> dict[str, str]:
    """Give the settings that reach a hub in this process, as one identity."""
    settings = {
        "COLONIES_SERVERHOST": "127.0.0.1",
        "COLONIES_SERVERPORT": str(server.port),
        "COLONIES_COLONYID": colony_id,
        # Commands of tests reach into their temporary folders; the sandbox has tests of its own.
        "COLONIES_SHELL_SANDBOX": "off",
    }
    if key is not None:
        settings |= {"COLONIES_RUNTIMEID": key.id, "COLONIES_RUNTIMEPRVKEY": key.hex}
    return settings
