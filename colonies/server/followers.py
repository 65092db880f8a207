"""Who follows logs: told that there is more, here and at other hubs, never what."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Protocol

from colonies.server.parties import NOBODY, Outlet, Wish


class Follower(Protocol):
    """Somebody who follows the log of a process."""

    process_id: str

    def stir(self) -> None:
        """Take notice that there may be more; must not wait."""


class Followers:
    """Who follows which log here, and is told that there is more of it."""

    def __init__(self, outlet: Outlet = NOBODY) -> None:
        self._outlet = outlet
        self._streams: dict[str, set[Follower]] = defaultdict(set)

    def add(self, stream: Follower) -> None:
        """Tell a stream from now on."""
        self._streams[stream.process_id].add(stream)
        self._outlet.wish(Wish.LOG, stream.process_id)

    def remove(self, stream: Follower) -> None:
        """Tell it nothing more; may be called twice."""
        self._streams[stream.process_id].discard(stream)
        if not self._streams[stream.process_id]:
            del self._streams[stream.process_id]

    def wishes(self) -> Iterator[tuple[Wish, str, str]]:
        """Give of which logs somebody here has to be told by other hubs."""
        for process_id in self._streams:
            yield Wish.LOG, process_id, ""

    def tell(self, process_id: str) -> None:
        """Tell on every hub who follows a log that there is more of it."""
        self._outlet.log(process_id)
        self.stir([process_id])

    def stir(self, process_ids: Iterable[str]) -> None:
        """Tell who follows these here."""
        for process_id in process_ids:
            for stream in self._streams.get(process_id, ()):
                stream.stir()
