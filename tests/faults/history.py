"""What drivers did and saw, kept on disk so that nothing of it is lost when they are killed.

An event is durable before the recorder returns, so a call that reached the hub has its ``invoked``
in the file whatever happened to its driver. `checker.judge` decides what it all means.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterable
from enum import StrEnum
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from colonies.core.errors import ColoniesError, Failure, TimedOut, Unavailable

T = TypeVar("T")

UNKNOWN = -1
"""An attempt whose number is not known; 0 is a process that has had none."""


class Phase(StrEnum):
    """How far a call has come."""

    INVOKED = "invoked"
    OK = "ok"
    FAIL = "fail"  # refused: the hub says that nothing was done
    UNKNOWN = "unknown"  # may or may not have been done


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of a history.

    ``at`` is CLOCK_MONOTONIC: comparable between the processes of one machine, and with nothing
    else. ``call`` is submit, assigned (a push, or the reply to an assign), renew, close, fail,
    release, cancel, attribute or delete.

    ``colony_id`` is the colony that ``who`` acts for, never that of the process. ``output`` is what
    was to be written: the output of a close, the errors of a fail. The ``attempt`` of a cancel is
    the one its reply shows. A delete without a process is of all in the colony. ``limit`` is the
    ``max_exec_time`` of a submit. A renew is ok only for what its reply does not cancel.
    """

    at: float
    who: str
    op: int
    call: str
    phase: Phase
    process_id: str = ""
    colony_id: str = ""
    attempt: int = UNKNOWN
    token: str = ""
    key: str = ""
    output: list[str] = []
    lease: float = 0.0
    limit: float = 0.0
    error: str = ""


class Asked(msgspec.Struct, frozen=True):
    """A call under way: what its completion has in common with its beginning."""

    op: int
    call: str
    facts: dict[str, Any]


class Journal:
    """The events of one driver, in memory. `Recorder` keeps them on disk."""

    def __init__(self, who: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.who = who
        self.events: list[Event] = []
        self._clock = clock
        self._last_op = 0

    def invoked(self, call: str, **facts: Any) -> Asked:
        """Note that a call is about to be made."""
        self._last_op += 1
        asked = Asked(self._last_op, call, facts)
        self._note(asked, Phase.INVOKED)
        return asked

    def ok(self, asked: Asked, **more: Any) -> None:
        """Note that a call was acknowledged, with what the reply has told."""
        self._note(asked, Phase.OK, **more)

    def fail(self, asked: Asked, error: str) -> None:
        """Note that a call was refused."""
        self._note(asked, Phase.FAIL, error=error)

    def unknown(self, asked: Asked, error: str = "") -> None:
        """Note that nobody can say whether a call was done."""
        self._note(asked, Phase.UNKNOWN, error=error)

    def seen(self, call: str, **facts: Any) -> None:
        """Note what nobody asked for, such as a push."""
        self._last_op += 1
        self._note(Asked(self._last_op, call, facts), Phase.OK)

    async def watch(
        self,
        call: str,
        work: Awaitable[T],
        told: Callable[[T], dict[str, Any]] = lambda _: {},
        **facts: Any,
    ) -> T:
        """Make a call between its two events; ``told`` gives what its result adds to them.

        Whatever the call raises is raised, after it has been noted. The awaitable must not have
        begun, as a task has: a coroutine begins when it is awaited here.
        """
        asked = self.invoked(call, **facts)
        try:
            result = await work
        except (ColoniesError, OSError, asyncio.CancelledError) as error:
            note = self.fail if is_refusal(error) else self.unknown
            note(asked, getattr(error, "code", "") or f"{type(error).__name__}: {error}")
            raise
        self.ok(asked, **told(result))
        return result

    def _note(self, asked: Asked, phase: Phase, **more: Any) -> None:
        facts = asked.facts | more
        self._keep(
            Event(
                at=self._clock(), who=self.who, op=asked.op, call=asked.call, phase=phase, **facts
            )
        )

    def _keep(self, event: Event) -> None:
        self.events.append(event)


class Recorder(Journal):
    """A journal in a file of its own, durable line by line.

    Opened again by the driver's successor, it goes on after what its forerunner left.
    """

    def __init__(self, path: Path, who: str) -> None:
        super().__init__(who)
        lines = _whole_lines(path.read_bytes()) if path.exists() else []
        self._last_op = max((event.op for event in _decoded(lines)), default=0)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._file, sum(map(len, lines)))

    def close(self) -> None:
        """Close the file; may be called twice."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _keep(self, event: Event) -> None:
        line = msgspec.json.encode(event) + b"\n"
        # One write: a kill between two would leave half a line in the middle.
        if os.write(self._file, line) != len(line):
            raise OSError(f"could not write all of an event of {self.who}")
        os.fsync(self._file)


def is_refusal(error: BaseException) -> bool:
    """Whether a failed call was certainly not done when its reply was made.

    Not certain are ``unavailable`` (the hub lost its database under way), ``timed_out`` and
    ``internal``, and all that is no reply at all.
    """
    is_vague = type(error) is Failure or isinstance(error, Unavailable | TimedOut)
    return isinstance(error, Failure) and not is_vague


def read_histories(folder: Path) -> list[Event]:
    """Give the events of all ``*.jsonl`` files of a folder by time, torn last lines left out."""
    events = [
        event
        for path in sorted(folder.glob("*.jsonl"))
        for event in _decoded(_whole_lines(path.read_bytes()))
    ]
    return sorted(events, key=lambda event: event.at)


def _whole_lines(raw: bytes) -> list[bytes]:
    return [line for line in raw.splitlines(keepends=True) if line.endswith(b"\n")]


def _decoded(lines: Iterable[bytes]) -> list[Event]:
    return [msgspec.json.decode(line, type=Event) for line in lines]
