"""A function: what a runtime says it can run, and whether a call would fit.

Arguments are text on the wire. What a type makes of a text is said here once: the hub refuses what
does not convert, and the `python` runtime hands over what does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from colonies.core.errors import Malformed
from colonies.core.process import decode_argument
from colonies.core.wire import Wire

MOST_ARGUMENTS = 100

LONGEST_NAME = 256

LONGEST_DESCRIPTION = 4096

LONGEST_DEFAULT = 256

LONGEST_SHOWN = 40
"""Characters of a wrong value, or name, that are shown."""

LONGEST_SIGNATURE = 256
"""Characters of a signature that a refusal shows."""

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_NAME)]

Description = Annotated[str, msgspec.Meta(max_length=LONGEST_DESCRIPTION)]

Default = Annotated[str, msgspec.Meta(max_length=LONGEST_DEFAULT)]


class Kind(StrEnum):
    """What the text of an argument has to be: ``any`` is JSON if it reads as such, else text."""

    ANY = "any"
    BOOL = "bool"
    FLOAT = "float"
    INT = "int"
    JSON = "json"
    STR = "str"

    def read(self, text: str) -> Any:
        """Give the value that a text stands for; raise ValueError if it is not of this kind.

        Every text is a ``str``: what reads as any other JSON is taken as it stands.
        """
        value = decode_argument(text)
        if self is Kind.ANY:
            return value
        if self is Kind.STR:
            return value if isinstance(value, str) else text
        if not self._takes(value, is_json=value != text):
            raise ValueError(f"expected {self}")
        return value

    def _takes(self, value: Any, *, is_json: bool) -> bool:
        if self is Kind.JSON:
            return is_json
        if self is Kind.BOOL:
            return isinstance(value, bool)
        numbers = int if self is Kind.INT else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)


class Passing(StrEnum):
    """How an argument is given: by its position, by its name, or either way."""

    EITHER = "either"
    POSITION = "position"
    NAME = "name"


class Argument(Wire):
    """An argument of a function; its default is text, for people.

    ``many`` stands for any number of further ones: by position, or by names that no other has.
    """

    name: Name
    type: Kind = Kind.ANY
    description: Description = ""
    required: bool = True
    default: Default = ""
    passing: Passing = Passing.EITHER
    many: bool = False

    @property
    def signature(self) -> str:
        """Give it as people write it: ``count: int = 3``."""
        stars = "" if not self.many else "**" if self.passing is Passing.NAME else "*"
        kind = "" if self.type is Kind.ANY else f": {self.type}"
        default = "" if self.required or self.many else f" = {self.default or '…'}"
        return f"{stars}{self.name}{kind}{default}"


Arguments = Annotated[list[Argument], msgspec.Meta(max_length=MOST_ARGUMENTS)]


class Function(Wire):
    """What a runtime says it can run; all but name, description and arguments is the hub's."""

    name: str = ""
    description: str = ""
    args: list[Argument] = []
    colony_id: str = ""
    runtime_id: str = ""
    runtime_type: str = ""

    @property
    def signature(self) -> str:
        """Give it as people write it: ``add(a: int, b: int = 0)``."""
        return f"{self.name}({', '.join(one.signature for one in self.args)})"

    def at(self, position: int) -> Argument | None:
        """Give the argument that takes this position, from 0, if any does."""
        ordered = [one for one in self.args if one.passing is not Passing.NAME]
        single = [one for one in ordered if not one.many]
        if position < len(single):
            return single[position]
        return next((one for one in ordered if one.many), None)

    def named(self, name: str) -> Argument | None:
        """Give the argument that is given by this name, if any is."""
        ordered = [one for one in self.args if one.passing is not Passing.POSITION]
        single = [one for one in ordered if one.name == name and not one.many]
        return next(iter([*single, *(one for one in ordered if one.many)]), None)


def check_function(args: Sequence[Argument], at: str) -> None:
    """Refuse arguments that cannot be told apart; raise Malformed with the path below ``at``."""
    names: set[str] = set()
    many: set[Passing] = set()
    for number, one in enumerate(args):
        field = f"{at}.args[{number}]"
        if one.name in names:
            raise _malformed(f"{field}.name", f"there is another argument {one.name}")
        if one.many and one.passing is Passing.EITHER:
            raise _malformed(f"{field}.passing", "expected position or name where there are many")
        if one.many and one.passing in many:
            raise _malformed(f"{field}.many", "there is another one that takes all the rest")
        names.add(one.name)
        if one.many:
            many.add(one.passing)


def check_call(function: Function, args: Sequence[str], kwargs: Mapping[str, str], at: str) -> None:
    """Refuse a call that does not fit; raise Malformed with the argument's path below ``at``."""
    given = set()
    for position, text in enumerate(args):
        field = f"{at}.args[{position}]"
        argument = function.at(position)
        if argument is None:
            raise _malformed(field, f"expected {position} arguments at most: {_shown(function)}")
        _check_value(function, argument, text, field)
        given.add(argument.name)
    for name, text in kwargs.items():
        field = f"{at}.kwargs.{_cut(name)}"
        argument = function.named(name)
        if argument is None:
            raise _malformed(field, _unknown(function, name))
        if name in given and not argument.many:
            raise _malformed(field, f"{name} is given by position already: {_shown(function)}")
        _check_value(function, argument, text, field)
        given.add(argument.name)
    for argument in function.args:
        if argument.required and not argument.many and argument.name not in given:
            where = "kwargs" if argument.passing is Passing.NAME else "args"
            raise _malformed(
                f"{at}.{where}", f"expected a value for {argument.name}: {_shown(function)}"
            )


def check_packed(function: Function, text: str, most: int, at: str) -> None:
    """Refuse an argument that fits none of the first ``most`` positions; one of them will be its.

    Raises Malformed with the path ``at``, for the first of them.
    """
    refusal: Malformed | None = None
    for position in range(most):
        argument = function.at(position)
        if argument is None:
            break
        try:
            _check_value(function, argument, text, at)
        except Malformed as error:
            refusal = refusal or error
        else:
            return
        if argument.many:
            break  # and so are all after it
    raise refusal or _malformed(at, f"expected no arguments: {_shown(function)}")


def _check_value(function: Function, argument: Argument, text: str, field: str) -> None:
    if argument.type in (Kind.ANY, Kind.STR):
        return
    try:
        argument.type.read(text)
    except ValueError as error:
        quoted = json.dumps(_cut(text), ensure_ascii=False)
        reason = f"{error} for {argument.name}, got {quoted}: {_shown(function)}"
        raise _malformed(field, reason) from error


def _unknown(function: Function, name: str) -> str:
    known = [one.name for one in function.args if one.passing is not Passing.POSITION]
    near = get_close_matches(name, known, 1)
    hint = f", did you mean {near[0]}?" if near else f": {_shown(function)}"
    return f"{function.name} has no such argument{hint}"


def _shown(function: Function) -> str:
    return _cut(function.signature, LONGEST_SIGNATURE)


def _cut(text: str, length: int = LONGEST_SHOWN) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _malformed(field: str, reason: str) -> Malformed:
    return Malformed(f"{field}: {reason}", field=field)
