"""How our Structs become JSON: names, times, numbers, and what `null` means.

Here it is ``assigned_runtime_id``, on the wire ``assignedruntimeid``. A ``null`` may stand wherever
a value may be missing (v1 clients send one for every empty list) and means the default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, TypeVar, cast, dataclass_transform

import msgspec
from msgspec import inspect

from colonies.core.errors import Malformed

Int32 = Annotated[int, msgspec.Meta(ge=-(2**31), le=2**31 - 1)]
"""An integer as the database keeps it."""

Label = Annotated[str, msgspec.Meta(max_length=256)]
"""A name that is looked up by: short enough for an index."""

Beginning = Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{4,64})?\Z")]
"""What ids begin with: four characters or more, or nothing."""

Time = Annotated[datetime, msgspec.Meta(tz=True)]
"""An aware time; on the wire RFC 3339."""

ZERO_TIME = datetime(1, 1, 1, tzinfo=UTC)
"""What stands for "not yet": Go's zero time, as v1 clients expect it."""

LAST_TIME = datetime(9999, 12, 31, tzinfo=UTC)
"""After everything."""

T = TypeVar("T")

_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
_NUL_ESCAPE = b"\\u0000"
_NULL = b"null"
_WHERE = re.compile(r" - at `\$\.?(?P<path>[^`]*)`$")
_STEP = re.compile(r"[^.\[\]]+|\[[^\]]*\]")
_MISSING = re.compile(r"missing required field `(?P<name>[^`]+)`")


def wire_name(name: str) -> str:
    """Give the wire name of a Python name: ``colony_id`` is ``colonyid``."""
    return name.replace("_", "")


def is_id(text: str) -> bool:
    """Whether a text looks like an id: 64 lower-case hex characters, and nothing else."""
    return _ID.fullmatch(text) is not None


@dataclass_transform(field_specifiers=(msgspec.field,), frozen_default=True)
class Wire(msgspec.Struct, frozen=True, gc=False, rename=wire_name):
    """The base of everything that travels: immutable, its keys without underscores.

    As nothing that travels can lead back to itself, the garbage collector need not look at it.
    """


def encode(value: Any) -> bytes:
    """Give the JSON of a Struct or of plain values; raise Malformed for text that is no UTF-8."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError as error:
        _refuse(_is_no_utf8, "text that UTF-8 can write", msgspec.to_builtins(value), "")
        raise Malformed("expected text that UTF-8 can write") from error


def decode(raw: bytes | str, kind: type[T]) -> T:
    """Read JSON into ``kind``; raise Malformed with the path of the fault."""
    try:
        if _NUL_ESCAPE in _bytes(raw):
            # The one character that PostgreSQL cannot keep.
            _refuse(_has_nul, "text without NUL", msgspec.json.decode(raw), "")
        return _decode(raw, kind)
    except msgspec.ValidationError as error:
        raise _malformed(error, kind) from error
    except msgspec.DecodeError as error:
        raise Malformed(f"expected JSON: {error}") from error
    except UnicodeError as error:
        raise Malformed("expected JSON in UTF-8") from error
    except RecursionError as error:
        raise Malformed("expected JSON of reasonable depth") from error


def _decode(raw: bytes | str, kind: type[T]) -> T:
    try:
        return cast(T, _decoder(cast(Any, kind)).decode(raw))
    except msgspec.ValidationError:
        # The second look, without the nulls, is paid only by those who send them.
        if _NULL not in _bytes(raw):
            raise
        return msgspec.convert(_without_nulls(msgspec.json.decode(raw)), kind)


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _bytes(raw: bytes | str) -> bytes:
    return raw.encode() if isinstance(raw, str) else raw


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _has_nul(text: str) -> bool:
    return "\0" in text


def _is_no_utf8(text: str) -> bool:
    """Whether there is half of a surrogate pair in it, as Python's own reader of JSON takes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _refuse(is_wrong: Callable[[str], bool], expected: str, value: Any, path: str) -> None:
    """Refuse plain values with a text that is wrong, by its path."""
    if isinstance(value, str) and is_wrong(value):
        raise Malformed(f"{path or 'payload'}: expected {expected}", field=path)
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse(is_wrong, expected, key, path)
            _refuse(is_wrong, expected, item, f"{path}.{key}".lstrip("."))
    if isinstance(value, list):
        for index, item in enumerate(value):
            _refuse(is_wrong, expected, item, f"{path}[{index}]")


def _malformed(error: msgspec.ValidationError, kind: Any) -> Malformed:
    """Turn msgspec's sentence into ours: the field first, then what was expected."""
    text = str(error)
    where = _WHERE.search(text)
    path = where["path"] if where else ""
    reason = _WHERE.sub("", text).replace("`", "")
    if missing := _MISSING.search(text):
        path = f"{path}.{missing['name']}".lstrip(".")
        reason = "expected a value"
    elif reason.startswith("Invalid enum value") and (choices := _choices(kind, path)):
        reason = f"expected one of {', '.join(choices)}"
    reason = reason[:1].lower() + reason[1:]
    return Malformed(f"{path}: {reason}" if path else reason, field=path)


def _choices(kind: Any, path: str) -> list[str]:
    """Give the values of the enumeration that stands at a path."""
    infos = [inspect.type_info(kind)]
    for step in _STEP.findall(path):
        infos = [below for info in infos for one in _either(info) for below in _below(one, step)]
    enums = [one for info in infos for one in _either(info) if isinstance(one, inspect.EnumType)]
    return [str(member.value) for one in enums for member in one.cls]


def _either(info: inspect.Type) -> Iterable[inspect.Type]:
    return info.types if isinstance(info, inspect.UnionType) else (info,)


def _below(info: inspect.Type, step: str) -> list[inspect.Type]:
    match info:
        case inspect.StructType():
            return [field.type for field in info.fields if field.encode_name == step]
        case inspect.ListType():
            return [info.item_type]
        case inspect.DictType():
            return [info.value_type]
        case _:
            return []
