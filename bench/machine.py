"""On what it was measured, and what else it was doing."""

from __future__ import annotations

import os
import platform
import time
from pathlib import Path

import asyncpg
import psutil

from colonies.version import __version__

GIB = 2**30

QUIET = 0.1
"""Share of all cores that others may take before the report warns."""

LOOK = 2.0
"""Seconds that what others do is watched."""


def machine() -> str:
    """Describe this machine in a few words."""
    memory = psutil.virtual_memory().total / GIB
    return (
        f"{os.cpu_count()} cores ({processor()}), {memory:.0f} GiB, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    )


def processor() -> str:
    """Give the name of the processor, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names and names[0] != "unknown" else platform.machine()


async def postgres(url: str) -> str:
    """Describe a PostgreSQL."""
    sql = await asyncpg.connect(url)
    version, fsync, waits = [
        await sql.fetchval(f"SHOW {one}")
        for one in ("server_version", "fsync", "synchronous_commit")
    ]
    await sql.close()
    return f"PostgreSQL {version}, fsync {fsync}, synchronous_commit {waits}"


def others() -> float:
    """Give the share of all cores that is taken while we do nothing."""
    psutil.cpu_percent()
    time.sleep(LOOK)
    return psutil.cpu_percent() / 100


def describe(server: str, taken: float) -> str:
    """Give the paragraph that a report begins with."""
    lines = [
        f"{machine()}; {server}; Colonies {__version__}.",
        "Hub, PostgreSQL and clients share these cores; everything was measured in one run.",
        f"Before it began others took {taken:.0%} of all cores.",
    ]
    if taken > QUIET:
        lines.append("**That is too much: what is said here of speed is not to be trusted.**")
    return "\n".join(lines)
