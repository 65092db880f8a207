"""How containers are: asked for all that anybody wants to know of, at most once a period.

An answer is not believed to be whole: what it does not show may be there.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable

import msgspec
import structlog

from colonies.batch import Batch
from runtimes.container.asking import Asking, EngineFailed

logger = structlog.get_logger()

MOST_AT_ONCE = 4096
"""Containers that one command asks for: their names must fit on its line."""

MOST_SAID = 2**24

_NO_SUCH = re.compile("no such", re.IGNORECASE)


class State(msgspec.Struct, frozen=True, rename="pascal"):
    """What an engine says of a container."""

    status: str
    exit_code: int
    running: bool = False
    oom_killed: bool = msgspec.field(name="OOMKilled", default=False)
    error: str = ""


class Look(msgspec.Struct, frozen=True):
    """A container as its engine shows it, and who looks after it."""

    name: str
    keeper: str
    state: State

    @property
    def is_unstarted(self) -> bool:
        """Whether it was made, and has never run."""
        return self.state.status in ("created", "initialized", "configured")

    @property
    def is_ended(self) -> bool:
        """Whether it has run, and does no more."""
        return not self.state.running and self.state.status in ("exited", "stopped", "dead")


class Period:
    """A pace for a `Batch`: something begins once in so many seconds at most."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next_at = 0.0
        self._turn = asyncio.Lock()

    async def begin(self) -> None:
        """Wait until it may begin, whoever else waits for that, and take notice that it does."""
        async with self._turn:
            await asyncio.sleep(self.pause())
            self._next_at = time.monotonic() + self._seconds

    def note(self, seconds: float, *, calls: int, rows: int) -> None:
        """Take no notice: how long it takes does not matter."""

    def pause(self) -> float:
        """Give how many seconds to wait before it may begin."""
        return max(0.0, self._next_at - time.monotonic())


class Looks:
    """The only place that asks an engine for the states of containers."""

    def __init__(self, asking: Asking, period: float) -> None:
        """Look no more than once in ``period`` seconds."""
        self._asking = asking
        self._pace = Period(period)
        self._line: Batch[str, Look | EngineFailed | None] = Batch(
            self._ask, most=MOST_AT_ONCE, pace=self._pace
        )

    async def look(self, name: str) -> Look | None:
        """Say how a container is, by a question that is yet to be asked; nothing if there is none.

        Raises EngineFailed when there is no answer.
        """
        seen = await self._line.add(name)
        if isinstance(seen, EngineFailed):
            raise EngineFailed(str(seen))
        return seen

    async def look_at_all(self, names: Iterable[str]) -> list[Look]:
        """Say how these are, as far as the engine says it."""
        seen = await self._line.add_all(names)
        return [look for look in seen if isinstance(look, Look)]

    async def names_of(self, runtime_id: str) -> list[str]:
        """List the containers of a runtime; raise EngineFailed when there is no answer."""
        await self._pace.begin()
        return (await self._asking.need(self._asking.engine.names_of(runtime_id))).split()

    async def close(self) -> None:
        """Look no more."""
        await self._line.close()

    async def _ask(self, names: list[str]) -> list[Look | EngineFailed | None]:
        await self._pace.begin()
        try:
            answer = await self._asking.ask(self._asking.engine.states(names), most=MOST_SAID)
        except EngineFailed as error:
            return _not_seen(error, names)
        shown = {look.name: look for look in _read(answer.stdout)}
        # One that is missing makes it fail, but not for the others.
        if answer.code != 0 and not _NO_SUCH.search(answer.stderr.decode(errors="replace")):
            return _not_seen(EngineFailed(answer.complaint), names)
        return [shown.get(name) for name in names]


def _not_seen(error: EngineFailed, names: list[str]) -> list[Look | EngineFailed | None]:
    logger.warning("containers not seen", error=str(error))
    return [error] * len(names)


def _read(said: bytes) -> Iterable[Look]:
    """Read what can be read: a line a container."""
    for line in said.splitlines():
        try:
            look = msgspec.json.decode(line, type=Look)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            logger.warning("container not understood", said=line[:200].decode(errors="replace"))
            continue
        yield msgspec.structs.replace(look, name=look.name.removeprefix("/"))  # docker's have one
