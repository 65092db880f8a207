"""A control group for each command, where version 2 of them is delegated to this process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from runtimes.machine import own_groups

CONTROLLERS = ("memory", "cpu", "pids")

_PERIOD = 100_000
"""Microseconds over which shares of cores are counted."""

_MOST_TRIES = 100


class NotDelegated(Exception):
    """There are no control groups here that we may make; the text says why."""


class Cgroups:
    """The control groups below our own."""

    def __init__(self, base: Path) -> None:
        """Have groups made below a folder; raises NotDelegated when that cannot be."""
        self._base = base
        try:
            self.controllers = self._enable()
            self._probe()
        except OSError as error:
            raise NotDelegated(f"{error.strerror}: {error.filename}") from error

    def _enable(self) -> frozenset[str]:
        """Have the groups below count and limit; that needs ours to be without processes."""
        there = set((self._base / "cgroup.controllers").read_text().split()) & set(CONTROLLERS)
        control = self._base / "cgroup.subtree_control"
        missing = there - set(control.read_text().split())
        if missing:
            self._step_down()
            control.write_text(" ".join(f"+{name}" for name in sorted(missing)))
        return frozenset(there)

    def _step_down(self) -> None:
        inside = (self._base / "cgroup.procs").read_text().split()
        if set(inside) - {str(os.getpid())}:
            raise NotDelegated(f"other processes are in {self._base}")
        own = self._base / "colonies-run"
        own.mkdir(exist_ok=True)
        (own / "cgroup.procs").write_text(str(os.getpid()))

    def _probe(self) -> None:
        probe = self._base / f"colonies-probe-{os.getpid()}"
        probe.mkdir()
        probe.rmdir()

    def make(self, name: str, limits: Mapping[str, str]) -> Cgroup:
        """Make a group; limits are by file, such as ``memory.max``. Raises OSError."""
        folder = self._base / name
        folder.mkdir()
        group = Cgroup(folder)
        try:
            for file, value in limits.items():
                (folder / file).write_text(value)
        except OSError:
            folder.rmdir()
            raise
        return group


class Cgroup:
    """One group, and all that is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def is_out_of_memory(self) -> bool:
        """Whether something in it was killed for want of memory."""
        with suppress(FileNotFoundError):
            events = (self.folder / "memory.events").read_text().split()
            return int(dict(zip(events[::2], events[1::2], strict=True)).get("oom_kill", 0)) > 0
        return False

    async def end(self) -> None:
        """Kill whatever is in it, wherever it has gone, and remove it."""
        with suppress(OSError):
            (self.folder / "cgroup.kill").write_text("1")
        for _ in range(_MOST_TRIES):
            try:
                self.folder.rmdir()
            except FileNotFoundError:
                return
            except OSError:  # the dead are not yet gone
                await asyncio.sleep(0.01)
            else:
                return


def limits_of(memory: int, cores: float, processes: int) -> dict[str, str]:
    """Give the files of a group for limits, of which 0 is none; memory is in MiB."""
    limits: dict[str, str] = {}
    if memory > 0:
        limits |= {"memory.max": str(memory * 2**20), "memory.swap.max": "0"}
        limits["memory.oom.group"] = "1"
    if cores > 0:
        limits["cpu.max"] = f"{round(cores * _PERIOD)} {_PERIOD}"
    if processes > 0:
        limits["pids.max"] = str(processes)
    return limits


def own_group() -> Path:
    """Give the folder of the group that we are in; raises NotDelegated where there is none."""
    for group in own_groups():
        if group.is_unified:
            return group.folder
    raise NotDelegated("no control groups of version 2")
