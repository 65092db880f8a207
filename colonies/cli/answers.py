"""What commands answer, as values and as lines of text; how it is shown is in `output.py`.

What came from a hub is given without the characters that steer a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import IntEnum
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec

from colonies.cli.status import Status
from colonies.complaints import printable
from colonies.core.attribute import Attribute
from colonies.core.errors import AlreadyExists
from colonies.core.function import Argument
from colonies.core.process import Process
from colonies.core.wire import ZERO_TIME, wire_name

T = TypeVar("T")

COLOURS = {
    "success": "green",
    "approved": "green",
    "ok": "green",
    "running": "cyan",
    "waiting": "yellow",
    "pending": "yellow",
    "warning": "yellow",
    "cancelling": "magenta",
    "cancelled": "magenta",
    "failed": "red",
    "rejected": "red",
    "problem": "red",
}
"""The colours of states and verdicts."""

SHORT_ID = 12
"""Characters of an id that are shown at a terminal: 48 bits, enough for a colony."""

GAP = "  "
"""What is between two cells."""

NARROWEST = 12
"""Characters that the cell which makes room for others keeps."""

WIDEST_CELL = 64
"""Characters of a cell of a table; an id just fits."""

WIDEST_LAST_CELL = 200
"""The same of the last column, which pushes nothing aside."""


class Table(msgspec.Struct, frozen=True):
    """Rows to be laid out: under these (dotted) fields, or labelled by their own first cell.

    In the latter, people are not shown a 0 or a no, unless that says something (``has_zeros``).
    """

    rows: Sequence[Sequence[Any]]
    columns: Sequence[str] = ()
    has_zeros: bool = False


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """What a command has to say: a value for ``--json``, lines for people, complaints for both.

    Where there is a table, it is what people at a terminal see instead of the lines.
    """

    value: T
    lines: Sequence[str] = ()
    complaints: Sequence[str] = ()
    status: Status = Status.DONE
    table: Table | None = None


def table(items: Sequence[T], *columns: str) -> Answer[Sequence[T]]:
    """Answer with a list: a line an item, a column for each (dotted) field."""
    found = Table([[_value(item, column) for column in columns] for item in items], columns)
    return Answer(items, plain(found), table=found)


def view(
    item: T,
    instead: Mapping[str, Sequence[str]] | None = None,
    more: Mapping[str, str] | None = None,
    *,
    has_zeros: bool = False,
) -> Answer[T]:
    """Answer with one thing: a line a field, by its path in the JSON; empty ones are left out.

    Fields that are of little use to people as they are may be said in other words (``instead``).
    What ``more`` there is to be seen comes after them.
    """
    rows = [*_fields(item, instead=instead or {}), *(more or {}).items()]
    found = Table(rows, has_zeros=has_zeros)
    return Answer(item, plain(found), table=found)


def sentences(item: T, texts: Iterable[str]) -> Answer[T]:
    """Answer with what is said about something, a line each."""
    return Answer(item, [printable(text) for text in texts])


def identity(item: T, id_: str) -> Answer[T]:
    """Answer with what was made: people see its id and nothing else, ready to be pasted."""
    return Answer(item, [id_])


@contextmanager
def naming(what: str, name: str) -> Iterator[None]:
    """During the block, say which name is taken if it is: a hub says only that one is."""
    try:
        yield
    except AlreadyExists as error:
        if not error.field.endswith(".name"):
            raise
        taken = f"there already is a {what} {name!r} in the colony"
        raise AlreadyExists(taken, field=error.field) from error


def plain(table: Table, *, full: bool = False) -> list[str]:
    """Give a line a row, the same on any screen; long cells are cut unless ``full``."""
    rows = [[text_of(value) for value in row] for row in table.rows]
    if table.columns and not full:
        widths = [WIDEST_CELL] * (len(table.columns) - 1) + [WIDEST_LAST_CELL]
        rows = [[_cut(*cell) for cell in zip(row, widths, strict=True)] for row in rows]
    headings = [wire_name(column.rpartition(".")[2]).upper() for column in table.columns]
    return aligned([headings, *rows] if headings else rows)


def aligned(rows: Sequence[Sequence[str]], *, width: int | None = None) -> list[str]:
    """Give a line a row, its cells below each other; the first makes room, where there is little.

    ``width`` is what a line may have in characters.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is not None and widths:
        room = width - sum(widths[1:]) - len(GAP) * (len(widths) - 1)
        widths[0] = min(widths[0], max(room, NARROWEST))
        rows = [[_cut(row[0], widths[0]), *row[1:]] for row in rows]
    return [
        GAP.join(f"{cell:<{most}}" for cell, most in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def text_of(value: Any) -> str:
    """Give a value in one line, the same on any screen."""
    match value:
        case bool():
            return "yes" if value else "no"
        case IntEnum():
            return value.name.lower()
        case datetime():
            return "-" if value == ZERO_TIME else f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
        case Attribute() | Argument():
            return printable(_in_short(value))
        case list():
            return " ".join(map(text_of, value))
        case _:
            return printable(str(value))


def _fields(
    item: Any, prefix: str = "", instead: Mapping[str, Sequence[str]] = MappingProxyType({})
) -> Iterator[tuple[str, Any]]:
    for field in msgspec.structs.fields(item):
        value = instead[field.name] if field.name in instead else _value(item, field.name)
        yield from _field(f"{prefix}{field.encode_name}", value)


def _field(label: str, value: Any) -> Iterable[tuple[str, Any]]:
    if isinstance(value, msgspec.Struct) and not isinstance(value, Attribute):
        return _fields(value, f"{label}.")
    if isinstance(value, list):
        return [(label, one) for one in value]
    if isinstance(value, dict):
        return [(f"{label}.{printable(key)}", one) for key, one in value.items()]
    return [(label, value)] if value not in ("", ZERO_TIME) else []


def _value(item: Any, field: str) -> Any:
    """Give a (dotted) field; a process that is being cancelled is shown as that, not as running."""
    if field == "state" and isinstance(item, Process) and item.is_cancelling:
        return "cancelling"
    return attrgetter(field)(item)


def _in_short(value: Attribute | Argument) -> str:
    if isinstance(value, Attribute):
        return f"{value.key}={value.value}"
    return f"{value.signature}  # {value.description}" if value.description else value.signature


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
