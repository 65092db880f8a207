"""``colonies worker``: what v1 calls a machine that runs shell commands, by our own runtime.

It is the plugin ``shell`` under ``colonies-run``. Its identity is kept by its name, so that a
worker which comes back is the one that it was, and `unregister` finds what `register` made.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from typing import Any, TypeVar

import click

from colonies.cli import answers
from colonies.cli.answers import Answer
from colonies.cli.command import Noun, Session
from colonies.core.runtime import Runtime
from colonies.settings import SETTINGS

F = TypeVar("F", bound=Callable[..., Any])

PASSED_OVER = ("--cpu", "--gpu", "--long", "--lat", "--logdir", "--timeout")
"""What is taken and not used: a runtime finds out by itself, or has no need."""


@click.group(cls=Noun, hidden=True)
def worker() -> None:
    """Run shell commands for a colony; see `colonies-run shell`."""


def _named(function: F) -> F:
    name = click.option("--name", envvar="COLONIES_RUNTIMENAME", default="", help="Its name.")
    kind = click.option(
        "--runtimetype",
        "--type",
        "runtime_type",
        envvar="COLONIES_RUNTIMETYPE",
        required=True,
        help="Type of processes to take.",
    )
    for flag in PASSED_OVER:
        function = click.option(flag, expose_value=False, hidden=True)(function)
    for flag in ("--cores", "--mem", "--gpus"):
        function = click.option(flag, type=int, default=-1, help="What it has.")(function)
    return name(kind(function))


@worker.command("start")
@_named
def start(session: Session, name: str, runtime_type: str, **figures: int) -> None:
    """Take processes and run them as `sh -c "FUNC ARGS"`."""
    from runtimes.launcher import main  # noqa: PLC0415 - nobody else runs one

    for setting in session.sources:
        os.environ[SETTINGS[setting].env] = str(getattr(session.settings, setting))
    words = ["shell", "--allow-shell", "--type", runtime_type, "--name", _label(name)]
    words += [f"--{one}={figure}" for one, figure in figures.items() if figure >= 0]
    main(words)


@worker.command("register")
@_named
async def register(
    session: Session, name: str, runtime_type: str, **figures: Any
) -> Answer[Runtime]:
    """Add and approve it without starting it, and print its id. For the colony's owner."""
    hub, colony_id = session.acting_as("colony"), session.colony_id
    runtime = Runtime(
        runtime_id=_key_id(session, name),
        colony_id=colony_id,
        name=_label(name),
        runtime_type=runtime_type,
        **{one: max(0, figure) for one, figure in figures.items()},
    )
    if runtime.runtime_id not in [one.runtime_id for one in await hub.get_runtimes(colony_id)]:
        await hub.add_runtime(runtime)
    await hub.approve_runtime(runtime.runtime_id)
    return answers.identity(await hub.get_runtime(runtime.runtime_id), runtime.runtime_id)


@worker.command("unregister")
@click.option("--name", envvar="COLONIES_RUNTIMENAME", default="", help="Its name.")
async def unregister(session: Session, name: str) -> None:
    """Delete it. For the colony's owner."""
    await session.acting_as("colony").delete_runtime(_key_id(session, name))


def _label(name: str) -> str:
    return name or f"shell-{platform.node() or 'localhost'}"


def _key_id(session: Session, name: str) -> str:
    """Give the identity that the launcher keeps for this name."""
    return session.keychain.named(f"{_label(name)}.{session.colony_id[:16]}").id
