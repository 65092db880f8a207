"""The door of v1 clients: ``/pubsub`` speaks exactly as theirs did."""

import asyncio
import json
from base64 import b64decode

import pytest
from websockets.exceptions import ConnectionClosed

from colonies.core.envelope import seal
from tests.server.doors import LONG, is_silent, talk, until

TYPE = "subscribeprocessesmsg"
ONE = "subscribeprocessmsg"


@pytest.fixture
async def v1(server, colony):
    async with talk(server, "/pubsub") as talking:
        yield talking.websocket


async def frame(v1) -> dict:
    async with asyncio.timeout(LONG):
        return json.loads(await v1.recv())


def content(reply: dict) -> dict:
    return json.loads(b64decode(reply["payload"], validate=True))


async def subscribe(v1, server, key, payload_type=TYPE, **fields):
    """There is no acknowledgement: the hub itself tells when it listens."""
    plain = {"runtimetype": "cli", "state": 0, "timeout": 100}
    count = listening(server)
    await v1.send(seal(payload_type, plain | fields, key))
    await until(lambda: listening(server) == count + 1)


def listening(server) -> int:
    return len(server.hub.listeners)


async def test_nothing_is_sent_before_there_is_something_to_say(v1, server, people, member):
    await subscribe(v1, server, people.runtime)
    assert await is_silent(v1)
    process = await member.submit("work", runtime_type="cli")
    assert content(await frame(v1))["processid"] == process.id


@pytest.mark.parametrize("payload_type", [TYPE, ONE])
async def test_a_push_has_the_keys_and_the_type_of_v1(v1, server, people, member, payload_type):
    process_id = (await member.submit("work", runtime_type="cli")).id
    fields = {"processid": process_id, "state": 1}
    await subscribe(v1, server, people.runtime, payload_type, **fields)
    await member.assign_process(timeout=-1)
    reply = await frame(v1)
    assert list(reply) == ["payloadtype", "payload", "error"]
    assert (reply["payloadtype"], reply["error"]) == (ONE, False)
    assert content(reply)["state"] == 1


async def test_an_id_that_a_client_sends_is_not_echoed(v1, server, people, member):
    await v1.send(seal(TYPE, {"runtimetype": "cli", "timeout": 100}, people.runtime, "mine"))
    await until(lambda: listening(server) == 1)
    await member.submit("work", runtime_type="cli")
    assert list(await frame(v1)) == ["payloadtype", "payload", "error"]


async def test_several_subscriptions_share_a_socket(v1, server, people, member):
    for state in (0, 1, 0):
        await subscribe(v1, server, people.runtime, state=state)
    await member.submit("work", runtime_type="cli")
    await member.assign_process(timeout=-1)
    states = [content(await frame(v1))["state"] for _ in range(3)]
    assert states == [0, 0, 1]


async def test_a_process_in_the_wanted_state_is_pushed_at_once(v1, server, people, member):
    process = await member.submit("work", runtime_type="cli")
    await subscribe(v1, server, people.runtime, ONE, processid=process.id, state=0)
    assert content(await frame(v1))["processid"] == process.id


async def test_other_types_are_not_heard(v1, server, people, member, colony):
    for payload_type in ("getcolonymsg", "versionmsg", "assignprocessmsg", "nonsense", ""):
        fields = {"colonyid": colony, "timeout": 100}
        await v1.send(seal(payload_type, fields, people.runtime))
    await v1.send(seal("subscribeassignmentsmsg", {"colonyid": colony}, people.runtime, "x"))
    await subscribe(v1, server, people.runtime)
    await member.submit("work", runtime_type="cli")
    assert content(await frame(v1))["state"] == 0
    assert await is_silent(v1)


async def closes(v1) -> None:
    with pytest.raises(ConnectionClosed):
        await frame(v1)


@pytest.mark.parametrize("timeout", [0, -1, 1])
async def test_a_timeout_closes_the_socket(v1, server, people, timeout):
    fields = {"runtimetype": "cli", "state": 0, "timeout": timeout}
    await v1.send(seal(TYPE, fields, people.runtime))
    await closes(v1)
    await until(lambda: listening(server) == 0)


async def test_the_first_timeout_closes_the_socket_for_all(v1, server, people):
    await subscribe(v1, server, people.runtime)
    await v1.send(seal(TYPE, {"runtimetype": "cli", "timeout": 1}, people.runtime))
    await closes(v1)
    await until(lambda: listening(server) == 0)


async def refusal(v1) -> dict:
    reply = await frame(v1)
    assert list(reply) == ["payloadtype", "payload", "error"]
    assert (reply["payloadtype"], reply["error"]) == ("error", True)
    await closes(v1)
    return content(reply)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("nonsense", 400),
        ("null", 400),
        ("[]", 400),
        ('{"payloadtype": "subscribeprocessesmsg", "payload": "", "signature": ""}', 403),
        ('{"payloadtype": "nonsense", "payload": "", "signature": ""}', 403),
        ("{}", 403),
    ],
)
async def test_an_error_is_one_frame_and_a_closed_socket(v1, message, status):
    await v1.send(message)
    assert (await refusal(v1))["status"] == status


@pytest.mark.parametrize("who", ["stranger", "pending", "server_owner"])
async def test_who_may_not_is_told_403_and_hung_up_on(v1, people, who):
    await v1.send(seal(TYPE, {"timeout": 100}, getattr(people, who)))
    assert (await refusal(v1))["status"] == 403


async def test_an_unknown_process_is_404(v1, people):
    await v1.send(seal(ONE, {"processid": "f" * 64, "timeout": 100}, people.runtime))
    assert (await refusal(v1))["status"] == 404


@pytest.mark.settings(max_subscriptions=1)
async def test_too_many_subscriptions_are_refused_in_the_words_of_v1(v1, server, people):
    await subscribe(v1, server, people.runtime)
    await v1.send(seal(TYPE, {"timeout": 100}, people.runtime))
    assert (await refusal(v1))["status"] == 409
    await until(lambda: listening(server) == 0)


async def test_a_rejected_runtime_is_hung_up_on(v1, server, people, client):
    await subscribe(v1, server, people.runtime)
    await client.acting_as(people.colony_owner).reject_runtime(people.runtime.id)
    await closes(v1)


async def test_binary_frames_are_taken_too(v1, server, people, member):
    await v1.send(seal(TYPE, {"runtimetype": "cli", "timeout": 100}, people.runtime), text=False)
    await until(lambda: listening(server) == 1)
