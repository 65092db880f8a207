"""Looking again at whatever somebody here waits for: a notification is never more than a reason to.

What another hub told of is looked up before it is believed. What nobody told of, because a
notification was lost, is found by the same looks, every few ticks and whenever the hub was deaf. A
look is one statement by primary key or partial index, and none if nobody is interested.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import islice

import msgspec

from colonies.core.errors import Forbidden
from colonies.core.process import Process, State, progress
from colonies.core.runtime import Runtime
from colonies.server.db import Statements
from colonies.server.hub import Hub
from colonies.server.lifecycle import Assignment
from colonies.server.news import Change
from colonies.server.parties import Cause

BATCH = 1000
"""Processes that one look is about; more take further ones."""

GUESTS = 10_000
"""The same of those who wait and listen: of one of them there is less to say."""

STIR_LIMIT = 100
"""Idle runtimes of one queue that one search wakes at most."""

Key = tuple[str, str]
"""A colony, and a process or an identity in it."""


class Lookout:
    """Looks on behalf of everybody who waits, listens or holds at this hub."""

    def __init__(self, db: Statements, hub: Hub) -> None:
        self._db = db
        self._hub = hub

    async def look(self) -> None:
        """Find out whatever somebody here should have been told, and tell them."""
        # Whoever has lost a process hears of it before the next attempt is on its way.
        held = {(one.colony_ids[0], one.process_id): one for one in self._hub.holders.attempts()}
        for part in _parts(held):
            await self._look_at_held([held[key] for key in part], {})
        await self.look_at_figures()
        await self._look_at_queues()
        await self._look_at_followed()
        await self._look_at_guests()

    async def catch_up(self, changes: Mapping[Key, Change]) -> None:
        """Look up what another hub told of, and tell those here whom it concerns."""
        for part in _parts(changes):
            news = {process_id: changes[colony_id, process_id] for colony_id, process_id in part}
            latest = {process_id: one.attempt for process_id, one in news.items()}
            held = self._hub.holders.attempts_up_to(latest)
            await self._look_at_held(held, {id_: one.cause for id_, one in news.items()})
            for key, process in (await self._load(part)).items():
                self._hub.relay(process, changes[key].state)

    async def look_at_figures(self, keys: Collection[Key] | None = None) -> None:
        """Tell those who wait for runtimes, these or all, if these have other figures by now."""
        waiting = {
            (one.runtime.colony_id, one.runtime.runtime_id): one.runtime for one in self._hub.lines
        }
        those = waiting.keys() if keys is None else waiting.keys() & keys
        for part in _parts(dict.fromkeys(those), GUESTS):
            known = [waiting[key].figures for key in part]
            changed = await self._db.fetch_all(
                Runtime,
                "list_other_figures",
                colony_ids=[colony_id for colony_id, _ in part],
                runtime_ids=[runtime_id for _, runtime_id in part],
                cores=[one.cores for one in known],
                mem=[one.mem for one in known],
                gpus=[one.gpus for one in known],
            )
            for runtime in changed:
                self._hub.lines.refit(runtime)

    async def _look_at_queues(self) -> None:
        """Wake runtimes for whatever waits although they are idle: a wake-up went astray."""
        queues = self._hub.lines.queues()
        if not queues:
            return
        waiting = await self._db.fetch_rows(
            "list_claimable",
            colony_ids=[colony_id for colony_id, _ in queues],
            runtime_types=[runtime_type for _, runtime_type in queues],
            runtime_ids=self._hub.lines.runtimes(),
            count=STIR_LIMIT,
        )
        for colony_id, runtime_type, runtime_id in waiting:
            self._hub.lines.stir(str(colony_id), str(runtime_type), str(runtime_id))

    async def _look_at_followed(self) -> None:
        """Tell the followers of single processes how far these have come, or that they are gone."""
        followed = {
            (colony_id, id_): None for id_, colony_id in self._hub.listeners.followed().items()
        }
        for part in _parts(followed):
            rows = await self._db.fetch_rows("list_progress", **_columns(part))
            found = {
                process_id: progress(attempt, State(state), is_cancelling=is_cancelling)
                for process_id, state, attempt, is_cancelling in rows
            }
            for colony_id, process_id in part:
                if process_id not in found:
                    self._hub.bury(colony_id, process_id)
            missed = [key for key in part if self._hub.listeners.missed(key[1], found.get(key[1]))]
            for process in (await self._load(missed)).values():
                self._hub.listeners.show(process)

    async def _look_at_held(
        self, held: Collection[Assignment], causes: Mapping[str, Cause]
    ) -> None:
        """Tell the holders of attempts that are over, or shall stop; ``causes`` says by what."""
        if not held:
            return
        living = dict(
            await self._db.fetch_rows(
                "list_living_attempts",
                colony_ids=[one.colony_ids[0] for one in held],
                process_ids=[one.process_id for one in held],
                runtime_ids=[one.runtime_id for one in held],
                attempt_tokens=[one.attempt_token for one in held],
            )
        )
        ending = [one for one in held if living.get(one.process_id, True)]
        processes = await self._load({(one.colony_ids[0], one.process_id) for one in ending})
        for one in ending:
            if not self._hub.holders.has_attempt(one):
                continue
            process = processes.get((one.colony_ids[0], one.process_id))
            cause = causes.get(one.process_id)
            if one.process_id in living:
                if process and process.is_cancelling:
                    self._hub.holders.tell(process)
                continue
            # Whoever closed or released it knows.
            if process and cause is not Cause.CALL and process.state is not State.SUCCESS:
                self._hub.holders.tell(_as_seen_by_a_loser(process))
            self._hub.holders.let_go_of(one, is_lost=cause is Cause.SILENCE)

    async def _look_at_guests(self) -> None:
        """Show out who was let in before and is not any more."""
        for part in _parts(dict.fromkeys(self._hub.guests()), GUESTS):
            strangers = await self._db.fetch_rows(
                "list_strangers",
                colony_ids=[colony_id for colony_id, _ in part],
                identities=[identity for _, identity in part],
            )
            for colony_id, identity in strangers:
                self._hub.shut_out(colony_id, not_let_in(identity), identity)

    async def _load(self, keys: Collection[Key]) -> dict[Key, Process]:
        if not keys:
            return {}
        processes = await self._db.fetch_all(Process, "list_processes", **_columns(keys))
        return {(one.colony_id, one.process_id): one for one in processes}


def not_let_in(identity: str) -> Forbidden:
    """Give what somebody hears who was let in before."""
    return Forbidden(f"runtime <{identity}> is not approved")


def _as_seen_by_a_loser(process: Process) -> Process:
    """Give a process as it was when an attempt was over, if somebody makes the next already."""
    if process.state is State.RUNNING:
        return msgspec.structs.replace(
            process, state=State.WAITING, is_assigned=False, assigned_runtime_id=""
        )
    return process


def _columns(keys: Collection[Key]) -> dict[str, list[str]]:
    return {
        "colony_ids": [colony_id for colony_id, _ in keys],
        "process_ids": [process_id for _, process_id in keys],
    }


def _parts(keys: Mapping[Key, object], size: int = BATCH) -> Iterator[list[Key]]:
    remaining = iter(keys)
    while part := list(islice(remaining, size)):
        yield part
