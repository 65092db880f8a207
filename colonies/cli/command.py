"""What all commands share: settings as options, a session with the hub, one way to answer.

A command is a function of the session and its own parameters that gives an `Answer`, or nothing.
It is a coroutine when it asks the hub.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Any, NoReturn

import click

from colonies import logs
from colonies.cli import aliases, output
from colonies.cli.answers import Answer
from colonies.cli.ids import Listed
from colonies.cli.session import ENVIRON, GIVEN, Session, check_identity
from colonies.cli.status import Status
from colonies.options import flags_for
from colonies.settings import KINDS, SETTINGS, flag_of

__all__ = [
    "CLIENT",
    "Command",
    "Noun",
    "Program",
    "Renamed",
    "Session",
    "SettingOption",
    "check_identity",
    "setting_option",
]

CLIENT = (
    "server_host",
    "server_port",
    "tls",
    "tls_verify",
    "timeout",
    "keychain",
    "server_id",
    "colony_id",
    "runtime_id",
    "verbose",
)
"""The settings that matter to whoever asks a hub."""

_ALSO = {"tls": (" /--insecure",), "verbose": ("-v",)}
"""Shorter spellings of some flags."""


class SettingOption(click.Option):
    """A setting as an option: remembered for `settings.load`, not passed to the command."""

    def __init__(self, setting: str, *, hidden: bool = False) -> None:
        self._setting = setting
        flags, kind = flags_for(flag_of(setting), KINDS[setting])
        super().__init__(
            # Not named as the setting: a command may have a parameter of that name itself.
            [f"setting_{setting}", *_ALSO.get(setting, ()), *flags],
            type=kind,
            default=None,
            expose_value=False,
            callback=self._remember,
            help=f"{SETTINGS[setting].help} [{SETTINGS[setting].env}]",
            hidden=hidden,
        )

    def _remember(self, ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value is not None:
            ctx.meta.setdefault(GIVEN, {})[self._setting] = value


@cache
def setting_option(setting: str, *, hidden: bool = False) -> SettingOption:
    """Give the option of a setting, the same to every command."""
    return SettingOption(setting, hidden=hidden)


class Renamed(click.Option):
    """An option that was ``formerly`` called otherwise: understood, and left out of the help."""

    def __init__(self, param_decls: Sequence[str], *, formerly: str, **attrs: Any) -> None:
        super().__init__([*param_decls, formerly], **attrs)
        self._formerly = formerly

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Give what the help says of it."""
        known = self.opts
        self.opts = [flag for flag in known if flag != self._formerly]
        try:
            return super().get_help_record(ctx)
        finally:
            self.opts = known


class _Sections(click.Command):
    """Help with the settings in a section of their own, after what is particular."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Options": [], "Settings": []}
        for param in self.get_params(ctx):
            heading = "Settings" if isinstance(param, SettingOption) else "Options"
            record = param.get_help_record(ctx)
            if record and isinstance(param, click.Option):
                sections[heading].append(record)
        for heading, records in sections.items():
            if records:
                with formatter.section(heading):
                    formatter.write_dl(records)


class Command(_Sections):
    """A command, with its settings as options and ``--json`` if it gives an answer.

    One that lists things (``is_list``) can be watched, and be shown in full.
    """

    def __init__(
        self,
        name: str | None,
        *,
        callback: Callable[..., Any],
        params: list[click.Parameter] | None = None,
        settings: tuple[str, ...] = CLIENT,
        is_list: bool = False,
        **kwargs: Any,
    ) -> None:
        self._call = callback
        self._is_asking = inspect.iscoroutinefunction(callback)
        self._is_answering = str(callback.__annotations__["return"]).startswith(Answer.__name__)
        own = list(params or [])
        if self._is_answering:
            help_ = "Answer in JSON."
            own.append(click.Option(["--json", "as_json"], is_flag=True, help=help_))
        own += _list_options() if is_list else []
        taken = {flag for param in own for flag in param.opts}
        options = [setting_option(name) for name in settings if flag_of(name) not in taken]
        super().__init__(name, params=[*own, *options], callback=callback, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the command's words, those of the reference too."""
        noun = ctx.parent.command.name if ctx.parent else ""
        read = aliases.translate(f"{noun} {self.name}", args)
        settings = {SETTINGS[name].env: name for name in SETTINGS}
        for variable, value in read.variables.items():
            known = settings.get(variable)
            ctx.meta.setdefault(GIVEN if known else ENVIRON, {})[known or variable] = value
        for remark in () if ctx.resilient_parsing else read.remarks:
            output.note(remark)
        return super().parse_args(ctx, read.words)

    def invoke(self, ctx: click.Context) -> Status:
        """Run the command and print its answer."""
        as_json, full = ctx.params.pop("as_json", False), ctx.params.pop("full", False)
        pause = ctx.params.pop("watch", None)
        session = Session.of(ctx)
        is_quiet = self._is_asking or self._is_answering
        logs.configure(verbose=session.settings.verbose, quiet=is_quiet)
        if not self._is_asking:
            return output.show(self._call(session, **ctx.params), as_json=as_json, full=full)
        import asyncio  # noqa: PLC0415 - a tenth of what a command costs, and help is none

        try:
            if pause is not None:
                asyncio.run(self._watch(session, ctx.params, pause, as_json=as_json, full=full))
            answer = asyncio.run(self._ask(session, ctx.params))
        except KeyboardInterrupt:
            # Ctrl-C is how a watch ends, and how anything else is broken off.
            is_end = pause is not None
            raise click.exceptions.Exit(Status.DONE if is_end else Status.INTERRUPTED) from None
        return output.show(answer, as_json=as_json, full=full)

    async def _ask(self, session: Session, params: Mapping[str, Any]) -> Answer[Any] | None:
        async with session:
            answer: Answer[Any] | None = await self._call(
                session, **await self._whole(session, params)
            )
        return answer

    async def _watch(
        self,
        session: Session,
        params: Mapping[str, Any],
        pause: float,
        *,
        as_json: bool,
        full: bool,
    ) -> NoReturn:
        import asyncio  # noqa: PLC0415 - see above

        async with session:
            whole = await self._whole(session, params)
            with output.showing(as_json=as_json, full=full) as show:
                async with output.while_read():
                    while True:
                        show(await self._call(session, **whole))
                        await asyncio.sleep(pause)

    async def _whole(self, session: Session, params: Mapping[str, Any]) -> dict[str, Any]:
        """Give the parameters with whole ids where there were beginnings or names.

        What is only rehearsed asks no hub.
        """
        whole = dict(params)
        if params.get("dry_run"):
            return whole
        for param in self.params:
            if isinstance(param, Listed) and param.name:
                whole[param.name] = await param.find(session, whole[param.name])
        return whole


def _list_options() -> list[click.Parameter]:
    seconds = click.FloatRange(0.1, 3600)
    help_ = "Look again every 2 (or so many) seconds, until Ctrl-C."
    return [
        click.Option(["--full"], is_flag=True, help="Cut and round nothing to fit the terminal."),
        click.Option(
            ["--watch"], is_flag=False, flag_value=2.0, type=seconds, metavar="[SECONDS]",
            default=None, help=help_,
        ),
    ]  # fmt: skip


class Noun(_Sections, click.Group):
    """The commands of one noun; the settings are taken before the verb as well as after it."""

    command_class = Command

    def __init__(self, *args: Any, shows_settings: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += [setting_option(name, hidden=not shows_settings) for name in CLIENT]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command of a word, as we or the reference call it."""
        words = aliases.command(self.name or "", args)
        is_known = words[0].startswith("-") or self.get_command(ctx, words[0]) is not None
        if not is_known and not ctx.resilient_parsing:
            known = [*self.list_commands(ctx), *aliases.verbs_of(self.name or "")]
            near = get_close_matches(words[0], known, 1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"there is no command {words[0]!r}{hint}", ctx)
        return super().resolve_command(ctx, words)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the commands."""
        _Sections.format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


class Program(Noun):
    """The whole command line: a noun is imported when it is named.

    ``places`` are the modules of all, and ``helps`` what is said of each where they are listed.
    """

    def __init__(
        self, *args: Any, places: Mapping[str, str], helps: Mapping[str, str], **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._places = places
        self._helps = helps

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the nouns, and the verbs that need none."""
        del ctx
        return list(self._places)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what the commands are, without importing them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._helps[name]) for name in self._places])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a noun, or say what there is instead of one that is gone."""
        if instead := aliases.GONE.get(" ".join(args[:2])):
            raise click.UsageError(f"there is no {' '.join(args[:2])!r}: {instead}", ctx)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a noun: the thing of that name in its module."""
        del ctx
        name = aliases.NOUNS.get(cmd_name, cmd_name)
        place = {**self._places, **aliases.PLACES}.get(name)
        if place is None:
            return None
        command: click.Command = getattr(import_module(place), name)
        return command
