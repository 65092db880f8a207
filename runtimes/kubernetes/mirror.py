"""All objects of one kind that carry our label, kept current by a watch instead of by asking.

A watch that ends goes on from the version that was seen last; when that is too old, or a watch has
not worked three times in a row, all is listed anew. Either is asked for once a second at most.
"""

from __future__ import annotations

import asyncio
from typing import Generic, TypeVar

import structlog
from lightkube.core.resource import NamespacedResource

from runtimes.job_state import Unsure
from runtimes.kubernetes.api import Api, Expired

logger = structlog.get_logger()

Kind = TypeVar("Kind", bound=NamespacedResource)

PERIOD = 1.0
"""Seconds between two requests at least."""

SLOWEST = 5.0
"""Seconds between two requests at most, while none succeeds."""

TRIES = 3
"""Watches that may fail before what they would go on from is not trusted any more."""


class Mirror(Generic[Kind]):
    """The objects by their names, as far as the cluster has said."""

    def __init__(self, api: Api, kind: type[Kind], label: tuple[str, str]) -> None:
        self.objects: dict[str, Kind] = {}
        self.trouble = "not looked yet"
        """Why this may not be current; empty when it is."""
        self.begun = self.listed = 0
        """The number of the last list that was asked for, and of the last that came."""
        self._api = api
        self._kind = kind
        self._label = label
        self._version = ""
        self._failed = 0
        self._listing, self._watching = Pace(), Pace()

    async def run(self) -> None:
        """Keep current until cancelled."""
        while True:
            try:
                if not self._version:
                    await self._listing.wait(self._failed)
                    await self._list()
                await self._watch()
            except Expired:
                logger.debug("watch too old", kind=self._kind.__name__)
                self._version = ""
            except Unsure as error:
                self.trouble = str(error) or "no answer"
                self._failed += 1
                if self._failed % TRIES == 0:
                    self._version = ""

    async def look(self) -> None:
        """See all that there is now, or was within a second; raise Unsure."""
        if self._listing.is_due():
            await self._list()

    async def _list(self) -> None:
        self.begun += 1
        number = self.begun
        version, found = await self._api.all_of(self._kind, self._label)
        if number < self.listed:
            return  # another was faster, and is newer
        self.listed, self._version = number, version
        self.objects = {_name(one): one for one in found}
        self.trouble = ""

    async def _watch(self) -> None:
        await self._watching.wait(self._failed)
        async with self._api.changes(self._kind, self._label, self._version) as changes:
            self.trouble, self._failed, number = "", 0, self.listed
            async for change, thing in changes:
                if self.listed != number:
                    return  # what came while it was listed may have been undone by the list
                metadata = thing.metadata  # type: ignore[attr-defined]  # every object's
                if change == "DELETED":
                    self.objects.pop(_name(thing), None)
                elif change in ("ADDED", "MODIFIED"):
                    self.objects[_name(thing)] = thing
                self._version = metadata.resourceVersion


class Pace:
    """Has requests of one sort wait for each other."""

    def __init__(self) -> None:
        self._asked_at = -PERIOD
        self._turn = asyncio.Lock()

    def is_due(self) -> bool:
        """Whether nothing was asked for a while; then something is, as far as others see."""
        now = asyncio.get_running_loop().time()
        if self._turn.locked() or now < self._asked_at + PERIOD:
            return False
        self._asked_at = now
        return True

    async def wait(self, failed: int) -> None:
        """Wait for the next turn, which is later the more have failed in a row."""
        pause = min(PERIOD * 2**failed, SLOWEST) if failed else PERIOD
        async with self._turn:
            loop = asyncio.get_running_loop()
            await asyncio.sleep(self._asked_at + pause - loop.time())
            self._asked_at = loop.time()


def _name(thing: NamespacedResource) -> str:
    return str(thing.metadata.name)  # type: ignore[attr-defined]  # every object's
