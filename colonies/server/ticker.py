"""What the hub does by itself, every tick: deadlines, leases, signs of life, lost wake-ups."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import count

import structlog

from colonies.core.errors import Unavailable
from colonies.server import lifecycle, retention
from colonies.server.db import Database
from colonies.server.hub import Cause, Hub
from colonies.server.metrics import Metrics

logger = structlog.get_logger()

STIR_EVERY = 10
"""Ticks from one renewal of leases, and search for lost wake-ups, to the next."""

STIR_LIMIT = 100
"""Idle runtimes of one queue that one search wakes at most."""

FORGET_EVERY = 120
"""Ticks from one search for old requests to the next."""

SWEEP_EVERY = 120
"""Ticks from one search for what has been kept long enough to the next, if that found little."""

REQUESTS_KEPT = 3600.0
"""Seconds that a request is remembered: far longer than anybody goes on repeating it."""


class Ticker:
    """Runs the pass every ``period`` seconds; tests call `run_once` themselves."""

    def __init__(
        self,
        db: Database,
        hub: Hub,
        metrics: Metrics,
        *,
        keep: retention.Keep,
        period: float,
        grace: float,
    ) -> None:
        """Take how often to look, and how long whoever was told to stop may take, in seconds."""
        self._db = db
        self._hub = hub
        self._metrics = metrics
        self._keep = keep
        self._period = period
        self._grace = grace
        self.lag = 0.0

    async def run(self) -> None:
        """Run until cancelled; a database that is away is waited for."""
        loop = asyncio.get_running_loop()
        # While the hub, or its database, was away nobody could renew.
        up_since = loop.time()
        is_behind = False
        for tick in count():
            due = loop.time() + self._period
            await asyncio.sleep(self._period)
            self.lag = max(0.0, loop.time() - due)
            self._metrics.loop_lag.set(self.lag)
            try:
                await self.run_once(stir=tick % STIR_EVERY == 0, up_for=loop.time() - up_since)
                if tick % FORGET_EVERY == 0:
                    await lifecycle.forget_requests(self._db, age=REQUESTS_KEPT)
                if is_behind or tick % SWEEP_EVERY == 0:
                    is_behind = await retention.sweep(self._db, self._keep, self._metrics)
            except Unavailable as error:
                logger.warning("tick skipped", error=error.message)
                up_since = loop.time()
            except Exception:
                logger.exception("tick failed")

    async def run_once(self, *, stir: bool = True, up_for: float = lifecycle.FOR_EVER) -> None:
        """Do everything that is due now; ``stir`` also looks for lost wake-ups.

        Leases of more than ``up_for`` seconds are left for now, even if they have passed.
        """
        if stir:
            held, ages = self._hub.renewals()
            await lifecycle.renew(self._db, held, ages=ages)
        async for expired, are_lost in lifecycle.expire(self._db, grace=self._grace, up_for=up_for):
            self._metrics.processes_expired.inc(len(expired))
            self._hub.publish(expired, Cause.SILENCE if are_lost else Cause.DEADLINE)
        await self._note_heard()
        if stir:
            await self._stir_idle()

    async def _note_heard(self) -> None:
        heard = sorted(self._hub.take_heard())
        if heard:
            await self._db.execute(
                "touch_runtimes",
                colony_ids=[colony_id for colony_id, _ in heard],
                runtime_ids=[runtime_id for _, runtime_id in heard],
            )

    async def _stir_idle(self) -> None:
        """Wake runtimes for whatever waits although they are idle: a wake-up went astray."""
        queues = self._hub.idle_queues()
        if not queues:
            return
        waiting = await self._db.fetch_rows(
            "list_claimable_queues",
            colony_ids=[colony_id for colony_id, _ in queues],
            runtime_types=[runtime_type for _, runtime_type in queues],
            count=STIR_LIMIT,
        )
        for (colony_id, runtime_type), wanted in Counter(waiting).items():
            for _ in range(wanted):
                self._hub.stir(str(colony_id), str(runtime_type))
        addressed = await self._db.fetch_rows(
            "list_addressed_runtimes",
            colony_ids=list({colony_id for colony_id, _ in queues}),
            runtime_ids=self._hub.idle_runtimes(),
            count=STIR_LIMIT,
        )
        for colony_id, runtime_id in addressed:
            self._hub.stir_runtime(str(colony_id), str(runtime_id))
