"""A log: what is said while a process runs, in order, told apart by attempt and stream.

Whoever says something counts the bytes of each of its streams, and says where in its stream a text
begins: what is missing between two texts was left out. Whoever reads goes by one number, the
position: how many bytes of text the log of the process had before, over all streams and attempts.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from colonies.core.wire import ZERO_TIME, Time, Wire

MAX_TEXT = 65_536
"""Characters of one text."""

MAX_ENTRIES = 1000
"""Texts that are added together."""

MAX_STREAM_NAME = 32

MAX_PROGRESS_TEXT = 1000

FURTHEST = 2**53 - 1
"""To where bytes and appends are counted: every JSON reader keeps such numbers exactly."""

Count = Annotated[int, msgspec.Meta(ge=0, le=FURTHEST)]
StreamName = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_STREAM_NAME)]


class Progress(Wire):
    """How far a process says it has come: ``done`` of ``total``; a fraction is of 1.

    A total of 0 means that nothing was said.
    """

    done: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    total: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    text: Annotated[str, msgspec.Meta(max_length=MAX_PROGRESS_TEXT)] = ""

    @property
    def is_known(self) -> bool:
        """Whether anything was said."""
        return self.total > 0

    @property
    def fraction(self) -> float:
        """How much of all is done, from 0 to 1."""
        return min(self.done / self.total, 1.0) if self.is_known else 0.0


NO_PROGRESS = Progress()


def make_progress(done: float, total: float = 1.0, text: str = "") -> Progress:
    """Make what somebody says of how far they have come; raise ValueError for what is none.

    The text becomes what can be kept.
    """
    if not 0 <= done <= total <= FURTHEST or total <= 0:  # neither is so of a NaN
        raise ValueError(f"progress: expected 0 <= done <= total, not {done!r} of {total!r}")
    text = text.replace("\0", "\ufffd").encode(errors="replace").decode()
    return Progress(done=float(done), total=float(total), text=text[:MAX_PROGRESS_TEXT])


class NewEntry(Wire):
    """A text to be added. It stands for ``size`` bytes of its stream, from ``offset`` on."""

    stream: StreamName
    offset: Count
    size: Count
    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]


class Append(Wire):
    """What an attempt adds to the log of its process, or how far it has come.

    Numbers grow with each append of an attempt: one whose number was reached before was heard
    before, and changes nothing.
    """

    process_id: str
    number: Count
    attempt_token: str = ""
    entries: Annotated[list[NewEntry], msgspec.Meta(max_length=MAX_ENTRIES)] = []
    progress: Progress = NO_PROGRESS


class Entry(Wire):
    """A text as it is kept; the next one begins at ``end`` or, if some are gone, later."""

    position: int
    attempt: int
    stream: str
    offset: int
    size: int
    text: str
    time: Time = ZERO_TIME

    @property
    def end(self) -> int:
        """The position after it."""
        return self.position + len(self.text.encode())


class LogPage(Wire):
    """A part of a log, from ``position`` to ``next_position``, and how far all of it has come.

    ``length`` is the position after the last text. The attempt is the last that has said something:
    ``number`` is that of its last append, ``ends`` how many bytes of each of its streams are known
    of, and the progress is its own. A log ``is_over`` when the process has ended and this page is
    the last.
    """

    process_id: str
    position: int = 0
    next_position: int = 0
    length: int = 0
    attempt: int = 0
    number: int = 0
    ends: dict[str, int] = {}
    progress: Progress = NO_PROGRESS
    is_over: bool = False
    entries: list[Entry] = []
