"""The tables: made when the database is empty, brought up to date when it is older.

``schema.sql`` is the newest state; ``migrations/<number>_<what>.sql`` are the steps that led to it.
"""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import structlog

from colonies.core.errors import Misconfigured
from colonies.server.db import Database

logger = structlog.get_logger()

MIGRATION_TIMEOUT = 3600.0
"""Seconds that one migration may take, or another hub's may be waited for."""

MIGRATIONS = files("colonies.server").joinpath("migrations")


def schema_text() -> str:
    """Give ``schema.sql``: beside this module in a wheel, at the top of a checkout."""
    packaged = files("colonies.server").joinpath("schema.sql")
    if packaged.is_file():
        return packaged.read_text()
    return (Path(__file__).parents[2] / "schema.sql").read_text()


def list_migrations(folder: Traversable = MIGRATIONS) -> dict[int, str]:
    """Give every migration's text by its number."""
    steps = [file for file in folder.iterdir() if file.name.endswith(".sql")]
    return {int(file.name.partition("_")[0]): file.read_text() for file in steps}


async def bring_up_to_date(db: Database, migrations: dict[int, str] | None = None) -> int:
    """Make the tables or migrate them, one hub at a time; give the version reached.

    Raises Misconfigured when the database was made by a newer hub; nothing is changed then.
    """
    migrations = list_migrations() if migrations is None else migrations
    newest = max(migrations)
    async with db.transaction(timeout=MIGRATION_TIMEOUT) as tx:
        await tx.execute("lock_schema")
        if not await tx.fetch_value("has_schema"):
            await tx.run_script(schema_text())
            logger.info("schema created", version=await tx.fetch_value("get_schema_version"))
        version = await tx.fetch_value("get_schema_version")
        if version > newest:
            raise Misconfigured(
                f"the database has schema version {version}, this hub knows none after {newest}: "
                "update the hub, or give it another database"
            )
        for number in range(version + 1, newest + 1):
            await tx.run_script(migrations[number])
            await tx.execute("set_schema_version", version=number)
            logger.info("schema migrated", version=number)
    return newest
