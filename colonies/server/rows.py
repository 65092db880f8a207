"""Rows of the database as Structs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

PLACE = "place"
"""The column that says which of the items a statement was run for a row belongs to."""


@cache
def builder(kind: Any) -> Callable[[Any], Any]:
    """Make the function from a row to a Struct; NULL is the field's default."""
    converters = {
        name: convert
        for name, hint in get_type_hints(kind).items()
        if (convert := _converter(hint)) is not None
    }

    def build(row: Mapping[str, Any]) -> Any:
        values = {name: value for name, value in row.items() if value is not None}
        values.pop(PLACE, None)
        for name, convert in converters.items():
            if name in values:
                values[name] = convert(values[name])
        return kind(**values)

    return build


def _converter(hint: Any) -> Callable[[Any], Any] | None:
    """Give what turns a column into a field, where the driver's value is not it already."""
    item = get_args(hint)[0] if get_origin(hint) is list else hint
    is_struct = isinstance(item, type) and issubclass(item, msgspec.Struct)
    if is_struct or get_origin(hint) is dict:
        return msgspec.json.Decoder(hint).decode
    if isinstance(hint, type) and issubclass(hint, Enum):
        # A fifth of what the making of an enum's member by its class takes.
        return {member.value: member for member in hint}.__getitem__
    return None
