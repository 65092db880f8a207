"""Telling systemd how it goes, by the protocol of sd_notify, where ``NOTIFY_SOCKET`` is set."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

logger = structlog.get_logger()

VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC")
"""What systemd says to us alone: no child shall have it."""

PATIENCE = 1.0
"""Seconds that systemd has to take a message."""

RELOADING = "RELOADING=1"
STOPPING = "STOPPING=1"


def notify(state: str, status: str = "") -> None:
    """Tell the service manager a state, and people by ``status``; without one nothing happens."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    lines = [state]
    if state == RELOADING:
        lines.append(f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
    if status:
        lines.append("STATUS=" + status.replace("\n", " "))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.settimeout(PATIENCE)
            # An @ stands for the NUL of names that are in no folder.
            manager.connect("\0" + address[1:] if address.startswith("@") else address)
            manager.send("\n".join(lines).encode())
    except OSError as error:
        logger.warning("systemd not told", state=state, error=str(error))


def ready(status: str = "") -> None:
    """Say that it runs, at the start and after a reload."""
    notify("READY=1", status)


@asynccontextmanager
async def signs_of_life() -> AsyncIterator[None]:
    """Say that this loop runs, twice as often as systemd asks, if it does."""
    watching = asyncio.create_task(_watch(_watchdog_seconds()))
    try:
        yield
    finally:
        watching.cancel()


async def _watch(seconds: float) -> None:
    while seconds:
        notify("WATCHDOG=1")
        await asyncio.sleep(seconds / 2)


def _watchdog_seconds() -> float:
    """Give how long we may be silent, or 0 where nobody asks us."""
    period = os.environ.get("WATCHDOG_USEC", "")
    is_ours = os.environ.get("WATCHDOG_PID") in (None, "", str(os.getpid()))
    return int(period) / 1e6 if period.isdecimal() and is_ours else 0.0
