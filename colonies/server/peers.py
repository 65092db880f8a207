"""The other hubs on the same database: what they are told, what is heard of them, and who leads.

Notifications are hints. They are sent outside of the statements that change things, many in one;
what is lost is found by the `Lookout`. A hub listens on a connection of its own, over which it
sends itself a beat: when it does not hear that, it was deaf, connects anew and looks at everything
again. The beat is also what tells the others that it is there.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from types import TracebackType
from typing import Self
from uuid import uuid4

import structlog

from colonies.core import wire
from colonies.core.cluster import Node
from colonies.core.errors import Forbidden, Malformed, Unavailable
from colonies.core.process import State
from colonies.server.agenda import Agenda
from colonies.server.db import Database, Session
from colonies.server.hub import Hub
from colonies.server.leader import Leader
from colonies.server.lookout import Key, Lookout, not_let_in
from colonies.server.members import Members
from colonies.server.news import MAX_PENDING, Change, News, Notice
from colonies.server.wishes import ANY_KIND, kind_of

logger = structlog.get_logger()

CHANNEL = "colonies"

BEAT = 2.0
"""Seconds from one beat to the next."""

BEAT_DEADLINE = 3.0
"""Seconds after which a beat that was not heard proves that a hub is deaf."""

STALE = 10.0
"""Seconds after which a hub that was not seen counts as gone."""

PAUSE = 0.5
"""Seconds before another try, more or less, when the database was away."""

FAREWELL = 2.0
"""Seconds that a hub takes to say that it goes, if the database is slow."""


class Peers:
    """Tells and hears as long as its ``async with`` block lasts."""

    def __init__(
        self,
        db: Database,
        hub: Hub,
        members: Members,
        *,
        news: News,
        node: Node,
        lookout: Lookout,
        leader: Leader,
        agenda: Agenda,
    ) -> None:
        self._db = db
        self._hub = hub
        self._members = members
        self._news = news
        news.wishes.are_all = hub.limits.are_set  # whatever ends makes room for who is held up
        self._node = node
        self._lookout = lookout
        self._leader = leader
        self._agenda = agenda
        self._others: set[str] = set()
        self._beat = ""
        self._is_beat_heard = asyncio.Event()
        self._inbox: dict[Key, Change] = {}
        self._refitted: set[Key] = set()
        self._is_deaf = False
        self._must_look = False
        self._came = asyncio.Event()
        self._tried = asyncio.Event()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Begin; a database that is away just now is waited for in the background."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self._leave)
            await stack.enter_async_context(self._leader)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            for work in (
                _for_ever(self._listen, "hub deaf"),
                _for_ever(self._tell, "news not told"),
                _for_ever(self._heed, "news not heeded"),
            ):
                stack.callback(tasks.create_task(work).cancel)
            await self._tried.wait()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def _leave(self) -> None:
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(FAREWELL):
                if last := self._news.take(self._hub.id):
                    await self._db.execute("notify_hubs", payloads=last)
                await self._db.execute("delete_hub", hub_id=self._hub.id)

    async def _listen(self) -> None:
        """Listen on a new connection until it is lost; raise Unavailable then."""
        try:
            async with self._db.session() as session:
                await session.listen(CHANNEL, self._hear)
                await self._live(session)
        finally:
            self._leader.lose()
            self._is_deaf = True
            self._tried.set()

    async def _live(self, session: Session) -> None:
        """Beat until the connection is lost or turns out to be deaf; raise Unavailable then."""
        while True:
            try:
                async with asyncio.timeout(BEAT_DEADLINE):
                    await self._touch(session)
                    await self._is_beat_heard.wait()
            except TimeoutError:
                raise Unavailable("no notification is heard") from None
            if self._is_deaf:
                self._is_deaf = False
                logger.info("hub hears again")
                self._db.reconnect()  # the server may be another
                self._members.forget_here()  # what has changed meanwhile
                self._agenda.ask_again()
                self._look_again()  # at what happened meanwhile
            self._tried.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(BEAT):
                    await session.lost.wait()
                    raise Unavailable("the connection was lost")

    async def _touch(self, session: Session) -> None:
        self._is_beat_heard.clear()
        self._beat = uuid4().hex
        ((others, leads, *_),) = await session.fetch_rows(
            "touch_hub",
            hub_id=self._hub.id,
            name=self._node.name,
            host=self._node.host,
            port=self._node.api_port,
            version=self._node.version,
            beat=wire.encode(self._greeting()).decode(),
            is_leading=self._leader.is_leading,
            stale=STALE,
        )
        if leads:
            self._leader.gain()
        self._meet(set(others))

    def _greeting(self) -> Notice:
        """Say that this hub is here, and what it wants to be told of."""
        self._news.wishes.renew(self._hub.wishes())
        return Notice(self._hub.id, beat=self._beat, wants=self._news.wishes.give())

    def _meet(self, others: set[str]) -> None:
        """Know who else is here; without anybody there is nothing to tell."""
        self._others = others
        self._db.lane.others = len(others)
        self._news.meet(others)

    async def _tell(self) -> None:
        await self._news.wait()
        await self._news.gather()
        payloads = self._news.take(self._hub.id)
        if not payloads:
            return
        try:
            await self._db.execute("notify_hubs", payloads=payloads)
        except BaseException:
            self._news.overflow()
            raise

    def _hear(self, payload: str) -> None:
        try:
            notice = wire.decode(payload, Notice)
        except Malformed as error:
            logger.debug("notification not understood", error=str(error))
            return
        if notice.hub == self._hub.id:
            if notice.beat == self._beat:
                self._is_beat_heard.set()
            return
        if notice.hub not in self._others:
            self._meet(self._others | {notice.hub})
        self._learn(notice)

    def _learn(self, notice: Notice) -> None:
        """Act on what another hub says, or note to look it up."""
        if notice.wants is not None:
            self._news.learn(notice.hub, notice.wants)
        if notice.members:
            self._members.forget_here()
        if notice.recurs:
            self._agenda.ask_again()
        if notice.look:
            self._look_again()
        for colony_id, runtime_id in notice.shut_out:
            failure = not_let_in(runtime_id) if runtime_id else _deleted(colony_id)
            self._hub.shut_out(colony_id, failure, runtime_id)
        if notice.refitted:
            self._refitted.update(notice.refitted)
            self._came.set()
        for colony_id, process_id in notice.removed:
            self._hub.bury(colony_id, process_id)
            if not process_id:
                self._look_again()  # what is held of the colony's is over
        self._hub.logs.stir(notice.logged)
        self._take_in(notice.changed)

    def _take_in(self, changed: dict[str, list[Change]]) -> None:
        """Keep what may concern somebody here until it is looked up."""
        if not changed:
            return
        watched = {
            (colony_id, kind_of(runtime_type)): states
            for (colony_id, runtime_type), states in self._hub.listeners.watched().items()
        }
        idle = {(colony_id, kind_of(kind)) for colony_id, kind in self._hub.lines.queues()}
        idle |= {(colony_id, ANY_KIND) for colony_id, _ in idle}
        for colony_id, changes in changed.items():
            if any(change.state > State.RUNNING for change in changes):
                self._hub.lines.make_room(colony_id)
            for change in changes:
                queue = (colony_id, change.kind)
                if (
                    self._hub.has_part_in(change.process_id)
                    or change.state in watched.get(queue, ())
                    or (change.state is State.WAITING and queue in idle)
                ):
                    self._keep(colony_id, change)

    def _keep(self, colony_id: str, change: Change) -> None:
        key = (colony_id, change.process_id)
        earlier = self._inbox.get(key)
        self._inbox[key] = change.after(earlier) if earlier else change
        if len(self._inbox) > MAX_PENDING:
            self._inbox.clear()
            self._must_look = True
        self._came.set()

    def _look_again(self) -> None:
        self._must_look = True
        self._came.set()

    async def _heed(self) -> None:
        await self._came.wait()
        self._came.clear()
        changes, self._inbox = self._inbox, {}
        refitted, self._refitted = self._refitted, set()
        must_look, self._must_look = self._must_look, False
        try:
            if refitted:
                await self._lookout.look_at_figures(refitted)
            await self._lookout.catch_up(changes)
            if must_look:
                await self._lookout.look()
        except BaseException:
            self._look_again()
            raise


async def _for_ever(work: Callable[[], Awaitable[None]], trouble: str) -> None:
    """Do something again and again; neither an outage nor a bug is a reason to stop."""
    while True:
        try:
            await work()
        except Unavailable as error:
            logger.warning(trouble, error=error.message)
            await _pause()
        except Exception:
            logger.exception(trouble)
            await _pause()


async def _pause() -> None:
    await asyncio.sleep(PAUSE * random.uniform(0.5, 1.5))  # noqa: S311 - so that not all come at once


def _deleted(colony_id: str) -> Forbidden:
    return Forbidden(f"colony <{colony_id}> was deleted")
