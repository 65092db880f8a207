"""How both programs log: structured events on standard error, never on standard output.

The client logs by the standard library, as others use it too; what it says becomes events here.
"""

from __future__ import annotations

import logging
import sys


def configure(*, verbose: bool = False, quiet: bool = False) -> None:
    """Set logging up once: pretty on a terminal, JSON otherwise.

    ``verbose`` shows every call; ``quiet``, for programs that only ask, warnings alone, each in a
    line as what else they say.
    """
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    if verbose or not quiet:
        _set_up(level)
    handler = _Forwarder() if verbose or not quiet else _Plain()
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    logging.getLogger("colonies").setLevel(level)


def _set_up(level: int) -> None:
    import structlog  # noqa: PLC0415 - a quarter of what a command would import

    is_terminal = sys.stderr.isatty()
    # Plain tracebacks: the pretty ones print local variables, and with them keys and payloads.
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        if is_terminal
        else structlog.processors.JSONRenderer()
    )
    processors: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not is_terminal:
        processors.append(structlog.processors.format_exc_info)
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


class _Forwarder(logging.Handler):
    """Makes events of what libraries log; their tracebacks show our peers' faults, not bugs."""

    def emit(self, record: logging.LogRecord) -> None:
        import structlog  # noqa: PLC0415 - see above

        event = {"error": repr(error)} if (error := _error_of(record)) else {}
        structlog.get_logger().log(
            record.levelno, record.getMessage().strip(), logger=record.name, **event
        )


class _Plain(logging.Handler):
    """Says what libraries log as a command says what is not its answer."""

    def emit(self, record: logging.LogRecord) -> None:
        reason = f": {error!r}" if (error := _error_of(record)) else ""
        said = f"{record.levelname.lower()}: {record.getMessage().strip()}{reason}\n"
        if sys.stderr is not None:
            sys.stderr.write(said)


def _error_of(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None
