"""A hub that may open few files: newcomers are told so, whoever is there is served."""

import asyncio
import socket
import sys
from contextlib import ExitStack, suppress

import pytest
from msgspec.structs import replace

from colonies.client import connect
from colonies.client.http import ask_whether_ready
from colonies.core import wire
from colonies.core.envelope import Reply
from colonies.core.errors import Unavailable
from colonies.server import descriptors
from colonies.server.descriptors import NONE_LEFT, Descriptors, Room
from tests.programs import PATIENCE, Program
from tests.server.doors import failure_of, hang_up

LIMIT = 90


@pytest.fixture
def limit(monkeypatch):
    def set_limit(number: int) -> None:
        monkeypatch.setattr(descriptors, "_limit", lambda: number)

    return set_limit


def test_some_are_kept(limit, log):
    limit(10_000)
    here = Descriptors(10)
    assert [here.room_for(number) for number in (9939, 9940, 9969, 9970)] == [
        Room.ENOUGH, Room.LITTLE, Room.LITTLE, Room.NONE,
    ]  # fmt: skip
    assert log == [
        {
            "event": "file descriptors scarce",
            "log_level": "error",
            "limit": 10_000,
            "kept": 60,
            "refused": 1,
        }
    ]


def test_where_there_are_few_a_third_is_kept(limit, log):
    limit(90)
    here = Descriptors(100)
    assert [here.room_for(number) for number in (59, 60, 74, 75)] == [
        Room.ENOUGH, Room.LITTLE, Room.LITTLE, Room.NONE,
    ]  # fmt: skip


def test_a_check_looks_at_what_is_left(limit):
    here = Descriptors(10)
    here.check()
    limit(1)
    with pytest.raises(Unavailable, match=NONE_LEFT):
        here.check()


async def test_a_hub_with_too_many_sockets_serves_whom_it_has(database_url, db, settings, people):
    start = f"ulimit -n {LIMIT}; exec {sys.executable} -m colonies.cli server start"
    words = f"--port 0 --bind 127.0.0.1 --serverid {people.server_owner.id}"
    words += f" --database-url '{database_url}'"
    lasting = {"COLONIES_STRANGER_TIMEOUT": "3600", "COLONIES_MAX_STRANGERS": "1000"}
    async with Program("sh", "-c", f"{start} {words}", env=lasting) as hub:
        line = await hub.line_with("listening on")
        port = int(line.split("127.0.0.1:")[1].split()[0])
        there = replace(settings, server_port=port)
        async with connect(there, key=people.server_owner) as early:
            await early.get_caller()
            with ExitStack() as crowd:
                for _ in range(2 * LIMIT):
                    one = crowd.enter_context(socket.create_connection(("127.0.0.1", port)))
                    with suppress(OSError):  # it was one too many
                        one.sendall(SOCKET)
                await hub.line_with("file descriptors scarce")
                await early.add_colony(people.colony_owner.id, "ours")
                assert len(await early.get_colonies()) == 1
                await refused(there)
                assert (await say(port, b"GET /health" + END)).startswith(b"HTTP/1.1 200")
                for words in (SOCKET, b"POST /api" + END):
                    answer = await say(port, words)
                    assert answer.startswith(b"HTTP/1.1 503")
                    assert b"\r\nretry-after: 1\r\n" in answer
                reply = wire.decode(answer.rpartition(b"\r\n\r\n")[2], Reply)
                assert failure_of(reply).message == NONE_LEFT
            async with connect(there, key=people.server_owner) as late:
                assert await late.get_caller()  # it has tried again
            await ready(there)


END = b" HTTP/1.1\r\nHost: hub\r\nContent-Length: 0\r\n\r\n"
SOCKET = (
    b"GET /ws HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


async def refused(there) -> None:
    """Wait until what is left is enough to be told that it is not."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                readiness = await ask_whether_ready(there)
            except OSError:
                continue
            assert readiness[:2] == (503, NONE_LEFT)
            return


async def ready(there) -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                if (await ask_whether_ready(there)).status == 200:
                    return
            except OSError:
                pass


async def say(port: int, words: bytes) -> bytes:
    """Say something to a hub, which hangs up afterwards, and give what it answers."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(words)
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    await hang_up(writer)
    return answer
