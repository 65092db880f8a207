"""Every error of Colonies: one tree, shared by the hub, the client and the command line.

::

    ColoniesError                       whatever goes wrong on purpose
    ├── Failure                500      a failed call; carries its wire status and code
    │   ├── Malformed          400      the message cannot be understood; names the field
    │   │   ├── AlreadyExists  400      there is one with this id or name
    │   │   └── TooLarge       413      over a limit of the hub
    │   ├── Forbidden          403      not allowed
    │   │   ├── BadSignature   403      not signed, or not in the one canonical form
    │   │   └── UnknownType    403      no such message, or not through this door
    │   ├── NotFound           404      no such thing, or not yours
    │   │   └── NothingToAssign 404     no process for this runtime in time
    │   ├── TimedOut           408      a subscription or a wait came to its end
    │   ├── Conflict           409      understood, but not in this state
    │   │   └── StaleAttempt   409      the attempt is over; somebody else's may be running
    │   ├── OverQuota          429      more than this identity, or its colony, may ask for
    │   └── Unavailable        503      the hub cannot reach its database, or is stopping
    ├── ConnectionLost (OSError)        client: the call may or may not have happened
    ├── DeadlineExceeded (TimeoutError) client: no answer in time
    └── Misconfigured                   a setting, a key or a file on this side is wrong

A ``Failure`` crosses the wire as ``{"status", "code", "message", "field"}`` and comes out of the
client as the same class: codes are stable, texts are for people.
"""

from __future__ import annotations

import msgspec


class ColoniesError(Exception):
    """The root: everything Colonies raises on purpose."""


class FailureMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """A failure as it travels: the payload of an ``error`` reply."""

    status: int = 0
    message: str = ""
    code: str = ""
    field: str = ""


class Failure(ColoniesError):
    """Something we did not foresee; the peer learns no details."""

    status = 500
    code = "internal"

    def __init__(self, message: str = "internal error", *, field: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.field = field

    def to_message(self) -> FailureMessage:
        """Give the payload of the error reply."""
        return FailureMessage(self.status, self.message, self.code, self.field)


class Malformed(Failure):
    """The message cannot be understood: names the field and what was expected."""

    status = 400
    code = "malformed"


class AlreadyExists(Malformed):
    """There already is one with this id or name."""

    code = "already_exists"


class TooLarge(Malformed):
    """The message is over a limit of the hub."""

    status = 413
    code = "too_large"


class Forbidden(Failure):
    """The caller may not do this."""

    status = 403
    code = "forbidden"


class BadSignature(Forbidden):
    """The message is not signed, or not in the one canonical form."""

    code = "bad_signature"


class UnknownType(Forbidden):
    """There is no such message, or this door does not take it."""

    code = "unknown_type"


class NotFound(Failure):
    """There is no such thing, or none the caller may know of."""

    status = 404
    code = "not_found"


class NothingToAssign(NotFound):
    """No process for this runtime turned up in time."""

    code = "nothing_to_assign"


class TimedOut(Failure):
    """A subscription or a wait came to its end."""

    status = 408
    code = "timed_out"


class Conflict(Failure):
    """Understood, but not possible in the present state."""

    status = 409
    code = "conflict"


class StaleAttempt(Conflict):
    """The attempt is over: nothing can be written by it any more."""

    code = "stale_attempt"


class OverQuota(Failure):
    """More than the caller, or the colony, may ask for; says which limit it was."""

    status = 429
    code = "over_quota"


class Unavailable(Failure):
    """The hub cannot serve just now; try again."""

    status = 503
    code = "unavailable"


class ConnectionLost(ColoniesError, OSError):
    """The connection went; the call may or may not have happened."""


class DeadlineExceeded(ColoniesError, TimeoutError):
    """No answer in time; the call may or may not have happened."""


class Misconfigured(ColoniesError):
    """A setting, a key or a file on this side is missing or wrong."""


def failure_from(message: FailureMessage) -> Failure:
    """Turn an error reply into the class it was raised as, or the nearest by status."""
    known: list[type[Failure]] = [Failure, *_descendants(Failure)]
    by_code = [kind for kind in known if kind.code == message.code]
    by_status = [kind for kind in known if kind.status == message.status]
    kind: type[Failure] = (by_code + by_status + known)[0]
    return kind(message.message, field=message.field)


def _descendants(kind: type[Failure]) -> list[type[Failure]]:
    children = kind.__subclasses__()
    return children + [one for child in children for one in _descendants(child)]
