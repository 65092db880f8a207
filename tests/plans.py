"""How PostgreSQL runs a statement of ours, and what of it tests look at."""

from __future__ import annotations

import json
from typing import Any

import asyncpg

from tests.test_sql import QUERIES

ASKED = {"caller": "1" * 64, "request": "r1", "digest": "d"}
ASKED |= {f"{name}s": [value] for name, value in ASKED.items()}
"""What a statement remembers of who asked for it."""


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
