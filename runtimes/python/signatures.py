"""Python functions as others see them: their signatures as typed arguments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from inspect import Parameter
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin

from colonies.core.function import (
    LONGEST_DEFAULT,
    LONGEST_DESCRIPTION,
    MOST_ARGUMENTS,
    Argument,
    Function,
    Kind,
    Passing,
)
from colonies.core.process import decode_argument, encode_argument
from runtimes.inputs import Inputs

KINDS = {bool: Kind.BOOL, int: Kind.INT, float: Kind.FLOAT, str: Kind.STR}
DOCUMENTS = (dict, list)
"""Types whose values are written as JSON and as nothing else."""

PASSINGS = {
    Parameter.POSITIONAL_ONLY: Passing.POSITION,
    Parameter.POSITIONAL_OR_KEYWORD: Passing.EITHER,
    Parameter.VAR_POSITIONAL: Passing.POSITION,
    Parameter.KEYWORD_ONLY: Passing.NAME,
    Parameter.VAR_KEYWORD: Passing.NAME,
}
MANY = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def functions_of(module: ModuleType) -> list[Function]:
    """Describe the functions that a module offers: those in ``__all__``, else its public own.

    One that has too many arguments to be described is left out.
    """
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    ]
    found = [(name, getattr(module, name, None)) for name in names]
    described = [
        describe(f"{module.__name__}:{name}", value)
        for name, value in found
        if callable(value) and inspect.isfunction(inspect.unwrap(value))
    ]
    return [one for one in described if len(one.args) <= MOST_ARGUMENTS]


def describe(name: str, function: Callable[..., Any]) -> Function:
    """Describe a function by its annotations, defaults and docstring.

    What it wants of `Inputs` is no argument: nobody who calls it can give that.
    """
    description = _clean(inspect.getdoc(function) or "")
    args = [_argument(one) for one in _parameters(function) if not _takes_inputs(one)]
    return Function(name=name, description=description, args=args)


def values_for(
    function: Callable[..., Any],
    args: Iterable[str],
    kwargs: Mapping[str, str],
    inputs: Inputs,
) -> tuple[list[Any], dict[str, Any]]:
    """Read the arguments of a call: as text where a function wants text, else as they look.

    ``inputs`` stand where the function wants them. Raises TypeError if the call gives these.
    """
    try:
        parameters = list(_parameters(function))
    except (TypeError, ValueError):  # built-in ones may have no signature
        parameters = []
    described = Function(args=[_argument(one) for one in parameters if not _takes_inputs(one)])
    positional = [_value(described.at(position), text) for position, text in enumerate(args)]
    named = {name: _value(described.named(name), text) for name, text in kwargs.items()}
    for place, one in enumerate(parameters):
        if not _takes_inputs(one):
            continue
        if one.name in named:
            raise TypeError(f"{one.name} is what the parents gave, no argument of a call")
        if one.kind in BY_POSITION and place <= len(positional):
            positional.insert(place, inputs)
        else:
            named[one.name] = inputs
    return positional, named


def _value(argument: Argument | None, text: str) -> Any:
    if argument and argument.type is Kind.STR:
        return Kind.STR.read(text)
    return decode_argument(text)


def _takes_inputs(parameter: Parameter) -> bool:
    annotation = parameter.annotation
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    # The name alone is what is left where annotations cannot be evaluated.
    return annotation in (Inputs, Inputs.__name__) and parameter.kind not in MANY


def _parameters(function: Callable[..., Any]) -> Iterable[Parameter]:
    try:
        return inspect.signature(function, eval_str=True).parameters.values()
    except Exception:  # noqa: BLE001 - an annotation is code, and some know only type checkers
        return inspect.signature(function).parameters.values()


def _argument(parameter: Parameter) -> Argument:
    annotation, description = parameter.annotation, ""
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        description = next((text for text in more if isinstance(text, str)), "")
    is_required = parameter.default is Parameter.empty and parameter.kind not in MANY
    return Argument(
        name=parameter.name,
        type=_kind(annotation),
        description=_clean(description),
        required=is_required,
        default="" if parameter.default is Parameter.empty else _shown(parameter.default),
        passing=PASSINGS[parameter.kind],
        many=parameter.kind in MANY,
    )


def _kind(annotation: Any) -> Kind:
    if (get_origin(annotation) or annotation) in DOCUMENTS:
        return Kind.JSON
    return KINDS.get(annotation, Kind.ANY) if isinstance(annotation, type) else Kind.ANY


def _shown(default: Any) -> str:
    """Give a default as it would be written in a call, if it can be and is short."""
    try:
        text = encode_argument(default)
    except (TypeError, ValueError, RecursionError):
        return ""
    return text if len(text) <= LONGEST_DEFAULT and text == _clean(text) else ""


def _clean(text: str) -> str:
    """Give text that a hub can keep: not too long, without halves of characters, without NUL."""
    return text.encode(errors="replace").decode().replace("\0", "")[:LONGEST_DESCRIPTION]
