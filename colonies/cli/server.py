"""``colonies server`` and ``colonies dev``: starting a hub, and asking how it is.

The hub itself is imported where it is started: all else works without what only hubs need. So is
the client, as in all commands.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import click
import msgspec

from colonies.cli import answers, output
from colonies.cli.answers import Answer
from colonies.cli.command import Command, Noun, Session, check_identity
from colonies.core.colony import Statistics
from colonies.core.errors import Misconfigured, Unavailable
from colonies.core.identity import PrivateKey
from colonies.core.runtime import Runtime
from colonies.core.wire import Wire
from colonies.settings import SETTINGS, Settings, flag_of
from colonies.version import __version__

if TYPE_CHECKING:
    from colonies.client import Colonies, Keychain
    from colonies.server.app import Server
    from colonies.server.workers import Workers

HUB = (
    "server_port",
    "server_id",
    "bind",
    "tls_cert",
    "tls_key",
    "database_url",
    "database_direct_url",
    "data_dir",
    "postgres_bin",
    "workers",
    "verbose",
)
"""The settings that matter to a hub; those it seldom needs are in environment and file only."""

DEV = ("server_port", "data_dir", "postgres_bin", "keychain", "verbose")
LOOPBACK = "127.0.0.1"
DEV_TYPE = "cli"

Ready = Callable[["Server | Workers"], Coroutine[Any, Any, None]]


class ServerStatus(Wire):
    """Which hub answers, and to which program."""

    server_host: str
    server_port: int
    server_version: str
    cli_version: str


@click.group(cls=Noun)
def server() -> None:
    """The hub: started here, or asked how it is."""


@server.command("start", settings=HUB)
def start(session: Session) -> None:
    """Run a hub until Ctrl-C or SIGTERM.

    Without --database-url it starts a PostgreSQL of its own in --data-dir. Prints one line when it
    serves: "listening on ADDRESS:PORT". --port 0 takes a free port. With --workers it serves in so
    many processes, and starts those again that die.
    """
    settings = session.settings
    flag, variable = flag_of("server_id"), SETTINGS["server_id"].env
    if not settings.server_id:
        raise Misconfigured(
            f"whose hub? Give {flag} or set {variable}; `colonies key new` makes an identity"
        )
    check_identity(settings.server_id, flag if "server_id" in session.given else variable)

    async def announce(hub: Server | Workers) -> None:
        output.say(f"listening on {_place(settings.bind, hub.port)}")

    _serve(settings, announce)


@server.command("status")
async def status(session: Session) -> Answer[ServerStatus]:
    """Show the versions of the hub and of this program. For anyone."""
    version = await session.hub.version()
    return answers.view(
        ServerStatus(
            server_host=session.settings.server_host,
            server_port=session.settings.server_port,
            server_version=version.build_version,
            cli_version=__version__,
        )
    )


@server.command("reset")
@click.option("--yes", is_flag=True, help="Do not ask.")
async def reset(session: Session, *, yes: bool) -> None:
    """Delete every colony with all that is in it. For the hub's owner."""
    hub = session.acting_as("server")
    if not yes:
        number = (await hub.get_statistics()).colonies
        address = f"{session.settings.server_host}:{session.settings.server_port}"
        await output.confirm_deletion(f"Delete all {number} colonies of the hub at {address}?")
    await hub.reset_database()


@server.command("stats")
async def stats(session: Session) -> Answer[Statistics]:
    """Count what is on the hub. For the hub's owner."""
    counted = await session.acting_as("server").get_statistics()
    return answers.view(counted, has_zeros=True)


@click.command("dev", cls=Command, settings=DEV)
def dev(session: Session) -> None:
    """Run a hub for development until Ctrl-C or SIGTERM.

    It has a database of its own, a colony and an approved runtime, whose keys are in the keychain,
    and prints the environment to paste into another terminal. What is there from the last time is
    used again.
    """
    keychain = session.keychain
    people = _People(*(keychain.named(f"dev-{role}") for role in ("server", "colony", "runtime")))
    settings = _dev_settings(session, people)

    from colonies.client import connect  # noqa: PLC0415 - see the module's docstring

    async def populate(hub: Server | Workers) -> None:
        reached = msgspec.structs.replace(settings, server_port=hub.port)
        async with connect(reached) as colonies:
            await _populate(colonies, people)
        output.say("\n".join(_environment(reached)))
        output.note(_advice(keychain, Path(settings.data_dir)))

    _serve(settings, populate)


class _People(msgspec.Struct, frozen=True):
    """Who takes part in a hub for development."""

    server: PrivateKey
    colony: PrivateKey
    runtime: PrivateKey


def _dev_settings(session: Session, people: _People) -> Settings:
    data_folder = _import_hub().data_folder(session.settings)
    return msgspec.structs.replace(
        session.settings,
        server_host=LOOPBACK,
        bind=LOOPBACK,
        tls=False,
        tls_cert="",
        tls_key="",
        workers=1,
        database_url="",
        database_direct_url="",
        data_dir=session.given.get("data_dir") or str(data_folder / "dev"),
        server_id=people.server.id,
        colony_id=people.colony.id,
        runtime_id=people.runtime.id,
    )


async def _populate(colonies: Colonies, people: _People) -> None:
    """Add what is not there from the last time."""
    colony_id, runtime_id = people.colony.id, people.runtime.id
    hub_owner = colonies.acting_as(people.server)
    if colony_id not in [one.colony_id for one in await hub_owner.get_colonies()]:
        await hub_owner.add_colony(colony_id, "dev")
    owner = colonies.acting_as(people.colony)
    if runtime_id not in [one.runtime_id for one in await owner.get_runtimes(colony_id)]:
        runtime = Runtime(
            runtime_id=runtime_id, colony_id=colony_id, name="dev", runtime_type=DEV_TYPE
        )
        await owner.add_runtime(runtime)
    await owner.approve_runtime(runtime_id)


def _environment(settings: Settings) -> list[str]:
    values = {
        "server_host": settings.server_host,
        "server_port": str(settings.server_port),
        "server_id": settings.server_id,
        "colony_id": settings.colony_id,
        "runtime_id": settings.runtime_id,
        "tls": "false",
    }
    if settings.keychain != Settings().keychain:
        values["keychain"] = str(Path(settings.keychain).expanduser().absolute())
    return [f"export {SETTINGS[name].env}={shlex.quote(text)}" for name, text in values.items()]


def _advice(keychain: Keychain, data: Path) -> str:
    folder = data.expanduser().absolute()
    run, ask = _command("colonies-run"), _command("colonies")
    return f"""
Paste the lines above into another terminal, and try there:

  # Put this machine to work, have something done, look:
  {run} shell &
  {ask} process run echo hello --type shell --wait
  {ask} process ls --watch

  # What is amiss, if anything is:
  {ask} doctor

Data: {folder}
Keys: {keychain.folder.absolute()}

Ctrl-C stops the hub; what is in it stays. To start over, stop it and remove its data:

  rm -r {shlex.quote(str(folder))}
"""


def _command(name: str) -> str:
    """Give a command of ours as it can be run from here."""
    if shutil.which(name):
        return name
    beside = (Path(program).absolute().with_name(name) for program in (sys.argv[0], sys.executable))
    return next((shlex.quote(str(path)) for path in beside if path.is_file()), name)


def _serve(settings: Settings, ready: Ready) -> None:
    """Run a hub until a signal comes, calling ``ready`` when it serves."""
    app = _import_hub()
    app.raise_file_limit()

    async def life() -> None:
        async with _make_hub(app, settings) as hub:
            app.spare_collector()
            await ready(hub)
            await hub.wait_closed()
        raise Unavailable("the hub stopped serving by itself")

    with asyncio.Runner(loop_factory=app.loop_factory()) as runner:
        runner.run(_until_signalled(life()))


def _make_hub(app: ModuleType, settings: Settings) -> Server | Workers:
    if settings.workers == 1:
        hub: Server = app.Server(settings)
        return hub
    from colonies.server.workers import Workers  # noqa: PLC0415 - see the module's docstring

    return Workers(settings)


async def _until_signalled(work: Coroutine[Any, Any, None]) -> None:
    """Do the work until SIGINT or SIGTERM; more of them do not disturb its end."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    task = asyncio.ensure_future(work)
    task.add_done_callback(lambda _: stop.set())
    await stop.wait()
    task.cancel()
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()


def _import_hub() -> ModuleType:
    try:
        from colonies.server import app  # noqa: PLC0415 - see the module's docstring
    except ModuleNotFoundError as error:
        raise Misconfigured(
            f"a hub needs {error.name}; run: pip install 'colonies[server]'"
        ) from error
    return app


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
