"""Specs as people write them: in a file of JSON, YAML or TOML, or as options of a command.

A hub passes over what it does not know; here it is refused, as it was meant to do something. What
is wrong is named by its path in the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any, TypeVar, get_args, get_origin

import click
import msgspec

from colonies.cli import formats
from colonies.core import wire
from colonies.core.errors import Malformed, Misconfigured
from colonies.core.process import Conditions, ProcessSpec
from colonies.core.workflow import WorkflowSpec, write_workflow
from colonies.core.workflow import check as check_workflow

T = TypeVar("T")

LONGEST_SHOWN = 40
"""Characters of a wrong value that are shown."""

_ELSEWHERE: dict[tuple[Any, str], str] = {
    (ProcessSpec, "processspecs"): "; this is a workflow: colonies workflow submit",
    (WorkflowSpec, "func"): "; this is a process: colonies process submit",
}
"""Hints for a file that was given to the wrong command."""

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


def read_spec(_ctx: click.Context, _param: click.Parameter, file: Any) -> ProcessSpec | None:
    """Read an option that is a file with the spec of a process."""
    return None if file is None else read_file(file, ProcessSpec, check_whole)


def read_specs(_ctx: click.Context, _param: click.Parameter, file: Any) -> list[ProcessSpec] | None:
    """Read an option that is a file with a spec in JSON on each line; empty lines are none."""
    if file is None:
        return None
    specs = []
    for number, line in enumerate(file, 1):
        if line.strip():
            with _at(f"{file.name}:{number}"):
                specs.append(_convert(formats.from_json(line), ProcessSpec, check_whole))
    return specs


def read_workflow(_ctx: click.Context, _param: click.Parameter, file: Any) -> WorkflowSpec:
    """Read an option that is a file with a workflow or, as in v1, only the list of its specs."""
    with _at(file.name):
        value = formats.parse(file.name, file.read())
        if isinstance(value, list):
            value = {"processspecs": value}
        return _convert(value, WorkflowSpec, _check_members)


def _check_members(workflow: WorkflowSpec) -> None:
    for number, spec in enumerate(workflow.process_specs):
        try:
            check_whole(spec)
        except Malformed as error:
            path = f"processspecs[{number}]"
            raise Malformed(f"{path}: {error}", field=f"{path}.{error.field}") from error


def reader_of(kind: type[T]) -> Callable[[click.Context, click.Parameter, Any], T | None]:
    """Give what reads an option that is a file with something of this kind."""
    return lambda _ctx, _param, file: None if file is None else read_file(file, kind)


def read_file(file: Any, kind: type[T], check: Callable[[T], None] | None = None) -> T:
    """Read an open file into a kind of Struct, or a list of them; raise Malformed or Misconfigured.

    Its name says what it is written in; without one (``-``) it is JSON or YAML.
    """
    with _at(file.name):
        return _convert(formats.parse(file.name, file.read()), kind, check)


def workflow_text(workflow: WorkflowSpec, colony_id: str) -> str:
    """Check a workflow and write it as it is kept, in this colony if it names none."""
    colony_id = workflow.colony_id or colony_id
    whole = msgspec.structs.replace(workflow, colony_id=colony_id)
    check_workflow(whole)
    return write_workflow(whole)


def members_in_short(text: str) -> list[str]:
    """Say what a workflow that is kept as text consists of: a line a process."""
    try:
        workflow = wire.decode(text, WorkflowSpec)
    except Malformed:
        return [text]
    return [_in_short(spec) for spec in workflow.process_specs]


def _in_short(spec: ProcessSpec) -> str:
    parts = [f"{spec.name}:", spec.func, *spec.args]
    parts += [f"{key}={value}" for key, value in spec.kwargs.items()]
    if parents := spec.conditions.dependencies:
        parts.append(f"(after {', '.join(parents)})")
    return " ".join(parts)


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
    conditions = Conditions(colony_id=colony_id, **_listed(of_conditions))
    return ProcessSpec(conditions=conditions, **_listed(fields))


def _listed(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: list(one) if isinstance(one, tuple) else one for key, one in fields.items()}


def check_whole(spec: ProcessSpec) -> None:
    """Refuse a spec that says not what to do; raise Malformed. Who may do it, the hub may know."""
    if not spec.func:
        raise Malformed("func: what shall be done? Give the name of a function", field="func")


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Say in front of what is wrong where it stands."""
    try:
        yield
    except Malformed as error:
        raise Malformed(f"{place}: {error}", field=error.field) from error
    except RecursionError as error:
        raise Malformed(f"{place}: expected reasonable depth") from error
    except (OSError, Misconfigured) as error:
        raise Misconfigured(f"{place}: {error}") from error


def _convert(value: Any, kind: type[T], check: Callable[[T], None] | None) -> T:
    for path, name, known in _unknown_names(value, kind):
        near = get_close_matches(name.lower(), known, 1)
        hint = f", did you mean {near[0]}?" if near else _ELSEWHERE.get((kind, name), "")
        raise Malformed(f"{path}: there is no such field{hint}", field=path)
    try:
        converted = wire.decode(wire.encode(value), kind)
    except Malformed as error:
        raise Malformed(f"{error}{_got(value, error)}", field=error.field) from error
    except (TypeError, msgspec.MsgspecError) as error:
        raise Malformed(f"expected what JSON can say: {error}") from error
    if check:
        check(converted)
    return converted


def _unknown_names(value: Any, kind: Any, path: str = "") -> Iterator[tuple[str, str, list[str]]]:
    """Find the fields that a hub would pass over: their paths, names, and what there is instead."""
    if isinstance(value, list) and get_origin(kind) is list:
        for index, item in enumerate(value):
            yield from _unknown_names(item, get_args(kind)[0], f"{path}[{index}]")
    if not (isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, wire.Wire)):
        return
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for name, inner in value.items():
        below = f"{path}.{name}".lstrip(".")
        if name in known:
            yield from _unknown_names(inner, known[name], below)
        else:
            yield below, str(name), list(known)


def _got(value: Any, error: Malformed) -> str:
    """Give what stands in the place of a fault, and how to write it if text was expected."""
    for name, index in _STEP.findall(error.field):
        try:
            value = value[name or int(index)]
        except (LookupError, TypeError):
            return ""
    text = json.dumps(value, ensure_ascii=False, default=str)
    if str(error).endswith(f", got {text}"):
        return ""  # a null is called by its kind
    shown = text if len(text) <= LONGEST_SHOWN else f"{text[: LONGEST_SHOWN - 1]}…"
    got = f" {shown}" if ", got" in str(error) else f", got {shown}"
    is_bare = "expected str" in str(error) and isinstance(value, bool | int | float)
    return f'{got}; write "{text}"' if is_bare else got
