"""The rows of the generated tables in these pages; cog calls it."""

from collections.abc import Iterator
from datetime import datetime
from enum import IntEnum
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import click
import msgspec
from meanings import MEANINGS, NUMBERS

from colonies.cli import aliases, cli, command, key
from colonies.cli import server as cli_server
from colonies.core.wire import ZERO_TIME, Wire
from colonies.server.app import make_table
from colonies.server.call import Door
from colonies.server.rpc import Request
from colonies.settings import SETTINGS, Settings, flag_of

INT32 = 2**31 - 1


def rpc_rows() -> Iterator[str]:
    """Give a row for everything that may be asked, by noun."""
    table = make_table().values()
    for rpc in sorted(table, key=lambda rpc: (rpc.handler.__module__, rpc.payload_type)):
        doc = " ".join(rpc.doc.split())
        reply = "pushes" if Door.API not in rpc.doors else _kind(rpc.reply)
        reply = "" if rpc.payload_type == "unsubscribemsg" else reply
        cells = (f"`{rpc.payload_type}`", rpc.rule.who, _fields(rpc.request), reply, doc)
        yield f"| {' | '.join(cells)} |"


def noun_lines() -> Iterator[str]:
    """Give a heading and a table for every noun."""
    for noun, meanings in MEANINGS.items():
        fields = msgspec.structs.fields(noun)
        if unknown := meanings.keys() - {field.encode_name for field in fields}:
            raise KeyError(*unknown)
        yield f"\n### {noun.__name__}\n"
        yield "| field | type | default | meaning |\n|---|---|---|---|"
        for field in fields:
            name = f"`{field.encode_name}`{'*' if field.required else ''}"
            cells = (name, _type(field.type), _default(field), meanings[field.encode_name])
            yield f"| {' | '.join(cells)} |"


def number_rows() -> Iterator[str]:
    """Give a row for every number that stands for something."""
    for kind, (place, meanings) in NUMBERS.items():
        for member in kind:
            yield f"| {place} | {member.value} | {member.name} | {meanings[member.name]} |"


def command_rows() -> Iterator[str]:
    """Give a row for every command: how it is called, what it does, what --json gives."""
    for words, one in _commands(cli, ("colonies",)):
        context = click.Context(one, info_name=" ".join(words))
        pieces = [piece for piece in one.collect_usage_pieces(context) if piece != "[OPTIONS]"]
        flags = [
            flag
            for param in one.params
            if isinstance(param, click.Option) and not param.hidden
            and not isinstance(param, command.SettingOption) and param.opts != ["--json"]
            for flag in param.opts[:1]
        ]  # fmt: skip
        text = " ".join((one.help or "").partition("\n\n")[0].replace("\b", "").split())
        call = " ".join([*words, *pieces]).replace("|", r"\|")
        cells = (f"`{call}`", " ".join(f"`{flag}`" for flag in flags), text)
        yield f"| {' | '.join([*cells, _answer(one)])} |"


def alias_rows() -> Iterator[str]:
    """Give a row for everything that v1 spells otherwise."""
    for noun, ours in aliases.NOUNS.items():
        yield f"| `{noun}` | `{ours}` |"
    theirs = {ours: noun for noun, ours in aliases.NOUNS.items()}
    for spelling, ours in sorted(aliases.VERBS.items()):
        noun, _, verb = spelling.partition(" ")
        yield f"| `{theirs.get(noun, noun)} {verb}` | `{noun} {ours}` |"
    for path, names in aliases.OPTIONS.items():
        for name, target in names.items():
            yield f"| `{f'{path} {name}'.strip()}` | {_target(target)} |"
    for spelling, instead in aliases.GONE.items():
        yield f"| `{spelling}` | {instead} |"


def _commands(
    group: click.Group, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        one = group.get_command(context, name)
        if isinstance(one, click.Group):
            yield from _commands(one, (*words, name))
        elif one is not None:
            yield (*words, name), one


def _answer(one: click.Command) -> str:
    """Say what a command gives in JSON, by the type of its answer."""
    hint = get_type_hints(one.callback)["return"]
    return "" if hint is NoneType else _shape(get_args(hint)[0])


def _shape(hint: Any) -> str:
    if isinstance(hint, UnionType):
        return " or ".join(_shape(one) for one in get_args(hint))
    if get_origin(hint) is not None:
        return f"list of {_shape(get_args(hint)[0])}"
    if plain := {str: "text", datetime: "time"}.get(hint):
        return plain
    if hint in MEANINGS:
        return f"[{hint.__name__}](protocol.md#{hint.__name__.lower()})"
    fields = msgspec.structs.fields(hint)
    return f"object of {', '.join(f'`{field.encode_name}`' for field in fields)}"


def _target(target: str) -> str:
    said = {
        aliases.HERE: "an argument",
        aliases.NOTHING: "nothing",
        aliases.NOTHING_WITH_VALUE: "nothing",
    }
    return said.get(target) or f"`{target.removeprefix('$')}`"


def setting_rows() -> Iterator[str]:
    """Give a row for every setting."""
    offered = {*command.CLIENT, *cli_server.HUB, *cli_server.DEV, *key.LOCAL}
    for field in msgspec.structs.fields(Settings):
        setting = SETTINGS[field.name]
        flag = f"`{flag_of(field.name)}`" if field.name in offered else ""
        default = f"`{field.default}`" if field.default != "" else ""
        yield f"| `{field.name}` | {flag} | `{setting.env}` | {default} | {setting.help} |"


def _fields(request: type[Request]) -> str:
    return ", ".join(
        f"`{field.encode_name}`{'*' if field.required else _number(field)}"
        for field in msgspec.structs.fields(request)
    )


def _number(field: msgspec.structs.FieldInfo) -> str:
    """Give the default of a number, and its bounds if it has some of its own."""
    if isinstance(field.default, bool) or not isinstance(field.default, int | float):
        return ""
    bounds = [extra for extra in getattr(field.type, "__metadata__", ()) if extra.le != INT32]
    return f" = {field.default:d}" + "".join(f" ({one.ge} to {one.le})" for one in bounds)


def _type(hint: Any) -> str:
    origin = get_origin(hint)
    if origin is Annotated:
        return _type(get_args(hint)[0])
    if origin is list:
        return f"list of {_type(get_args(hint)[0])}"
    if origin is dict:
        return f"object of {_type(get_args(hint)[1])}"
    if issubclass(hint, Wire):
        return f"[{hint.__name__}](#{hint.__name__.lower()})"
    if issubclass(hint, IntEnum):
        return "[number](#numbers)"
    names = {str: "text", int: "integer", float: "number", bool: "boolean", datetime: "time"}
    return next(name for kind, name in reversed(names.items()) if issubclass(hint, kind))


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return ""
    is_made = field.default is msgspec.NODEFAULT
    value = field.default_factory() if is_made else field.default
    if value == ZERO_TIME:
        return "not yet"
    if isinstance(value, Wire):
        return "its defaults"
    return f"`{msgspec.json.encode(value).decode()}`"


def _kind(hint: Any) -> str:
    if hint is type(None):
        return "`{}`"
    if get_origin(hint) is list:
        return f"list of {get_args(hint)[0].__name__}"
    return str(hint.__name__)
