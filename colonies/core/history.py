"""What has happened to a process, in order.

Only what later attempts would overwrite is stored besides the process itself: the attempts that
ended without ending it. All else follows from the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from colonies.core.process import Process, State
from colonies.core.wire import ZERO_TIME, Time, Wire


class Happening(StrEnum):
    """What can happen to a process."""

    SUBMITTED = "submitted"
    ASSIGNED = "assigned"
    RELEASED = "released"
    LEASE_LOST = "lease lost"
    OVERRUN = "execution time exceeded"
    RUNTIME_DELETED = "runtime deleted"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    SUCCESSFUL = "successful"
    FAILED = "failed"


class PastAttempt(Wire):
    """An attempt after which the process went back to the queue."""

    attempt: int
    runtime_id: str
    start_time: Time
    end_time: Time
    ending: Happening
    leased_until: Time = ZERO_TIME


class Event(Wire):
    """Something that has happened to a process; attempt and runtime where there is one."""

    time: Time
    event: Happening
    attempt: int = 0
    runtime_id: str = ""
    text: str = ""


ENDINGS = {
    State.SUCCESS: Happening.SUCCESSFUL,
    State.FAILED: Happening.FAILED,
    State.CANCELLED: Happening.CANCELLED,
}

NEXT = "back in the queue"


def events_of(process: Process, past: list[PastAttempt]) -> list[Event]:
    """Give everything that has happened to a process, oldest first."""
    submitted = f"by {process.submitted_by}" if process.submitted_by else ""
    return [
        Event(time=process.submission_time, event=Happening.SUBMITTED, text=submitted),
        *(event for one in past for event in _of_past(one)),
        *_of_present(process),
    ]


def _of_past(one: PastAttempt) -> Iterator[Event]:
    yield Event(one.start_time, Happening.ASSIGNED, one.attempt, one.runtime_id)
    yield Event(one.end_time, one.ending, one.attempt, one.runtime_id, NEXT)


def _of_present(process: Process) -> Iterator[Event]:
    has_started = process.start_time != ZERO_TIME
    attempt, runtime_id = (process.attempt, process.assigned_runtime_id) if has_started else (0, "")
    reason = f": {process.cancel_reason}" if process.cancel_reason else ""
    cancelled = f"by {process.cancelled_by}{reason}" if process.cancelled_by else ""
    if has_started:
        yield Event(process.start_time, Happening.ASSIGNED, attempt, runtime_id)
    if has_started and cancelled:
        yield Event(process.cancel_time, Happening.CANCELLING, attempt, runtime_id, cancelled)
    if process.state.is_final:
        is_by_somebody = process.state is State.CANCELLED and cancelled
        text = cancelled if is_by_somebody else "; ".join(process.errors)
        yield Event(process.end_time, ENDINGS[process.state], attempt, runtime_id, text)
