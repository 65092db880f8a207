"""Calls that go on until there is an answer, while the hub is away."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import msgspec
import pytest
from msgspec.structs import replace
from websockets.asyncio.server import serve

from colonies.client import Colonies, connect
from colonies.client.insistence import insist
from colonies.core import wire
from colonies.core.envelope import Envelope, Reply, error_reply, pack, unpack
from colonies.core.errors import (
    Conflict,
    ConnectionLost,
    DeadlineExceeded,
    Failure,
    Forbidden,
    Malformed,
    Misconfigured,
    NotFound,
    Unavailable,
)
from colonies.core.identity import PrivateKey
from colonies.core.process import Process, State
from colonies.server.app import Server
from tests.server.doors import LONG, until

KEY = PrivateKey(f"{1:064x}")
AWAY = [ConnectionLost("gone"), DeadlineExceeded("silent"), Unavailable("stopping")]


class Work:
    """Something that fails so often before it succeeds."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.left: list[float] = []

    async def __call__(self, left: float) -> str:
        self.left.append(left)
        if self.failures:
            raise self.failures.pop(0)
        return "done"


async def try_it(work: Work, seconds: float = 20.0, is_hopeful: Callable[[], bool] = lambda: True):
    return await insist(work, seconds=seconds, is_hopeful=is_hopeful)


class TestInsist:
    async def test_what_succeeds_is_tried_once(self):
        work = Work()
        assert await try_it(work) == "done"
        assert work.left == [20.0]

    async def test_while_the_hub_is_away_it_is_tried_again(self):
        work = Work(*AWAY)
        assert await try_it(work) == "done"
        assert len(work.left) == 4
        assert work.left == sorted(work.left, reverse=True)
        assert work.left[1] < 20.0

    @pytest.mark.parametrize(
        "error",
        [Conflict(""), Forbidden(""), NotFound(""), Malformed(""), Failure(), Misconfigured(""),
         ValueError(), TimeoutError(), OSError(), asyncio.CancelledError()],
    )  # fmt: skip
    async def test_every_other_failure_is_the_answer(self, error):
        work = Work(error)
        with pytest.raises(type(error)):
            await try_it(work)
        assert len(work.left) == 1

    async def test_at_the_deadline_it_gives_up_with_the_last_error(self, monkeypatch):
        monkeypatch.setattr("colonies.client.insistence.FIRST_PAUSE", 0.01)
        monkeypatch.setattr("colonies.client.insistence.LONGEST_PAUSE", 0.1)
        work = Work(*[ConnectionLost("first")] * 2, *[Unavailable("last")] * 99)
        with pytest.raises(Unavailable, match="last"):
            await try_it(work, 1.0)
        assert len(work.left) > 2
        assert all(left <= 1.0 for left in work.left)

    @pytest.mark.parametrize("error", AWAY)
    async def test_without_hope_it_gives_up_at_once(self, error):
        work = Work(error, error)
        with pytest.raises(type(error)):
            await try_it(work, is_hopeful=lambda: False)
        assert len(work.left) == 1

    async def test_with_less_time_than_a_pause_it_is_tried_once(self):
        work = Work(ConnectionLost(""))
        with pytest.raises(ConnectionLost):
            await try_it(work, 0.001)
        assert work.left == [0.001]


Answer = Callable[[int], Reply | None]
"""What a hub of the tests says to its n-th request: None is silence."""


class Heard(list[tuple[str, str]]):
    """The payload types and request ids that it was asked."""

    def take(self, raw: bytes | str) -> tuple[int, Envelope]:
        envelope = wire.decode(raw, Envelope)
        sec = wire.decode(unpack(envelope.payload), dict).get("sec", {})
        self.append((envelope.payload_type, sec.get("req", "")))
        return len(self), envelope


@contextlib.asynccontextmanager
async def websocket_hub(answer: Answer, heard: Heard) -> AsyncIterator[int]:
    async def hub(websocket) -> None:
        async for frame in websocket:
            number, envelope = heard.take(frame)
            if reply := answer(number):
                await websocket.send(wire.encode(replace(reply, id=envelope.id)), text=True)

    async with serve(hub, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@contextlib.asynccontextmanager
async def http_hub(answer: Answer, heard: Heard) -> AsyncIterator[int]:
    class Hub(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers["Content-Length"])
            number, _ = heard.take(self.rfile.read(length))
            if reply := answer(number):
                body = wire.encode(reply)
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            else:
                self.rfile.read(1)  # until the client hangs up

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server.server_address[1]
        await asyncio.to_thread(server.shutdown)
        thread.join()


DOORS = pytest.mark.parametrize("http", [False, True], ids=["ws", "http"])
PROCESS = Reply(payload_type="x", payload=pack(Process(process_id="p")))


@contextlib.asynccontextmanager
async def asking(settings, answer: Answer, *, http: bool, **changes):
    """A client of a hub that answers so, and what that hub has heard."""
    heard = Heard()
    hub = http_hub if http else websocket_hub
    async with hub(answer, heard) as port:
        there = replace(settings, server_port=port, **changes)
        async with connect(there, key=KEY, http=http) as colonies:
            yield colonies, heard


def silent_to(*numbers: int) -> Answer:
    return lambda number: None if number in numbers else PROCESS


@DOORS
class TestTries:
    async def test_a_silent_hub_is_asked_again_with_the_same_id(self, settings, http):
        answer = silent_to(2, 3)
        async with asking(settings, answer, http=http, try_timeout=0.2) as (colonies, heard):
            for _ in range(2):
                assert (await colonies.cancel_process("p")).process_id == "p"
        # On a slow machine the first may have been asked again, too.
        assert len(heard) >= 4
        assert len(set(heard)) == 2
        assert list(heard) == sorted(heard, key=[*dict.fromkeys(heard)].index)
        assert all(len(request) == 22 for _, request in heard)

    async def test_a_hub_that_cannot_serve_is_asked_again(self, settings, http):
        def answer(number: int) -> Reply:
            return error_reply(Unavailable("not now")) if number in (2, 3) else PROCESS

        async with asking(settings, answer, http=http) as (colonies, heard):
            for _ in range(2):
                await colonies.release("p")
        assert [request == heard[1][1] for _, request in heard] == [False, True, True, True]

    async def test_a_refusal_is_not_asked_again(self, settings, http):
        def answer(number: int) -> Reply:
            return error_reply(Conflict("no")) if number > 1 else PROCESS

        async with asking(settings, answer, http=http) as (colonies, heard):
            await colonies.get_process("p")
            with pytest.raises(Conflict):
                await colonies.close_failed("p")
        assert len(heard) == 2

    async def test_it_gives_up_when_its_time_is_over(self, settings, http):
        is_silent = False

        def answer(_number: int) -> Reply | None:
            return None if is_silent else PROCESS

        limits = {"timeout": 1.0, "try_timeout": 0.2}
        async with asking(settings, answer, http=http, **limits) as (colonies, heard):
            async with asyncio.timeout(LONG):
                with contextlib.suppress(DeadlineExceeded):  # a machine may be as slow as that
                    while not await colonies.get_process("p"):
                        pass
            is_silent = True
            heard.clear()
            began = asyncio.get_running_loop().time()
            with pytest.raises(DeadlineExceeded):
                await colonies.get_process("p")
            assert asyncio.get_running_loop().time() - began > 0.5
        assert len(set(heard)) == 1

    async def test_a_hub_that_has_never_served_is_asked_once(self, settings, http):
        def answer(_number: int) -> Reply:
            return error_reply(Unavailable("not now"))

        async with asking(settings, answer, http=http) as (colonies, heard):
            with pytest.raises(Unavailable):
                await colonies.get_process("p")
        assert len(heard) == 1

    async def test_each_call_is_an_intention_of_its_own(self, settings, http):
        async with asking(settings, silent_to(), http=http) as (colonies, heard):
            calls = (colonies.release("p") for _ in range(20))
            await asyncio.gather(*calls)
        assert len({request for _, request in heard}) == 20

    async def test_closing_the_client_ends_every_try(self, settings, http):
        def answer(number: int) -> Reply | None:
            return None if number > 1 else PROCESS

        async with asking(settings, answer, http=http) as (colonies, heard):
            await colonies.get_process("p")
            waiting = asyncio.ensure_future(colonies.get_process("p"))
            await until(lambda: len(heard) == 2)
            await colonies.close()
            with pytest.raises(ConnectionLost):
                async with asyncio.timeout(LONG):
                    await waiting
        assert len(heard) == 2


def test_the_id_of_an_intention_is_new_each_time():
    from colonies.core.envelope import new_request_id  # noqa: PLC0415

    assert len({new_request_id() for _ in range(1000)}) == 1000


@pytest.fixture
async def known(settings, db, client, colony, people):
    """A client that a hub has served, which is stopped then; ``client`` is of another hub."""
    clients: list[Colonies] = []

    async def known(*, http: bool) -> tuple[Colonies, msgspec.Struct]:
        async with Server(settings) as hub:
            there = replace(settings, server_port=hub.port)
            clients.append(connect(there, key=people.runtime, http=http))
            await clients[-1].get_caller()
        return clients[-1], there

    yield known
    for one in clients:
        await one.close()


@DOORS
class TestRestart:
    """A hub that is stopped and comes back on the same port."""

    async def test_calls_made_while_it_is_away_are_done_once(self, known, member, http):
        colonies, there = await known(http=http)
        calls = [
            asyncio.ensure_future(colonies.submit("f", str(number), runtime_type="cli"))
            for number in range(20)
        ]
        await asyncio.sleep(0)
        async with Server(there):
            submitted = await asyncio.gather(*calls)
            waiting = await member.get_processes(State.WAITING)
            assert sorted(one.process_id for one in waiting) == sorted(one.id for one in submitted)
            taken = [await member.assign_process(timeout=-1) for _ in range(20)]
        closes = [
            asyncio.ensure_future(
                colonies.close_successful(
                    one.process_id, [one.process_id], attempt_token=one.attempt_token
                )
            )
            for one in taken
        ]
        await asyncio.sleep(0)
        async with Server(there):
            await asyncio.gather(*closes)
        ended = await member.get_processes(State.SUCCESS)
        assert all(one.output == [one.process_id] for one in ended)
        assert len(ended) == 20

    # A socket accepted while the hub stops is left to the garbage collector, which warns.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    async def test_stopped_again_and_again_in_the_middle_of_calls(self, known, member, http):
        """Some are done and not answered, some not done: each is done once, none fails."""
        colonies, there = await known(http=http)

        async def work(number: int) -> str:
            process = await colonies.submit("f", str(number), runtime_type="cli")
            taken = await colonies.assign_process(timeout=60)
            await colonies.close_successful(taken.process_id, attempt_token=taken.attempt_token)
            return process.id

        tasks = [asyncio.ensure_future(work(number)) for number in range(25)]
        for count in (0, 5, 15, 25):
            async with Server(there):
                await until(lambda count=count: sum(map(asyncio.Task.done, tasks)) >= count, 60)
        ids = [await task for task in tasks]
        ended = await member.get_processes(State.SUCCESS)
        assert sorted(one.process_id for one in ended) == sorted(ids)
        assert (await member.get_colony_stats()).running_processes == 0
        gc.collect()

    async def test_a_wait_for_work_goes_on(self, known, member, http):
        colonies, there = await known(http=http)
        waiting = asyncio.ensure_future(colonies.assign_process(timeout=60))
        for _ in range(2):
            async with Server(there) as hub:
                await until(lambda hub=hub: bool(hub.hub.lines))
        async with Server(there) as hub:
            await until(lambda: bool(hub.hub.lines))
            process = await member.submit("f", runtime_type="cli")
            await hub.ticker.run_once()
            assert (await waiting).process_id == process.id


async def test_subscriptions_made_while_it_is_away_are_made_once(known, member):
    colonies, there = await known(http=False)
    making = [
        asyncio.ensure_future(colonies.subscribe_processes(f"type {n}", states=[State.WAITING]))
        for n in range(5)
    ]
    await asyncio.sleep(0)
    async with Server(there) as hub:
        changes = await asyncio.gather(*making)
        assert len(hub.hub.listeners) == 5
        for number, one in enumerate(changes):
            process = await colonies.submit("f", runtime_type=f"type {number}")
            assert (await anext(one)).process_id == process.id
