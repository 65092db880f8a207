"""The fixture that pytest finds by itself wherever Colonies is installed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def colonies_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Give the address of a PostgreSQL that is there for these tests and ends with them.

    Redefine it to test with another one; what is in that may be changed.
    """
    # Here and not above: pytest imports this module wherever Colonies is installed.
    from colonies.server.embedded import EmbeddedPostgres  # noqa: PLC0415

    postgres = EmbeddedPostgres(tmp_path_factory.mktemp("colonies"), fsync=False)
    with asyncio.Runner() as runner:
        runner.run(postgres.__aenter__())
        yield postgres.url
        runner.run(postgres.__aexit__(None, None, None))
