"""One call: all that a rule or a handler may touch."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic
from typing import TYPE_CHECKING

from colonies.core.process import Process
from colonies.server.intent import NOBODYS, Intent
from colonies.settings import Settings

if TYPE_CHECKING:
    from colonies.server.agenda import Agenda
    from colonies.server.db import Database
    from colonies.server.functions import Functions
    from colonies.server.hub import Hub
    from colonies.server.members import Members
    from colonies.server.quota import Quotas
    from colonies.server.turns import Turns


class Door(StrEnum):
    """How a message came in."""

    API = "POST /api"
    WS = "/ws"
    PUBSUB = "/pubsub"


class Peer:
    """Whoever is at the other end of a door, until they are gone."""

    def __init__(self, door: Door, address: str) -> None:
        self.door = door
        self.address = address
        self.is_authenticated = False
        self.is_gone = False
        self.heard_at = monotonic()
        self._when_gone: set[Callable[[], None]] = set()
        self._when_heard: set[Callable[[], None]] = set()

    def hear(self) -> None:
        """Note a sign of life."""
        self.heard_at = monotonic()
        for callback in tuple(self._when_heard):
            callback()

    def authenticate(self) -> None:
        """Note that a message of theirs was validly signed, by whichever key."""
        self.is_authenticated = True

    def stand_aside(self) -> AbstractContextManager[None]:
        """Give what a message that only waits is to be wrapped in."""
        return nullcontext()

    def leave(self) -> None:
        """Note that they are gone, and tell everybody who works for them."""
        self.is_gone = True
        for callback in list(self._when_gone):
            callback()

    def when_gone(self, callback: Callable[[], None]) -> AbstractContextManager[None]:
        """Be called when they leave, during the block."""
        return _Among(self._when_gone, callback)

    def when_heard(self, callback: Callable[[], None]) -> AbstractContextManager[None]:
        """Be called at every sign of life, during the block."""
        return _Among(self._when_heard, callback)


class _Among(AbstractContextManager[None]):
    """Keeps a callback among others during a block; a generator would take ten times as long."""

    __slots__ = ("_callback", "_callbacks")

    def __init__(self, callbacks: set[Callable[[], None]], callback: Callable[[], None]) -> None:
        self._callbacks = callbacks
        self._callback = callback

    def __enter__(self) -> None:
        self._callbacks.add(self._callback)

    def __exit__(self, *_: object) -> None:
        self._callbacks.discard(self._callback)


@dataclass(slots=True)
class Call:
    """A message being answered: by whom it was signed, and what may be used to answer it."""

    db: Database
    hub: Hub
    members: Members
    settings: Settings
    peer: Peer
    quotas: Quotas
    turns: Turns
    functions: Functions
    agenda: Agenda
    caller: str = ""
    id: str = ""
    intent: Intent = NOBODYS
    changed: list[Process] = field(default_factory=list)

    def publish(self, *processes: Process) -> None:
        """Note committed changes; they are told to others once the handler has succeeded."""
        self.changed += processes
