"""Python signatures as typed arguments."""

import math

import pytest

from colonies.core.function import Argument, Kind, Passing
from runtimes.inputs import Inputs
from runtimes.python.signatures import describe, functions_of, values_for
from tests.runtimes import announced

NOTHING = Inputs.read([], {})
GIVEN = Inputs.read(["1", "a", '"1"'], {"b": ["1", "a"], "c": ['"1"']})

EITHER, POSITION, NAME = Passing.EITHER, Passing.POSITION, Passing.NAME


def test_a_function_is_described_by_its_annotations_defaults_and_docstring():
    function = describe("m:shout", announced.shout)
    assert function.name == "m:shout"
    assert function.description == "Say it.\n\nLoudly."
    assert function.args == [
        Argument(name="text", type=Kind.STR),
        Argument(name="times", type=Kind.INT, description="How often", required=False, default="1"),
        Argument(name="loud", type=Kind.BOOL, required=False, default="true", passing=NAME),
        Argument(name="words", type=Kind.JSON, required=False, passing=NAME, many=True),
    ]


def test_arguments_by_position_and_any_number_more():
    function = describe("m:kind", announced.kind)
    assert function.signature == "m:kind(text: str, anything, *more: float)"
    assert [one.passing for one in function.args] == [POSITION, POSITION, POSITION]


def test_annotations_that_only_type_checkers_know_mean_anything():
    function = describe("m:unknown", announced.unknown)
    assert [one.type for one in function.args] == [Kind.ANY] * 3
    assert [one.default for one in function.args] == ["", "", "null"]


def test_what_a_hub_cannot_keep_is_not_said():
    function = describe("m:odd", announced.odd)
    assert function.description == "Half a character: ?, and ."
    assert [one.default for one in function.args] == ["", "NaN", ""]


def test_a_module_offers_its_public_functions():
    offered = [one.name.partition(":")[2] for one in functions_of(announced)]
    assert offered == ["shout", "add", "share", "kind", "unknown", "wrapped", "odd"]


def test_a_module_may_say_what_it_offers(monkeypatch):
    monkeypatch.setattr(announced, "__all__", ["kind", "not_callable", "missing"], raising=False)
    assert [one.name for one in functions_of(announced)] == ["tests.runtimes.announced:kind"]


def test_text_goes_in_as_text_where_text_is_wanted():
    values = values_for(announced.kind, ["1", "1", "1"], {}, NOTHING)
    assert values == (["1", 1, 1], {})
    values = values_for(announced.shout, [], {"text": "[1]", "times": "2", "a": "[1]"}, NOTHING)
    assert values == ([], {"text": "[1]", "times": 2, "a": [1]})


def test_what_has_no_signature_is_called_with_what_is_given():
    assert values_for(math.hypot, ["3", "4"], {}, NOTHING) == ([3, 4], {})


def test_what_the_parents_gave_is_no_argument():
    described = [describe("m:f", one).signature for one in (announced.add, announced.share)]
    assert described == ["m:f(first: int, times: int = 1)", "m:f(name: str)"]


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "expected"),
    [
        (announced.add, ["1"], {}, ([1, GIVEN], {})),
        (announced.add, [], {"first": "1"}, ([], {"first": 1, "given": GIVEN})),
        (announced.share, ["1"], {}, ([GIVEN, "1"], {})),
        (announced.share, [], {"name": "1"}, ([GIVEN], {"name": "1"})),
        (announced._spelled, [], {}, ([], {"given": GIVEN})),
    ],
)
def test_it_stands_where_the_function_wants_it(function, args, kwargs, expected):
    assert values_for(function, args, kwargs, GIVEN) == expected


def test_who_gives_it_all_the_same_is_refused():
    with pytest.raises(TypeError, match="given is what the parents gave"):
        values_for(announced.add, ["1"], {"given": "2"}, GIVEN)


def test_what_they_gave_is_read_as_arguments_are():
    assert GIVEN == (1, "a", "1")
    assert GIVEN.by_parent == {"b": (1, "a"), "c": ("1",)}
