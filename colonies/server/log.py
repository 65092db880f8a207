"""Logs: what attempts say is added together with what else is said, and read by who follows it.

Who reads is told only that there is more, and looks for it where it has got to: many who follow one
process share the statement and, if they have got to the same place, its answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any

import msgspec

from colonies.core import wire
from colonies.core.envelope import pack
from colonies.core.log import NO_PROGRESS, Append, Entry, LogPage, NewEntry, Progress
from colonies.core.process import State
from colonies.server.db import Database, Statements
from colonies.server.lifecycle import Assignment
from colonies.server.moves import apart

PAGE_BYTES = 131_072
"""Bytes of text in a page, and one text more."""

PAGE_ENTRIES = 1000

ROWS_A_PAGE = 4
"""What a page counts as of what a statement gives: fifty of them are ten megabytes at most."""

BYTES_A_ROW = 8192
"""How much of a text counts as one more row of a statement that is shared."""

_PROGRESS = msgspec.json.Decoder(Progress)
_ENDS = msgspec.json.Decoder(dict[str, int])


class Saying(msgspec.Struct, frozen=True):
    """What an attempt says."""

    assignment: Assignment
    append: Append


async def append(db: Database, assignment: Assignment, said: Append, *, most: int) -> bool:
    """Add to the log of a process, of which ``most`` bytes are kept, the last.

    Gives whether the attempt is being made; what it has said before is not said twice.
    """
    size = sum(len(entry.text) for entry in said.entries)
    rows = 1 + len(said.entries) + size // BYTES_A_ROW
    return await db.batched(_append_all, Saying(assignment, said), most, rows=rows)


async def _append_all(db: Statements, asked: Sequence[Saying], most: int) -> list[bool]:
    alive = [False] * len(asked)
    for places in apart([one.append.process_id for one in asked]):
        rows = [
            (place, asked[place].append, colony_id)
            for place in places
            for colony_id in asked[place].assignment.colony_ids
        ]
        texts = [text for _, append, colony_id in rows for text in _texts(append, colony_id)]
        found = await db.fetch_rows(
            "add_log_entries",
            colony_ids=[colony_id for *_, colony_id in rows],
            process_ids=[append.process_id for _, append, _ in rows],
            runtime_ids=[asked[place].assignment.runtime_id for place, *_ in rows],
            attempt_tokens=[append.attempt_token for _, append, _ in rows],
            numbers=[append.number for _, append, _ in rows],
            ends=[_ends(append) for _, append, _ in rows],
            progress=[_progress(append) for _, append, _ in rows],
            lengths=[sum(map(_bytes, append.entries)) for _, append, _ in rows],
            said_in=[colony_id for colony_id, *_ in texts],
            said_by=[process_id for _, process_id, *_ in texts],
            remaining=[remaining for *_, remaining, _ in texts],
            streams=[entry.stream for *_, entry in texts],
            offsets=[entry.offset for *_, entry in texts],
            sizes=[entry.size for *_, entry in texts],
            texts=[entry.text for *_, entry in texts],
            most=most,
        )
        for (row,) in found:
            alive[rows[row - 1][0]] = True
    return alive


def _texts(append: Append, colony_id: str) -> Iterator[tuple[str, str, int, NewEntry]]:
    """Give texts, each with whose it is and how far it is from the end of the append."""
    remaining = sum(map(_bytes, append.entries))
    for entry in append.entries:
        yield colony_id, append.process_id, remaining, entry
        remaining -= _bytes(entry)


def _bytes(entry: NewEntry) -> int:
    return len(entry.text.encode())


def _ends(append: Append) -> str:
    ends = {entry.stream: entry.offset + entry.size for entry in append.entries}
    return wire.encode(ends).decode()


def _progress(append: Append) -> str:
    return "" if append.progress == NO_PROGRESS else wire.encode(append.progress).decode()


class Reader(msgspec.Struct, frozen=True):
    """How far somebody has read, and how many seconds ago what they want was said; 0: whenever."""

    colony_id: str
    process_id: str
    position: int
    age: float = 0.0


class Part:
    """A page that many may have read; packed once for all to whom it is pushed."""

    def __init__(self, page: LogPage) -> None:
        self.page = page

    @cached_property
    def payload(self) -> str:
        """The page as it is pushed."""
        return pack(self.page)


async def read(db: Database, reader: Reader) -> Part | None:
    """Give what follows; None when there is no such process."""
    return await db.batched(_read_all, reader, rows=ROWS_A_PAGE)


async def _read_all(db: Statements, asked: Sequence[Reader]) -> list[Part | None]:
    readers = list(dict.fromkeys(asked))
    rows = await db.fetch_rows(
        "list_log_pages",
        colony_ids=[one.colony_id for one in readers],
        process_ids=[one.process_id for one in readers],
        positions=[one.position for one in readers],
        ages=[one.age for one in readers],
        most=PAGE_BYTES,
        count=PAGE_ENTRIES,
    )
    pages = {
        readers[place - 1]: Part(_page(readers[place - 1], list(group)))
        for place, group in groupby(rows, key=itemgetter(0))
    }
    return [pages.get(one) for one in asked]


def _page(reader: Reader, rows: list[tuple[Any, ...]]) -> LogPage:
    _, state, length, attempt, number, ends, progress, *_ = rows[0]
    entries = [Entry(*row[7:]) for row in rows if row[7] is not None]
    length = length or 0
    # Whoever is beyond the end waits there: so progress is followed without any text.
    following = entries[-1].end if entries else max(length, reader.position)
    return LogPage(
        process_id=reader.process_id,
        position=reader.position,
        next_position=following,
        length=length,
        attempt=attempt or 0,
        number=number or 0,
        ends=_ENDS.decode(ends) if ends else {},
        progress=_PROGRESS.decode(progress) if progress else NO_PROGRESS,
        is_over=State(state).is_final and following >= length,
        entries=entries,
    )
