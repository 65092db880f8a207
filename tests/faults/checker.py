"""Whether what drivers saw, and what there is in the end, can have come from a correct hub.

Only what is certain counts (see `story.Op`). Drivers' times and the database's are of different
clocks, and are never compared with each other.

What must hold of the drivers: every key is of one submission; who notes that it was assigned a
process notes all that it does to it; a request that is repeated under its old request id is one
op with its first try.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from math import inf

import msgspec

from tests.faults.history import UNKNOWN, Event
from tests.faults.story import (
    CANCELLED,
    ENDED,
    FAILED,
    SLACK,
    SUCCESS,
    WAITING,
    End,
    Op,
    Story,
    name,
    tell,
    told,
    unlike,
)

START_OF_TRANSACTION = 0.25
"""Seconds that the database may take from its now() to its look at the rows."""

MOST_PAST = 100
"""Attempts that a hub remembers of one process; of more, the first and the last."""

CLOSES = ("close", "fail")
WRITES = (*CLOSES, "attribute", "release", "renew")
SIGHTS = (*WRITES, "assigned", "cancel")


class Violation(msgspec.Struct, frozen=True):
    """What cannot have come from a correct hub."""

    kind: str
    text: str


def judge(events: Iterable[Event], final: End, *, must_end: bool = True) -> list[Violation]:
    """Give everything that a correct hub cannot have done; ``must_end``: all should have ended."""
    story = tell(events, final)
    found = [
        Violation(kind, text)
        for kind, checks in KINDS.items()
        for check in checks
        for text in check(story)
    ]
    if must_end:
        found += [Violation("lost", text) for text in never_ended(story)]
    return found


# Each check gives texts; what is certain, and why, stands with it.


def lost(story: Story) -> Iterator[str]:
    """Who was told of a process has seen it stored, and nothing but a deletion takes it away."""
    names = {one.name for one in story.end.values()}
    for op in story.ops:
        if not op.is_ok or op.about.call not in ("submit", *SIGHTS):
            continue
        which, those = op.about.process_id, story.end.keys()
        if not which:
            which, those = op.about.key, names
        if which and which not in those and not is_explained(story, op):
            yield f"{name(op)}, and it is not there"


def is_explained(story: Story, seen: Op) -> bool:
    """Whether a deletion may have come after the process was there."""
    of_one = story.of(seen.about.process_id, "delete") if seen.about.process_id else []
    of_all = [op for op in story.of("", "delete") if op.about.colony_id == seen.about.colony_id]
    return any(op.may_be_done and op.end >= seen.begin for op in of_one + of_all)


def lost_close(story: Story) -> Iterator[str]:
    """The first close is for good, so an acknowledged one is what is stored.

    A fail of what was being cancelled makes it cancelled.
    """
    for one in story.end.values():
        for op in story.ok(one.process_id, "close"):
            if (one.state, one.output) != (SUCCESS, op.about.output):
                yield f"{name(op)} with {op.about.output}, but stored is {told(one)}"
        cancels = [op for op in story.of(one.process_id, "cancel") if op.may_be_done]
        for op in story.ok(one.process_id, "fail"):
            states = (FAILED, CANCELLED) if cancels else (FAILED,)
            if one.state not in states or one.errors != op.about.output:
                yield f"{name(op)} with {op.about.output}, but stored is {told(one)}"


def lost_attempts(story: Story) -> Iterator[str]:
    """Attempts are only counted up, so the last is none before one that somebody was given."""
    for one in story.end.values():
        for op in story.assigned(one.process_id):
            if story.attempt(op) > one.attempt:
                yield f"{name(op)}, but stored is {told(one)}"


def never_ended(story: Story) -> Iterator[str]:
    """The drivers have waited for every process, so none is left."""
    for one in story.end.values():
        if one.state not in ENDED:
            yield f"{told(one)} has not ended"


def ghosts(story: Story) -> Iterator[str]:
    """A key is durable before its submit is made, so what is stored has a submit behind it.

    A refusal that no earlier try explains means that nothing was stored.
    """
    for one in story.end.values():
        made = story.submits.get(one.name, [])
        if not made:
            yield f"{told(one)} was submitted by nobody"
        elif not any(op.may_be_done for op in made):
            yield f"{told(one)} is there, but {name(made[-1])}"


def undead(story: Story) -> Iterator[str]:
    """Ids are not used twice, so what was deleted stays away."""
    for one in story.end.values():
        for op in story.ok(one.process_id, "delete"):
            yield f"{told(one)} is there, but {name(op)}"


def doubled(story: Story) -> Iterator[str]:
    """A key is of one submission, however often it was tried, so it is of one process."""
    processes = defaultdict(set)
    for one in story.end.values():
        processes[one.name].add(one.process_id)
    for key, tries in story.submits.items():
        processes[key] |= {op.about.process_id for op in tries if op.is_ok} - {""}
    for key, ids in processes.items():
        if len(ids) > 1:
            yield f"submission {key} made {len(ids)} processes: {', '.join(sorted(ids))}"


def twice_ended(story: Story) -> Iterator[str]:
    """The first close wins; acknowledged again is only the same, of the same attempt."""
    for process_id in story.by_process:
        closes = story.ok(process_id, *CLOSES)
        for first, second in pairwise(closes):
            if closing(story, first) != closing(story, second):
                yield f"{name(first)} and {name(second)}"


def closing(story: Story, op: Op) -> tuple[str, int | str, list[str]]:
    """Give what makes two closes the same."""
    attempt = story.attempt(op)
    return op.about.call, op.about.token if attempt == UNKNOWN else attempt, op.about.output


def stale_writes(story: Story) -> Iterator[str]:
    """A later attempt that was seen before a write was invoked had ended the writer's attempt.

    What was asked before that may be acknowledged again, without being done again.
    """
    for process_id in story.by_process:
        for op in story.ok(process_id, *WRITES):
            attempt = story.attempt(op)
            later = [
                one
                for one in story.assigned(process_id)
                if attempt != UNKNOWN and story.attempt(one) > attempt and one.end < op.begin
            ]
            if later and not is_repeated(story, op, before=min(one.end for one in later)):
                yield f"{name(op)} after {name(later[0])}"


def is_repeated(story: Story, op: Op, *, before: float) -> bool:
    """Whether the same may have been done by an earlier call. A renewal is new each time."""
    return op.about.call != "renew" and any(
        one.begin < before and one.may_be_done and closing(story, one) == closing(story, op)
        for one in story.of(op.about.process_id, op.about.call)
    )


def borrowed_tokens(story: Story) -> Iterator[str]:
    """A token is of one attempt, so nothing can be written with it elsewhere."""
    for process_id in story.by_process:
        for op in story.ok(process_id, *WRITES):
            owner = story.attempts.get(op.about.token)
            if owner and owner != (process_id, story.attempt(op)):
                yield f"{name(op)} with the token of attempt {owner[1]} of process {owner[0]}"


def old_outputs(story: Story) -> Iterator[str]:
    """Whoever had the last attempt noted every close it asked for: one of them is stored.

    Errors may be the hub's own; they are only wrong if an older attempt is known to have sent them.
    """
    for one in story.end.values():
        closes = [op for op in story.of(one.process_id, *CLOSES) if op.may_be_done]
        if one.attempt not in map(story.attempt, story.assigned(one.process_id)):
            continue
        is_success = one.state == SUCCESS
        call, stored = ("close", one.output) if is_success else ("fail", one.errors)
        same = [op for op in closes if (op.about.call, op.about.output) == (call, stored)]
        is_last = any(story.attempt(op) in (one.attempt, UNKNOWN) for op in same)
        if one.state in ENDED and not is_last and (same or is_success):
            whose = f"by {name(same[0])}" if same else "by nobody"
            yield f"{told(one)} was written {whose}, not by its last attempt"


def overlaps(story: Story) -> Iterator[str]:
    """An attempt that nobody gave up lasts as long as its lease.

    It was assigned no earlier than that was asked for, than its process was submitted, and than the
    attempt before it; it was renewed no earlier than that was asked for; and the next one was
    assigned no later than it was seen.
    """
    for process_id in story.by_process:
        earliest = min((op.begin for op in story.submissions(process_id)), default=-inf)
        for op, later in pairwise(story.assigned(process_id)):
            earliest = max(op.begin, earliest)
            attempt = story.attempt(op)
            is_next = story.attempt(later) == attempt + 1
            held_until = lease_end(story, op, earliest)
            if is_next and later.end < held_until - SLACK and not gives_up(story, op):
                yield f"{name(later)} {held_until - later.end:.3f} s within the lease of {name(op)}"


def lease_end(story: Story, assigned: Op, earliest: float) -> float:
    """Give until when an attempt was certainly held; an execution may end before its lease."""
    renewals = [
        one.begin + (one.about.lease or assigned.about.lease)
        for one in story.ok(assigned.about.process_id, "renew")
        if story.attempt(one) == story.attempt(assigned)
    ]
    limits = [one.about.limit for one in story.submissions(assigned.about.process_id)]
    overrun = min((earliest + limit for limit in limits if limit), default=inf)
    if not assigned.about.lease:
        return -inf
    return min(max(earliest + assigned.about.lease, *renewals, -inf), overrun)


def gives_up(story: Story, assigned: Op) -> bool:
    """Whether an attempt may have ended before its lease; closes are no way back to the queue."""
    process_id, attempt = assigned.about.process_id, story.attempt(assigned)
    releases = story.of(process_id, "release")
    if any(op.may_be_done and story.attempt(op) in (attempt, UNKNOWN) for op in releases):
        return True
    one = story.end.get(process_id)
    past = one.past or [] if one else []
    return any(old.attempt == attempt and old.why != "lease lost" for old in past)


def shared_attempts(story: Story) -> Iterator[str]:
    """An attempt is given to one; to the same again only as it was, with the same token."""
    for process_id in story.by_process:
        for one, other in pairwise(story.assigned(process_id)):
            is_same = (one.about.who, one.about.token) == (other.about.who, other.about.token)
            if story.attempt(one) == story.attempt(other) and not is_same:
                yield f"{name(one)} and {name(other)}"


def crooked_pasts(story: Story) -> Iterator[str]:
    """What the database keeps of attempts: counted from 1, one after the other, leases kept."""
    for one in story.end.values():
        past = one.past or []
        numbers = [old.attempt for old in past]
        counted = (list(range(1, one.attempt)), list(range(1, one.attempt + 1)))
        if one.past is not None and len(past) < MOST_PAST and numbers not in counted:
            yield f"{told(one)} has the past attempts {numbers}"
        for old in past:
            if old.why == "lease lost" and old.end < (old.leased_until or -inf) - SLACK:
                yield f"{told(one)} lost attempt {old.attempt} before the end of its lease"
        spans = [(old.start, old.end) for old in past]
        if one.start is not None:
            spans.append((one.start, inf if one.end is None else one.end))
        for (start, end), (next_start, _) in pairwise(spans):
            if end < start or next_start < end - START_OF_TRANSACTION:
                yield f"{told(one)} has attempts that overlap: {spans}"


def reused_tokens(story: Story) -> Iterator[str]:
    """A token is drawn for each attempt anew."""
    seen: dict[str, Op] = {}
    for op in story.ops:
        if op.about.call != "assigned" or not op.is_ok or not op.about.token:
            continue
        first = seen.setdefault(op.about.token, op)
        if (first.about.process_id, first.about.attempt) != (op.about.process_id, op.about.attempt):
            yield f"{name(first)} and {name(op)} with the same token"


def trespasses(story: Story) -> Iterator[str]:
    """Whoever acts for a colony is given nothing of another one and changes nothing there."""
    for op in story.ops:
        about = op.about
        submits = story.ok(about.process_id, "submit") if about.process_id else []
        homes = {one.about.colony_id for one in submits if one is not op}
        if one := story.end.get(about.process_id):
            homes = {one.colony_id}
        for home in homes - {"", about.colony_id} if about.colony_id else ():
            if op.is_ok:
                yield f"{name(op)} for colony {about.colony_id}, but it is of colony {home}"
    for one in story.end.values():
        homes = {op.about.colony_id for op in story.submits.get(one.name, [])}
        if homes and not homes & {one.colony_id, ""}:
            yield f"{told(one)} of colony {one.colony_id} was submitted for {homes}"


def restarts(story: Story) -> Iterator[str]:
    """A close is for good: no attempt comes after the one that it ended.

    If one was seen before the close was asked for, then it is the close that is wrong.
    """
    for process_id in story.by_process:
        for end in story.ok(process_id, *CLOSES):
            later = after(story, end)
            if later and later[0].end >= end.begin:
                yield f"{name(later[0])} although {name(end)}"


def started_after_cancel(story: Story) -> Iterator[str]:
    """What waited is over, and what ran is not tried again: the reply shows which attempt that was.

    Of a reply that does not, only an assign that was asked for later is certain to have come after.
    """
    for process_id in story.by_process:
        for end in story.ok(process_id, "cancel"):
            later = after(story, end)
            if story.attempt(end) == UNKNOWN:
                later = [op for op in story.assigned(process_id) if op.begin > end.end]
            if later:
                yield f"{name(later[0])} although {name(end)}"


def after(story: Story, end: Op) -> list[Op]:
    """Give the attempts that somebody was given after the one of ``end``."""
    attempt = story.attempt(end)
    seen = story.assigned(end.about.process_id)
    return [op for op in seen if attempt != UNKNOWN and story.attempt(op) > attempt]


def cancelled_in_vain(story: Story) -> Iterator[str]:
    """What was cancelled is over, or has a runtime that is stopping."""
    for one in story.end.values():
        for op in story.ok(one.process_id, "cancel"):
            if one.state == WAITING:
                yield f"{told(one)} is in the queue although {name(op)}"


def disagreements(story: Story) -> Iterator[str]:
    """Nothing moved between the two readings."""
    api = {one.process_id: one for one in story.view.seen_by_api}
    for process_id in api.keys() | story.end.keys():
        one, other = api.get(process_id), story.end.get(process_id)
        if one is None or other is None:
            yield f"process {process_id} is only {'stored' if one is None else 'shown'}"
        elif fields := unlike(one, other):
            yield f"{told(other)} is shown and stored with different {', '.join(fields)}"


KINDS: dict[str, tuple[Callable[[Story], Iterator[str]], ...]] = {
    "lost": (lost, lost_close, lost_attempts),
    "ghost": (ghosts, undead),
    "doubled": (doubled,),
    "twice ended": (twice_ended,),
    "stale write": (stale_writes, borrowed_tokens, old_outputs),
    "overlap": (overlaps, shared_attempts, crooked_pasts),
    "reused token": (reused_tokens,),
    "isolation": (trespasses,),
    "restarted": (restarts,),
    "started after cancel": (started_after_cancel, cancelled_in_vain),
    "disagreement": (disagreements,),
}
