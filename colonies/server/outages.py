"""What goes wrong with the database: in our words to callers, in its own to whoever runs the hub.

Told apart by class, SQLSTATE, errno and constraint, never by text.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic

import asyncpg
import msgspec
import structlog

from colonies.core.errors import AlreadyExists, Conflict, Malformed, Misconfigured, Unavailable
from colonies.server.descriptors import NONE_LEFT
from colonies.server.seldom import Seldom

logger = structlog.get_logger()

PROBE_PERIOD = 1.0
"""Seconds at least from one look whether an outage is over to the next."""


class Outage(msgspec.Struct, frozen=True):
    """One way in which the database does not do what it is asked."""

    text: str
    """What callers are told. They may try again: the same request is done once."""

    is_error: bool = True
    """Whether somebody should look at it; else it is a warning."""

    is_lasting: bool = True
    """Whether the hub is not ready until a probe says that it is over."""


_AWAY = Outage("the database cannot be reached")
_NO_DESCRIPTORS = Outage(NONE_LEFT)
_READ_ONLY = Outage("the database is read-only")

# The first that fits counts, so that a class stands before those that it belongs to.
_OUTAGES: list[tuple[type[Exception], Outage]] = [
    (asyncpg.DiskFullError, Outage("the database has no space left")),
    (asyncpg.OutOfMemoryError, Outage("the database has no memory left")),
    (asyncpg.TooManyConnectionsError, Outage("the database has too many connections")),
    (asyncpg.InsufficientResourcesError, Outage("the database is at a limit of its own")),
    (asyncpg.ReadOnlySQLTransactionError, _READ_ONLY),
    (asyncpg.TargetServerAttributeNotMatched, _READ_ONLY),
    # What the system refuses to PostgreSQL, as on a disk that became read-only, is one too.
    (asyncpg.InsufficientPrivilegeError, Outage("the database lacks a permission")),
    (asyncpg.PostgresSystemError, Outage("the database cannot use its disk")),
    (asyncpg.InternalServerError, Outage("the database failed")),
    (asyncpg.InvalidAuthorizationSpecificationError, Outage("the database refuses the hub")),
    (asyncpg.InvalidCatalogNameError, Outage("the database is not there")),
    (
        asyncpg.DeadlockDetectedError,
        Outage("statements were in each other's way", is_error=False, is_lasting=False),
    ),
    (
        asyncpg.QueryCanceledError,
        Outage("the database gave up a statement", is_error=False, is_lasting=False),
    ),
    (asyncpg.OperatorInterventionError, Outage("the database is starting or stopping")),
    (asyncpg.PostgresConnectionError, _AWAY),
    (asyncpg.InterfaceError, _AWAY),
    (asyncpg.InternalClientError, _AWAY),
    (TimeoutError, Outage("the database does not answer in time", is_error=False)),
    (OSError, _AWAY),
]

# What a unique constraint means to whoever broke it: the text and the field.
_TAKEN = {
    "colonies_pkey": ("there already is a colony with this id", "colony.colonyid"),
    "runtimes_pkey": ("there already is a runtime with this id", "runtime.runtimeid"),
    "runtimes_name_key": ("there already is a runtime with this name", "runtime.name"),
    "crons_name_key": ("there already is a cron with this name", "cron.name"),
    "generators_name_key": ("there already is a generator with this name", "generator.name"),
    "attributes_pkey": ("the process has an attribute with this key and type", "attribute.key"),
}

_REQUESTS = "requests_pkey"


def seen_before() -> Conflict:
    """Give what says that a request has had no effect, as it was done before."""
    return Conflict("the request was seen before", field="sec.req")


def outage_of(error: BaseException | None) -> Outage | None:
    """Give the outage that an error tells of, or None if it is about what was asked."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return _NO_DESCRIPTORS
    return next((outage for kind, outage in _OUTAGES if isinstance(error, kind)), None)


class Health:
    """How the database is, as far as its errors tell; said in the log, each kind seldom."""

    def __init__(self, *, clock: Callable[[], float] = monotonic) -> None:
        self.outage: Outage | None = None
        """The last that lasts, until a probe has found that it is over."""

        self.is_closed = False
        """Whether connections end because we want it, which is no news."""

        self._clock = clock
        self._since = 0.0
        self._probed = -PROBE_PERIOD
        self._refused = 0
        self._seldom = Seldom(clock=clock)

    def note(self, outage: Outage, error: BaseException) -> None:
        """Take what was refused for which error."""
        if self.is_closed:
            return
        if count := self._seldom.count(outage):
            say = logger.error if outage.is_error else logger.warning
            say(
                "database unavailable",
                why=outage.text,
                sqlstate=getattr(error, "sqlstate", None),
                error=_words_of(error),
                count=count,
            )
        if not outage.is_lasting:
            return
        if self.outage is None:
            self._since, self._refused = self._clock(), 0
        self._refused += 1
        self.outage = outage

    def recover(self) -> None:
        """Take that a probe has found all well."""
        if self.outage is not None:
            seconds = round(self._clock() - self._since, 1)
            logger.info("database available again", seconds=seconds, refused=self._refused)
        self.outage = None

    def is_to_be_probed(self) -> bool:
        """Tell whether there is an outage that was not looked at for a second; then it is now."""
        if self.outage is None or self._clock() - self._probed < PROBE_PERIOD:
            return False
        self._probed = self._clock()
        return True

    def check(self) -> None:
        """Raise Unavailable while there is an outage."""
        if self.outage is not None:
            raise Unavailable(self.outage.text)


class translated:  # noqa: N801 - reads as a phrase: with translated(...)
    """Turn the driver's errors into ours, and note those that are outages."""

    __slots__ = ("_health",)

    def __init__(self, health: Health) -> None:
        self._health = health

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if error is None:
            return
        if isinstance(error, asyncpg.UniqueViolationError):
            if error.constraint_name == _REQUESTS:
                raise seen_before() from error
            text, field = _TAKEN.get(error.constraint_name or "", ("already there", ""))
            raise AlreadyExists(text, field=field) from error
        if isinstance(error, asyncpg.CheckViolationError | asyncpg.DataError):
            raise Malformed(f"out of range: {error.constraint_name or 'a value'}") from error
        if outage := outage_of(error):
            self._health.note(outage, error)
            raise Unavailable(outage.text) from error


@contextmanager
def explained(url: str) -> Iterator[None]:
    """Say in our words why there is no first connection, and whose fault it is."""
    try:
        yield
    except asyncpg.ProtocolViolationError as error:  # how PgBouncer says that it is none of ours
        hint = "if it is that of a pooler, give the one behind it as --database-direct-url"
        raise Misconfigured(f"{url}: {error}; {hint}") from error
    except (
        OSError,
        asyncpg.InternalClientError,
        asyncpg.CannotConnectNowError,
        asyncpg.InsufficientResourcesError,
    ) as error:
        raise unreached(error) from error
    except (ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise Misconfigured(f"{url}: {error}") from error


def unreached(error: BaseException) -> Unavailable:
    """Give what says why there is no connection, in the words of whoever refused it too."""
    outage = outage_of(error) or _AWAY
    return Unavailable(f"{outage.text}: {_words_of(error)}")


def _words_of(error: BaseException) -> str:
    """Give the message, without details: those may quote what was to be written."""
    return str(error.args[0] if isinstance(error, asyncpg.PostgresError) else error) or repr(error)
