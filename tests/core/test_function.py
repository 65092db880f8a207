"""What a function takes: what a text reads as, and which calls fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonies.core.errors import Malformed
from colonies.core.function import (
    Argument,
    Function,
    Kind,
    Passing,
    check_call,
    check_function,
    check_packed,
)
from colonies.core.process import encode_argument

ADD = Function(
    name="m:add",
    args=[
        Argument(name="a", type=Kind.INT),
        Argument(name="b", type=Kind.INT, required=False, default="0"),
        Argument(name="exactly", type=Kind.BOOL, required=False, passing=Passing.NAME),
    ],
)
ANYTHING = Function(
    name="m:anything",
    args=[
        Argument(name="first", passing=Passing.POSITION),
        Argument(name="rest", type=Kind.FLOAT, passing=Passing.POSITION, many=True),
        Argument(name="more", type=Kind.STR, passing=Passing.NAME, many=True),
    ],
)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Kind.ANY, "a", "a"),
        (Kind.ANY, "1", 1),
        (Kind.STR, "a", "a"),
        (Kind.STR, "1", "1"),
        (Kind.STR, '"1"', "1"),
        (Kind.STR, "", ""),
        (Kind.INT, "-7", -7),
        (Kind.FLOAT, "1", 1),
        (Kind.FLOAT, "1.5e3", 1500.0),
        (Kind.BOOL, "true", True),
        (Kind.JSON, '{"a": [1]}', {"a": [1]}),
        (Kind.JSON, "null", None),
        (Kind.JSON, '"a"', "a"),
    ],
)
def test_a_text_reads_as_a_value(kind, text, value):
    read = kind.read(text)
    assert (type(read), read) == (type(value), value)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (Kind.INT, "1.0"), (Kind.INT, "one"), (Kind.INT, "true"), (Kind.INT, '"1"'), (Kind.INT, ""),
        (Kind.INT, "null"), (Kind.FLOAT, "one"), (Kind.FLOAT, "false"), (Kind.BOOL, "1"),
        (Kind.BOOL, "True"), (Kind.BOOL, "yes"), (Kind.JSON, "{a}"), (Kind.JSON, ""),
    ],
)  # fmt: skip
def test_a_text_that_does_not_convert_is_refused(kind, text):
    with pytest.raises(ValueError, match=f"expected {kind}"):
        kind.read(text)


@given(st.text())
def test_every_text_that_was_written_as_an_argument_is_read_as_that_text(text):
    assert Kind.STR.read(encode_argument(text)) == text


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (ADD, ["1"], {}),
        (ADD, ["1", "2"], {"exactly": "true"}),
        (ADD, [], {"b": "2", "a": "1"}),
        (ANYTHING, ["x"], {}),
        (ANYTHING, ["x", "1", "2.5"], {"any": "text", "first": "of its own"}),
        (Function(name="m:nothing"), [], {}),
    ],
)
def test_a_call_that_fits_passes(function, args, kwargs):
    check_call(function, args, kwargs, "spec")


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "field", "said"),
    [
        (ADD, [], {}, "spec.args", "expected a value for a: m:add(a: int, b: int = 0, "),
        (ADD, ["x"], {}, "spec.args[0]", 'expected int for a, got "x": m:add('),
        (ADD, ["1", "2", "3"], {}, "spec.args[2]", "expected 2 arguments at most: m:add("),
        (ADD, ["1"], {"b": "2.5"}, "spec.kwargs.b", 'expected int for b, got "2.5"'),
        (ADD, ["1"], {"a": "2"}, "spec.kwargs.a", "a is given by position already"),
        (ADD, ["1"], {"exactl": "true"}, "spec.kwargs.exactl", "did you mean exactly?"),
        (ADD, ["1"], {"zzz": "1"}, "spec.kwargs.zzz", "m:add has no such argument: m:add("),
        (ADD, ["1" * 50 + "x"], {}, "spec.args[0]", f'got "{"1" * 39}…"'),
        (ANYTHING, [], {}, "spec.args", "expected a value for first"),
        (ANYTHING, [], {"first": "1"}, "spec.args", "expected a value for first"),
        (ADD, ["1"], {"z" * 99: "1"}, f"spec.kwargs.{'z' * 39}…", "m:add has no such argument"),
        (ANYTHING, ["x", "y"], {}, "spec.args[1]", 'expected float for rest, got "y"'),
        (Function(name="f"), ["x"], {}, "spec.args[0]", "expected 0 arguments at most: f()"),
        (Function(name="f", args=[Argument(name="a", passing=Passing.NAME)]), [], {},
         "spec.kwargs", "expected a value for a"),
        (Function(name="f", args=[Argument(name="a", passing=Passing.POSITION)]), [], {"a": "1"},
         "spec.kwargs.a", "f has no such argument"),
    ],
)  # fmt: skip
def test_a_call_that_does_not_fit_names_the_argument_and_what_was_expected(
    *, function, args, kwargs, field, said
):
    with pytest.raises(Malformed) as refusal:
        check_call(function, args, kwargs, "spec")
    assert refusal.value.field == field
    assert refusal.value.message.startswith(f"{field}: ")
    assert said in refusal.value.message


@pytest.mark.parametrize(
    ("second", "field"),
    [
        (Argument(name="first"), "function.args[1].name"),
        (Argument(name="b", many=True), "function.args[1].passing"),
        (Argument(name="b", many=True, passing=Passing.NAME), "function.args[1].many"),
    ],
)
def test_arguments_that_cannot_be_told_apart_are_refused(second, field):
    first = Argument(name="first", many=True, passing=Passing.NAME)
    with pytest.raises(Malformed) as refusal:
        check_function([first, second], "function")
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("function", "text", "most"),
    [
        (ADD, "1", 1),
        (ADD, "1", 100),
        (ANYTHING, "x", 1),
        (ANYTHING, "x", 2),  # as the first
        (Function(name="m:late", args=[ADD.args[0], ANYTHING.args[0]]), "x", 2),
    ],
)
def test_what_is_packed_passes_if_it_fits_anywhere(function, text, most):
    check_packed(function, text, most, "arg")


@pytest.mark.parametrize(
    ("function", "text", "most", "said"),
    [
        (ADD, "x", 1, 'expected int for a, got "x": m:add('),
        (ADD, "true", 100, 'expected int for a, got "true": m:add('),
        (Function(name="m:late", args=[ADD.args[0], ANYTHING.args[0]]), "x", 1, "expected int"),
        (Function(name="m:many", args=[ANYTHING.args[1]]), "x", 10_000, "expected float for rest"),
        (Function(name="m:nothing"), "x", 1, "expected no arguments: m:nothing()"),
    ],
)
def test_what_is_packed_and_fits_nowhere_is_refused(function, text, most, said):
    with pytest.raises(Malformed) as refusal:
        check_packed(function, text, most, "arg")
    assert refusal.value.field == "arg"
    assert refusal.value.message.startswith(f"arg: {said}")


def test_a_function_is_written_as_people_write_it():
    assert ADD.signature == "m:add(a: int, b: int = 0, exactly: bool = …)"
    assert ANYTHING.signature == "m:anything(first, *rest: float, **more: str)"
