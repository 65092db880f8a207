"""What a runtime says of itself for people: found here, or given by its owner."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint
from typing import Any

import click

from colonies.core.errors import Malformed
from colonies.core.runtime import check_labels


def label_option() -> Callable[[Any], Any]:
    """Give the option of labels."""
    return click.option(
        "--label",
        multiple=True,
        metavar="NAME=VALUE",
        callback=_read,
        help="Label for people, beside those of the machine; without a value: none; repeatable.",
    )


def _read(_ctx: click.Context, _param: click.Parameter, words: Sequence[str]) -> dict[str, str]:
    given = {}
    for word in words:
        name, sign, value = word.partition("=")
        if not sign:
            raise click.BadParameter(f"expected NAME=VALUE, not {word!r}")
        if name in given:
            raise click.BadParameter(f"{name} is there twice")
        given[name] = value
    try:
        check_labels(given)
    except Malformed as error:
        raise click.BadParameter(error.message) from error
    return given


def labels_of(entry: EntryPoint, given: Mapping[str, str]) -> dict[str, str]:
    """Give the labels of a runtime of a plugin: what is found here, unless it is said otherwise."""
    found = {
        "os": platform.system().lower(),
        "arch": platform.machine(),
        "host": platform.node(),
        "plugin": entry.name,
        "version": entry.dist.version if entry.dist else "",
    }
    return {name: value for name, value in {**found, **given}.items() if value}
