"""What can be seen of a job in a queue system, in words that all of them share."""

from __future__ import annotations

from enum import Enum, StrEnum

import msgspec


class Phase(Enum):
    """How far a job has come. What a system says and we do not know is none of these."""

    QUEUED = "queued"
    RUNNING = "running"
    SUSPENDED = "suspended"
    ENDED = "ended"


class Ending(StrEnum):
    """What ended a job, other than its own exit: the first words of the error."""

    ITSELF = "exit"
    OVERTIME = "time limit"
    OUT_OF_MEMORY = "out of memory"
    NODE_FAILED = "node failed"
    EVICTED = "evicted"
    NO_IMAGE = "no image"
    UNSCHEDULABLE = "unschedulable"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled in the queue system"
    NOT_STARTED = "not started"
    VANISHED = "vanished"
    REFUSED = "refused"


class Sight(msgspec.Struct, frozen=True):
    """One job as it was seen.

    ``state`` and ``reason`` are the system's own words, ``expected_start`` is in seconds since
    1970, or 0. The exit code counts, or the signal, only of a job that ended by itself.
    """

    job_id: str
    name: str
    phase: Phase | None
    state: str
    reason: str = ""
    ending: Ending = Ending.ITSELF
    expected_start: int = 0
    exit_code: int = 0
    signal: int = 0
    nodes: str = ""
    restarts: int = 0


class Refused(Exception):
    """The system will never take this job; its reason is the text."""


class Busy(Exception):
    """The system has not taken this job, but may later."""


class Unsure(Exception):
    """No answer, or none that can be understood: it may have happened or not."""
