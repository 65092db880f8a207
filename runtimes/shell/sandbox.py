"""What confines a command: limits, a temporary folder, bubblewrap and a control group.

Each of these is tried when the runtime starts, and used if it works; which ones do is said then.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import structlog

from colonies.core.errors import Misconfigured
from runtimes.shell.cgroup import Cgroup, Cgroups, NotDelegated, limits_of, own_group
from runtimes.shell.place import Place
from runtimes.shell.steps import Steps, why_not

logger = structlog.get_logger()


@dataclass(frozen=True)
class Limits:
    """What one command may have; 0 is no limit. Memory and files written are in MiB."""

    cpu_seconds: int = 0
    memory: int = 0
    cores: float = 0
    processes: int = 0
    open_files: int = 0
    file_size: int = 0

    def by_name(self, *, is_memory_counted: bool) -> dict[str, int]:
        """Give them by the names of the resource module; a core is never dumped.

        Address space stands in for memory only where that itself is not counted, as many programs
        ask for far more of it than they use.
        """
        limits = {
            "RLIMIT_CPU": self.cpu_seconds,
            "RLIMIT_AS": 0 if is_memory_counted else self.memory * 2**20,
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_FSIZE": self.file_size * 2**20,
        }
        return {"RLIMIT_CORE": 0} | {name: most for name, most in limits.items() if most > 0}


@dataclass(frozen=True)
class Confined:
    """A command as it is started, and how it was confined."""

    argv: list[str]
    env: dict[str, str]
    group: Cgroup | None = None

    @property
    def is_out_of_memory(self) -> bool:
        """Whether it was killed for want of memory."""
        return self.group is not None and self.group.is_out_of_memory


class Sandbox:
    """The protections that work here."""

    def __init__(self, limits: Limits, place: Place) -> None:
        """Find out what works, and leave nothing behind; this blocks for a moment.

        Raises Misconfigured for a place that cannot be, or not as it should be seen.
        """
        self._limits = limits
        self._place = place
        place.check()
        self.missing: dict[str, str] = {}
        """Protections that do not work here, and why."""
        self._steps = Steps()
        self._bwrap = self._find_bwrap()
        self._groups = self._find_groups()

    @property
    def active(self) -> list[str]:
        """The protections that work here."""
        groups = self._groups
        counted = [f"cgroup.{name}" for name in sorted(groups.controllers)] if groups else []
        return [
            "limits",
            "temporary folder",
            *(["bubblewrap"] if self._bwrap else []),
            *(["cgroup.kill", *counted] if groups else []),
        ]

    def insist(self, mode: str) -> None:
        """Raise Misconfigured if something is required that does not work here."""
        if mode == "require" and self.missing:
            reasons = "; ".join(f"{name}: {why}" for name, why in self.missing.items())
            raise Misconfigured(f"sandbox: required, but {reasons}")
        if not (self._place.has_network or self._bwrap):
            raise Misconfigured(f"offline: needs bubblewrap, but {self.missing['bubblewrap']}")

    def _find_bwrap(self) -> str:
        path = shutil.which("bwrap")
        if not path:
            self.missing["bubblewrap"] = "not installed"
            return ""
        if complaint := self._try_bwrap(path, Place("/")):
            self.missing["bubblewrap"] = complaint
            return ""
        self._place.check_hidden()
        if complaint := self._try_bwrap(path, self._place):
            # It works, but not there: a typing error must not turn it off.
            raise Misconfigured(f"cwd or write: bubblewrap cannot show them: {complaint}")
        return path

    def _try_bwrap(self, path: str, place: Place) -> str:
        """Say why it does not work, if it does not."""
        with tempfile.TemporaryDirectory() as folder:
            bwrap = _bwrap_argv(path, place, folder)
            return why_not([*bwrap, *self._steps.relent("true", {}), "true"])

    def _find_groups(self) -> Cgroups | None:
        try:
            groups = Cgroups(own_group())
        except NotDelegated as error:
            self.missing["cgroup"] = str(error)
            return None
        for name, most in (("memory", self._limits.memory), ("cpu", self._limits.cores)):
            if most > 0 and name not in groups.controllers:
                self.missing[f"cgroup.{name}"] = "not delegated"
        return groups

    @asynccontextmanager
    async def confine(self, argv: list[str], env: Mapping[str, str]) -> AsyncIterator[Confined]:
        """Give a command as it is to be started; afterwards nothing that it began is left.

        Raises OSError when it cannot be confined.
        """
        folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="colonies-shell-")
        group = None
        try:
            if self._groups:
                limits = self._counted(self._groups)
                group = self._groups.make(f"colonies-{uuid4().hex}", limits)
            yield self._confined(argv, env, folder, group)
        finally:
            if group:
                await asyncio.shield(group.end())
            await asyncio.shield(asyncio.to_thread(_remove, folder))

    def _counted(self, groups: Cgroups) -> dict[str, str]:
        limits = self._limits
        files = limits_of(limits.memory, limits.cores, limits.processes)
        return {
            file: value
            for file, value in files.items()
            if file.partition(".")[0] in groups.controllers
        }

    def _confined(
        self, argv: list[str], env: Mapping[str, str], folder: str, group: Cgroup | None
    ) -> Confined:
        is_counted = self._groups is not None and "memory" in self._groups.controllers
        limits = self._limits.by_name(is_memory_counted=is_counted)
        if self._bwrap:
            argv = [
                *_bwrap_argv(self._bwrap, self._place, folder),
                *self._steps.relent(argv[0], env),
                *argv,
            ]
        steps = self._steps.confine(
            limits,
            argv[0],
            env,
            cgroup=str(group.folder) if group else "",
            # Who is asked to end is the command, and not bubblewrap, with which all would end.
            is_patient=bool(self._bwrap),
        )
        temporary = "/tmp" if self._bwrap else folder  # noqa: S108 - its own
        return Confined([*steps, *argv], {**env, "TMPDIR": temporary}, group)


def _bwrap_argv(path: str, place: Place, folder: str) -> list[str]:
    """Show all files but those that are hidden, to be read only; and no process but its own."""
    return [
        path,
        *("--unshare-user-try", "--unshare-pid", "--unshare-ipc", "--unshare-uts"),
        *([] if place.has_network else ["--unshare-net"]),
        *("--die-with-parent", "--ro-bind", "/", "/"),
        *(word for mount in place.mounts(folder) for word in mount),
        *("--chdir", os.path.realpath(place.folder), "--"),
    ]


def _remove(folder: str) -> None:
    """Remove a folder, also where its owner has made parts of it unwritable."""
    for place, names, _ in os.walk(folder):
        for path in (Path(place, name) for name in names):
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
