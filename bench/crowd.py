"""Many sockets in a program of its own, so that neither the hub nor the bench bears their weight.

``python -m bench.crowd`` reads a `Plan` as one line of standard input, connects, subscribes, and
then says on standard output, a line each, when it was ready and when what was pushed. It ends when
standard input does. `Crowd` is the side that starts it.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import msgspec
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.uri import parse_uri

from bench.loop import run
from bench.world import ROOT, Hub
from colonies import PrivateKey
from colonies.core import wire
from colonies.core.envelope import Reply, new_request_id, open_reply, seal, unpack
from colonies.core.process import Process, State

AT_ONCE = 64
"""Sockets that have not said yet who they are; a hub takes 256 of one address."""

SMALL_BUFFER = 4096
"""Bytes that the kernel keeps for who does not read."""

PATIENCE = 60.0
"""Seconds that a push may take."""

LONGEST_LINE = 64 * 1024 * 1024


class Plan(msgspec.Struct, frozen=True):
    """What the crowd shall be: a socket for each key, each says one thing first."""

    port: int
    payload_type: str
    fields: dict[str, Any]
    keys: list[str]
    works: bool = False
    """Whether to close what is pushed, as a runtime that does nothing."""
    is_deaf: bool = False
    """Whether to read nothing more after the first answer, not even pings."""


class Pushed(msgspec.Struct, frozen=True):
    """When a process was pushed to one of them, by `time.monotonic`, and to which of them."""

    at: float
    process_id: str
    member: int


class Member(asyncio.Protocol):
    """One socket."""

    def __init__(self, plan: Plan, number: int, tell: Callable[[Pushed], None]) -> None:
        self._plan = plan
        self._number = number
        self._key = PrivateKey(plan.keys[number])
        self._tell = tell
        self._wire = ClientProtocol(parse_uri(f"ws://127.0.0.1:{plan.port}/ws"), max_size=None)
        self._transport: asyncio.Transport
        self.is_in: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        """Shake hands."""
        self._transport = transport
        self._wire.send_request(self._wire.connect())
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Take what the hub says; pings are answered by the library."""
        self._wire.receive_data(data)
        for event in self._wire.events_received():
            if not isinstance(event, Frame):
                self._shake_hands()
            elif event.opcode is Opcode.TEXT:
                self._take(wire.decode(bytes(event.data), Reply))
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail if this comes before the hub has answered; else it is the end."""
        if not self.is_in.done():
            self.is_in.set_exception(exc or ConnectionError("the hub hung up"))

    def _shake_hands(self) -> None:
        if self._wire.handshake_exc:
            self.is_in.set_exception(self._wire.handshake_exc)
        else:
            self._say("first", self._plan.payload_type, self._plan.fields)

    def _take(self, reply: Reply) -> None:
        if reply.subscription is not msgspec.UNSET:
            self._take_push(time.monotonic(), open_reply(reply, Process))
        elif self.is_in.done():
            open_reply(reply, msgspec.Raw)  # a close that was refused is a bug, and said so
        elif reply.error:
            self.is_in.set_exception(RuntimeError(f"refused: {unpack(reply.payload)!r}"))
        else:
            self.is_in.set_result(reply)
            if self._plan.is_deaf:
                self._transport.pause_reading()

    def _take_push(self, at: float, process: Process) -> None:
        self._tell(Pushed(at, process.process_id, self._number))
        if self._plan.works:
            self._say("close", "closesuccessfulmsg", {"processid": process.process_id})

    def _say(self, name: str, payload_type: str, fields: dict[str, Any]) -> None:
        frame = seal(payload_type, fields, self._key, name, req=new_request_id())
        self._wire.send_text(frame)
        self._flush()

    def _flush(self) -> None:
        self._transport.write(b"".join(self._wire.data_to_send()))


async def gather(plan: Plan) -> None:
    """Be the crowd until standard input ends."""
    loop = asyncio.get_running_loop()
    entrance = asyncio.Semaphore(AT_ONCE)

    async def enter(number: int) -> None:
        async with entrance:
            plug = socket.socket()
            plug.setblocking(False)  # noqa: FBT003 - the standard library's
            if plan.is_deaf:
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
            await loop.sock_connect(plug, ("127.0.0.1", plan.port))
            _, member = await loop.create_connection(lambda: Member(plan, number, say), sock=plug)
            await member.is_in

    ended = asyncio.Event()
    loop.add_reader(sys.stdin.fileno(), ended.set)
    await asyncio.gather(*(enter(number) for number in range(len(plan.keys))))
    say("ready")
    await ended.wait()


def say(what: object) -> None:
    """Tell whoever started us."""
    sys.stdout.buffer.write(msgspec.json.encode(what) + b"\n")
    sys.stdout.buffer.flush()


class Crowd:
    """The sockets of a program that runs while its block lasts."""

    def __init__(self, output: asyncio.StreamReader) -> None:
        self._output = output

    async def next_push(self) -> Pushed:
        """Wait for the next push to any of them; raise TimeoutError if there is none for long."""
        async with asyncio.timeout(PATIENCE):
            line = await self._output.readline()
        if not line:
            raise RuntimeError("the crowd is gone")
        return msgspec.json.decode(line, type=Pushed)


@asynccontextmanager
async def crowd(
    hub: Hub,
    payload_type: str,
    fields: dict[str, Any],
    keys: Sequence[PrivateKey],
    **options: bool,
) -> AsyncIterator[Crowd]:
    """Start a crowd; it is all there when the block begins."""
    hexes = [key.hex for key in keys]
    plan = Plan(hub.settings.server_port, payload_type, fields, hexes, **options)
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.crowd"),
        stdin=PIPE,
        stdout=PIPE,
        limit=LONGEST_LINE,
        cwd=ROOT,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(msgspec.json.encode(plan) + b"\n")
        if not await child.stdout.readline():
            raise RuntimeError("the crowd did not get in")
        yield Crowd(child.stdout)
    finally:
        child.stdin.close()
        await child.wait()


def runtimes(hub: Hub, keys: Sequence[PrivateKey]) -> AbstractAsyncContextManager[Crowd]:
    """Start runtimes, each idle for one process at a time, that close what they get."""
    fields = {"colonyid": hub.settings.colony_id, "credit": 1, "holding": []}
    return crowd(hub, "subscribeassignmentsmsg", fields, keys, works=True)


def followers(
    hub: Hub, keys: Sequence[PrivateKey], runtime_type: str, **options: bool
) -> AbstractAsyncContextManager[Crowd]:
    """Start sockets that are told of every process of a type that ends well."""
    fields = {"runtimetype": runtime_type, "states": [State.SUCCESS]}
    return crowd(hub, "subscribeprocessesmsg", fields, keys, **options)


if __name__ == "__main__":
    run(gather(msgspec.json.decode(sys.stdin.buffer.readline(), type=Plan)))
