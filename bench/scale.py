"""How much of everything is measured: in full, at a glance, or only to see that it works."""

from __future__ import annotations

import msgspec


class Scale(msgspec.Struct, frozen=True, kw_only=True):
    """Lengths in seconds, and how many."""

    shares_hubs: bool = False
    """Whether a part may have the hub that others had; it saves the time to start one."""
    seconds: float
    """Of one measurement of a rate."""
    samples: int
    """Of one latency."""
    clients: tuple[int, ...]
    hubs: tuple[int, ...]
    backlogs: tuple[int, ...]
    ended: int
    snapshot: float
    """Seconds that an old snapshot is held."""
    idle: tuple[int, ...]
    idle_seconds: float
    wakes: int
    followers: int
    changes: int
    leases: int
    bulk: int
    growth: tuple[int, int]
    """Processes after which the memory is compared."""
    rounds: int
    """Of everything that is compared with others."""
    ways: tuple[str, ...]
    """In which runtimes run processes."""
    queued: int
    """Jobs that one runtime holds; none needs Slurm."""
    peers: tuple[str, ...]


ALL_PEERS = ("procrastinate", "pgqueuer", "pgqueuer_batch", "celery", "dramatiq")
ALL_WAYS = ("shell, no sandbox", "shell", "python", "container", "slurm")

FULL = Scale(
    seconds=8.0,
    samples=500,
    clients=(1, 10, 50, 500),
    hubs=(1, 2, 4),
    backlogs=(100, 1_000, 10_000, 100_000, 1_000_000),
    ended=100_000,
    snapshot=60.0,
    idle=(100, 1_000, 10_000),
    idle_seconds=30.0,
    wakes=300,
    followers=1_000,
    changes=30,
    leases=1_000,
    bulk=50_000,
    growth=(100_000, 1_000_000),
    rounds=3,
    ways=ALL_WAYS,
    queued=1_000,
    peers=ALL_PEERS,
)

QUICK = Scale(
    shares_hubs=True,
    seconds=2.0,
    samples=100,
    clients=(1, 50),
    hubs=(1, 2),
    backlogs=(100, 10_000, 100_000),
    ended=10_000,
    snapshot=6.0,
    idle=(100, 1_000),
    idle_seconds=5.0,
    wakes=50,
    followers=200,
    changes=5,
    leases=100,
    bulk=10_000,
    growth=(10_000, 50_000),
    rounds=1,
    ways=ALL_WAYS,
    queued=100,
    peers=ALL_PEERS,
)

TINY = Scale(
    shares_hubs=True,
    seconds=0.1,
    samples=4,
    clients=(2,),
    hubs=(1,),
    backlogs=(100, 5_000),
    ended=10,
    snapshot=0.3,
    idle=(5,),
    idle_seconds=0.1,
    wakes=3,
    followers=5,
    changes=2,
    leases=5,
    bulk=40,
    growth=(20, 40),
    rounds=1,
    ways=("shell, no sandbox", "python"),
    queued=0,
    peers=(),
)
