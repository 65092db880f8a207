"""What a hub needs of a pooler between it and PostgreSQL, and can only see.

A pooler takes no settings for its connections to PostgreSQL; they must be those of the role.
"""

from __future__ import annotations

import structlog

from colonies.server.db import Database
from colonies.server.primary import PLANNER

logger = structlog.get_logger()


async def check_settings(db: Database) -> None:
    """Say which settings are missing and how to make them; all works without, but may be slow."""
    missing = await db.fetch_rows(
        "list_missing_settings", names=list(PLANNER), values=list(PLANNER.values())
    )
    if missing:
        orders = [f"ALTER ROLE {role} SET {name} = {value};" for role, name, value in missing]
        logger.warning("planner settings missing", error=" ".join(orders))
