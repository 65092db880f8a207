"""Specs, conditions, and arguments as text."""

import json
import math
import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonies.core.process import (
    NOTHING,
    Conditions,
    Process,
    ProcessSpec,
    State,
    decode_argument,
    encode_argument,
    new_id,
)
from colonies.core.runtime import Runtime
from tests.core import strategies as some

ME = "1" * 64
OTHER = "2" * 64
RUNTIME = Runtime(runtime_id=ME, runtime_type="cli", colony_id="c", cores=4, mem=1000, gpus=1)


@given(some.json | st.text())
def test_an_argument_comes_back_as_it_went(value):
    text = encode_argument(value)
    assert isinstance(text, str)
    assert decode_argument(text) == value
    assert type(decode_argument(text)) is type(value)


@pytest.mark.parametrize("text", ["1", "null", "true", '"quoted"', "[]", "{}", " 1 ", "1e5", "-0"])
def test_a_text_that_reads_as_json_stays_a_text(text):
    assert decode_argument(encode_argument(text)) == text


@pytest.mark.parametrize("text", [r'"\ud800"', r'["\uDC00"]', r'{"\udfff": 1}'])
def test_half_of_a_surrogate_pair_is_no_json_but_text(text):
    assert decode_argument(text) == text == encode_argument(text)


def test_one_that_stands_for_a_byte_is_that():
    assert decode_argument(r'"a\udcff"') == os.fsdecode(b"a\xff")


@pytest.mark.parametrize("text", ["", "hello", "ls -l", "[", "{", "01", "nul", "\u2028"])
def test_plain_text_travels_as_it_is(text):
    assert encode_argument(text) == text


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, '{"a":' * 50_000])
def test_text_that_no_parser_can_stand_is_text(text):
    assert decode_argument(encode_argument(text)) == decode_argument(text) == text


def test_numbers_that_are_none_come_back_too():
    assert math.isnan(decode_argument(encode_argument(math.nan)))
    assert decode_argument(encode_argument(math.inf)) == math.inf
    assert decode_argument(encode_argument("NaN")) == "NaN"


def test_what_is_no_json_is_refused():
    with pytest.raises(TypeError):
        encode_argument(object())


@pytest.mark.parametrize(
    ("conditions", "fits"),
    [
        ({}, False),
        ({"runtime_type": "cli"}, True),
        ({"runtime_type": "CLI"}, False),
        ({"runtime_type": "other"}, False),
        ({"colony_id": "d", "runtime_type": "cli"}, False),
        ({"runtime_type": "cli", "runtime_ids": [ME]}, True),
        ({"runtime_type": "cli", "runtime_ids": [OTHER]}, False),
        ({"runtime_type": "cli", "runtime_ids": [OTHER, ME]}, True),
        ({"runtime_type": "other", "runtime_ids": [ME]}, False),
        ({"runtime_ids": [ME]}, True),
        ({"runtime_ids": [OTHER]}, False),
        ({"runtime_type": "cli", "cores": 4, "mem": 1000, "gpus": 1}, True),
        ({"runtime_type": "cli", "cores": 5}, False),
        ({"runtime_type": "cli", "mem": 1001}, False),
        ({"runtime_type": "cli", "gpus": 2}, False),
        ({"runtime_ids": [ME], "gpus": 2}, False),
        ({"runtime_type": "cli", "cores": -1, "mem": -5, "gpus": -1}, True),
    ],
)
def test_a_runtime_fits_or_not(conditions, fits):
    assert Conditions(**{"colony_id": "c"} | conditions).fit(RUNTIME) is fits


def test_figures_that_ask_for_nothing_are_met_by_whatever_is_declared():
    modest = msgspec.structs.replace(RUNTIME, cores=-1, mem=-1, gpus=-1)
    assert Conditions(colony_id="c", runtime_type="cli").fit(modest)


@given(some.specs, st.lists(some.texts))
def test_a_star_among_the_runtime_ids_means_anybody(spec, ids):
    conditions = msgspec.structs.replace(spec.conditions, runtime_ids=[*ids, "*"])
    kept = msgspec.structs.replace(spec, conditions=conditions).normalised()
    assert kept.conditions.runtime_ids == []
    assert kept.args == spec.args


def test_a_spec_without_a_star_is_kept_as_it_is():
    spec = ProcessSpec(conditions=Conditions(runtime_ids=[ME]))
    assert spec.normalised() is spec


def test_what_ended_well_or_badly_or_was_cancelled_is_final():
    final = [State.SUCCESS, State.FAILED, State.CANCELLED]
    assert [state for state in State if state.is_final] == final
    assert [state.value for state in State] == [0, 1, 2, 3, 4]


def test_the_later_sight_of_a_process_is_the_greater():
    life = [
        Process(),
        Process(state=State.RUNNING, attempt=1),
        Process(state=State.WAITING, attempt=1),
        Process(state=State.RUNNING, attempt=2),
        Process(state=State.RUNNING, attempt=2, cancelled_by=ME),
        Process(state=State.CANCELLED, attempt=2, cancelled_by=ME),
    ]
    seen = [one.progress for one in life]
    assert NOTHING < seen[0]
    assert seen == sorted(set(seen))
    assert Process(state=State.CANCELLED, cancelled_by=ME).progress > Process().progress


def test_the_colony_of_a_process_is_that_of_its_conditions():
    spec = ProcessSpec(conditions=Conditions(colony_id="c"))
    assert Process(spec=spec).colony_id == "c"


def test_ids_are_new_and_of_64_hex_characters():
    ids = {new_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(len(one) == 64 and int(one, 16) >= 0 for one in ids)


def test_a_spec_cannot_be_changed():
    with pytest.raises(AttributeError):
        ProcessSpec().func = "other"


def test_defaults_are_not_shared():
    ProcessSpec().args.append("mine")
    assert json.loads(msgspec.json.encode(ProcessSpec()))["args"] == []
