"""What the tests let the `python` runtime announce."""

from __future__ import annotations

from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from runtimes.inputs import Inputs

if TYPE_CHECKING:
    from collections.abc import Sequence


def shout(
    text: str, times: Annotated[int, "How often"] = 1, *, loud: bool = True, **words: list[str]
) -> str:
    """Say it.

    Loudly.
    """
    said = text.upper() if loud else text
    return " ".join([said] * times + sorted(words))


def add(first: int, given: Annotated[Inputs, "the rest"], *, times: int = 1) -> int:
    """Add up what the parents gave."""
    return times * (first + sum(given))


def share(given: Inputs, name: str) -> float:
    """Say how much of all one parent gave."""
    return sum(given.by_parent[name]) / sum(given)


async def kind(text: str, anything, /, *more: float) -> str:
    return " ".join(type(one).__name__ for one in (text, anything, *more))


def unknown(values: Sequence[int], path: Path = Path(), options: dict | None = None) -> None:
    """Its annotations cannot be evaluated here."""


def _spelled(*, given: Inputs, options: dict | Missing = None):  # noqa: F821 - for type checkers
    return given, options


@wraps(shout)
def wrapped(*args, **kwargs):
    return shout(*args, **kwargs)


def odd(text="\ud800", *, number=float("nan"), any_=object()):  # noqa: B008
    """Half a character: \ud800, and \0."""


def _private() -> None: ...


not_callable = 1
