"""Drivers who make histories with the hub in memory.

Everything comes from one `Random`: who is next, what gets lost under way, how long it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from random import Random
from typing import Any

from tests.faults.history import Event, Journal
from tests.faults.model import GRACE, LEASE, Bug, Hub, Refused, Row
from tests.faults.story import End

MOST_IDLE = 100.0
"""Until when a runtime waits for work."""

Steps = Generator[None, None, Any]


class Drivers:
    """Who uses the hub: each a generator that may be held up at any ``yield``."""

    def __init__(self, hub: Hub, random: Random, lossy: float) -> None:
        self.hub = hub
        self.journals: list[Journal] = []
        self._random = random
        self._lossy = lossy

    def journal(self, who: str) -> Journal:
        self.journals.append(Journal(who, clock=lambda: self.hub.now))
        return self.journals[-1]

    def maybe(self, chance: float) -> bool:
        return self._random.random() < chance

    def ask(
        self,
        journal: Journal,
        call: str,
        act: Callable[[], Any],
        told: Callable[[Any], dict[str, Any]] = lambda _: {},
        **facts: Any,
    ) -> Steps:
        """Make one call through a bad network; gives what it brought, if it was heard."""
        asked = journal.invoked(call, **facts)
        yield
        error, result = "", None
        for _ in range(1 + self.maybe(self._lossy / 2)):  # tried again after a reply was lost
            if not self.maybe(self._lossy):
                try:
                    error, result = "", act()
                except Refused as refused:
                    error = str(refused)
                was_done = True
            else:
                was_done = False
            yield
        if not was_done or self.maybe(self._lossy):
            if self.maybe(0.5):  # else it was killed before it could say so
                journal.unknown(asked, "connection lost")
            return None
        if error:
            journal.fail(asked, error)
            return None
        journal.ok(asked, **told(result))
        return result or True

    def submitter(self, who: str, colony_id: str, count: int) -> Steps:
        journal = self.journal(who)
        for number in range(count):
            key, limit = f"{who}-{number}", self._random.choice([0.0, 0.0, 15.0])
            is_malformed = self.maybe(0.15)

            def act(key: str = key, limit: float = limit, *, no: bool = is_malformed) -> Row:
                return self.hub.submit(colony_id, key, limit, is_malformed=no)

            for _ in range(3):
                facts = {"colony_id": colony_id, "key": key, "limit": limit}
                if (yield from self.ask(journal, "submit", act, of_row, **facts)):
                    break

    def runtime(self, who: str, colony_id: str, turns: int) -> Steps:
        journal = self.journal(who)
        for _ in range(turns):
            while self.hub.now < MOST_IDLE and not self.hub.has_waiting(colony_id):
                yield
            if self.maybe(0.5):
                row = yield from self.ask(
                    journal,
                    "assigned",
                    lambda: assignment(self.hub.claim(colony_id, who)),
                    dict,
                    colony_id=colony_id,
                )
            else:
                row = yield from self._pushed(journal, colony_id)
            yield
            if row:
                yield from self._work(journal, colony_id, row)

    def _pushed(self, journal: Journal, colony_id: str) -> Steps:
        try:
            row = assignment(self.hub.claim(colony_id, journal.who))
        except Refused:
            return None
        yield
        if self.maybe(self._lossy):
            return None
        journal.seen("assigned", colony_id=colony_id, **row)
        return row

    def _work(self, journal: Journal, colony_id: str, row: dict[str, Any]) -> Steps:
        facts = {name: row[name] for name in ("process_id", "attempt", "token")}
        facts["colony_id"] = colony_id
        which = (row["process_id"], colony_id, row["token"])
        hub = self.hub
        for _ in range(self._random.randrange(3)):
            renew = self.ask(journal, "renew", lambda: hub.renew(*which), lease=LEASE, **facts)
            yield from renew
        likely = 0.2
        if self.maybe(0.4):  # silent for long, and then as if nothing had happened
            likely = 0.7
            yield from self._silence(row)
        if self.maybe(likely):
            yield from self.ask(journal, "attribute", lambda: hub.attribute(*which), **facts)
        if self.maybe(likely):
            yield from self.ask(journal, "renew", lambda: hub.renew(*which), lease=LEASE, **facts)
        if self.maybe(likely):
            yield from self.ask(journal, "release", lambda: hub.release(*which), **facts)
        yield from self._close(journal, which, facts)

    def _silence(self, row: dict[str, Any]) -> Steps:
        """Wait, often for long enough that somebody else has the process."""
        for _ in range(self._random.choice([20, 200, 200])):
            now = self.hub.rows.get(row["process_id"])
            if now is None or (now.token not in (row["token"], "")):
                break
            yield
        for _ in range(self._random.randrange(8)):
            yield

    def _close(self, journal: Journal, which: tuple[str, ...], facts: dict[str, Any]) -> Steps:
        """Close, perhaps again, perhaps with second thoughts."""
        call = self._random.choice(["close", "close", "fail"])
        output = [f"{journal.who} {self._random.randrange(10)}"]
        for _ in range(self._random.choice([0, 1, 1, 2, 2])):

            def act(call: str = call, output: list[str] = output) -> None:
                self.hub.close(*which, call, output)

            yield from self.ask(journal, call, act, output=output, **facts)
            if self.maybe(0.5):
                output = ["on second thoughts"]

    def meddler(self, who: str, colony_id: str, turns: int) -> Steps:
        """Cancel and delete what is there, whosever it is."""
        journal = self.journal(who)
        for _ in range(turns):
            for _ in range(self._random.randrange(6)):
                yield
            if not self.hub.rows:
                continue
            process_id = self._random.choice(list(self.hub.rows))
            facts = {"process_id": process_id, "colony_id": colony_id}
            if self.maybe(0.25):
                act = self._bind(self.hub.delete, process_id, colony_id)
                yield from self.ask(journal, "delete", act, **facts)
            else:
                act = self._bind(self.hub.cancel, process_id, colony_id)
                yield from self.ask(journal, "cancel", act, of_attempt, **facts)

    def _bind(self, act: Callable[..., Any], *args: Any) -> Callable[[], Any]:
        return lambda: act(*args)

    def clock(self, turns: int) -> Steps:
        for _ in range(turns):
            self.hub.pass_time(self._random.choice([0.0, 0.1, 0.5, 2.0]))
            yield

    def finish(self) -> None:
        """Have everything done that is left, by runtimes that nothing happens to."""
        self._lossy = 0.0
        for colony_id in ("A", "B"):
            journal = self.journal(f"finisher-{colony_id}")
            for _ in range(60):
                self.hub.pass_time(LEASE + GRACE)
                for _ in self._finish_one(journal, colony_id):
                    pass

    def _finish_one(self, journal: Journal, colony_id: str) -> Steps:
        row = yield from self._pushed(journal, colony_id)
        if row:
            facts = {name: row[name] for name in ("process_id", "attempt", "token")}
            which = (row["process_id"], colony_id, row["token"])
            facts["colony_id"] = colony_id
            act = self._bind(self.hub.close, *which, "close", ["finished"])
            yield from self.ask(journal, "close", act, output=["finished"], **facts)


def of_row(row: Row) -> dict[str, Any]:
    return {"process_id": row.process_id}


def of_attempt(row: Row) -> dict[str, Any]:
    return {"attempt": row.attempt}


def assignment(row: Row) -> dict[str, Any]:
    """Give what a runtime is told, as it is now."""
    return {
        "process_id": row.process_id,
        "attempt": row.attempt,
        "token": row.token,
        "lease": LEASE,
    }


def play(
    random: Random,
    bug: Bug | None = None,
    *,
    lossy: float = 0.2,
    submits: int = 4,
    schedule: Iterable[int] = (),
) -> tuple[list[Event], End]:
    """Give a history, and how it ended; ``schedule`` says who is next as long as it lasts."""
    hub = Hub(random, bug)
    drivers = Drivers(hub, random, lossy)
    actors = [
        drivers.submitter("submitter-a", "A", submits),
        drivers.submitter("submitter-b", "B", submits // 2),
        drivers.runtime("runtime-a1", "A", 5),
        drivers.runtime("runtime-a2", "A", 8),
        drivers.runtime("runtime-b", "B", 4),
        drivers.meddler("meddler-a", "A", 2),
        drivers.meddler("meddler-b", "B", 2),
        drivers.clock(250),
    ]
    turns = iter(schedule)
    while actors:
        turn = next(turns, None)
        actor = random.choice(actors) if turn is None else actors[turn % len(actors)]
        if next(actor, actors) is actors:
            actors.remove(actor)
    drivers.finish()
    events = [event for journal in drivers.journals for event in journal.events]
    return sorted(events, key=lambda event: event.at), hub.end()
