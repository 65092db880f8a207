"""What is measured, a module a part, in the order of the report.

Each has ``measure(world)``, which gives a `Chapter`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module

from bench.report import Chapter
from bench.world import World

PARTS = (
    "ceilings",
    "calls",
    "cycles",
    "hubs",
    "latency",
    "backlog",
    "snapshot",
    "leases",
    "bulk",
    "workflow",
    "idle",
    "fanout",
    "logs",
    "runtimes",
    "slow",
    "fairness",
    "growth",
    "peers",
)


def part(name: str) -> Callable[[World], Awaitable[Chapter]]:
    """Give what measures a part."""
    measure: Callable[[World], Awaitable[Chapter]] = import_module(f"bench.parts.{name}").measure
    return measure
