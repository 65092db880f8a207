"""The whole contract of a runtime plugin, on one page.

A plugin is one class and one line. The class says how a process is executed; the line makes it
known, in the packaging of whoever wrote it::

    [project.entry-points."colonies.runtimes"]
    docker = "my_package.docker:Docker"

``colonies-run docker`` then does all the rest: it registers, waits for approval, takes work as far
as it has slots, gives signs of life, stops what must stop, closes, and drains on SIGTERM.

All methods of a plugin are called on an event loop of its own, in a thread of its own. One that
blocks it holds up its own other executions, but not the signs of life.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Protocol

import msgspec

from colonies.core.function import Function
from colonies.core.log import Progress, make_progress
from colonies.core.process import Process, encode_argument


class Help(msgspec.Struct, frozen=True):
    """What a setting of a plugin means, shown by ``--help``."""

    text: str


Count = Annotated[int, msgspec.Meta(ge=0)]
Amount = Annotated[float, msgspec.Meta(ge=0)]
"""Numbers of settings that are 0 or more; of others, say the range by `msgspec.Meta` as well."""


class Outcome(msgspec.Struct, frozen=True):
    """How an execution ended: output if it succeeded, else the reasons why not."""

    output: list[str] = []
    errors: list[str] = []
    is_success: bool = True
    is_returned: bool = False
    """Whether it goes back to the queue instead, as if it had never been here."""


def success(*values: Any) -> Outcome:
    """End well; text goes out as it is, other values as JSON."""
    return Outcome(output=[encode_argument(value) for value in values])


def failure(*reasons: str) -> Outcome:
    """End badly, and say why."""
    return Outcome(errors=list(reasons), is_success=False)


def not_here(*reasons: str) -> Outcome:
    """Give it back for others to do: this machine cannot now, and the process is not to blame.

    Nothing of it may have been begun that cannot be done again. The runtime takes fewer processes
    for a while. When it was told to end, it is as if it had been cancelled.
    """
    return Outcome(errors=list(reasons), is_success=False, is_returned=True)


class Log(Protocol):
    """Where a job writes what its execution says; see `Job` for what is meant."""

    async def write(self, data: bytes | str, stream: str, offset: int | None) -> None:
        """Take what comes next in a stream."""

    async def reached(self, stream: str) -> int:
        """Give how many bytes of a stream have been taken."""

    async def progress(self, progress: Progress) -> None:
        """Take how far it has come."""


class Job:
    """What a plugin may do with the hub while it executes a process."""

    def __init__(
        self, attribute: Callable[[str, str], Awaitable[None]], log: Log | None = None
    ) -> None:
        self._attribute = attribute
        self._log = log

    async def attribute(self, key: str, value: str) -> None:
        """Attach a key and a value to the process; each key once."""
        await self._attribute(key, value)

    async def log(
        self, data: bytes | str, stream: str = "stdout", *, offset: int | None = None
    ) -> None:
        """Add to the log what comes next in a stream, in pieces of any size.

        Returns when it is taken, not when it is sent; that is held up while the hub is slower than
        the plugin, and whoever waits for this before reading on holds up what it reads from. Bytes
        need not be UTF-8, nor end with a line. The stream is ``stdout``, ``stderr`` or a name of
        your own, of up to 32 characters.

        ``offset`` is where in the stream the data begins, in bytes, for those who read files: what
        the log has already is left out, and what was skipped is marked as such. Raises ValueError
        for what cannot be a stream or an offset.
        """
        if self._log:
            await self._log.write(data, stream, offset)

    async def logged(self, stream: str = "stdout") -> int:
        """Give how many bytes of a stream the log of this attempt has: where to go on reading.

        After a restart of the runtime that is what the hub has of it.
        """
        return await self._log.reached(stream) if self._log else 0

    async def progress(self, done: float, total: float = 1.0, text: str = "") -> None:
        """Say how far it has come: a fraction, or ``done`` of ``total``, and where it is at.

        Only the latest counts. Raises ValueError for what is no progress.
        """
        progress = make_progress(done, total, text)
        if self._log:
            await self._log.progress(progress)


class Runtime(ABC):
    """Executes processes of one kind. Subclass it, override `execute`, and that is all."""

    runtime_type: ClassVar[str]
    """The type that processes ask for, unless ``--type`` says another."""

    usual_slots: ClassVar[int] = 1
    """Processes held at once, unless ``--slots`` says otherwise."""

    runtime_id: str = ""
    """The identity of the runtime that it works for."""

    mark: MappingProxyType[str, str] = MappingProxyType({})
    """Variables for programs that it starts: what a kill of the runtime has left of those, the next
    start ends. Not for work that shall outlive it."""

    private: tuple[Path, ...] = ()
    """Files and folders of its owner, keys above all, that work is not shown where it can be."""

    grace: float = 5.0
    """Seconds between asking something to end and ending it; what ``--grace`` says."""

    class Settings(msgspec.Struct, frozen=True):
        """What the owner may set; every field is a flag, an environment variable and a key.

        Declare them as ``name: Annotated[str, Help("what it means")] = "default"``.
        """

    def __init__(self, settings: Any) -> None:
        """Take an instance of this class's own ``Settings``."""
        self.settings = settings

    async def check(self) -> list[str]:
        """Say what it would work with here and what would protect, a line each, for ``--check``.

        Called instead of all else, and leaves nothing begun. Raise Misconfigured, with what is
        missing, when it could not open.
        """
        return []

    async def open(self) -> None:  # noqa: B027 - few plugins need to
        """Get ready; called once before the first process."""

    async def functions(self) -> list[Function]:
        """Say what it can run, to be announced to the colony; called once, after `open`.

        Names, descriptions and arguments count, the rest is the hub's. What is not said can be run
        as well, by whoever names the runtime type.
        """
        return []

    async def close(self) -> None:  # noqa: B027 - few plugins need to
        """Leave nothing behind; called once after the last process."""

    async def cancel(self, process: Process) -> bool:
        """Ask the execution of this process to end by itself, in good order.

        Called once, when somebody has cancelled the process, its time is over, it is not ours any
        more or the runtime leaves. Give True if the execution was asked and deserves the grace
        period to end, with an outcome or with CancelledError; it is then, or else at once,
        cancelled. Two attempts of one process, told apart by ``attempt_token``, may overlap.
        """
        del process
        return False

    @abstractmethod
    async def execute(self, process: Process, job: Job) -> Outcome:
        """Do what the process says and give its `success`, `failure`, or that it is `not_here`.

        Several may run at once. Any exception closes the process as failed with its text. When the
        execution must end and `cancel` did not help, this is cancelled: whatever it started must
        then be ended before the CancelledError goes on. An outcome given nevertheless counts.
        """
