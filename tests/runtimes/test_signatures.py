"""Python signatures as typed arguments."""

import math

from colonies.core.function import Argument, Kind, Passing
from runtimes.signatures import describe, functions_of, values_for
from tests.runtimes import announced

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
    assert offered == ["shout", "kind", "unknown", "wrapped", "odd"]


def test_a_module_may_say_what_it_offers(monkeypatch):
    monkeypatch.setattr(announced, "__all__", ["kind", "not_callable", "missing"], raising=False)
    assert [one.name for one in functions_of(announced)] == ["tests.runtimes.announced:kind"]


def test_text_goes_in_as_text_where_text_is_wanted():
    values = values_for(announced.kind, ["1", "1", "1"], {})
    assert values == (["1", 1, 1], {})
    values = values_for(announced.shout, [], {"text": "[1]", "times": "2", "a": "[1]"})
    assert values == ([], {"text": "[1]", "times": 2, "a": [1]})


def test_what_has_no_signature_is_called_with_what_is_given():
    assert values_for(math.hypot, ["3", "4"], {}) == ([3, 4], {})
