"""What people and programs see: answers are printed here, and drawn by `drawing.py`.

The answer goes to standard output and nothing else does; all that is said about it goes to
standard error.

Programs get JSON or plain lines. People at a terminal get tables that fit it, in colours unless
NO_COLOR is set; both need rich, which is in `colonies[cli]`, and without it they get the lines.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from stat import S_ISFIFO
from typing import TYPE_CHECKING, Any, Protocol

import click
import msgspec

from colonies.cli.answers import COLOURS, Answer, plain
from colonies.cli.status import Status
from colonies.complaints import has_colours, is_terminal, printable
from colonies.core import wire
from colonies.core.errors import Misconfigured

if TYPE_CHECKING:
    from types import ModuleType


def show(answer: Answer[Any] | None, *, as_json: bool = False, full: bool = False) -> Status:
    """Print an answer, if there is one, and give how the command ended."""
    if answer is None:
        return Status.DONE
    if text := _json(answer.value) if as_json else _for_people(answer, full=full):
        say(text)
    for complaint in answer.complaints:
        note(complaint)
    return answer.status


@contextmanager
def showing(*, as_json: bool, full: bool) -> Iterator[Callable[[Answer[Any]], None]]:
    """Give what shows an answer again and again: in one place on a terminal, else when it changed.

    In JSON it is a document a line.
    """
    if not (as_json or full) and (drawing := _drawing()):
        with drawing.live_table() as redraw:
            yield lambda answer: redraw(answer.table)
        return
    last = ""

    def print_changed(answer: Answer[Any]) -> None:
        nonlocal last
        text = wire.encode(answer.value).decode() if as_json else _for_people(answer, full=full)
        if text != last:
            say(text)
        last = text

    yield print_changed


class Progress(Protocol):
    """How far something is, shown or not."""

    @property
    def is_shown(self) -> bool:
        """Whether anybody sees it."""

    @property
    def is_measured(self) -> bool:
        """Whether it was said of how much it is, and so whatever else there is to say."""

    def __call__(self, done: float = 0, text: str = "", total: float | None = None) -> None:
        """Tell how far it is, what is to be said, and a total that was not known before."""


class Unshown:
    """How far something is, where nobody sees it."""

    is_shown = is_measured = False

    def __call__(self, done: float = 0, text: str = "", total: float | None = None) -> None:
        """Draw nothing."""


@contextmanager
def progress(text: str, total: int | None = None) -> Iterator[Progress]:
    """Show people how far something is, while it lasts; without a total, that it goes on."""
    drawing = _drawing(sys.stderr)
    if drawing is None:
        yield Unshown()
        return
    with drawing.bar(text, total) as shown:
        yield shown


def looks_at_answer() -> bool:
    """Whether people look at the answer."""
    return is_terminal(sys.stdout)


def width_of_answer() -> int | None:
    """Give the characters of a line of the terminal where people look at the answer, if they do."""
    return shutil.get_terminal_size().columns if looks_at_answer() else None


def say(text: str, *, end: str = "\n", is_raw: bool = False) -> None:
    """Print a part of the answer at once; one that ``is_raw`` keeps its colours in a pipe too."""
    try:
        click.echo(f"{text}{end}", nl=False, color=is_raw or None)
    except BrokenPipeError:
        _hush()
        raise click.exceptions.Exit(Status.UNREAD) from None
    except OSError as error:
        _hush()
        raise Misconfigured(f"cannot write the answer: {error.strerror}") from error


@asynccontextmanager
async def while_read() -> AsyncIterator[None]:
    """During the block, which waits long, end the program if whoever read the answer leaves."""
    import asyncio  # noqa: PLC0415 - what is asked of this machine alone does without

    if sys.stdout is None or not S_ISFIFO(os.fstat(sys.stdout.fileno()).st_mode):
        yield
        return
    loop, task, file = asyncio.get_running_loop(), asyncio.current_task(), sys.stdout.fileno()
    has_left = asyncio.Event()

    def leave() -> None:
        loop.remove_reader(file)
        has_left.set()
        if task is not None:
            task.cancel()

    loop.add_reader(file, leave)  # nothing can be read from our end but that the other is closed
    try:
        yield
    except asyncio.CancelledError:
        if not has_left.is_set():
            raise
        _hush()
        raise click.exceptions.Exit(Status.UNREAD) from None
    finally:
        loop.remove_reader(file)


def note(text: str, *, end: str = "\n") -> None:
    """Tell people something that is not the answer."""
    click.echo(f"{text}{end}", nl=False, err=True)


def painted(text: str) -> str:
    """Give a word of an answer in its colour, where colours may be."""
    colour = COLOURS.get(text.strip()) if has_colours(sys.stdout) else None
    return click.style(text, fg=colour) if colour else text


def steady(text: str) -> str:
    """Give text as it is, but where people look without what steers the terminal.

    Ends of lines, tabs and returns to the beginning of a line are left to it.
    """
    if not is_terminal(sys.stdout):
        return text
    return "".join(one if one.isprintable() or one in "\n\t\r" else repr(one)[1:-1] for one in text)


async def confirm_deletion(question: str) -> None:
    """Ask; only a yes is a yes, and where nobody answers it is a no."""
    note(f"{printable(question)} [y/N] ", end="")
    await _readable(sys.stdin.fileno())
    if sys.stdin.buffer.readline().strip().lower() not in (b"y", b"yes"):
        raise click.UsageError("nothing was deleted; say yes, or give --yes")


def read_secret(what: str) -> str:
    """Read a secret from standard input, unseen where that is a terminal."""
    if sys.stdin.isatty():
        from getpass import getpass  # noqa: PLC0415 - seldom wanted

        return getpass(f"{what}: ").strip()
    return sys.stdin.buffer.read().decode(errors="replace").strip()


async def _readable(file: int) -> None:
    """Wait while the loop goes on: the hub is answered, and Ctrl-C ends the question."""
    import asyncio  # noqa: PLC0415 - as above

    came = asyncio.Event()
    try:
        asyncio.get_running_loop().add_reader(file, came.set)
    except OSError:
        return  # a regular file or /dev/null, which is never waited for
    try:
        await came.wait()
    finally:
        asyncio.get_running_loop().remove_reader(file)


def _hush() -> None:
    """Write no more of the answer; the flush at exit shall not complain of it either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _json(value: Any) -> str:
    return msgspec.json.format(wire.encode(value), indent=2).decode()


def _for_people(answer: Answer[Any], *, full: bool) -> str:
    if answer.table is None:
        return "\n".join(answer.lines)
    if full:
        return "\n".join(plain(answer.table, full=True))
    drawing = _drawing()
    return drawing.draw_table(answer.table) if drawing else "\n".join(answer.lines)


def _drawing(stream: Any = None) -> ModuleType | None:
    """Give what draws, where people look and rich is installed."""
    if not is_terminal(stream or sys.stdout):
        return None
    try:
        from colonies.cli import drawing  # noqa: PLC0415 - who pipes does not wait for it
    except ModuleNotFoundError:
        return None
    return drawing
