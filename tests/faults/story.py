"""A history arranged for asking, and the end state that it is held against.

A call was done, if at all, after its ``invoked`` and before its ``ok``; one that is unknown may
have been done at any time after it was invoked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from math import inf

import msgspec

from tests.faults.history import UNKNOWN, Event, Phase

WAITING, RUNNING, SUCCESS, FAILED, CANCELLED = range(5)
ENDED = (SUCCESS, FAILED, CANCELLED)

AMBIGUOUS = ("conflict", "stale_attempt", "not_found", "already_exists")
"""Refusals that a client gets for its second try because its first was done, unheard."""


SLACK = 0.005
"""Seconds by which two ends of a lease may differ: clocks are read with a finite precision."""


class Past(msgspec.Struct, frozen=True):
    """An attempt after which the process went back to the queue; times are the database's."""

    attempt: int
    runtime_id: str
    start: float
    end: float
    leased_until: float | None
    why: str


class Final(msgspec.Struct, frozen=True, kw_only=True):
    """A process at the end. ``past`` is None where a view does not tell."""

    process_id: str
    colony_id: str
    name: str
    state: int
    output: list[str] = []
    errors: list[str] = []
    attempt: int = 0
    retries: int = 0
    runtime_id: str = ""
    start: float | None = None
    end: float | None = None
    past: list[Past] | None = None


class End(msgspec.Struct, frozen=True):
    """The end state, read twice once nothing moved any more."""

    seen_by_api: list[Final]
    stored_by_sql: list[Final]


class Op(msgspec.Struct, frozen=True):
    """A call from its beginning to its end; all that is known of it is in ``about``."""

    about: Event
    begin: float  # not done before
    end: float  # done by then, if it was done; without end when nobody knows

    @property
    def is_ok(self) -> bool:
        return self.about.phase is Phase.OK

    @property
    def may_be_done(self) -> bool:
        """Whether it was done, or may have been by a try that its client heard nothing of."""
        return self.about.phase is not Phase.FAIL or self.about.error in AMBIGUOUS


class Story(msgspec.Struct, frozen=True):
    """Everything that is known, arranged for asking."""

    ops: list[Op]
    by_process: dict[str, list[Op]]
    submits: dict[str, list[Op]]  # by key
    attempts: dict[str, tuple[str, int]]  # by token
    end: dict[str, Final]
    view: End

    def of(self, process_id: str, *calls: str) -> list[Op]:
        return [op for op in self.by_process.get(process_id, []) if op.about.call in calls]

    def ok(self, process_id: str, *calls: str) -> list[Op]:
        return [op for op in self.of(process_id, *calls) if op.is_ok]

    def attempt(self, op: Op) -> int:
        """Give the attempt that a call was of, if it says so by number or by a known token."""
        if op.about.attempt != UNKNOWN:
            return op.about.attempt
        process_id, attempt = self.attempts.get(op.about.token, ("", UNKNOWN))
        return attempt if process_id == op.about.process_id else UNKNOWN

    def assigned(self, process_id: str) -> list[Op]:
        """Give the attempts that somebody is known to have had, by number."""
        seen = [op for op in self.ok(process_id, "assigned") if self.attempt(op) != UNKNOWN]
        return sorted(seen, key=self.attempt)

    def submissions(self, process_id: str) -> list[Op]:
        """Give every try to submit a process: those with the key of one that was acknowledged."""
        keys = {op.about.key for op in self.ok(process_id, "submit")}
        if one := self.end.get(process_id):
            keys.add(one.name)
        return [op for key in sorted(keys) for op in self.submits.get(key, [])]


def tell(events: Iterable[Event], final: End) -> Story:
    """Link beginnings with completions, and sort all by what it is about."""
    halves: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for event in events:
        halves[event.who, event.op].append(event)
    ops = sorted(map(link, halves.values()), key=lambda op: op.begin)
    by_process: dict[str, list[Op]] = defaultdict(list)
    submits: dict[str, list[Op]] = defaultdict(list)
    for op in ops:
        by_process[op.about.process_id].append(op)
        if op.about.call == "submit":
            submits[op.about.key].append(op)
    attempts = {
        op.about.token: (op.about.process_id, op.about.attempt)
        for op in ops
        if op.about.call == "assigned" and op.is_ok and op.about.token
    }
    end = {one.process_id: one for one in final.stored_by_sql}
    return Story(ops, dict(by_process), dict(submits), attempts, end, final)


def link(halves: list[Event]) -> Op:
    """Make one of a call's events; what was seen unasked has no certain beginning."""
    begun = next((event for event in halves if event.phase is Phase.INVOKED), None)
    done = next((event for event in reversed(halves) if event.phase is not Phase.INVOKED), None)
    about = done or msgspec.structs.replace(halves[0], phase=Phase.UNKNOWN)
    is_known = about.phase in (Phase.OK, Phase.FAIL)
    return Op(about, begun.at if begun else -inf, about.at if is_known else inf)


def name(op: Op) -> str:
    """Say which call it was, and what came of it."""
    about = op.about
    which = f" attempt {about.attempt}" if about.attempt != UNKNOWN else ""
    of = f" of process {about.process_id}" if about.process_id else f" of key {about.key}"
    error = f" ({about.error})" if about.error else ""
    return f"{about.who}#{about.op} {about.call}{which}{of} {about.phase}{error} at {about.at:.3f}"


def told(one: Final) -> str:
    what = f"state {one.state}, attempt {one.attempt}, output {one.output}, errors {one.errors}"
    return f"process {one.process_id} ({one.name}: {what})"


def unlike(one: Final, other: Final) -> list[str]:
    """Give the fields in which two views differ; one may not tell what is past."""
    return [
        field
        for field in Final.__struct_fields__
        if not is_close(getattr(one, field), getattr(other, field))
        and not (field == "past" and None in (one.past, other.past))
    ]


def is_close(one: object, other: object) -> bool:
    """Whether two values are the same; times have been through text."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) < SLACK
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(is_close, one, other))
    if isinstance(one, Past) and isinstance(other, Past):
        pairs = zip(msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True)
        return all(is_close(*pair) for pair in pairs)
    return one == other
