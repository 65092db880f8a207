"""Requests, replies and pushes as bytes."""

import contextlib
from base64 import b64encode

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonies.core import wire
from colonies.core.envelope import Envelope, Reply, error_reply, open_reply, pack, seal, unpack
from colonies.core.errors import Conflict, Failure, Malformed, NotFound
from colonies.core.identity import PrivateKey, recover
from colonies.core.process import Process
from tests.core import strategies as some

KEY = PrivateKey(f"{1:064x}")


def test_the_signature_covers_the_payload_text_and_that_repeats_the_type():
    envelope = wire.decode(seal("getcolonymsg", {"colonyid": "c"}, KEY, "7"), Envelope)
    assert envelope.payload_type == "getcolonymsg"
    assert envelope.id == "7"
    assert recover(envelope.payload, envelope.signature) == KEY.id
    assert unpack(envelope.payload) == b'{"msgtype":"getcolonymsg","colonyid":"c"}'


def test_without_an_id_or_a_subscription_there_is_no_such_key():
    plain = {"payloadtype", "payload", "signature"}
    assert wire.decode(seal("versionmsg", {}, None), dict).keys() == plain
    assert wire.decode(wire.encode(Reply()), dict).keys() == {"payloadtype", "payload", "error"}


@given(st.binary())
def test_a_payload_comes_back_as_it_went(raw):
    text = b64encode(raw).decode()
    assert unpack(text) == raw
    assert unpack("\r\n".join(text[at : at + 7] for at in range(0, len(text), 7))) == raw


@given(st.text())
def test_any_text_as_a_payload_is_bytes_or_malformed(text):
    with contextlib.suppress(Malformed):
        assert isinstance(unpack(text), bytes)


@pytest.mark.parametrize(
    "text",
    ["YQ", "YQ=", "Y", "YQ==YQ==", "====", "YQ==x", "Y Q==", "é", "-_-_", "\ud800"],
)
def test_what_is_no_padded_standard_base64_is_malformed(text):
    with pytest.raises(Malformed) as refusal:
        unpack(text)
    assert refusal.value.field == "payload"


@given(some.json)
def test_any_json_is_an_envelope_or_malformed(value):
    with contextlib.suppress(Malformed):
        envelope = wire.decode(wire.encode(value), Envelope)
        unpack(envelope.payload)


@pytest.mark.parametrize("id_", ["x" * 65, 1, ["a"], {}])
def test_an_id_is_a_text_of_at_most_64_characters(id_):
    with pytest.raises(Malformed) as refusal:
        wire.decode(wire.encode({"id": id_}), Envelope)
    assert refusal.value.field == "id"
    assert wire.decode(wire.encode({"id": "x" * 64}), Envelope).id == "x" * 64


def test_a_failure_comes_out_as_it_went_in():
    reply = error_reply(Conflict("no", field="id"), "7")
    assert reply.payload_type == "error"
    assert unpack(reply.payload) == b'{"status":409,"message":"no","code":"conflict","field":"id"}'
    with pytest.raises(Conflict, match=r"^no$") as caught:
        open_reply(reply, Process)
    assert caught.value.field == "id"


def test_a_v1_failure_without_a_code_is_told_by_its_status():
    reply = Reply(payload_type="error", payload=pack({"status": 404, "message": "no"}), error=True)
    with pytest.raises(NotFound, match=r"^no$"):
        open_reply(reply, Process)


@given(some.json, st.booleans())
def test_a_reply_of_any_json_is_a_value_or_a_typed_error(value, error):
    reply = Reply(payload_type="x", payload=pack(value), error=error)
    with contextlib.suppress(Failure):
        assert isinstance(open_reply(reply, Process), Process)


@given(some.processes)
def test_a_process_travels_in_a_reply(process):
    assert open_reply(Reply(payload=pack(process)), Process) == process
    assert isinstance(open_reply(Reply(payload=pack({})), msgspec.Raw), msgspec.Raw)
