"""Why a process is where it is, in sentences."""

from __future__ import annotations

from collections.abc import Iterator

from colonies.core.process import USUAL_LEASE, Process, State
from colonies.core.wire import Wire


class Standing(Wire):
    """What a process is up against.

    The figures count runtimes: of the type that it asks for, or those that it is addressed to.
    Those that are ``excluded`` or have too little are approved ones; one may count several times.
    Who ``fit`` is ``silent`` if not heard from for a minute, else ``busy`` while it runs anything.
    What is ``running`` is that of the whole colony.
    """

    pending: int = 0
    rejected: int = 0
    approved: int = 0
    excluded: int = 0
    with_too_few_cores: int = 0
    with_too_little_memory: int = 0
    with_too_few_gpus: int = 0
    fit: int = 0
    silent: int = 0
    busy: int = 0
    ahead: int = 0
    unfinished_parents: list[str] = []
    running: int = 0
    lease_left: float = 0  # seconds; 0 is no end


class Explanation(Wire):
    """Why a process is in its state, one reason a line."""

    process_id: str
    state: State
    reasons: list[str]


MOST_PARENTS = 10
"""Parents that are named; of more, the first."""

OVERDUE = 0.5
"""The share of a lease that is left when its renewal is late: runtimes renew at a third of it."""

MOST_AHEAD = 1000
"""Processes ahead of one in the queue that are counted; more are "more than"."""


def explain(process: Process, standing: Standing, *, most_running: int = 0) -> Explanation:
    """Say why a process is in its state; ``most_running`` may run in its colony, 0 is no limit."""
    reasons = list(
        {
            State.WAITING: _why_waiting,
            State.RUNNING: _why_running,
            State.SUCCESS: _why_ended,
            State.FAILED: _why_ended,
            State.CANCELLED: _why_ended,
        }[process.state](process, standing)
    )
    if process.state is State.WAITING and 0 < most_running <= standing.running:
        reasons.append(f"the colony runs {standing.running} of {most_running} at most")
    return Explanation(process_id=process.process_id, state=process.state, reasons=reasons)


def _why_ended(process: Process, _standing: Standing) -> Iterator[str]:
    yield f"it has ended: {process.state.name.lower()}"
    yield from process.errors


def _why_running(process: Process, standing: Standing) -> Iterator[str]:
    yield f"runtime {process.assigned_runtime_id} is running it, attempt {process.attempt}"
    if process.is_cancelling:
        reason = f": {process.cancel_reason}" if process.cancel_reason else ""
        yield f"cancelled by {process.cancelled_by}{reason}; its runtime is stopping it"
        return
    lease = process.spec.lease or USUAL_LEASE
    if 0 < standing.lease_left < lease * OVERDUE:
        silent = f"it has not been heard from for {lease - standing.lease_left:.0f} s"
        left = process.spec.max_retries < 0 or process.retries < process.spec.max_retries
        then = "next retry" if left else "no retry is left: it fails"
        yield f"{silent}; unless it is, {then} in {standing.lease_left:.0f} s"


def _why_waiting(process: Process, standing: Standing) -> Iterator[str]:
    if process.wait_for_parents:
        parents = standing.unfinished_parents
        more = len(parents) - MOST_PARENTS
        rest = f" and {more} more" if more > 0 else ""
        yield f"waiting for parents {', '.join(parents[:MOST_PARENTS])}{rest}"
        return
    if standing.approved == 0:
        yield from _why_nobody(process, standing)
        return
    yield from _why_not_fit(process, standing)
    if standing.fit:
        yield from _why_not_taken(standing)


def _why_nobody(process: Process, standing: Standing) -> Iterator[str]:
    conditions = process.spec.conditions
    if conditions.is_addressed:
        yield "none of the runtimes that it is for is an approved runtime of the colony"
    elif conditions.runtime_type:
        yield f"no approved runtime of type {conditions.runtime_type}"
    else:
        yield "it is for runtimes without a type, and none of those is approved"
    if standing.pending:
        yield f"{standing.pending} {_wait(standing.pending)} for approval"
    if standing.rejected:
        yield f"{standing.rejected} {_are(standing.rejected)} rejected"


def _why_not_fit(process: Process, standing: Standing) -> Iterator[str]:
    conditions = process.spec.conditions
    of_them = "of them" if conditions.is_addressed else f"of type {conditions.runtime_type}"
    for count, fault in (
        (standing.excluded, "not among the runtimes that it is for"),
        (standing.with_too_few_cores, f"fewer than {_count(conditions.cores, 'core')}"),
        (standing.with_too_little_memory, f"less than {conditions.mem} MiB of memory"),
        (standing.with_too_few_gpus, f"fewer than {_count(conditions.gpus, 'GPU')}"),
    ):
        if count:
            verb = _are(count) if fault.startswith("not") else _have(count)
            yield f"{count} {of_them} {verb} {fault}"


def _why_not_taken(standing: Standing) -> Iterator[str]:
    which = "the one that fits" if standing.fit == 1 else f"the {standing.fit} that fit"
    if standing.silent == standing.fit:
        yield f"{which} {_have(standing.fit)} not been heard from for a minute"
    elif standing.busy == standing.fit:
        yield f"{which} {_are(standing.fit)} busy"
    else:
        idle = standing.fit - standing.busy - standing.silent
        yield (
            f"of {standing.fit} that fit, {standing.busy} {_are(standing.busy)} busy, "
            f"{standing.silent} silent, {idle} idle"
        )
    if standing.ahead:
        amount = f"more than {MOST_AHEAD}" if standing.ahead > MOST_AHEAD else str(standing.ahead)
        yield f"{amount} ahead of it in the queue"


def _count(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _have(count: int) -> str:
    return "has" if count == 1 else "have"


def _wait(count: int) -> str:
    return "waits" if count == 1 else "wait"
