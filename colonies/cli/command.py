"""What all commands share: settings as options, a session with the hub, one way to answer.

A command is a function of the session and its own parameters that gives an `Answer`, or nothing.
It is a coroutine when it asks the hub. The client is imported by the first question: help, and what
is asked of this machine alone, do without.
"""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import cache, cached_property
from importlib import import_module
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeVar

import click

from colonies import logs
from colonies import settings as all_settings
from colonies.cli import output
from colonies.cli.output import Answer
from colonies.cli.status import Status
from colonies.core.errors import Forbidden, Misconfigured, NotFound
from colonies.options import flags_for
from colonies.settings import KINDS, SETTINGS, Settings, flag_of

if TYPE_CHECKING:
    from colonies.client import Colonies, Keychain
    from colonies.core.identity import PrivateKey

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

_GIVEN = f"{__name__}.given"

_IDENTITY = re.compile(r"[0-9a-f]{64}", re.ASCII)

Role = Literal["server", "colony", "runtime"]

T = TypeVar("T")


class Session:
    """One run of one command: its settings, and the hub as one identity sees it."""

    def __init__(self, settings: Settings, given: Mapping[str, Any]) -> None:
        self.settings = settings
        self.given = given
        self._signature = ""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Forbidden) and self._signature:
            error.add_note(self._signature)
        if "hub" in vars(self):
            await self.hub.close()

    @cached_property
    def hub(self) -> Colonies:
        """The hub, as anybody sees it."""
        from colonies.client import connect  # noqa: PLC0415 - see the module's docstring

        return connect(self.settings)

    @cached_property
    def keychain(self) -> Keychain:
        """The keys that are here."""
        from colonies.client import Keychain  # noqa: PLC0415 - see the module's docstring

        return Keychain.of(self.settings)

    @property
    def colony_id(self) -> str:
        """The colony that the command is about."""
        if not self.settings.colony_id:
            raise _missing("colony", SETTINGS["colony_id"].env)
        return self.settings.colony_id

    def acting_as(self, *roles: Role) -> Colonies:
        """Give the hub as seen by the first of these roles whose key is here.

        Nobody stands in for one that is named by a flag.
        """
        refusals = []
        for role in roles:
            try:
                key = self._key_of(role)
            except Misconfigured as error:
                if self.given.get("runtime_id") and role == "runtime":
                    raise
                refusals.append(error)
                continue
            self._signature = f"signed as {role} <{key.id}>, whose key is {self._origin(role)}"
            return self.hub.acting_as(key)
        raise refusals[0]

    async def read(self, question: Callable[[Colonies], Awaitable[T]]) -> T:
        """Ask what the colony's runtimes and its owner may know, as whoever's key is here.

        Where the hub refuses the runtime, or has nothing for it to know of, the owner asks, unless
        the runtime is named by a flag.
        """
        hub = self.acting_as("runtime", "colony")
        try:
            return await question(hub)
        except (Forbidden, NotFound):
            owner = None if self.given.get("runtime_id") else self._owner()
            if owner is None or (hub.key and hub.key.id == owner.id):
                raise
        return await question(self.acting_as("colony"))

    def identity_for(self, role: Role) -> str:
        """Give the identity given by flag, else that of a new key in the keychain."""
        given: str | None = self.given.get(f"{role}_id")
        if given is not None:
            return check_identity(given, flag_of(f"{role}_id"))
        from colonies.core.identity import PrivateKey  # noqa: PLC0415 - as the client

        key = PrivateKey.generate()
        self.keychain.add(key)
        return key.id

    def _owner(self) -> PrivateKey | None:
        try:
            return self._key_of("colony")
        except Misconfigured:
            return None

    def _key_of(self, role: Role) -> PrivateKey:
        if not (getattr(self.settings, f"{role}_id") or getattr(self.settings, f"{role}_prvkey")):
            raise _missing(role, SETTINGS[f"{role}_id"].env, SETTINGS[f"{role}_prvkey"].env)
        from colonies.client.keychain import find_key  # noqa: PLC0415 - see the module's docstring

        return find_key(self.settings, role)

    def _origin(self, role: Role) -> str:
        if getattr(self.settings, f"{role}_prvkey"):
            return f"from {SETTINGS[f'{role}_prvkey'].env}"
        return f"in {self.keychain.folder}"


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
            ctx.meta.setdefault(_GIVEN, {})[self._setting] = value


@cache
def setting_option(setting: str, *, hidden: bool = False) -> SettingOption:
    """Give the option of a setting, the same to every command."""
    return SettingOption(setting, hidden=hidden)


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

    def invoke(self, ctx: click.Context) -> Status:
        """Run the command and print its answer."""
        as_json, full = ctx.params.pop("as_json", False), ctx.params.pop("full", False)
        pause = ctx.params.pop("watch", None)
        given = ctx.meta.get(_GIVEN, {})
        settings = all_settings.load(given)
        logs.configure(verbose=settings.verbose, quiet=self._is_asking or self._is_answering)
        session = Session(settings, given)
        if not self._is_asking:
            return output.show(self._call(session, **ctx.params), as_json=as_json, full=full)
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
            answer: Answer[Any] | None = await self._call(session, **params)
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
        async with session:
            with output.showing(as_json=as_json, full=full) as show:
                while True:
                    show(await self._call(session, **params))
                    await asyncio.sleep(pause)


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

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the commands."""
        _Sections.format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


class Program(Noun):
    """The whole command line: a noun is imported when it is named, or all are to be listed."""

    def __init__(self, *args: Any, places: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the nouns, and the verbs that need none."""
        del ctx
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a noun: the thing of that name in its module."""
        del ctx
        if cmd_name not in self._places:
            return None
        command: click.Command = getattr(import_module(self._places[cmd_name]), cmd_name)
        return command


def check_identity(text: str, source: str) -> str:
    """Give the text if it is an identity; what is not names where it came from."""
    if not _IDENTITY.fullmatch(text):
        raise Misconfigured(f"{source}: expected 64 lower-case hex characters, not {text!r}")
    return text


def _missing(role: Role, *variables: str) -> Misconfigured:
    flag, ways = flag_of(f"{role}_id"), " or ".join(variables)
    return Misconfigured(
        f"which {role}? Give {flag} or set {ways}, or paste what `colonies dev` prints"
    )
