"""A runtime is on a machine once: who starts it again is told so, and ends what a kill has left.

``running/<runtime>.json`` in the state folder is locked for as long as the runtime lives; the
system takes the lock from whoever is killed. The file says who has it, and the mark by which the
runtime knows its children: a word that nobody else can know, in a variable that nobody exports.
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from types import MappingProxyType, TracebackType
from typing import Self

import msgspec
import structlog

from colonies.core.errors import Misconfigured
from runtimes.files import make_private

logger = structlog.get_logger()

CHILD_OF = "COLONIES_CHILD_OF"
"""The variable that holds the mark, in what a runtime starts."""

_TURNS = 10
"""Looks for leftovers at most: one that is killed may have started another meanwhile."""


class Holder(msgspec.Struct, frozen=True):
    """What the file says: who has the lock, or had it last, and the mark of all lives."""

    pid: int
    mark: str


class Presence:
    """One life of a runtime on this machine, as a block."""

    def __init__(self, state_folder: Path, runtime_id: str, *, advice: str = "") -> None:
        """Take where to keep the lock, and what to advise when somebody else has it."""
        self._state_folder = state_folder
        self._path = state_folder / "running" / f"{runtime_id}.json"
        self._runtime_id = runtime_id
        self._advice = f"; {advice}" if advice else ""
        self._file = -1
        self._mark = ""

    @property
    def mark(self) -> MappingProxyType[str, str]:
        """The variable for what it starts: the next life ends whatever has it."""
        return MappingProxyType({CHILD_OF: self._mark})

    def __enter__(self) -> Self:
        """Be the only one and end what the last has left.

        Raises Misconfigured when the runtime is here already, or nothing can be written there.
        """
        try:
            make_private(self._path.parent)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise Misconfigured(f"--state-dir: {self._state_folder}: {error.strerror}") from error
        try:
            self._lock()
            self._begin()
        except BaseException:
            os.close(self._file)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = self._read()
            where = f" (pid {holder.pid})" if holder else ""
            text = f"runtime {self._runtime_id} already runs here{where}{self._advice}"
            raise Misconfigured(text) from None
        except OSError as error:  # a network's file system may have no locks
            logger.warning("not guarded against a second start", error=error.strerror)

    def _begin(self) -> None:
        last = self._read()
        if last and (count := end_marked(last.mark)):
            logger.warning("leftovers killed", count=count)
        self._mark = last.mark if last else token_hex(16)
        content = msgspec.json.encode(Holder(os.getpid(), self._mark))
        try:
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, content, 0)
        except OSError as error:
            raise Misconfigured(f"--state-dir: {self._path}: {error.strerror}") from error

    def _read(self) -> Holder | None:
        try:
            return msgspec.json.decode(os.pread(self._file, 4096, 0), type=Holder)
        except (OSError, ValueError):  # new, or cut off; msgspec's errors are ValueErrors
            return None


def end_marked(mark: str) -> int:
    """Kill whatever was started with a mark, but us and who has started us; gives how many.

    Only where the system shows with what a program was started, as Linux does.
    """
    word = f"{CHILD_OF}={mark}".encode()
    ended = _ancestry()
    spared = len(ended)
    for _ in range(_TURNS):
        before = len(ended)
        for path in Path("/proc").glob("[0-9]*"):
            pid = int(path.name)
            if pid not in ended and _kill_if_marked(pid, word):
                ended.add(pid)
        if len(ended) == before:
            break
    return len(ended) - spared


def _kill_if_marked(pid: int, word: bytes) -> bool:
    try:
        handle = os.pidfd_open(pid)  # who is looked at is who is killed
    except OSError:
        return False
    try:
        if word not in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except OSError:  # gone meanwhile, or not ours
        return False
    finally:
        os.close(handle)
    return True


def _ancestry() -> set[int]:
    """Give our own process, that which has started it, and so on."""
    found, pid = set[int](), os.getpid()
    while pid > 0 and pid not in found:
        found.add(pid)
        pid = 0 if pid == 1 else _parent_of(pid)
    return found


def _parent_of(pid: int) -> int:
    with suppress(OSError, ValueError, IndexError):
        # After the name, in which anything may stand: the state, and then the parent.
        return int(
            Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1]
        )
    return 0
