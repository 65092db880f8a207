"""How every program here says what went wrong: one line for what did so on purpose."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from colonies.core.errors import ColoniesError

INTERRUPTED = 130
"""The exit code of what Ctrl-C has ended, as shells have it."""


def run(
    command: click.Command,
    words: Sequence[str],
    *,
    name: str,
    status_of: Callable[[ColoniesError], int],
) -> int:
    """Run a command line and give its exit code; only a bug goes on, for a traceback."""
    try:
        _check_text(words)
        status = command.main(list(words), prog_name=name, standalone_mode=False)
    except click.exceptions.Abort:
        return INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        complain_of_usage(error)
        return error.exit_code
    except ColoniesError as error:
        complain(error)
        return status_of(error)
    return status if isinstance(status, int) else 0


def _check_text(words: Sequence[str]) -> None:
    """Refuse what cannot be sent, before it turns up deep inside."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"expected UTF-8, not {word!a}") from None


def complain(error: Exception) -> None:
    """Say in one line what went wrong."""
    _complain("; ".join([str(error), *getattr(error, "__notes__", ())]))


def complain_of_usage(error: click.ClickException) -> None:
    """Say what is wrong with the words of a command, and where to read about it."""
    text = error.format_message().removesuffix(".")
    context = getattr(error, "ctx", None)
    takes_more = context and any(one.nargs == -1 for one in context.command.params)
    if isinstance(error, click.NoSuchOption) and takes_more:
        text += f"; an argument that begins with a dash goes after a --: -- {error.option_name}"
    _complain(text[:1].lower() + text[1:])
    if context:
        click.echo(f"help: {context.command_path} --help", err=True)


def _complain(text: str) -> None:
    label = click.style("error:", fg="red", bold=True) if has_colours(sys.stderr) else "error:"
    click.echo(f"{label} {printable(text)}", err=True)


def printable(text: str) -> str:
    """Give what came from elsewhere in one line, without what steers a terminal."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def is_terminal(stream: Any) -> bool:
    """Whether people look at what is written there."""
    is_tty: bool = stream is not None and stream.isatty()  # None is one that was closed
    return is_tty and os.environ.get("TERM") != "dumb"


def has_colours(stream: Any) -> bool:
    """Whether colours may be written there; NO_COLOR (no-color.org) says they may not."""
    return is_terminal(stream) and not os.environ.get("NO_COLOR")
