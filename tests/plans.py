"""How PostgreSQL runs a statement of ours, and what of it tests look at."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg

from colonies.server.schema import schema_text
from tests.test_sql import QUERIES

ASKED: dict[str, Any] = {"caller": "1" * 64, "request": UUID(int=1), "digest": UUID(int=2)}
ASKED |= {f"{name}s": [value] for name, value in ASKED.items()} | {"places": [1]}
"""What a statement remembers of who asked for it."""


def beside(postgres_url: str, name: str) -> str:
    """Give the URL of another database on the server of the tests."""
    return postgres_url.replace("/colonies?", f"/{name}?")


@asynccontextmanager
async def filling(postgres_url: str, name: str) -> AsyncIterator[asyncpg.Connection]:
    """Make a database with our tables, to be filled in the block, and then analyzed."""
    server = await asyncpg.connect(postgres_url)
    await server.execute(f"CREATE DATABASE {name}")
    await server.close()
    connection = await asyncpg.connect(beside(postgres_url, name))
    await connection.execute(schema_text())
    yield connection
    await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def explain(connection: asyncpg.Connection, name: str, /, **given: Any) -> list[dict]:
    """Run a statement as the hub would, undo it, and give every node of its plan."""
    query = QUERIES[name]
    given = {key: value for key, value in ASKED.items() if key in query.parameters} | given
    transaction = connection.transaction()
    await transaction.start()
    text = f"EXPLAIN (ANALYZE, FORMAT JSON) {query.text}"
    (plan,) = json.loads(await connection.fetchval(text, *query.arguments(given)))
    await transaction.rollback()
    return list(nodes(plan["Plan"]))


def nodes(plan: dict) -> list[dict]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in nodes(child))]


def touched(plan: list[dict]) -> float:
    """Count the rows that the plan looked at."""
    return sum(
        node["Actual Loops"] * (node["Actual Rows"] + node.get("Rows Removed by Filter", 0))
        for node in plan
    )


def changed(plan: list[dict], table: str) -> float:
    """Count the rows of a table that the plan changed, whatever it did not give."""
    (change,) = [
        node for node in plan
        if node["Node Type"] == "ModifyTable" and node["Relation Name"] == table
    ]  # fmt: skip
    return change["Actual Rows"]


def indexes(plan: list[dict]) -> set[str]:
    return {node["Index Name"] for node in plan if "Index Name" in node}


def scanned(plan: list[dict]) -> set[str]:
    return {node["Relation Name"] for node in plan if node["Node Type"] == "Seq Scan"}
