"""What a function that the `python` plugin calls can say of itself while it runs.

What it prints or logs is in the log of the process without more ado. Called by somebody else, it
says nothing; so it does in a thread that was not started with the context of the call, as
`asyncio.to_thread` does and `contextvars.copy_context` helps others to.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from colonies.core.log import Progress, make_progress

LISTENER: ContextVar[Callable[[Progress], None] | None] = ContextVar("listener", default=None)
"""Who made the call, and is told."""


def progress(done: float, total: float = 1.0, text: str = "") -> None:
    """Say how far this call has come: a fraction, or ``done`` of ``total``, and where it is at.

    Raises ValueError for what is no progress.
    """
    said = make_progress(done, total, text)
    if listener := LISTENER.get():
        listener(said)
