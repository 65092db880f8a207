"""The main job in a minute: a hub, a runtime, and work done; run it by ``make demo``.

Everything is real and everything is gone afterwards: the hub and its PostgreSQL run in a temporary
folder, the solver is a ``colonies-run`` of its own, and this program submits to them.
"""

import asyncio
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import click

from colonies import Colonies, ColoniesError, State, SubmittedProcess, connect, result_of
from colonies.settings import load

NUMBERS = range(10, 91, 2)
BIN = Path(sys.executable).parent
FUNCTIONS = Path(__file__).parent / "fibonacci"
PATIENCE = 60.0


@asynccontextmanager
async def program(*argv: str | Path, env: dict[str, str], log: Path) -> AsyncIterator[Process]:
    """Run a program for as long as the block; it is asked to stop, and waited for."""
    with log.open("wb") as errors:
        child = await asyncio.create_subprocess_exec(*argv, env=env, stdout=PIPE, stderr=errors)
    try:
        yield child
    finally:
        if child.returncode is None:
            child.send_signal(signal.SIGTERM)
        await child.wait()


async def read_exports(hub: Process) -> dict[str, str]:
    """Read the settings that ``colonies dev`` prints when it is ready, up to its last."""
    exports: dict[str, str] = {}
    async with asyncio.timeout(PATIENCE):
        while hub.stdout and "COLONIES_TLS" not in exports:
            line = (await hub.stdout.readline()).decode().strip()
            if not line:
                raise ColoniesError("the hub did not start")
            name, _, value = line.removeprefix("export ").partition("=")
            exports[name] = value
    return exports


async def solve_all(colonies: Colonies) -> None:
    """Submit every number, show the progress, print the solutions."""
    submitted = [
        await colonies.submit("functions:fibonacci", n, runtime_type="python") for n in NUMBERS
    ]
    click.echo(f"Submitted {len(submitted)} processes; each is a row in PostgreSQL now.")
    with click.progressbar(length=len(submitted), label="Solved", show_pos=True) as bar:

        async def follow(process: SubmittedProcess) -> str:
            done = await process.wait(PATIENCE)
            bar.update(1)
            if done.state is not State.SUCCESS:
                raise ColoniesError(f"a process failed: {'; '.join(done.errors)}")
            return f"fibonacci({done.spec.args[0]}) = {result_of(done)}"

        solutions = await asyncio.gather(*(follow(process) for process in submitted))
    for solution in (*solutions[:3], "…", *solutions[-3:]):
        click.echo(f"  {solution}")


async def main(folder: Path) -> None:
    """Start the hub and the solver, have the work done, stop both."""
    inherited = {name: value for name, value in os.environ.items() if "COLONIES_" not in name}
    env = {**inherited, "COLONIES_KEYCHAIN": str(folder / "keys")}
    async with AsyncExitStack() as stack:
        click.echo("Starting a hub with a PostgreSQL of its own: colonies dev")
        dev = (BIN / "colonies", "dev", "--port", "0", "--data-dir", folder / "data")
        hub = await stack.enter_async_context(program(*dev, env=env, log=folder / "hub.log"))
        env |= await read_exports(hub)

        click.echo("Starting a runtime that solves: colonies-run python")
        run = (BIN / "colonies-run", "python", "--path", FUNCTIONS, "--slots", "4")
        await stack.enter_async_context(program(*run, env=env, log=folder / "solver.log"))

        async with connect(load(environ=env)) as colonies:
            await solve_all(colonies)
    click.echo("Stopped both; nothing is left running.\n")
    click.echo("Next:")
    click.echo("  make dev                      a hub to play with, and the settings to paste")
    click.echo("  .venv/bin/colonies --help     submit, wait, look, approve")
    click.echo("  docs/tutorial.md              from a first process to a workflow each morning")
    click.echo("  examples/fibonacci            a generator and a solver of your own")
    click.echo("  docs/runtimes.md              teach a runtime something new")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="colonies-demo-") as temporary:
        place = Path(temporary)
        try:
            asyncio.run(main(place))
        except (ColoniesError, TimeoutError, OSError) as error:
            for log in sorted(place.glob("*.log")):
                click.echo(f"--- {log.name}\n{log.read_text()}", err=True)
            sys.exit(f"error: {str(error) or 'not done in time'}")
        except KeyboardInterrupt:
            sys.exit(130)
