"""What tests of several hubs on one database say again and again."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from colonies.client import Colonies, connect
from colonies.core.identity import PrivateKey
from colonies.server.app import Server, bind, listen
from colonies.settings import Settings
from tests.server.doors import until


@asynccontextmanager
async def reaching(server: Server, key: PrivateKey | None = None) -> AsyncIterator[Colonies]:
    """Give a client of this very hub."""
    there = replace(server.settings, server_port=server.port)
    async with connect(there, key=key) as colonies:
        yield colonies


FEW = 1 << 16
"""Bytes that kernels are told to take of what is not read: left alone, they differ in that."""


@asynccontextmanager
async def narrow(settings: Settings) -> AsyncIterator[Server]:
    """Open a hub that soon notices that somebody does not read."""
    listener = bind(settings)
    listen(listener)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, FEW)
    async with Server(settings, listener) as server:
        yield server


def narrow_socket(server: Server) -> socket.socket:
    """Connect to a hub, for somebody who will not read."""
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FEW)
    connection.setblocking(False)
    return connection


async def acquainted(*servers: Server) -> None:
    """Wait until each of these hubs knows that there are others."""
    for server in servers:
        ids = {one.hub.id for one in servers} - {server.hub.id}
        await until(lambda server=server, ids=ids: ids <= server.peers._others)


async def terminate_session(sql, server: Server) -> None:
    """Cut the connection by which a hub listens."""
    backend = await sql.fetchval("SELECT backend FROM hubs WHERE hub_id = $1", server.hub.id)
    assert await sql.fetchval("SELECT pg_terminate_backend($1)", backend)
