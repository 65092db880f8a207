"""The hub as a whole: it opens, it stops, and says why it cannot."""

import asyncio
import contextlib

import pytest
from msgspec.structs import replace

from colonies.client import connect
from colonies.core.errors import ConnectionLost, Misconfigured, NothingToAssign, Unavailable
from colonies.server.app import Server
from tests.conftest import NEVER
from tests.server.doors import LONG, hang_up, send, talk, until


@pytest.fixture
def patient(monkeypatch):
    """Whoever is given time when a hub stops has more of it than a test lasts."""
    for name in ("protocol.GRACE", "protocol.HEADER_TIMEOUT", "connection.FAREWELL_TIMEOUT"):
        monkeypatch.setattr(f"colonies.server.{name}", NEVER)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("http", [False, True])
async def test_it_stops_at_once_whoever_is_waiting(settings, colony, people, complaints, http):
    async with asyncio.timeout(LONG), Server(settings) as server:
        there = replace(settings, server_port=server.port)
        colonies = connect(there, key=people.runtime, http=http)
        waiting = asyncio.ensure_future(colonies.assign_process(timeout=3600))
        await until(lambda: bool(server.hub.lines))
    with pytest.raises((Unavailable, ConnectionLost, NothingToAssign)):
        await waiting
    await colonies.close()


@pytest.mark.usefixtures("patient")
async def test_it_stops_at_once_whoever_is_silent(settings, complaints, db):
    async with Server(settings) as server:
        _, writer = await send(server, b"POST /api HTTP/1.1\r\n")
        async with talk(server, ping_interval=None) as silent:
            silent.websocket.transport.pause_reading()
            async with asyncio.timeout(LONG):
                await server.__aexit__(None, None, None)
            await silent.vanish()
    await hang_up(writer)


async def test_a_port_that_is_taken_is_one_clear_line(settings, server):
    with pytest.raises(Misconfigured, match=f"cannot listen on 127.0.0.1 port {server.port}: "):
        await Server(replace(settings, server_port=server.port)).__aenter__()


@pytest.mark.parametrize("port", [-1, 65536, 10**9])
async def test_a_port_that_is_none_is_one_clear_line(settings, port):
    with pytest.raises(Misconfigured, match="cannot listen on"):
        await Server(replace(settings, server_port=port)).__aenter__()


async def test_half_a_certificate_is_one_clear_line(settings):
    with pytest.raises(Misconfigured, match="TLS needs both"):
        await Server(replace(settings, tls_cert="cert.pem")).__aenter__()


async def test_a_certificate_that_is_none_is_named_before_anything_is_started(settings, tmp_path):
    data, cert, key = tmp_path / "data", tmp_path / "cert.pem", tmp_path / "key.pem"
    files = {"tls_cert": str(cert), "tls_key": str(key)}
    whole = replace(settings, database_url="", data_dir=str(data), **files)

    async def refusal() -> str:
        with pytest.raises(Misconfigured) as refused:
            await Server(whole).__aenter__()
        assert not data.exists()
        return str(refused.value)

    assert await refusal() == f"--tls-cert {cert}: No such file or directory"
    cert.write_text("nothing of use")
    assert await refusal() == f"--tls-key {key}: No such file or directory"
    key.write_text("nor this")
    assert "expected a certificate and its key in PEM" in await refusal()


async def test_a_database_that_is_not_there_is_unavailable(settings, tmp_path):
    url = f"postgresql://colonies@/colonies?host={tmp_path}&port=5432"
    with pytest.raises(Unavailable):
        await Server(replace(settings, database_url=url)).__aenter__()


async def test_it_may_be_closed_twice(settings, db):
    server = Server(settings)
    async with server:
        pass
    await server.__aexit__(None, None, None)


async def test_an_endless_header_is_cut_off(server):
    """What is not yet known to be signed must not fill the memory."""
    reader, writer = await send(server, b"POST /api HTTP/1.1\r\nHost: hub\r\n")
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 16_000_000 and not reader.at_eof():
            line = b"X-%d: " % sent + b"y" * 60_000 + b"\r\n"
            writer.write(line)
            await writer.drain()
            await asyncio.sleep(0)
            sent += len(line)
    assert sent < 16_000_000
    await hang_up(writer)


async def test_two_hubs_on_one_database_never_assign_twice(settings, server, member, people):
    """And a runtime waiting at one gets what was submitted to the other at the next pass."""
    async with Server(settings) as other:
        there = connect(replace(settings, server_port=other.port), key=people.runtime)
        waiting = asyncio.ensure_future(there.assign_process(timeout=60))
        while not other.hub.lines:
            await asyncio.sleep(0)
        process = await member.submit("work", runtime_type="cli")
        await other.ticker.run_once()
        assert (await waiting).process_id == process.id
        with pytest.raises(NothingToAssign):
            await member.assign_process(timeout=-1)
        await there.close()
