"""Specs of processes as people write them: in a file, or as options of a command.

A hub passes over what it does not know; here it is refused, as it was meant to do something.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import click
import msgspec

from colonies.core import wire
from colonies.core.errors import Malformed
from colonies.core.process import Conditions, ProcessSpec


def read_spec(_ctx: click.Context, _param: click.Parameter, file: Any) -> ProcessSpec:
    """Read an option that is a file with a spec; what is wrong in it is named by its path."""
    raw = file.read()
    try:
        spec = wire.decode(raw, ProcessSpec)
        _check_names(wire.decode(raw, dict), ProcessSpec)
        _check_whole(spec)
    except Malformed as error:
        raise Malformed(f"{file.name}: {error}", field=error.field) from error
    return spec


def read_pairs(
    _ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]
) -> dict[str, str]:
    """Read options that are KEY=VALUE."""
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"expected KEY=VALUE, not {text!r}")
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def make_spec(colony_id: str, fields: dict[str, Any]) -> ProcessSpec:
    """Make a spec of options, which are called as its fields and those of its conditions."""
    of_conditions = {
        name: fields.pop(name) for name in Conditions.__struct_fields__ & fields.keys()
    }
    return ProcessSpec(conditions=Conditions(colony_id=colony_id, **of_conditions), **fields)


def is_for_somebody(spec: ProcessSpec) -> bool:
    """Whether a spec says who may run it."""
    conditions = spec.normalised().conditions
    return bool(conditions.runtime_type or conditions.runtime_ids)


def _check_names(value: dict[str, Any], kind: type[msgspec.Struct], prefix: str = "") -> None:
    """Refuse fields that a hub would pass over: who writes one means something by it."""
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for name, inner in value.items():
        path = f"{prefix}{name}"
        if name not in known:
            near = get_close_matches(name.lower(), known, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise Malformed(f"{path}: there is no such field{hint}", field=path)
        if isinstance(inner, dict) and known[name] is Conditions:
            _check_names(inner, Conditions, f"{path}.")


def _check_whole(spec: ProcessSpec) -> None:
    if not spec.func:
        raise Malformed("func: what shall be done? Give the name of a function", field="func")
    if not is_for_somebody(spec):
        expected = "conditions.runtimetype or conditions.runtimeids"
        raise Malformed(f"who may run it? Give {expected}", field="conditions")
