"""The options of every ``colonies-run NAME``: of the plugin, of the runtime, and of one start."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_type_hints

import click
import msgspec

from colonies.options import flags_for
from runtimes.base import Help, Runtime
from runtimes.labels import label_option
from runtimes.machine import (
    LONGEST_MODEL,
    count_cores,
    count_gpus,
    count_memory,
    cpu_model,
    gpu_model,
)


def habits(plugin: type[Runtime]) -> list[Callable[[Any], Any]]:
    """Give the options of how a runtime works."""
    return [
        click.option("--name", help="Name in the colony (default: plugin and host)."),
        click.option(
            "--type",
            "runtime_type",
            default=plugin.runtime_type,
            show_default=True,
            help="Type of processes to take.",
        ),
        _number(
            "--slots", click.IntRange(1, 10_000), plugin.usual_slots, "Processes held at once."
        ),
        _number("--heartbeat", click.FloatRange(0.1, 3600), 10, "Seconds between signs of life."),
        _number("--drain", click.FloatRange(0), 30, "Seconds that work has after SIGTERM."),
        _number("--grace", click.FloatRange(0), 5, "Seconds that stopped work has to clean up."),
        click.option(
            "--state-dir",
            type=click.Path(file_okay=False, path_type=Path),
            envvar="COLONIES_STATE_DIR",
            show_envvar=True,
            help="Folder of what a restart must know (default: the user's state folder).",
        ),
        click.option(
            "--health-port",
            type=click.IntRange(0, 65535),
            help="Port on which GET /health and /ready are answered (default: none).",
        ),
        click.option("-v", "--verbose", is_flag=True, help="Log every call."),
    ]


def starts() -> list[Callable[[Any], Any]]:
    """Give the options that are about one start, and not about the runtime."""
    return [
        click.option(
            "--check",
            is_flag=True,
            help="Say what would protect and what is missing; do no more.",
        ),
        click.option("--identify", is_flag=True, hidden=True),  # check the options, give the key
        click.option("--once", is_flag=True, help="Leave after one process, with its outcome."),
        click.option(
            "--within",
            type=click.FloatRange(0, min_open=True),
            help="Seconds in which it must come, with --once (default: no limit).",
        ),
        click.option("--tied", is_flag=True, hidden=True),  # leave when standard input ends
    ]


def figures() -> list[Callable[[Any], Any]]:
    """Give the options of what a runtime has, which is what it finds here unless said."""
    count = click.IntRange(0)
    return [
        _number("--cores", count, count_cores(), "Cores declared to the colony."),
        _number("--mem", count, count_memory(), "Memory declared to the colony, in MiB."),
        _number("--gpus", count, count_gpus(), "GPUs declared to the colony."),
        _model("--cpu", cpu_model(), "Model of the CPU, for people."),
        _model("--gpu", gpu_model(), "Model of the GPUs, for people."),
        label_option(),
    ]


def _number(flag: str, kind: Any, default: float, text: str) -> Callable[[Any], Any]:
    return click.option(flag, type=kind, default=default, show_default=True, help=text)


def _model(flag: str, default: str, text: str) -> Callable[[Any], Any]:
    return click.option(
        flag, default=default, show_default=bool(default), callback=_readable, help=text
    )


def _readable(_ctx: click.Context, _param: click.Parameter, text: str) -> str:
    if len(text) > LONGEST_MODEL or not text.isprintable():
        raise click.BadParameter(f"expected printable text of {LONGEST_MODEL} characters at most")
    return text


def plugin_option(
    plugin_name: str, plugin: type[Runtime], field: msgspec.structs.FieldInfo
) -> Callable[[Any], Any]:
    """Give the option of one of a plugin's own settings."""
    hint = get_type_hints(plugin.Settings, include_extras=True)[field.name]
    flags, kind = flags_for("--" + field.name.replace("_", "-"), hint.__origin__)
    texts = [extra.text for extra in hint.__metadata__ if isinstance(extra, Help)]
    limits = [extra for extra in hint.__metadata__ if isinstance(extra, msgspec.Meta)]
    return click.option(
        *flags,
        field.name,
        type=_ranged(kind, limits),
        default=None,
        multiple=str(hint.__origin__).startswith("list"),
        envvar=f"COLONIES_{plugin_name}_{field.name}".upper().replace("-", "_"),
        show_envvar=True,
        help="".join(f"{text}." for text in texts),
    )


def _ranged(kind: Any, limits: list[msgspec.Meta]) -> Any:
    """Give a number's kind with its range, which is then shown, and asked for by its option."""
    ranges: dict[Any, type[click.IntRange | click.FloatRange]]
    ranges = {int: click.IntRange, float: click.FloatRange}
    for limit in limits:
        if kind in ranges and (limit.ge is not None or limit.le is not None):
            least: Any = limit.ge
            most: Any = limit.le
            return ranges[kind](min=least, max=most)
    return kind
