"""What the hub does by itself, every tick: deadlines, leases, signs of life, lost news."""

from __future__ import annotations

import asyncio
from itertools import count

import structlog

from colonies.core.errors import Unavailable
from colonies.server import lifecycle
from colonies.server.db import Database
from colonies.server.hub import Hub
from colonies.server.lookout import Lookout
from colonies.server.metrics import Metrics
from colonies.server.parties import Cause

logger = structlog.get_logger()

STIR_EVERY = 10
"""Ticks from one renewal of leases, and look for lost news, to the next."""


class Ticker:
    """Runs the pass every ``period`` seconds; tests call `run_once` themselves."""

    def __init__(
        self,
        db: Database,
        hub: Hub,
        metrics: Metrics,
        *,
        lookout: Lookout,
        period: float,
        grace: float,
    ) -> None:
        """Take how often to look, and how long whoever was told to stop may take, in seconds."""
        self._db = db
        self._hub = hub
        self._metrics = metrics
        self._lookout = lookout
        self._period = period
        self._grace = grace
        self.lag = 0.0

    async def run(self) -> None:
        """Run until cancelled; a database that is away is waited for."""
        loop = asyncio.get_running_loop()
        # While the hub, or its database, was away nobody could renew.
        up_since = loop.time()
        for tick in count():
            due = loop.time() + self._period
            await asyncio.sleep(self._period)
            self.lag = max(0.0, loop.time() - due)
            self._metrics.loop_lag.set(self.lag)
            try:
                await self.run_once(stir=tick % STIR_EVERY == 0, up_for=loop.time() - up_since)
            except Unavailable as error:
                logger.warning("tick skipped", error=error.message)
                up_since = loop.time()
            except Exception:
                logger.exception("tick failed")

    async def run_once(self, *, stir: bool = True, up_for: float = lifecycle.FOR_EVER) -> None:
        """Do everything that is due now; ``stir`` also looks for what nobody told of.

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
            await self._lookout.look()

    async def _note_heard(self) -> None:
        heard = sorted(self._hub.take_heard())
        if heard:
            await self._db.execute(
                "touch_runtimes",
                colony_ids=[colony_id for colony_id, _ in heard],
                runtime_ids=[runtime_id for _, runtime_id in heard],
            )
