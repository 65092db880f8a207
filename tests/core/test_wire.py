"""JSON in and out: every Struct comes back as it went, and bad input is refused by name."""

import contextlib
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonies.core import wire
from colonies.core.attribute import Attribute
from colonies.core.colony import Colony, Statistics
from colonies.core.envelope import Envelope, Reply
from colonies.core.errors import FailureMessage, Malformed
from colonies.core.process import Conditions, Process, ProcessSpec, State
from colonies.core.runtime import Location, Runtime
from colonies.core.wire import ZERO_TIME, decode, encode
from tests.core import strategies as some

STRUCTS = [Attribute, Colony, Envelope, Location, Process, ProcessSpec, Reply, Runtime, Statistics]


@given(
    st.one_of(
        some.processes, some.runtimes, some.attributes, some.specs, some.envelopes, some.replies
    )
)
def test_a_struct_comes_back_as_it_went(value):
    assert decode(encode(value), type(value)) == value


@given(some.processes)
def test_keys_on_the_wire_have_no_underscores_and_one_case(process):
    keys = decode(encode(process), dict[str, Any]).keys()
    assert all(key == key.lower() and "_" not in key for key in keys)
    assert {"processid", "assignedruntimeid", "in", "out", "waitforparents"} <= keys


def test_the_keys_of_a_process_stand_in_the_order_of_v1_and_ours_after_them():
    keys = list(decode(encode(Process()), dict[str, Any]))
    assert keys == [
        "processid", "assignedruntimeid", "isassigned", "state", "submissiontime", "starttime",
        "endtime", "waitdeadline", "execdeadline", "retries", "attributes", "spec",
        "waitforparents", "parents", "children", "processgraphid", "in", "out", "errors",
        "attempt", "attempttoken", "leaseduntil", "cancelledby", "cancelreason", "canceltime",
        "inputlengths", "submittedby",
    ]  # fmt: skip


def test_times_are_utc_and_what_is_not_yet_is_gos_zero_time():
    assert encode(ZERO_TIME) == b'"0001-01-01T00:00:00Z"'
    assert encode(datetime(2024, 5, 6, 7, 8, 9, 120000, UTC)) == b'"2024-05-06T07:08:09.120000Z"'


@given(st.binary(), st.sampled_from(STRUCTS))
def test_any_bytes_are_a_value_or_malformed(raw, kind):
    with contextlib.suppress(Malformed):
        assert isinstance(decode(raw, kind), kind)


@given(some.json, st.sampled_from(STRUCTS))
def test_any_json_is_a_value_or_malformed(value, kind):
    with contextlib.suppress(Malformed):
        assert isinstance(decode(encode(value), kind), kind)


@given(st.data(), st.sampled_from(STRUCTS))
def test_any_values_under_the_right_names_are_a_value_or_malformed(data, kind):
    names = [field.encode_name for field in msgspec.structs.fields(kind)]
    drawn = data.draw(st.dictionaries(st.sampled_from(names), some.json))
    with contextlib.suppress(Malformed):
        assert isinstance(decode(encode(drawn), kind), kind)


@pytest.mark.parametrize("kind", [one for one in STRUCTS if one is not Location])
def test_null_stands_for_the_default_everywhere(kind):
    fields = msgspec.structs.fields(kind)
    for field in fields:
        assert decode(encode({field.encode_name: None}), kind) == kind()
    assert decode(encode({field.encode_name: None for field in fields}), kind) == kind()


def test_null_stands_for_the_default_below_too():
    raw = b"""{"args": null, "env": {"a": "b", "c": null}, "kwargs": null, "maxretries": null,
               "conditions": {"runtimeids": null, "colonyid": "c", "cores": null}}"""
    expected = ProcessSpec(env={"a": "b"}, conditions=Conditions(colony_id="c"))
    assert decode(raw, ProcessSpec) == expected


def test_what_a_null_is_beside_is_read_all_the_same():
    raw = b'{"runtimeid": "r", "location": null, "lastheardfromtime": "2020-01-01T00:00:00+02:00"}'
    runtime = decode(raw, Runtime)
    assert runtime.runtime_id == "r"
    assert runtime.last_heard_from_time == datetime(2019, 12, 31, 22, tzinfo=UTC)
    assert runtime.location == Location()


def test_unknown_keys_are_ignored_and_case_matters():
    raw = b'{"colonyid": "c", "what": {"is": ["this"]}, "Name": "no", "colony_id": "no"}'
    assert decode(raw, Colony) == Colony(colony_id="c")


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b'{"maxretries": "1"}', "maxretries"),
        (b'{"maxretries": 1.0}', "maxretries"),
        (b'{"maxretries": 1e1}', "maxretries"),
        (b'{"maxretries": true}', "maxretries"),
        (b'{"maxretries": 2147483648}', "maxretries"),
        (b'{"maxretries": -2147483649}', "maxretries"),
        (b'{"maxretries": 99999999999999999999999999}', "maxretries"),
        (b'{"maxretries": ' + b"9" * 5000 + b"}", "maxretries"),
        (b'{"lease": -1}', "lease"),
        (b'{"lease": 86401}', "lease"),
        (b'{"lease": 1.5}', "lease"),
        (b'{"lease": "30"}', "lease"),
        (b'{"args": {}}', "args"),
        (b'{"args": ["a", 1]}', "args[1]"),
        (b'{"env": []}', "env"),
        (b'{"env": {"a": 1}}', "env[...]"),
        (b'{"conditions": []}', "conditions"),
        (b'{"conditions": {"cores": "2"}}', "conditions.cores"),
        (b'{"args": ["a", "\\u0000"]}', "args[1]"),
        (b'{"conditions": {"runtimetype": "a\\u0000b"}}', "conditions.runtimetype"),
    ],
)
def test_a_fault_is_told_by_its_field(raw, field):
    with pytest.raises(Malformed) as refusal:
        decode(raw, ProcessSpec)
    assert refusal.value.field == field
    assert refusal.value.message.startswith(field)


@pytest.mark.parametrize(
    "raw",
    [
        b"", b" ", b"{", b"{}}", b"{} {}", b"{}x", b"nul", b"null", b"[]", b"1", b'"text"', b"NaN",
        b"{'a': 1}", b'{"a": 1,}', b'{"a": 01}', b'{"a": 1e999, "name": null}', b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"name": "\\ud800"}', b'{"name": "\\udc00"}', b'{"name": "\xed\xa0\x80"}',
        b'{"name": "\x00"}', b'{"name": "\\u0000"}', b'{"\\u0000": 1}', b'{"name": "\\x00"}',
        b'{"name": "\n"}', b'{"x": ' + b"9" * 5000 + b', "name": null}',
    ],
)  # fmt: skip
def test_what_is_no_object_of_ours_is_malformed(raw):
    with pytest.raises(Malformed):
        decode(raw, ProcessSpec)


def test_a_backslash_before_u0000_is_no_nul():
    assert decode(rb'{"name": "\\u0000"}', Colony).name == r"\u0000"


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'{"a":[', b'[{"a":'])
@pytest.mark.parametrize("before", [b"", b'{"name": "\\u0000", "x": ', b'{"name": null, "x": '])
@pytest.mark.parametrize("kind", [ProcessSpec, Any])
def test_nesting_100_000_deep_is_malformed(opening, before, kind):
    with pytest.raises(Malformed):
        decode(before + opening * 100_000, kind)


@pytest.mark.parametrize("before", [b"", b'"name": null, ', b'"name": "\\u0000", '])
def test_closed_nesting_100_000_deep_under_an_unknown_key_is_malformed(before):
    with pytest.raises(Malformed):
        decode(b"{" + before + b'"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ProcessSpec)


@pytest.mark.parametrize(
    "text",
    ["", "now", "2020-01-01T00:00:00", "2020-01-01", "12:00:00Z", "2020-13-01T00:00:00Z",
     "0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2020-01-01T00:00:00+99:00"],
)  # fmt: skip
def test_a_time_without_a_zone_or_meaning_is_malformed(text):
    with pytest.raises(Malformed) as refusal:
        decode(encode({"lastheardfromtime": text}), Runtime)
    assert refusal.value.field == "lastheardfromtime"


def test_a_state_that_is_none_is_malformed():
    for state in (-1, 5, 2**70):
        with pytest.raises(Malformed):
            decode(encode({"state": state}) if state < 2**63 else b'{"state": %d}' % state, Process)
    assert decode(b'{"state": 3}', Process).state is State.FAILED


def test_what_is_missing_is_named():
    class Needy(wire.Wire):
        process_id: str

    with pytest.raises(Malformed) as refusal:
        decode(b"{}", Needy)
    assert refusal.value.field == "processid"


@given(some.json)
def test_any_json_is_an_error_reply_or_malformed(value):
    with contextlib.suppress(Malformed):
        decode(encode(value), FailureMessage)


HALVES = [b'"\\ud800"', b'"a\\ud800b"', b'"\\uDC00"', b'"\\ud800\\ud800"', b'"\\udc00\\ud800"']


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("raw", [b'{"func": %s}', b'{"env": {%s: ""}}', b'{"args": ["", %s]}'])
def test_half_of_a_surrogate_pair_is_no_json(raw, half):
    for whole in (raw % half, raw % half + b" "):
        with pytest.raises(Malformed):
            decode(whole, ProcessSpec)
        with pytest.raises(Malformed):
            decode(whole, dict[str, Any])


@pytest.mark.parametrize(
    ("spec", "path"),
    [
        (ProcessSpec(func="a\ud800"), "func"),
        (ProcessSpec(args=["", "\udc00"]), "args[1]"),
        (ProcessSpec(env={"\ud800": ""}), "env"),
        (ProcessSpec(conditions=Conditions(runtime_type="\ud800")), "conditions.runtimetype"),
    ],
)
def test_text_that_is_no_utf8_is_refused_by_its_path(spec, path):
    with pytest.raises(Malformed) as refusal:
        encode(spec)
    assert refusal.value.field == path
    assert str(refusal.value) == f"{path}: expected text that UTF-8 can write"
