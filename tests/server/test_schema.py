"""The tables: made once, brought up to date, and never touched by an older hub."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from uuid import uuid4

import asyncpg
import pytest

from colonies.core.errors import Misconfigured
from colonies.server.db import Database
from colonies.server.intent import Intent, Seen, recall
from colonies.server.schema import bring_up_to_date, list_migrations, schema_text

CATALOGUE = {
    "columns": """
        SELECT table_name, column_name, ordinal_position, data_type, udt_name, is_nullable,
               column_default
        FROM information_schema.columns WHERE table_schema = 'public'""",
    "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    "functions": """
        SELECT proname, pg_get_functiondef(oid)
        FROM pg_proc WHERE pronamespace = 'public'::regnamespace""",
    "tables": """
        SELECT relname, relkind::text, reloptions
        FROM pg_class WHERE relnamespace = 'public'::regnamespace""",
}

STEP = "ALTER TABLE colonies ADD COLUMN motto text NOT NULL DEFAULT 'none';"


@pytest.fixture
async def empty(postgres_url) -> AsyncIterator[Database]:
    """An open database without any tables."""
    name = f"empty_{uuid4().hex}"
    server = await asyncpg.connect(postgres_url)
    await server.execute(f"CREATE DATABASE {name}")
    database = Database(postgres_url.replace("/colonies?", f"/{name}?"), connections=2)
    await database.open()
    yield database
    await database.close()
    await server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await server.close()


@contextlib.asynccontextmanager
async def connected(database: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database._url)
    try:
        yield connection
    finally:
        await connection.close()


async def catalogue(database: Database) -> dict[str, list[str]]:
    async with connected(database) as connection:
        return {
            what: sorted(str(tuple(row)) for row in await connection.fetch(query))
            for what, query in CATALOGUE.items()
        }


async def run(database: Database, script: str) -> None:
    async with database.transaction() as tx:
        await tx.run_script(script)


async def test_schema_and_migrations_end_in_the_same_place(empty):
    migrations = list_migrations()
    assert sorted(migrations) == list(range(1, len(migrations) + 1))
    await run(empty, schema_text())
    fresh = await catalogue(empty)
    await run(empty, "DROP SCHEMA public CASCADE; CREATE SCHEMA public;")
    for number in sorted(migrations):
        await run(empty, migrations[number])
        await run(empty, f"UPDATE schema_version SET version = {number};")
    migrated = await catalogue(empty)
    assert migrated == fresh
    assert all(rows for kind, rows in fresh.items() if kind != "functions")
    async with connected(empty) as connection:
        assert await connection.fetchval("SELECT version FROM schema_version") == max(migrations)


async def test_an_empty_database_is_brought_to_the_newest_version_and_stays_there(empty):
    newest = max(list_migrations())
    assert await bring_up_to_date(empty) == newest
    before = await catalogue(empty)
    assert await bring_up_to_date(empty) == newest
    assert await catalogue(empty) == before


async def test_an_older_database_is_upgraded_and_keeps_its_rows(empty):
    newest = await bring_up_to_date(empty)
    identity = "a" * 64
    await run(empty, f"INSERT INTO colonies VALUES ('{identity}', 'ours');")
    migrations = list_migrations() | {newest + 1: STEP}
    assert await bring_up_to_date(empty, migrations) == newest + 1
    async with connected(empty) as connection:
        row = await connection.fetchrow("SELECT * FROM colonies")
        assert tuple(row) == (identity, "ours", "none")
        assert await connection.fetchval("SELECT version FROM schema_version") == newest + 1
    assert await bring_up_to_date(empty, migrations) == newest + 1


async def test_a_request_of_before_the_keys_is_known_by_its_key(empty):
    migrations = list_migrations()
    for number in range(1, 14):
        await run(empty, migrations[number])
    one = Intent.of("a" * 64, "Zürich \\x00", b"what")
    async with connected(empty) as connection:
        await connection.execute(
            "INSERT INTO requests VALUES ($1, $2, $3, now(), 'p', 2)",
            *("a" * 64, one.request, one.digest.hex),
        )
    await run(empty, migrations[14])
    assert await recall(empty, one) == Seen(one.digest, "p", 2)


async def test_a_migration_that_fails_changes_nothing(empty):
    newest = await bring_up_to_date(empty)
    before = await catalogue(empty)
    broken = list_migrations() | {newest + 1: STEP, newest + 2: "SELECT nonsense;"}
    with pytest.raises(asyncpg.UndefinedColumnError):
        await bring_up_to_date(empty, broken)
    assert await catalogue(empty) == before
    assert await bring_up_to_date(empty) == newest


async def test_a_newer_database_is_refused_and_left_as_it_is(empty):
    newest = await bring_up_to_date(empty)
    await run(empty, f"UPDATE schema_version SET version = {newest + 1}; {STEP}")
    before = await catalogue(empty)
    with pytest.raises(Misconfigured, match=f"version {newest + 1}.*after {newest}"):
        await bring_up_to_date(empty)
    assert await catalogue(empty) == before
    async with connected(empty) as connection:
        assert await connection.fetchval("SELECT version FROM schema_version") == newest + 1


async def test_hubs_that_start_at_once_on_an_empty_database_agree(empty):
    newest = max(list_migrations())
    others = [Database(empty._url, connections=1) for _ in range(4)]
    for other in others:
        await other.open()
    migrations = list_migrations() | {newest + 1: STEP}
    reached = await asyncio.gather(*(bring_up_to_date(one, migrations) for one in others))
    assert reached == [newest + 1] * 4
    async with connected(empty) as connection:
        assert await connection.fetch("SELECT version FROM schema_version") == [(newest + 1,)]
    for other in others:
        await other.close()
