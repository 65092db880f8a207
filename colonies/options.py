"""Settings as options of a command line, with the names and meanings they are declared with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar, get_args, get_origin

import click

from colonies.settings import KINDS, SETTINGS, flag_of

Command = TypeVar("Command", bound=Callable[..., Any])

CLIENT = ("server_host", "server_port", "tls", "tls_verify", "colony_id", "keychain", "timeout")
"""What everybody who asks a hub may want to set."""


def setting_options(*names: str) -> Callable[[Command], Command]:
    """Give a command an option for each of these settings; None means that it was not given.

    Environment and file are not looked at here, but by `settings.load`.
    """

    def decorate(command: Command) -> Command:
        for name in reversed(names):
            setting = SETTINGS[name]
            flags, kind = flags_for(flag_of(name), KINDS[name])
            option = click.option(
                *flags,
                name,
                type=kind,
                default=None,
                help=f"{setting.help}. [env var: {setting.env}]",
                metavar=None,
            )
            command = option(command)
        return command

    return decorate


def flags_for(flag: str, hint: Any) -> tuple[tuple[str, ...], Any]:
    """Give click's spelling and type of an option that holds a value of this kind."""
    if hint is bool:
        return (f"{flag}/--no-{flag.removeprefix('--')}",), None
    if get_origin(hint) is Literal:
        return (flag,), click.Choice(get_args(hint))
    item = get_args(hint)[0] if get_origin(hint) is list else hint
    return (flag,), item
