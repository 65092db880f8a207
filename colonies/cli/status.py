"""Exit codes: one number for each way a command can end."""

from __future__ import annotations

from enum import IntEnum

from colonies.core.errors import (
    AlreadyExists,
    ColoniesError,
    Conflict,
    ConnectionLost,
    DeadlineExceeded,
    Forbidden,
    Malformed,
    Misconfigured,
    NotFound,
    NothingToAssign,
    OverQuota,
    TimedOut,
    Unavailable,
)


class Status(IntEnum):
    """How a command ended, as the shell sees it."""

    DONE = 0
    PROCESS_FAILED = 1
    MISUSED = 2
    FORBIDDEN = 3
    NOT_FOUND = 4
    UNREACHABLE = 5
    CONFLICT = 6
    TIMED_OUT = 124  # as timeout(1)
    INTERRUPTED = 130  # 128 + SIGINT, as shells say it
    UNREAD = 141  # 128 + SIGPIPE


MEANINGS = {
    Status.DONE: "done",
    Status.PROCESS_FAILED: "the process failed or was cancelled",
    Status.MISUSED: "wrong usage, settings or input",
    Status.FORBIDDEN: "not allowed",
    Status.NOT_FOUND: "not found",
    Status.UNREACHABLE: "the hub is not there, does not answer or is not well",
    Status.CONFLICT: "there is one already, not possible in the present state, or over a quota",
    Status.TIMED_OUT: "time ran out while waiting for a process",
}
"""What the help says; those that are left out are the shell's own."""

# The first that fits: what is narrower comes before its parent.
_STATUSES: tuple[tuple[type[ColoniesError], Status], ...] = (
    (NothingToAssign, Status.TIMED_OUT),
    (TimedOut, Status.TIMED_OUT),
    (AlreadyExists, Status.CONFLICT),
    (Conflict, Status.CONFLICT),
    (Malformed, Status.MISUSED),
    (Misconfigured, Status.MISUSED),
    (Forbidden, Status.FORBIDDEN),
    (NotFound, Status.NOT_FOUND),
    (OverQuota, Status.CONFLICT),
    (Unavailable, Status.UNREACHABLE),
    (ConnectionLost, Status.UNREACHABLE),
    (DeadlineExceeded, Status.UNREACHABLE),
    (ColoniesError, Status.UNREACHABLE),  # an internal error: the hub is not well
)


def status_of(error: ColoniesError) -> Status:
    """Give the exit code that an error means."""
    return next(status for kind, status in _STATUSES if isinstance(error, kind))
