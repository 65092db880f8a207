"""What one hub of all does by itself: the one that leads. What each of them does is in `ticker`."""

from __future__ import annotations

from colonies.server import cron, generator, lifecycle, retention
from colonies.server.agenda import Agenda, Kind
from colonies.server.db import Database
from colonies.server.hub import Hub
from colonies.server.leader import Duty
from colonies.server.metrics import Metrics
from colonies.server.quota import Quotas
from colonies.settings import Settings

FORGET_PERIOD = 60.0
"""Seconds from one search for old processes to the next."""

REQUESTS_PERIOD = 600.0
"""The same for old requests: all that are remembered are read for it."""

REQUESTS_KEPT = 3600.0
"""Seconds that a request is remembered: far longer than anybody goes on repeating it."""


def duties(
    db: Database, hub: Hub, settings: Settings, metrics: Metrics, agenda: Agenda
) -> list[Duty]:
    """Give everything that the leader does, and how often."""
    keep = retention.Keep.of(settings)
    quotas = Quotas(db, settings)

    async def run_crons() -> None:
        if await agenda.is_due(Kind.CRON):
            await cron.run_due(db, hub, quotas)

    async def use_generators() -> None:
        if await agenda.is_due(Kind.GENERATOR):
            await generator.run_due(db, hub, quotas)

    return [
        Duty("crons", settings.tick, run_crons),
        Duty("generators", settings.tick, use_generators),
        Duty(
            "forget requests",
            REQUESTS_PERIOD,
            lambda: lifecycle.forget_requests(db, age=REQUESTS_KEPT),
        ),
        Duty("sweep", FORGET_PERIOD, lambda: retention.sweep_all(db, keep, metrics)),
        Duty("sweep logs", FORGET_PERIOD, lambda: retention.sweep_logs(db, keep)),
        Duty("sweep orphans", FORGET_PERIOD, lambda: retention.sweep_orphans(db)),
    ]
