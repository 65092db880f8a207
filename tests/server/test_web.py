"""Bad input through every door: a typed error or a closed socket, and nothing else happens."""

import asyncio
import contextlib
import json
import resource
from base64 import b64encode

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from colonies.core import wire
from colonies.core.envelope import Envelope, Reply, pack, seal
from colonies.core.errors import Failure
from colonies.core.identity import PrivateKey
from tests.server.doors import (
    LONG,
    Talk,
    failure_of,
    hang_up,
    noticed,
    post,
    read_http,
    send,
    talk,
    until,
)
from tests.server.hubs import narrow, narrow_socket, reaching
from tests.server.repeats import everything

KEY = PrivateKey(f"{1:064x}")
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
MIB = 1024 * 1024


@pytest.fixture
async def contents(sql, member):
    """What is in the database, before and after: it must be the same."""
    await member.submit("work", runtime_type="cli", env={"A": "B"})
    before = await everything(sql)
    yield
    assert await everything(sql) == before


def envelope(payload_type="getcolonymsg", payload=None, key=KEY, **changes) -> bytes:
    """Sign a payload text as it is."""
    text = payload if isinstance(payload, str) else pack(payload)
    fields = {"payloadtype": payload_type, "payload": text, "signature": key.sign(text)}
    return json.dumps(fields | changes).encode()


def twin(signature: str) -> str:
    s = N - int(signature[64:128], 16)
    return f"{signature[:64]}{s:064x}0{1 - int(signature[129])}"


def resigned(change) -> bytes:
    text = pack({"msgtype": "getcallermsg"})
    return envelope("getcallermsg", text, signature=change(KEY.sign(text)))


def text_of(raw: bytes) -> str:
    return b64encode(raw).decode()


ASK = {"msgtype": "getcolonymsg", "colonyid": "f" * 64}
NUL = b'{"msgtype":"getcolonymsg","colonyid":"\\u0000"}'

BAD = {
    "nothing": (b"", 400),
    "no JSON": (b"hello", 400),
    "truncated JSON": (envelope(payload=ASK)[:-10], 400),
    "two values": (b"{} {}", 400),
    "null": (b"null", 400),
    "a list": (b"[]", 400),
    "a number": (b"7", 400),
    "no UTF-8": (b'{"payloadtype": "\xff"}', 400),
    "a lone surrogate": (b'{"payloadtype": "\\ud800"}', 400),
    "nested 100,000 deep": (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
    "a list as a payload": (b'{"payloadtype": "getcallermsg", "payload": []}', 400),
    "a long id": (envelope(payload=ASK, id="x" * 65), 400),
    "NUL in the type": (b'{"payloadtype": "\\u0000"}', 400),
    "an empty object": (b"{}", 403),
    "nulls": (b'{"payloadtype": null, "payload": null, "signature": null}', 403),
    "unsigned": (envelope(payload=ASK, signature=""), 403),
    "upper case": (resigned(str.upper), 403),
    "the high-s twin": (resigned(twin), 403),
    "v + 4": (resigned(lambda one: f"{one[:129]}{int(one[129]) + 4}"), 403),
    "another text's signature": (envelope(payload=ASK, signature=KEY.sign("other")), 403),
    "unknown type": (envelope("nonsensemsg", {"msgtype": "nonsensemsg"}), 403),
    "a very long type": (envelope("x" * 10_000, {}), 403),
    "no type": (envelope("", {}), 403),
    "wrong base64": (envelope(payload="!!!"), 400),
    "base64 without padding": (envelope(payload="e30"), 400),
    "base64 of a URL": (envelope(payload="_-8="), 400),
    "an empty payload": (envelope(payload=""), 400),
    "no JSON inside": (envelope(payload=text_of(b"hello")), 400),
    "truncated JSON inside": (envelope(payload=text_of(b'{"msgtype":"getcolonymsg"')), 400),
    "null inside": (envelope(payload=text_of(b"null")), 400),
    "a list inside": (envelope(payload=text_of(b"[]")), 400),
    "nesting inside": (envelope(payload=text_of(b"[" * 100_000)), 400),
    "nesting inside an object": (
        envelope(payload=text_of(b'{"msgtype":"getcolonymsg","x":' + b"[" * 99_999)),
        400,
    ),
    "no msgtype": (envelope(payload={"colonyid": "x"}), 400),
    "another msgtype": (envelope(payload={"msgtype": "getcoloniesmsg"}), 400),
    "a number as msgtype": (envelope(payload={"msgtype": 7}), 400),
    "a null msgtype": (envelope(payload={"msgtype": None}), 400),
    "no colony": (envelope(payload={"msgtype": "getcolonymsg"}), 400),
    "a number as colony": (envelope(payload=ASK | {"colonyid": 7}), 400),
    "a list as colony": (envelope(payload=ASK | {"colonyid": []}), 400),
    "NUL in a text": (envelope(payload=text_of(NUL)), 400),
    "an unknown colony": (envelope(payload=ASK), 403),
    "an unknown process": (
        envelope("getprocessmsg", {"msgtype": "getprocessmsg", "processid": "f" * 64}),
        404,
    ),
    "a process of 100,000 letters": (
        envelope("getprocessmsg", {"msgtype": "getprocessmsg", "processid": "f" * 100_000}),
        404,
    ),
    "an empty process": (
        envelope("getprocessmsg", {"msgtype": "getprocessmsg", "processid": ""}),
        404,
    ),
    "one byte too many": (b" " * (MIB + 1), 413),
}  # fmt: skip


EXPECTED = {name: status for name, (_, status) in BAD.items()}


async def test_over_http_it_is_the_error_of_the_protocol(server, contents):
    found = {}
    for name, (body, _) in BAD.items():
        status, reply = await post(server, body)
        assert failure_of(reply).status == status
        found[name] = status
    assert found == EXPECTED


async def test_on_a_socket_it_is_the_error_of_the_protocol(server, contents, socket):
    found = {}
    for name, (frame, _) in BAD.items():
        if EXPECTED[name] == 413:
            continue  # the socket is closed: see below
        await socket.websocket.send(frame, text=name != "no UTF-8")
        reply = wire.decode(await socket.websocket.recv(), Reply)
        found[name] = failure_of(reply).status
        assert (await socket.ask("getcallermsg", {}, KEY))["id"] == KEY.id
    assert found.items() <= EXPECTED.items()


NUMBERS = [2**31, -(2**31) - 1, 2**63, 2**64, 10**30, -(10**30), 1.5, 1e300, "1", True, [], {}]


@pytest.mark.parametrize(
    ("payload_type", "path"),
    [
        ("submitprocessespecmsg", "spec.priority"),
        ("submitprocessespecmsg", "spec.maxexectime"),
        ("submitprocessespecmsg", "spec.conditions.cores"),
        ("assignprocessmsg", "timeout"),
        ("getprocessesmsg", "count"),
        ("getprocesshistmsg", "seconds"),
        ("addruntimemsg", "runtime.cores"),
        ("addattributemsg", "attribute.attributetype"),
    ],
)
async def test_numbers_out_of_range_are_malformed(server, people, payload_type, path):
    for number in NUMBERS:
        fields: dict = {"msgtype": payload_type, "colonyid": "x"}
        *parents, name = path.split(".")
        inner = fields
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[name] = number
        fields.setdefault("runtime", {}).update(runtimeid="f" * 64, colonyid="x")
        fields.setdefault("attribute", {}).update(targetid="x")
        payload = text_of(json.dumps(fields).encode())
        status, reply = await post(server, envelope(payload_type, payload, people.runtime))
        assert (number, status) == (number, 400)
        assert failure_of(reply).field == path


async def test_another_colonys_key_changes_nothing(contents, socket, people, member, colony):
    process = (await member.get_processes(0))[0]
    for payload_type, fields in (
        ("submitprocessespecmsg", {"spec": {"conditions": {"colonyid": colony}}}),
        ("deleteprocessmsg", {"processid": process.process_id}),
        ("deleteallprocessesmsg", {"colonyid": colony}),
        ("approveruntimemsg", {"runtimeid": people.pending.id}),
        ("deleteruntimemsg", {"runtimeid": people.runtime.id}),
        ("closesuccessfulmsg", {"processid": process.process_id}),
    ):
        for key in (people.foreigner, people.other_owner):
            with pytest.raises(Failure) as refusal:
                await socket.ask(payload_type, fields, key)
            assert refusal.value.status in {403, 404}


async def test_exactly_as_much_as_allowed_is_taken(server, colony, people, socket):
    def body(padding: int) -> bytes:
        fields = {"colonyid": colony, "x": ""}
        empty = seal("getcolonymsg", fields, people.runtime)
        return empty + b" " * (padding - len(empty))

    assert (await post(server, body(MIB)))[0] == 200
    assert (await post(server, body(MIB + 1)))[0] == 413
    await socket.websocket.send(body(MIB), text=True)
    assert not wire.decode(await socket.websocket.recv(), Reply).error
    await socket.websocket.send(body(MIB + 1), text=True)
    reply = wire.decode(await socket.websocket.recv(), Reply)
    assert failure_of(reply).code == "too_large"
    with contextlib.suppress(ConnectionClosed):  # the hub hangs up before it has read all of it
        await socket.websocket.send(body(4 * MIB + 1), text=True)
    assert await socket.closed() == 1009


async def test_an_endless_body_is_refused_before_it_ends(server, contents):
    head = b"POST /api HTTP/1.1\r\nHost: hub\r\nTransfer-Encoding: chunked\r\n\r\n"
    reader, writer = await send(server, head)
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    for _ in range(17):
        writer.write(chunk)
    status, body = await read_http(reader)
    assert (status, failure_of(wire.decode(body, Reply)).code) == (413, "too_large")
    await hang_up(writer)


@pytest.mark.settings(body_timeout=3600.0)
async def test_a_body_that_says_that_it_is_too_large_is_not_waited_for(server, contents):
    reader, writer = await send(
        server, b"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: 99999999999\r\n\r\n{"
    )
    status, body = await read_http(reader)
    assert (status, failure_of(wire.decode(body, Reply)).code) == (413, "too_large")
    await hang_up(writer)


@pytest.mark.settings(body_timeout=0.2)
async def test_a_body_that_does_not_come_is_timed_out(server, contents):
    reader, writer = await send(
        server, b"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: 10\r\n\r\n123"
    )
    status, body = await read_http(reader)
    assert (status, failure_of(wire.decode(body, Reply)).code) == (408, "timed_out")
    await hang_up(writer)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: -1\r\n\r\n",
        b"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: x\r\n\r\n",
        b"POST /api HTTP/9.9\r\n\r\n",
        b"\0" * 100,
    ],
)
async def test_what_is_no_http_is_hung_up_on(server, contents, raw):
    reader, writer = await send(server, raw)
    async with asyncio.timeout(LONG):
        answer = await reader.read()
    assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    await hang_up(writer)


async def test_a_client_that_vanishes_in_the_middle_harms_nobody(server, contents, member):
    body = seal("getcallermsg", {}, KEY)
    head = f"POST /api HTTP/1.1\r\nHost: hub\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    for end in (0, 5, len(head) - 1, len(head), len(head) + 20, len(head) + len(body)):
        _, writer = await send(server, (head + body)[:end])
        writer.transport.abort()
    await noticed(server)
    assert await member.get_caller()


@pytest.mark.parametrize("path", ["/ws", "/pubsub"])
async def test_a_socket_that_vanishes_in_the_middle_harms_nobody(
    server, contents, member, path, people
):
    handshake = (
        f"GET {path} HTTP/1.1\r\nHost: hub\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
    frame = b"\x81\xfe\x10\x00\x00\x00\x00\x00" + b"x" * 100
    for raw in (handshake[:50], handshake, handshake + frame[:3], handshake + frame):
        _, writer = await send(server, raw)
        writer.transport.abort()
    async with talk(server, path) as talking:
        await talking.websocket.send(seal("getprocessesmsg", {}, people.runtime))
        await talking.vanish()
    await noticed(server)
    assert await member.get_caller()


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x81\x05hello", 1002),  # not masked
        (b"\xf1\x80\x00\x00\x00\x00", 1002),  # reserved bits
        (b"\x83\x80\x00\x00\x00\x00", 1002),  # unknown opcode
        (b"\x81\x82\x00\x00\x00\x00\xff\xfe", 1007),  # no UTF-8
        (b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x00", 1009),  # 2**63 bytes to come
    ],
)
@pytest.mark.parametrize("path", ["/ws", "/pubsub"])
async def test_a_frame_that_is_none_closes_the_socket(server, contents, path, frame, code):
    async with talk(server, path) as talking:
        talking.websocket.transport.write(frame)
        assert await talking.closed() == code


async def test_a_bad_frame_amid_pushes_is_no_bug_of_ours(server, member, people, socket):
    """The socket closes for sending before we know: what is pushed then goes nowhere."""
    await socket.ask("subscribeprocessesmsg", {"runtimetype": "cli"}, people.runtime)
    process = (await member.submit("work", runtime_type="cli")).process
    socket.websocket.transport.write(b"\xf1\x80\x00\x00\x00\x00")
    while server.hub.listeners:
        server.hub.publish([process])
        await asyncio.sleep(0)
    await noticed(server)


@pytest.mark.settings(stranger_timeout=0.1)
@pytest.mark.parametrize("path", ["/ws", "/pubsub"])
async def test_a_silent_stranger_is_hung_up_on(server, path):
    async with talk(server, path) as silent:
        assert await silent.closed() == 1008


@pytest.mark.settings(stranger_timeout=0.3)
async def test_talking_nonsense_does_not_make_a_stranger_known(server):
    async with talk(server) as stranger:
        with contextlib.suppress(ConnectionClosed):
            while True:
                await stranger.websocket.send("nonsense")
                await stranger.websocket.recv()
        assert await stranger.closed() == 1008


@pytest.mark.settings(stranger_timeout=0.1)
async def test_who_has_signed_one_message_may_be_silent(server, people, colony):
    async with contextlib.AsyncExitStack() as stack:
        known = await introduced(server, people.stranger, stack)
        stranger = await stack.enter_async_context(talk(server))
        await stranger.closed()
        await known.ask("getcallermsg", {}, people.stranger)


async def introduced(server, key, stack: contextlib.AsyncExitStack) -> Talk:
    """Give a WebSocket over which something was said in time; a slow machine tries again."""
    async with asyncio.timeout(LONG):
        while True:
            talking = await stack.enter_async_context(talk(server))
            with contextlib.suppress(ConnectionClosed):
                await talking.ask("getcallermsg", {}, key)
                return talking


async def test_an_address_has_256_strangers_at_most(server, people):
    async with asyncio.timeout(60):
        talks = [talk(server) for _ in range(256)]
        strangers = [await one.__aenter__() for one in talks]
        with pytest.raises(InvalidStatus) as refusal:
            async with talk(server):
                pass
        assert refusal.value.response.status_code == 503
        assert refusal.value.response.headers["Retry-After"] == "1"
        await strangers[0].ask("getcallermsg", {}, people.stranger)
        async with talk(server):
            pass
        for one in strangers:
            one.websocket.transport.abort()
        for one in talks:
            await one.__aexit__(None, None, None)


@pytest.mark.settings(max_strangers=1)
async def test_who_is_busy_with_a_long_poll_is_no_stranger(server, people, colony):
    async with talk(server) as busy:
        await busy.send("assignprocessmsg", {"colonyid": colony, "timeout": 20}, people.runtime)
        await until(lambda: server.hub.lines)
        async with talk(server) as another:
            await another.ask("getcallermsg", {}, people.runtime)


async def test_plain_routes(server, colony):
    async def get(path: str, method: str = "GET") -> tuple[int, bytes]:
        request = f"{method} {path} HTTP/1.1\r\nHost: hub\r\nConnection: close\r\n\r\n"
        reader, writer = await send(server, request.encode())
        answer = await read_http(reader)
        await hang_up(writer)
        return answer

    assert await get("/health") == (200, b"")
    assert (await get("/ready"))[0] == 200
    status, metrics = await get("/metrics")
    assert status == 200
    assert b'colonies_rpc_seconds_count{rpc="addcolonymsg",status="200"} 2.0' in metrics
    assert (await get("/nowhere"))[0] == 404
    assert (await get("/api"))[0] in {404, 405}
    assert (await get("/ws"))[0] in {400, 404, 426}


async def test_unknown_types_share_one_label(server):
    for number in range(50):
        await post(server, envelope(f"nonsense{number}", {}))
    lines = [line for line in server.metrics.text().decode().splitlines() if "_count{" in line]
    assert len([line for line in lines if 'rpc="unknown"' in line]) == 1
    assert not any("nonsense" in line for line in lines)


@pytest.mark.settings(max_pushed_messages=4)
async def test_a_slow_reader_is_cut_off_and_others_hear_everything(settings, people, colony, log):
    events = 20
    spec = {"runtimetype": "cli", "state": 0}
    limit = 5 * MIB
    most = 0
    async with (
        narrow(settings) as server,
        reaching(server, people.runtime) as member,
        talk(server, sock=narrow_socket(server)) as slow,
        talk(server) as fast,
    ):
        for one in (slow, fast):
            await one.ask("subscribeprocessesmsg", spec, people.runtime)
        (listeners,) = server.hub.listeners._by_key.values()
        outboxes = [listener._connection._outbox for listener in listeners]
        slow.websocket.transport.pause_reading()
        for _ in range(events):
            process = await member.submit("work", "x" * 600_000, runtime_type="cli")
            most = max(most, *(sum(map(len, outbox._frames)) for outbox in outboxes))
            assert (await fast.pushed()).process_id == process.id
        assert "slow reader cut off" in [event["event"] for event in log]
        await until(lambda: len(server.hub.listeners) == 1 and len(listeners) == 1)
        assert most <= limit
        slow.websocket.transport.resume_reading()
        assert await slow.closed() in {1013, 1006}


@pytest.mark.settings(max_in_flight=8)
async def test_who_asks_and_never_reads_holds_up_nobody_else(server, member, people, colony):
    for _ in range(3):
        await member.submit("work", "x" * 600_000, runtime_type="cli")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with talk(server) as greedy:
        greedy.websocket.transport.pause_reading()
        fields = {"colonyid": colony, "count": 100}
        for number in range(60):
            await greedy.send("getprocessesmsg", fields, people.runtime, f"{number}")
        for _ in range(20):
            await member.get_caller()
        await greedy.vanish()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    assert grown < 60 * 3 * 800_000


def test_an_envelope_of_a_v1_client_has_the_same_shape():
    assert Envelope.__struct_fields__[:3] == ("payload_type", "payload", "signature")
