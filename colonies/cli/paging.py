"""Long lists: a hub gives them page by page, each after those before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")

PAGE = 100
"""Of a list, what a hub gives at once."""


class Listing(Protocol[T]):
    """Asks a hub for a page of a list."""

    async def __call__(self, *, count: int, after: Sequence[T]) -> list[T]:
        """Give at most so many, after those."""


async def paged(ask: Listing[T], count: int) -> list[T]:
    """Give so many of a list at most; a hub that knows of no pages gives the first alone."""
    found: list[T] = []
    while len(found) < count:
        wanted = min(PAGE, count - len(found))
        page = await ask(count=wanted, after=found)
        if page and page[0] in found[:1]:
            break
        found += page
        if len(page) < wanted:
            break
    return found
