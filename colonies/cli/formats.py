"""Values out of JSON, YAML and TOML, as a file with specs has them: each said once, all in bounds.

What these become is in `spec.py`. Where a parser would choose silently, of two values for one key,
or pass on what a hub cannot be told, it is refused here, with its path.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from colonies.core import wire
from colonies.core.errors import Malformed, Misconfigured

if TYPE_CHECKING:
    import yaml

MOST_VALUES = 1_000_000
"""Values that a file may stand for: YAML can say very many of them in few lines."""

UTF_8, UTF_16 = b"\xef\xbb\xbf", (b"\xff\xfe", b"\xfe\xff")
"""Marks that some programs put in front of a text."""


def parse(name: str, raw: bytes) -> Any:
    """Read a file by the ending of its name; without one (``-``) it is JSON or YAML.

    Raises Malformed with the path of the fault, or Misconfigured.
    """
    if raw.startswith(UTF_16):
        raise Malformed("expected UTF-8, this is UTF-16")
    raw = raw.removeprefix(UTF_8)
    if not raw.strip():
        raise Malformed("expected a spec, but there is nothing in it")
    ending = name.rpartition(".")[2].lower()
    if ending == "toml":
        value = _from_toml(raw)
    elif ending in ("yaml", "yml") or (ending != "json" and raw.lstrip()[:1] not in (b"{", b"[")):
        value = _from_yaml(raw)
    else:
        return from_json(raw)
    _check_values(value, "")
    return value


def from_json(raw: bytes) -> Any:
    """Read JSON; raise Malformed with the line and the column of the fault."""
    try:
        value = json.loads(raw, object_pairs_hook=_Pairs.of)
    except json.JSONDecodeError as error:
        line = f"line {error.lineno}, " if raw.strip().count(b"\n") else ""
        place = f"at {line}column {error.colno}"
        raise Malformed(f"expected JSON: {error.msg.lower()} ({place})") from error
    except UnicodeDecodeError as error:
        raise Malformed(f"expected UTF-8, but byte {error.start} is none") from error
    except ValueError:
        return wire.decode(raw, Any)  # which says better what is wrong
    _check_values(value, "")
    return value


class _Pairs(dict[str, Any]):
    """An object that says a key twice."""

    doubled = ""

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
        pairs = list(pairs)
        value = dict(pairs)
        if len(value) == len(pairs):
            return value
        keys = [key for key, _ in pairs]
        found = cls(value)
        found.doubled = next(key for at, key in enumerate(keys) if key in keys[:at])
        return found


def _check_values(value: Any, path: str) -> None:
    """Refuse what is said twice, and numbers that JSON has no word for."""
    if isinstance(value, float) and not math.isfinite(value):
        raise Malformed(f"{path or 'it'}: expected a number in the range of JSON", field=path)
    if isinstance(value, _Pairs):
        below = f"{path}.{value.doubled}".lstrip(".")
        raise Malformed(f"{below}: expected once, it is there twice", field=below)
    if isinstance(value, dict):
        for key, item in value.items():
            _check_values(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_values(item, f"{path}[{index}]")


def _from_toml(raw: bytes) -> Any:
    import tomllib  # noqa: PLC0415 - few write it

    try:
        return tomllib.loads(raw.decode())
    except ValueError as error:
        raise Malformed(f"expected TOML: {error}") from error


def _from_yaml(raw: bytes) -> Any:
    try:
        import yaml  # noqa: PLC0415 - an extra, and few write it
    except ModuleNotFoundError as error:
        raise Misconfigured("expected JSON; for YAML, run: pip install 'colonies[cli]'") from error
    try:
        value = yaml.load(raw, Loader=_loader())  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, ValueError) as error:
        raise Malformed(f"expected YAML: {' '.join(str(error).split())}") from error
    if _count(value, {}) > MOST_VALUES:
        raise Malformed(f"expected at most {MOST_VALUES} values: its aliases stand for more")
    return value


@cache
def _loader() -> type[yaml.SafeLoader]:
    """Give a loader of plain values that takes no key twice."""
    import yaml  # noqa: PLC0415 - as above

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - as it is there
            seen: set[str] = set()
            for key, _ in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.value == "<<":
                    continue
                if key.value in seen:
                    problem = f"expected {key.value} once, it is there twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add(key.value)
            mapping: dict[Any, Any] = super().construct_mapping(node, deep)
            return mapping

    return Loader


def _count(value: Any, counted: dict[int, int]) -> int:
    """Count the values that something stands for, each alias as all that it means."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in counted:
        items = value.values() if isinstance(value, dict) else value
        counted[id(value)] = 1 + sum(_count(one, counted) for one in items)
    return counted[id(value)]
