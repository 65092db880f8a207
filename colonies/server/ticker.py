"""What the hub does by itself, every tick: deadlines, leases, signs of life, lost news."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import count

import structlog

from colonies.core.errors import Unavailable
from colonies.server import lifecycle
from colonies.server.clock import Steps
from colonies.server.db import Database
from colonies.server.hub import Hub
from colonies.server.lookout import Lookout
from colonies.server.metrics import Metrics
from colonies.server.parties import Cause
from colonies.server.seldom import Seldom

logger = structlog.get_logger()

STIR_EVERY = 10
"""Ticks from one renewal of leases, and look for lost news, to the next."""

LEAST_DEADLINE = 1.0
"""Seconds that anybody is given at least: what was set since a look is not due before that."""


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
        self._quiet_until = 0.0
        # While the hub, or its database, was away nobody could renew; nor in an hour that was none.
        self._up_since = 0.0
        self._steps = Steps()
        self._seldom = Seldom()

    async def run(self) -> None:
        """Run until cancelled; a database that is away is waited for."""
        loop = asyncio.get_running_loop()
        self._up_since = loop.time()
        for tick in count():
            due = loop.time() + self._period
            await asyncio.sleep(self._period)
            self.lag = max(0.0, loop.time() - due)
            self._metrics.loop_lag.set(self.lag)
            with suppress(Unavailable):  # what of a tick is possible meanwhile is done
                await self._db.probe()
            try:
                is_due = await self._is_anything_due()
                await self.run_once(
                    stir=tick % STIR_EVERY == 0,
                    up_for=loop.time() - self._up_since,
                    is_due=is_due,
                )
            except Unavailable as error:
                if times := self._seldom.count(error.message):
                    logger.warning("tick skipped", error=error.message, count=times)
                self._up_since = loop.time()
            except Exception:
                logger.exception("tick failed")

    async def run_once(
        self, *, stir: bool = True, up_for: float = lifecycle.FOR_EVER, is_due: bool = True
    ) -> None:
        """Do everything that is due now; ``stir`` also looks for what nobody told of.

        Leases of more than ``up_for`` seconds are left for now, even if they have passed. Unless
        something ``is_due``, all deadlines are.
        """
        if stir:
            held, ages = self._hub.renewals()
            await lifecycle.renew(self._db, held, ages=ages)
        if is_due:
            await self._expire(up_for)
        await self._note_heard()
        if stir:
            await self._lookout.look()

    async def _expire(self, up_for: float) -> None:
        async for expired, are_lost in lifecycle.expire(self._db, grace=self._grace, up_for=up_for):
            self._metrics.processes_expired.inc(len(expired))
            self._hub.publish(expired, Cause.SILENCE if are_lost else Cause.DEADLINE)

    async def _is_anything_due(self) -> bool:
        """Ask one question instead of one for each kind of deadline, and not at every tick.

        What is set meanwhile, by whichever hub, is still acted on within a tick.
        """
        now = asyncio.get_running_loop().time()
        if now < self._quiet_until:
            return False
        within = min(LEAST_DEADLINE, self._grace) + self._period
        ((left, clock),) = await self._db.fetch_rows(
            "get_seconds_to_deadline", within=within, grace=self._grace
        )
        answered = asyncio.get_running_loop().time()
        if step := self._steps.note(clock, asked=now, answered=answered):
            logger.warning("clock stepped", seconds=round(step, 1))
            self._up_since = answered
        self._quiet_until = now + left
        return bool(left <= 0)

    async def _note_heard(self) -> None:
        heard = sorted(self._hub.take_heard())
        if heard:
            await self._db.execute(
                "touch_runtimes",
                colony_ids=[colony_id for colony_id, _ in heard],
                runtime_ids=[runtime_id for _, runtime_id in heard],
            )
