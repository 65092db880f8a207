"""``colonies process logs``: what a process has said, and says, as text or a document a line."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from colonies.cli import output
from colonies.core import wire
from colonies.core.log import FURTHEST, Entry, LogPage, Progress

if TYPE_CHECKING:
    from colonies.client import Colonies

FIRST_WINDOW = 65_536
"""Bytes before the end of a log among which its last lines are looked for, and twice as many."""

BAR_WIDTH = 20

_LINE = re.compile(r"[^\n]*\n|[^\n]+")


class Wanted(msgspec.Struct, frozen=True):
    """Which part of a log: of a stream, of an attempt, of so many seconds, the last lines."""

    stream: str | None = None
    attempt: int | None = None
    seconds: float = 0.0
    tail: int | None = None
    seen: set[tuple[str, int]] = msgspec.field(default_factory=set)

    def of(self, entries: list[Entry]) -> list[Entry]:
        """Give those entries that are wanted."""
        self.seen.update((entry.stream, entry.attempt) for entry in entries)
        return [
            entry
            for entry in entries
            if self.stream in (None, entry.stream) and self.attempt in (None, entry.attempt)
        ]

    @property
    def is_missed(self) -> bool:
        """Whether there were entries, but none of the stream or of the attempt that was wanted."""
        return bool(self.seen) and not any(
            self.stream in (None, stream) and self.attempt in (None, attempt)
            for stream, attempt in self.seen
        )

    @property
    def instead(self) -> str:
        """Say of which streams and attempts there were any."""
        streams = sorted({stream for stream, _ in self.seen})
        attempts = sorted({attempt for _, attempt in self.seen})
        return f"{', '.join(streams)} of attempt {', '.join(map(str, attempts))}"


async def read_log(
    hub: Colonies, process_id: str, wanted: Wanted, *, follow: bool
) -> AsyncIterator[list[Entry]]:
    """Give what is wanted of a log, part by part, until its end now, or that of the process."""
    position = 0
    if wanted.tail is not None:
        entries, position = await _last_lines(hub, process_id, wanted)
        yield entries
    elif not follow or wanted.seconds:
        async for page in _pages(hub, process_id, seconds=wanted.seconds):
            yield wanted.of(page.entries)
            position = page.next_position
    if follow:
        async with await hub.subscribe_logs(process_id, position) as log:
            async for page in log:
                yield wanted.of(page.entries)


async def progress_of(hub: Colonies, process_id: str) -> Progress:
    """Give how far a process has said that it has come."""
    return (await hub.get_logs(process_id, FURTHEST)).progress


async def follow_progress(hub: Colonies, process_id: str, tell: Callable[[Progress], None]) -> None:
    """Tell of progress until the process has ended; of no text, as it is far before any."""
    async with await hub.subscribe_logs(process_id, FURTHEST) as log:
        async for page in log:
            if page.progress.is_known:
                tell(page.progress)


def drawn(progress: Progress) -> str:
    """Give a progress in one line of text: a bar, and in words."""
    filled = int(progress.fraction * BAR_WIDTH)
    bar = "█" * filled + "░" * (BAR_WIDTH - filled)
    return f"{bar} {in_words(progress)}" + (f": {progress.text}" if progress.text else "")


def in_words(progress: Progress) -> str:
    """Give a progress as a share, and of how many if it is of something."""
    share = f"{progress.fraction:.0%}"
    return share if progress.total == 1 else f"{share}, {progress.done:g} of {progress.total:g}"


async def _pages(hub: Colonies, process_id: str, *, seconds: float) -> AsyncIterator[LogPage]:
    page = await hub.get_logs(process_id, seconds=seconds)
    yield page
    while page.next_position < page.length:
        page = await hub.get_logs(process_id, page.next_position)
        yield page


async def _last_lines(hub: Colonies, process_id: str, wanted: Wanted) -> tuple[list[Entry], int]:
    """Give the last lines that are wanted, and the position after them."""
    end = (await hub.get_logs(process_id, FURTHEST)).length
    window = FIRST_WINDOW
    while True:
        start = position = max(0, end - window)
        entries: list[Entry] = []
        while position < end:
            page = await hub.get_logs(process_id, position, seconds=wanted.seconds)
            entries += wanted.of(page.entries)
            position = page.next_position
        lines = sum(entry.text.count("\n") for entry in entries)
        if lines > (wanted.tail or 0) or start == 0:
            return _cut(entries, wanted.tail or 0), max(position, end)
        window *= 4


def _cut(entries: list[Entry], lines: int) -> list[Entry]:
    """Give the last lines of texts; what does not end with a line is one as well."""
    kept: list[Entry] = []
    for piece in reversed([piece for entry in entries for piece in _lines(entry)]):
        if piece.text.endswith("\n") or not kept:
            if lines == 0:
                break
            lines -= 1
        kept.append(piece)
    return kept[::-1]


def _lines(entry: Entry) -> Iterator[Entry]:
    """Give a text line by line."""
    position = entry.position
    for line in _LINE.findall(entry.text):
        yield msgspec.structs.replace(entry, text=line, position=position)
        position += len(line.encode())


class Printer:
    """Prints entries: their text, and to standard error what is missing between them."""

    def __init__(self, *, in_json: bool, is_whole: bool) -> None:
        """Say whether the log is shown from its beginning: then a text that is not tells why."""
        self._in_json = in_json
        self._position = 0 if is_whole else None
        self._attempt = 0
        self._ends: dict[tuple[int, str], int] = {}
        self._is_mid_line = False

    def show(self, entry: Entry) -> None:
        """Print what was said."""
        if self._in_json:
            output.say(wire.encode(entry).decode())
            return
        for remark in self._remarks(entry):
            self.end_line()
            output.note(f"[{remark}]")
        output.say(output.steady(entry.text), end="", is_raw=True)
        self._is_mid_line = not entry.text.endswith("\n")

    def end_line(self) -> None:
        """End a line that was begun, where people look."""
        if self._is_mid_line and output.looks_at_answer():
            output.say("")
        self._is_mid_line = False

    def _remarks(self, entry: Entry) -> list[str]:
        remarks = []
        if self._position == 0 and entry.position > 0:
            remarks.append(f"the first {entry.position} bytes are not kept")
        self._position = None
        if self._attempt and entry.attempt != self._attempt:
            remarks.append(f"attempt {entry.attempt}")
        self._attempt = entry.attempt
        end = self._ends.get((entry.attempt, entry.stream), entry.offset)
        if entry.offset > end:
            remarks.append(f"{entry.offset - end} bytes of {entry.stream} left out")
        self._ends[entry.attempt, entry.stream] = entry.offset + entry.size
        return remarks
