"""Every statement in ``sql/``: prepared, used, and fit for its Struct."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from colonies.core.attribute import Attribute
from colonies.core.colony import Colony, Statistics
from colonies.core.cron import Cron
from colonies.core.generator import Generator
from colonies.core.process import Process
from colonies.core.runtime import Runtime
from colonies.server.db import PLACE
from colonies.server.primary import USUAL
from colonies.server.query import load_queries

ROOT = Path(__file__).parents[1]
QUERIES = load_queries()
SOURCES = "\n".join(
    path.read_text() for path in sorted((ROOT / "colonies" / "server").rglob("*.py"))
)
ALONE = ("claim_oldest_processes", "claim_latest_processes")
CLAIMS = (*ALONE, "claim_oldest_of_queue", "claim_latest_of_queue")
TO_ASSIGNEE = (*CLAIMS, "get_assigned_process")
SECRET = {"attempt_token"}
"""What is for the runtime alone that makes the attempt: no statement but a claim gives it."""

FILLED_IN = {"checker_period"}
"""What the hub knows without asking."""

STRUCTS = {
    kind.__name__: kind
    for kind in (Attribute, Colony, Cron, Generator, Process, Runtime, Statistics)
}


@pytest.fixture
async def connection(database_url, db) -> AsyncIterator[asyncpg.Connection]:
    """A connection that plans as those of the hub do."""
    connection = await asyncpg.connect(database_url, server_settings=USUAL)
    yield connection
    await connection.close()


@pytest.mark.parametrize("name", QUERIES)
async def test_every_statement_can_be_prepared(connection, name):
    query = QUERIES[name]
    statement = await connection.prepare(query.text)
    assert len(statement.get_parameters()) == len(query.parameters)


@pytest.mark.parametrize("name", QUERIES)
def test_every_statement_is_used(name):
    assert f'"{name}"' in SOURCES


@pytest.mark.parametrize("name", QUERIES)
def test_a_name_begins_with_a_verb(name):
    verb = name.partition("_")[0]
    assert verb in {
        "add", "cancel", "claim", "close", "delete", "fail", "get", "has", "list", "lock",
        "notify", "ping", "release", "renew", "return", "set", "submit", "touch",
    }  # fmt: skip


def filled() -> dict[str, type]:
    """Which statement fills which Struct, as the calls of the database say."""
    calls = re.findall(r'fetch_(?:all|one|maybe|placed|within)\(\s*(\w+),\s*"(\w+)"', SOURCES)
    return {name: STRUCTS[kind] for kind, name in calls if kind in STRUCTS}


def test_the_statements_that_fill_structs_are_found():
    found = filled()
    assert found["get_process"] is Process
    assert found["list_colonies"] is Colony
    assert len(found) > 10


@pytest.mark.parametrize("name", filled())
async def test_the_columns_of_a_statement_are_fields_of_its_struct(connection, name):
    statement = await connection.prepare(QUERIES[name].text)
    columns = [attribute.name for attribute in statement.get_attributes()]
    columns = [name for name in columns if name != PLACE]
    fields = filled()[name].__struct_fields__
    assert len(set(columns)) == len(columns)
    assert set(columns) <= set(fields)
    if filled()[name] is not Statistics:
        left_out = FILLED_IN | (set() if name in TO_ASSIGNEE else SECRET)
        assert set(columns) == set(fields) - left_out


@pytest.mark.parametrize("name", CLAIMS)
async def test_a_claim_gives_the_token_of_the_attempt(connection, name):
    statement = await connection.prepare(QUERIES[name].text)
    columns = [attribute.name for attribute in statement.get_attributes()]
    assert sorted({*columns} - {PLACE}) == sorted(Process.__struct_fields__)


def test_a_missing_or_unknown_argument_is_a_bug_and_raises():
    query = QUERIES["get_process"]
    with pytest.raises(TypeError):
        query.arguments({"process_id": "p", "caller": "c", "colour": "red"})
    with pytest.raises(KeyError):
        query.arguments({"process_id": "p"})
