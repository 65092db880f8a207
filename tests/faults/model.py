"""A hub in memory, correct unless told otherwise. It only tests the checker."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Any

from tests.faults.story import (
    CANCELLED,
    ENDED,
    FAILED,
    RUNNING,
    SUCCESS,
    WAITING,
    End,
    Final,
    Past,
)

LEASE = 10.0
GRACE = 5.0
EPOCH = 1e9
"""The hub's clock is another one than that of the drivers."""


class Bug(StrEnum):
    """What can be wrong with the hub."""

    DROPPED_SUBMIT = "a submit is acknowledged and not stored"
    LOST_PROCESS = "a running process disappears"
    LOST_CLOSE = "a close is acknowledged and not stored"
    LOST_OUTPUT = "a close is stored without its output"
    NEVER_ENDS = "a process is never assigned"
    LOST_ASSIGNMENT = "an assignment is forgotten, and with it its number"
    GHOST = "a process comes from nowhere"
    REFUSED_AND_KEPT = "a submit is refused and stored"
    UNDEAD = "a delete is acknowledged and not done"
    DOUBLED_SUBMIT = "a submit that is tried again makes another process"
    DOUBLE_CLOSE = "a second, different close is accepted"
    STALE_CLOSE = "a close of a past attempt is accepted"
    STALE_RELEASE = "a release of a past attempt is accepted"
    STALE_RENEW = "a renewal of a past attempt is accepted"
    STALE_ATTRIBUTE = "an attribute of a past attempt is accepted"
    OLD_OUTPUT = "what an older attempt sent is stored"
    EARLY_REQUEUE = "a lease is lost before its end"
    EARLY_REQUEUE_HIDDEN = "a lease is lost before its end, and the database says otherwise"
    SKIPPED_ATTEMPT = "an attempt number is skipped"
    TWO_OWNERS = "one attempt is given to two runtimes"
    RUNNING_ASSIGNED = "a running process is assigned again"
    REUSED_TOKEN = "a token is given twice"
    CROSS_COLONY_CLAIM = "a runtime is given a process of another colony"
    CROSS_COLONY_CANCEL = "somebody of another colony may cancel"
    CROSS_COLONY_SUBMIT = "a submit lands in another colony"
    ENDED_REQUEUED = "an ended process returns to the queue"
    CANCELLED_STARTED = "a process that was cancelled in the queue is assigned"
    CANCEL_IGNORED = "a cancel is acknowledged and the process stays in the queue"
    VIEWS_DIFFER = "the hub shows another output than it stores"
    HIDDEN = "the hub does not show a process that it stores"


class Refused(Exception):
    """The hub says no."""


@dataclass
class Row:
    """A process as the hub keeps it; times are the drivers'."""

    process_id: str
    colony_id: str
    key: str
    limit: float
    state: int = WAITING
    attempt: int = 0
    token: str = ""
    runtime_id: str = ""
    start: float | None = None
    end: float | None = None
    leased_until: float | None = None
    cancelled: float | None = None
    is_stuck: bool = False
    output: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    past: list[Past] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    sent: list[str] = field(default_factory=list)  # by the first who tried to close it


class Hub:
    """The rules, each one with the bugs that break it."""

    def __init__(self, random: Random, bug: Bug | None) -> None:
        self.now = 0.0
        self.rows: dict[str, Row] = {}
        self._random = random
        self._bug = bug
        self._count = 0
        self._token = ""

    def has(self, *bugs: Bug) -> bool:
        """Whether a bug strikes now."""
        return self._bug in bugs and self._random.random() < 0.6

    def submit(self, colony_id: str, key: str, limit: float, *, is_malformed: bool) -> Row:
        known = [row for row in self.rows.values() if row.key == key]
        if is_malformed:
            if not known and self.has(Bug.REFUSED_AND_KEPT):
                self._new(colony_id, key, limit)
            raise Refused("malformed")
        if known and not self.has(Bug.DOUBLED_SUBMIT):
            return known[0]
        if self.has(Bug.CROSS_COLONY_SUBMIT):
            colony_id = "B" if colony_id == "A" else "A"
        row = self._new(colony_id, key, limit)
        row.is_stuck = self.has(Bug.NEVER_ENDS)
        if self.has(Bug.GHOST):
            self._new(colony_id, "from nowhere", 0.0)
        if self.has(Bug.DROPPED_SUBMIT):
            del self.rows[row.process_id]
        return row

    def _new(self, colony_id: str, key: str, limit: float) -> Row:
        self._count += 1
        row = Row(f"p{self._count}", colony_id, key, limit)
        self.rows[row.process_id] = row
        return row

    def has_waiting(self, colony_id: str) -> bool:
        return any((row.state, row.colony_id) == (WAITING, colony_id) for row in self.rows.values())

    def claim(self, colony_id: str, runtime_id: str) -> Row:
        """Give a waiting process."""
        for row in self.rows.values():
            is_ours = row.colony_id == colony_id or self.has(Bug.CROSS_COLONY_CLAIM)
            if row.state == RUNNING and is_ours and self.has(Bug.TWO_OWNERS):
                return row
            if is_ours and self._is_claimable(row) and not row.is_stuck:
                return self._assign(row, runtime_id)
        raise Refused("nothing_to_assign")

    def _is_claimable(self, row: Row) -> bool:
        if row.state == CANCELLED and not row.runtime_id:
            return self.has(Bug.CANCELLED_STARTED)
        if row.state == RUNNING:
            return self.has(Bug.RUNNING_ASSIGNED)
        return row.state == WAITING

    def _assign(self, row: Row, runtime_id: str) -> Row:
        row.attempt += 2 if self.has(Bug.SKIPPED_ATTEMPT) else 1
        if not (self._token and self.has(Bug.REUSED_TOKEN)):
            self._token = f"{row.process_id}-{row.attempt}-{self._random.getrandbits(32):x}"
        row.token = self._token
        row.tokens.append(row.token)
        row.state, row.runtime_id, row.start = RUNNING, runtime_id, self.now
        row.leased_until = self.now + LEASE
        return row

    def _running(self, process_id: str, colony_id: str, token: str, *tolerant: Bug) -> Row:
        row = self.get(process_id, colony_id)
        is_late = token in row.tokens and token != row.token and row.state == RUNNING
        if not (is_late and self.has(*tolerant)) and (row.token != token or row.state != RUNNING):
            raise Refused("stale_attempt")
        return row

    def get(self, process_id: str, colony_id: str, *tolerant: Bug) -> Row:
        row = self.rows.get(process_id)
        if row is None or (row.colony_id != colony_id and not self.has(*tolerant)):
            raise Refused("not_found")
        return row

    def close(
        self, process_id: str, colony_id: str, token: str, call: str, output: list[str]
    ) -> None:
        """End a process; the same again is no error."""
        row = self.get(process_id, colony_id)
        row.sent = row.sent or output
        if row.state in ENDED and row.token == token and not self.has(Bug.DOUBLE_CLOSE):
            if output not in (row.output, row.errors):
                raise Refused("conflict")
            return
        if row.state not in ENDED:
            self._running(process_id, colony_id, token, Bug.STALE_CLOSE)
        elif row.token != token:
            raise Refused("stale_attempt")
        if self.has(Bug.LOST_CLOSE):
            return
        written = row.sent if self.has(Bug.OLD_OUTPUT) else output
        if self.has(Bug.LOST_OUTPUT):
            written = []
        is_success = call == "close"
        row.state = SUCCESS if is_success else FAILED if row.cancelled is None else CANCELLED
        row.end, row.leased_until = self.now, None
        row.output, row.errors = (written, []) if is_success else ([], written)

    def renew(self, process_id: str, colony_id: str, token: str) -> None:
        row = self._running(process_id, colony_id, token, Bug.STALE_RENEW)
        if row.cancelled is not None:
            raise Refused("conflict")
        row.leased_until = self.now + LEASE
        if self.has(Bug.LOST_PROCESS):
            del self.rows[process_id]

    def attribute(self, process_id: str, colony_id: str, token: str) -> None:
        self._running(process_id, colony_id, token, Bug.STALE_ATTRIBUTE)

    def release(self, process_id: str, colony_id: str, token: str) -> None:
        row = self._running(process_id, colony_id, token, Bug.STALE_RELEASE)
        if row.cancelled is not None:
            raise Refused("conflict")
        self._requeue(row, "released")

    def cancel(self, process_id: str, colony_id: str) -> Row:
        row = self.get(process_id, colony_id, Bug.CROSS_COLONY_CANCEL)
        if row.state not in (WAITING, RUNNING) or row.cancelled is not None:
            raise Refused("conflict")
        if self.has(Bug.CANCEL_IGNORED):
            return row
        row.cancelled, row.leased_until = self.now, None
        if row.state == WAITING:
            row.state, row.end, row.errors = CANCELLED, self.now, ["cancelled"]
        return row

    def delete(self, process_id: str, colony_id: str) -> None:
        self.get(process_id, colony_id)
        if not self.has(Bug.UNDEAD):
            del self.rows[process_id]

    def pass_time(self, seconds: float) -> None:
        """Let time go on, and act on what is due."""
        self.now += seconds
        for row in self.rows.values():
            self._expire(row)

    def _expire(self, row: Row) -> None:
        due = row.leased_until or self.now
        early = 3.0 if self.has(Bug.EARLY_REQUEUE, Bug.EARLY_REQUEUE_HIDDEN) else 0.0
        if row.state in ENDED and row.start is not None and self.has(Bug.ENDED_REQUEUED):
            self._requeue(row, "lease lost")
        elif row.state == RUNNING and row.cancelled is not None:
            if row.cancelled + GRACE < self.now:
                row.state, row.end, row.errors = CANCELLED, self.now, ["cancelled"]
        elif row.state == RUNNING and due - early < self.now:
            self._requeue(row, "lease lost")
        elif row.state == RUNNING and row.limit and (row.start or 0) + row.limit < self.now:
            self._requeue(row, "execution time exceeded")

    def _requeue(self, row: Row, why: str) -> None:
        until = row.leased_until
        if self._bug is Bug.EARLY_REQUEUE_HIDDEN and until:
            until = min(until, self.now)
        start, end = EPOCH + (row.start or 0), EPOCH + (row.end or self.now)
        leased_until = None if until is None else EPOCH + until
        row.past.append(Past(row.attempt, row.runtime_id, start, end, leased_until, why))
        row.state, row.runtime_id, row.start, row.end = WAITING, "", None, None
        row.leased_until = None
        row.token, row.output, row.errors = "", [], []
        if self.has(Bug.LOST_ASSIGNMENT):
            row.attempt -= 1
            row.past.pop()

    def end(self) -> End:
        """Show everything twice."""
        stored = [finally_(row) for row in self.rows.values()]
        shown = [finally_(row) for row in self.rows.values()]
        if shown and self._bug is Bug.HIDDEN:
            shown.pop()
        if self._bug is Bug.VIEWS_DIFFER:
            shown = [finally_(row, output=["another"]) for row in self.rows.values()]
        return End(shown, stored)


def finally_(row: Row, **changes: Any) -> Final:
    facts: dict[str, Any] = {
        "process_id": row.process_id,
        "colony_id": row.colony_id,
        "name": row.key,
        "state": row.state,
        "output": row.output,
        "errors": row.errors,
        "attempt": row.attempt,
        "retries": sum(one.why != "released" for one in row.past),
        "runtime_id": row.runtime_id,
        "start": None if row.start is None else EPOCH + row.start,
        "end": None if row.end is None else EPOCH + row.end,
        "past": list(row.past),
    }
    return Final(**facts | changes)
