"""Several runtimes in one TOML file: read, checked, and given as the command lines it means.

A table ``[runtimes.NAME]`` is a runtime, ``[defaults]`` is for all that know the key. The keys are
the options of ``colonies-run PLUGIN``, by the names that they have in the configuration file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
import msgspec

from colonies.core.errors import Misconfigured

_KEYS = {"runtime_type": "type"}
_NO_KEYS = {"help", "check", "identify", "once", "within"}
"""Options that are about one start, and not about the runtime."""


class Entry(msgspec.Struct, frozen=True):
    """A runtime of the file: its key, and what follows ``colonies-run`` on its command line."""

    name: str
    identity: str
    words: tuple[str, ...]


def read(path: Path, ctx: click.Context) -> dict[str, Entry]:
    """Give the runtimes by their names in the file, for the group of plugins of ``ctx``.

    Nothing is made or started. Raises Misconfigured with the path of the first fault in the file.
    """
    content = _load(path)
    _refuse_unknown(content, ("defaults", "runtimes"), f"{path}: ")
    defaults = _table(content.get("defaults", {}), f"{path}: defaults")
    tables = _table(content.get("runtimes", {}), f"{path}: runtimes")
    if not tables:
        raise Misconfigured(f"{path}: nothing to run, expected a table [runtimes.NAME]")
    return _Reading(path, ctx, defaults).read(tables)


class _Reading:
    """One look at a file, in which each default must be somebody's and each identity one's."""

    def __init__(self, path: Path, ctx: click.Context, defaults: dict[str, Any]) -> None:
        self._path = path
        self._ctx = ctx
        self._defaults = defaults
        self._known = {"plugin"}
        self._holders: dict[str, str] = {}

    def read(self, tables: dict[str, Any]) -> dict[str, Entry]:
        found = {name: self._read_one(name, table) for name, table in tables.items()}
        _refuse_unknown(self._defaults, self._known, f"{self._path}: defaults.")
        return found

    def _read_one(self, name: str, table: Any) -> Entry:
        where = f"{self._path}: runtimes.{name}"
        own = _table(table, where)
        plugin, command = self._plugin(own, where)
        options = _options(command)
        self._known |= options.keys()
        _refuse_unknown(own, ("plugin", *options), f"{where}.")
        defaults = {key: value for key, value in self._defaults.items() if key in options}
        values = {"name": name, **defaults, **own}
        words = [
            word
            for key, option in options.items()
            if key in values
            for word in _words(option, values[key], self._where(key, own, where))
        ]
        identity = _identity(command, words, lambda key: self._where(key, own, where))
        self._claim(name, identity, where)
        return Entry(name, identity, (plugin, *words))

    def _where(self, key: str, own: dict[str, Any], where: str) -> str:
        """Give the place of a key's value, which may be among the defaults."""
        is_default = key in self._defaults and key not in own
        return f"{self._path}: defaults.{key}" if is_default else f"{where}{key and '.'}{key}"

    def _plugin(self, own: dict[str, Any], where: str) -> tuple[str, click.Command]:
        """Give a runtime's plugin, and that as a command."""
        plugin = own.get("plugin", self._defaults.get("plugin"))
        if not isinstance(plugin, str):
            raise Misconfigured(f"{where}.plugin: expected the name of a plugin")
        group = self._ctx.command
        if not isinstance(group, click.Group):
            raise TypeError("expected the group of all plugins")
        try:
            _, command, _ = group.resolve_command(self._ctx, [plugin])
            if command and not command.params:  # it cannot be loaded, and says why
                command.invoke(click.Context(command))
        except (Misconfigured, click.ClickException) as error:
            raise Misconfigured(f"{where}.plugin: {_text(error)}") from error
        if command is None:
            raise Misconfigured(f"{where}.plugin: no plugin {plugin!r} is installed")
        return plugin, command

    def _claim(self, name: str, identity: str, where: str) -> None:
        holder = self._holders.setdefault(identity, name)
        if holder != name:
            raise Misconfigured(
                f"{where}: has the key of runtimes.{holder}; give it another name or runtime_id"
            )


def _load(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise Misconfigured(f"{path}: {error}") from error


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Misconfigured(f"{where}: expected a table")
    return value


def _refuse_unknown(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    known = sorted(known)
    for key in given:
        if key not in known:
            near = get_close_matches(key, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise Misconfigured(f"{where}{key}: there is no such key; {hint}")


def _options(command: click.Command) -> dict[str, click.Option]:
    """Give the options that a file may set, by their keys."""
    return {
        _KEYS.get(option.name, option.name): option
        for option in command.params
        if isinstance(option, click.Option)
        and option.name
        and not option.hidden
        and option.name not in _NO_KEYS
    }


def _words(option: click.Option, value: Any, where: str) -> tuple[str, ...]:
    """Give an option with a value as words of a command line."""
    flag = next(flag for flag in option.opts if flag.startswith("--"))
    if option.is_flag:
        if not isinstance(value, bool):
            raise Misconfigured(f"{where}: expected true or false")
        return (flag,) if value else tuple(option.secondary_opts[:1])
    if not option.multiple:
        return (f"{flag}={_checked(option, value, where)}",)
    if not isinstance(value, list):
        raise Misconfigured(f"{where}: expected a list")
    return tuple(
        f"{flag}={_checked(option, item, f'{where}[{index}]')}" for index, item in enumerate(value)
    )


def _checked(option: click.Option, value: Any, where: str) -> Any:
    """Give a value of the kind that an option takes; whether it is in range, click will say."""
    kinds: tuple[type, ...] = (str,)
    expected = "text"
    if isinstance(option.type, click.types.IntParamType):
        kinds, expected = (int,), "a whole number"
    elif isinstance(option.type, click.types.FloatParamType):
        kinds, expected = (int, float), "a number"
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise Misconfigured(f"{where}: expected {expected}")
    if isinstance(value, str) and "\0" in value:
        raise Misconfigured(f"{where}: expected text without NUL")
    return value


def _identity(command: click.Command, words: list[str], where: Callable[[str], str]) -> str:
    """Have a command check its options, and give which key it would use."""
    try:
        return str(command.main([*words, "--identify"], standalone_mode=False))
    except click.BadParameter as error:
        name = (error.param.name if error.param else None) or ""
        raise Misconfigured(f"{where(_KEYS.get(name, name))}: {error.message}") from error
    except (Misconfigured, click.ClickException) as error:
        raise Misconfigured(f"{where('')}: {_text(error)}") from error


def _text(error: Exception) -> str:
    return error.message if isinstance(error, click.ClickException) else str(error)
