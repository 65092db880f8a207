"""``colonies-run NAME``: find a plugin by its entry point, and run it until told to stop.

What ``colonies-run --config FILE`` does is in ``supervisor.py``, and the file in ``roster.py``.
"""

from __future__ import annotations

import asyncio
import os
import platform
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib.metadata import EntryPoint, entry_points
from inspect import isabstract
from pathlib import Path
from typing import Any

import click
import msgspec
import structlog
from platformdirs import user_state_path

from colonies import logs, settings
from colonies.client import Keychain, connect
from colonies.client.keychain import find_key
from colonies.core.errors import ColoniesError, Misconfigured
from colonies.core.identity import PrivateKey
from colonies.core.runtime import Runtime as Member
from colonies.core.wire import is_id
from colonies.options import CLIENT, setting_options
from colonies.settings import Settings
from colonies.version import __version__
from runtimes import template
from runtimes.base import Runtime
from runtimes.daemon import Daemon, Habits
from runtimes.health import health
from runtimes.labels import labels_of
from runtimes.membership import Membership
from runtimes.notify import STOPPING, notify, ready, signs_of_life
from runtimes.options import figures, habits, plugin_option, starts
from runtimes.outcomes import Outcomes
from runtimes.roster import read as read_roster
from runtimes.supervisor import Supervisor
from runtimes.tenure import Tenure

GROUP = "colonies.runtimes"

USAGE = 2
"""The exit code for a setting, a key or a plugin that is wrong."""

STUCK = 3
"""The exit code after a plugin that could not be ended."""

FAILED = 1
NOTHING = 4
"""The exit codes of ``--once`` after a process that failed, and when none has come."""


class Plugins(click.Group):
    """Every installed plugin as a command, with its settings as options."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names of the installed plugins."""
        del ctx
        return sorted(entry.name for entry in entry_points(group=GROUP))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the plugin of a name, or say which there are."""
        name = args[0]
        if not name.startswith("-") and not entry_points(group=GROUP, name=name):
            known = self.list_commands(ctx)
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
            raise Misconfigured(f"no plugin {name!r} is installed; {hint}")
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a plugin and make its command."""
        del ctx
        found = entry_points(group=GROUP, name=cmd_name)
        if not found:
            return None
        try:
            entry = next(iter(found))
            return _command(entry, _load(entry))
        except Exception as error:  # noqa: BLE001 - it is somebody else's code
            return _broken(cmd_name, error)


def _load(entry: EntryPoint) -> type[Runtime]:
    """Import a plugin; raise TypeError when it is none."""
    plugin = entry.load()
    if not (isinstance(plugin, type) and issubclass(plugin, Runtime)):
        raise TypeError(f"{entry.value} is no subclass of runtimes.base.Runtime")
    if isabstract(plugin):
        raise TypeError(f"{entry.value} has no execute")
    if not isinstance(getattr(plugin, "runtime_type", None), str):
        raise TypeError(f"{entry.value} has no runtime_type")
    return plugin


def _broken(name: str, error: Exception) -> click.Command:
    """Give a command that says why there is none, so that the others can be listed."""
    text = f"cannot be loaded: {error}"

    def refuse() -> None:
        raise Misconfigured(f"plugin {name} {text}")

    return click.Command(name, callback=refuse, help=f"({text})")


def _command(entry: EntryPoint, plugin: type[Runtime]) -> click.Command:
    name = entry.name
    own = msgspec.structs.fields(plugin.Settings)

    def run(**options: Any) -> str | None:
        given = {field.name: options.pop(field.name) for field in own}
        plugin_settings = _plugin_settings(name, plugin, given)
        # One file name for one runtime: host and colony keep the identities of many apart.
        options["name"] = options["name"] or f"{name}-{platform.node() or 'localhost'}"
        if options["within"] and not options["once"]:
            raise click.UsageError("--within is for --once")
        config = _config(options)
        if options["identify"]:
            return _check_identity(config, options["name"], options["runtime_id"])
        if options["check"]:
            _check(name, plugin(plugin_settings), options)
            return None
        options["label"] = labels_of(entry, options["label"])
        logs.configure(verbose=options["verbose"])
        if options["tied"]:
            structlog.contextvars.bind_contextvars(name=options["name"])
        sys.exit(_run(plugin, plugin_settings, config, options))

    common = [*figures(), *habits(plugin), *starts(), setting_options(*CLIENT, "runtime_id")]
    of_plugin = [plugin_option(name, plugin, field) for field in own]
    for option in reversed([*of_plugin, *common]):
        run = option(run)
    return click.command(name, help=plugin.__doc__)(run)


def _plugin_settings(name: str, plugin: type[Runtime], given: dict[str, Any]) -> Any:
    """Put a plugin's settings together: flag or environment, then file, then default."""
    table = settings.load_table(name)
    known = [field.name for field in msgspec.structs.fields(plugin.Settings)]
    for key in table.keys() - set(known):
        near = get_close_matches(key, known, 1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise Misconfigured(f"[{name}] in the configuration file: there is no {key}{hint}")
    table |= {key: value for key, value in given.items() if value not in (None, ())}
    try:
        return msgspec.convert(table, plugin.Settings)
    except msgspec.ValidationError as error:
        raise Misconfigured(f"settings of {name}: {error}") from error


def _check(kind: str, plugin: Runtime, options: dict[str, Any]) -> None:
    """Say what a plugin would work with, and how it protects; raise Misconfigured if it cannot."""
    plugin.grace = options["grace"]
    try:
        lines = asyncio.run(plugin.check())
    except Misconfigured:
        raise
    except Exception as error:
        raise Misconfigured(f"plugin {kind} cannot start: {error}") from error
    click.echo("\n  ".join([f"{options['name']}: {kind}", *lines]))


def _config(options: dict[str, Any]) -> Settings:
    config = settings.load({key: options.get(key) for key in settings.SETTINGS})
    if not config.colony_id:
        raise Misconfigured("which colony? Give --colonyid or set COLONIES_COLONYID")
    if not is_id(config.colony_id):
        raise Misconfigured("--colonyid: expected 64 lower-case hex characters")
    return config


def _run(
    plugin: type[Runtime], plugin_settings: Any, config: Settings, options: dict[str, Any]
) -> int:
    """Run until there is nothing to do any more; give the exit code."""
    key = _identity(config, options["name"], options["runtime_id"])
    member = Member(
        runtime_id=key.id,
        runtime_type=options["runtime_type"],
        name=options["name"],
        colony_id=config.colony_id,
        cores=options["cores"],
        mem=options["mem"],
        gpus=options["gpus"],
        cpu=options["cpu"],
        gpu=options["gpu"],
        labels=options["label"],
    )
    runtime = plugin(plugin_settings)
    runtime.runtime_id, runtime.grace = key.id, options["grace"]
    code = asyncio.run(_live(config, runtime, member, key, options))
    if code == STUCK:
        # A thread of the plugin is stuck, and would hold up the interpreter's own end as well.
        sys.stderr.flush()
        os._exit(STUCK)
    return code


async def _live(
    config: Settings, plugin: Runtime, member: Member, key: PrivateKey, options: dict[str, Any]
) -> int:
    """Run until told to stop, or once; give the exit code."""
    state_folder = (options["state_dir"] or user_state_path("colonies")).expanduser()
    async with connect(config, key=key) as colonies:
        daemon = Daemon(
            colonies,
            plugin,
            membership=Membership(colonies, member, _owner(config)),
            outcomes=Outcomes(state_folder, member.runtime_id, member.colony_id),
            habits=Habits(
                slots=1 if options["once"] else options["slots"],
                heartbeat=options["heartbeat"],
                drain=options["drain"],
                once=options["once"],
                within=options["within"],
            ),
            tenure=lambda lasting, thread: Tenure(lasting, thread, state_folder, member.runtime_id),
        )
        _listen(daemon, is_tied=options["tied"])
        async with signs_of_life(), health(options["health_port"], lambda: daemon.pulse.is_heard):
            ready(f"works as {member.name}")
            await daemon.run()
    if not daemon.is_ended:
        return STUCK
    if not options["once"]:
        return 0
    outcome = daemon.first_outcome
    if outcome is None:
        return NOTHING
    return 0 if outcome.is_success else FAILED


def _listen(daemon: Daemon, *, is_tied: bool) -> None:
    """Have the daemon stop at a signal and, tied to whoever started us, at the end of input."""
    loop = asyncio.get_running_loop()

    def stop() -> None:
        notify(STOPPING)
        daemon.stop()

    def read() -> None:
        if not os.read(sys.stdin.fileno(), 4096):
            loop.remove_reader(sys.stdin)
            daemon.drain()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    if is_tied:
        loop.add_reader(sys.stdin, read)


def _identity(config: Settings, label: str, runtime_id: str | None) -> PrivateKey:
    """Give our key: the one that was asked for, else the one kept for this name.

    COLONIES_RUNTIMEID alone does not count: it says as whom a person here asks the hub, and a
    plugin started beside must not take that identity for its own.
    """
    if runtime_id or config.runtime_prvkey:
        return find_key(msgspec.structs.replace(config, runtime_id=runtime_id or ""), "runtime")
    return Keychain.of(config).named(_key_name(config, label))


def _check_identity(config: Settings, label: str, runtime_id: str | None) -> str:
    """Say which key `_identity` would give, without making one: by its name, or else by its id."""
    keychain, name = Keychain.of(config), _key_name(config, label)
    folder = keychain.folder.resolve()
    if runtime_id or config.runtime_prvkey:
        key: PrivateKey | None = _identity(config, label, runtime_id)
    else:
        key = keychain.find(name)
    if key is None:
        return f"{folder}/{name}"
    names = sorted(name for name, identity in keychain.names().items() if identity == key.id)
    return f"{folder}/{names[0]}" if names else key.id


def _key_name(config: Settings, label: str) -> str:
    return f"{label}.{config.colony_id[:16]}"


def _owner(config: Settings) -> PrivateKey | None:
    """Give the colony owner's key if it happens to be here; then nobody needs to be asked."""
    try:
        return find_key(config, "colony")
    except Misconfigured:
        return None


def _file_options() -> list[click.Parameter]:
    """Give the options of many runtimes at once."""
    return [
        click.Option(
            ["--config", "path"],
            type=click.Path(path_type=Path),
            metavar="FILE",
            help="Run all runtimes of a file (TOML); SIGHUP reads it again.",
        ),
        click.Option(
            ["--check"],
            is_flag=True,
            help="Check the file, say what would protect and what is missing; do no more.",
        ),
    ]


@click.pass_context
def _run_file(ctx: click.Context, path: Path | None, *, check: bool) -> None:
    """Run what a file says, when no plugin is named."""
    if ctx.invoked_subcommand:
        if path or check:
            raise click.UsageError(
                f"--config and --check do not go before {ctx.invoked_subcommand}"
            )
        return
    if path is None:
        raise click.UsageError("Missing the name of a plugin, or --config.")
    if check:
        _check_file(path, ctx)
        return
    logs.configure()
    asyncio.run(Supervisor(lambda: read_roster(path, ctx)).run())


def _check_file(path: Path, ctx: click.Context) -> None:
    """Check all runtimes of a file; raise Misconfigured with all that could not start."""
    faults = []
    for entry in read_roster(path, ctx).values():
        try:
            ctx.command.main([*entry.words, "--check"], standalone_mode=False)
        except Misconfigured as error:
            faults.append(f"{path}: runtimes.{entry.name}: {error}")
    if faults:
        raise Misconfigured("\nerror: ".join(faults))


def main(words: Sequence[str] | None = None) -> None:
    """Run ``colonies-run``, with these words or those of the command line."""
    command = Plugins(
        name="colonies-run",
        help="Run a runtime: put this machine to work for a colony.",
        params=_file_options(),
        callback=_run_file,
        invoke_without_command=True,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    command = click.version_option(__version__, prog_name="colonies-run")(template.option(command))
    try:
        command(words, standalone_mode=True)
    except ColoniesError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(USAGE)
