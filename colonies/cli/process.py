"""``colonies process``: submitted, waited for, read, and worked on by hand."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial
from typing import Any, TypeVar

import click
import msgspec

from colonies.cli import output
from colonies.cli.command import Noun, Session
from colonies.cli.output import Answer
from colonies.cli.status import Status
from colonies.client import Colonies
from colonies.core import wire
from colonies.core.errors import DeadlineExceeded, Malformed, TimedOut
from colonies.core.process import Conditions, Process, ProcessSpec, State

F = TypeVar("F", bound=Callable[..., Any])

STATES = {state.name.lower(): state for state in State}


@click.group(cls=Noun)
def process() -> None:
    """Processes: what shall be done, and how far it has come."""


def _pairs(_ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"expected KEY=VALUE, not {text!r}")
    return {key: value for key, _, value in (text.partition("=") for text in texts)}


def _read_spec(_ctx: click.Context, _param: click.Parameter, file: Any) -> ProcessSpec:
    raw = file.read()
    try:
        spec = wire.decode(raw, ProcessSpec)
        _check_names(wire.decode(raw, dict), ProcessSpec)
        _check_whole(spec)
    except Malformed as error:
        raise Malformed(f"{file.name}: {error}", field=error.field) from error
    return spec


def _check_names(value: dict[str, Any], kind: type[msgspec.Struct], prefix: str = "") -> None:
    """Refuse fields that a hub would pass over: who writes one means something by it."""
    known = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    for name, inner in value.items():
        path = f"{prefix}{name}"
        if name not in known:
            near = get_close_matches(name.lower(), known, 1)
            hint = f", did you mean {near[0]}?" if near else ""
            raise Malformed(f"{path}: there is no such field{hint}", field=path)
        if isinstance(inner, dict) and known[name] is Conditions:
            _check_names(inner, Conditions, f"{path}.")


def _check_whole(spec: ProcessSpec) -> None:
    if not spec.func:
        raise Malformed("func: what shall be done? Give the name of a function", field="func")
    if not _is_for_somebody(spec):
        expected = "conditions.runtimetype or conditions.runtimeids"
        raise Malformed(f"who may run it? Give {expected}", field="conditions")


def _is_for_somebody(spec: ProcessSpec) -> bool:
    conditions = spec.normalised().conditions
    return bool(conditions.runtime_type or conditions.runtime_ids)


def _check_wait(ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    if value is not None and not ctx.params["wait"]:
        raise click.UsageError("--timeout is how long to --wait")
    return value


def _waiting(function: F) -> F:
    timeout = click.option(
        "--timeout",
        type=float,
        callback=_check_wait,
        help="Longest wait for its end, in seconds (default: no limit).",
    )
    wait = click.option(
        "--wait",
        is_flag=True,
        is_eager=True,
        help="Wait for its end and print its output, or its errors and exit with 1.",
    )
    return wait(timeout(function))


@process.command("submit")
@click.option(
    "--spec",
    required=True,
    type=click.File("rb"),
    callback=_read_spec,
    metavar="FILE",
    help="ProcessSpec in JSON; - is standard input.",
)
@_waiting
async def submit(
    session: Session, spec: ProcessSpec, *, wait: bool, timeout: float | None
) -> Answer:
    """Submit a process as a file says and print its id. For the colony's runtimes.

    The colony may be left out of the file; it is then that of --colonyid.
    """
    if not spec.conditions.colony_id:
        conditions = msgspec.structs.replace(spec.conditions, colony_id=session.colony_id)
        spec = msgspec.structs.replace(spec, conditions=conditions)
    return await _submit(session, spec, wait=wait, timeout=timeout)


@process.command("run")
@click.argument("func")
@click.argument("args", nargs=-1)
@click.option("--type", "runtime_type", default="", help="Type of the runtimes that may have it.")
@click.option("--only", "runtime_ids", multiple=True, metavar="RUNTIMEID",
              help="The one runtime that may have it; repeatable.")  # fmt: skip
@click.option("--kwarg", "kwargs", multiple=True, metavar="KEY=VALUE", callback=_pairs,
              help="Argument by name; repeatable.")  # fmt: skip
@click.option("--env", multiple=True, metavar="KEY=VALUE", callback=_pairs,
              help="Environment variable; repeatable.")  # fmt: skip
@click.option(
    "--max-exec-time", type=int, default=0, help="Seconds to run before it is taken back."
)
@click.option("--max-wait-time", type=int, default=0, help="Seconds to wait in the queue.")
@click.option("--max-retries", type=int, default=0, help="Returns to the queue; below 0: no limit.")
@click.option("--priority", type=int, default=0, help="Higher goes first.")
@click.option("--cores", type=int, default=0, help="Cores the runtime must have.")
@click.option("--mem", type=int, default=0, help="MiB of memory the runtime must have.")
@click.option("--gpus", type=int, default=0, help="GPUs the runtime must have.")
@click.option("--name", default="", help="Name for people.")
@_waiting
async def run(session: Session, *, wait: bool, timeout: float | None, **fields: Any) -> Answer:
    """Submit a call of FUNC with ARGS and print its id. For the colony's runtimes.

    ARGS that read as JSON are taken as such by whoever runs them, all others as text. Put "--"
    before ARGS that begin with a dash.
    """
    spec = _spec(session.colony_id, fields)
    if not _is_for_somebody(spec):
        raise click.UsageError("who may run it? Give --type or --only")
    return await _submit(session, spec, wait=wait, timeout=timeout)


@process.command("wait")
@click.argument("process_id", metavar="ID")
@click.option("--timeout", type=float, help="Longest wait, in seconds (default: no limit).")
async def wait(session: Session, process_id: str, timeout: float | None) -> Answer:
    """Wait until a process has ended and print its output. For the colony's runtimes and its owner.

    When it failed, its errors are printed to standard error and the exit code is 1.
    """
    return _ended(await session.read(lambda hub: _wait(hub, process_id, timeout)))


@process.command("get")
@click.argument("process_id", metavar="ID")
@click.option("--output", "only_output", is_flag=True, help="Print its output and nothing else.")
async def get(session: Session, process_id: str, *, only_output: bool) -> Answer:
    """Show a process. For the colony's runtimes and its owner."""
    found = await session.read(lambda hub: hub.get_process(process_id))
    return Answer(found.output, found.output) if only_output else output.view(found)


@process.command("ls")
@click.option("--state", type=click.Choice(list(STATES)), help="Only those (default: all).")
@click.option("--count", type=click.IntRange(0, 100), default=100, show_default=True,
              help="At most, of each state.")  # fmt: skip
async def ls(session: Session, state: str | None, count: int) -> Answer:
    """List processes. For the colony's runtimes and its owner.

    Waiting and running ones come oldest first, ended ones newest first.
    """
    found: list[Process] = []
    for one in [STATES[state]] if state else STATES.values():
        found += await session.read(
            partial(Colonies.get_processes, state=one, count=count, colony_id=session.colony_id)
        )
    return output.table(
        found,
        "process_id",
        "state",
        "spec.func",
        "spec.args",
        "spec.conditions.runtime_type",
        "submission_time",
        "start_time",
        "end_time",
    )


@process.command("assign")
@click.option("--timeout", type=click.IntRange(0), default=100, show_default=True,
              help="Longest wait for one, in seconds.")  # fmt: skip
@click.option("--latest", is_flag=True, help="Take the one submitted last, not first.")
async def assign(session: Session, timeout: int, *, latest: bool) -> Answer:
    """Take the next process to run and show it. For runtimes."""
    hub = session.acting_as("runtime")
    # To the hub, -1 is not to wait and 0 is nothing.
    return output.view(
        await hub.assign_process(session.colony_id, timeout=timeout or -1, latest=latest)
    )


@process.command("close")
@click.argument("process_id", metavar="ID")
@click.option("--out", "texts", multiple=True, metavar="TEXT", help="An output; repeatable.")
async def close(session: Session, process_id: str, texts: tuple[str, ...]) -> None:
    """End a process as successful. For the runtime that runs it."""
    await session.acting_as("runtime").close_successful(process_id, texts)


@process.command("fail")
@click.argument("process_id", metavar="ID")
@click.option("--error", "texts", multiple=True, metavar="TEXT", help="A reason; repeatable.")
async def fail(session: Session, process_id: str, texts: tuple[str, ...]) -> None:
    """End a process as failed. For the runtime that runs it."""
    await session.acting_as("runtime").close_failed(process_id, texts)


@process.command("rm")
@click.argument("process_id", metavar="[ID]", default="")
@click.option("--all", "is_all", is_flag=True, help="All of the colony.")
@click.option("--yes", is_flag=True, help="Do not ask about all.")
async def rm(session: Session, process_id: str, *, is_all: bool, yes: bool) -> None:
    """Delete a process, or all of them, in any state.

    One is for the colony's runtimes to delete, all of them for its owner.
    """
    if bool(process_id) == is_all:
        raise click.UsageError("give the ID of one process, or --all")
    if not is_all:
        await session.acting_as("runtime").delete_process(process_id)
        return
    hub = session.acting_as("colony")
    if not yes:
        question = "Delete all processes of the colony, running ones too?"
        await output.confirm_deletion(question)
    await hub.delete_all_processes(session.colony_id)


def _spec(colony_id: str, fields: dict[str, Any]) -> ProcessSpec:
    of_conditions = {
        name: fields.pop(name) for name in Conditions.__struct_fields__ & fields.keys()
    }
    return ProcessSpec(conditions=Conditions(colony_id=colony_id, **of_conditions), **fields)


async def _submit(
    session: Session, spec: ProcessSpec, *, wait: bool, timeout: float | None
) -> Answer:
    hub = session.acting_as("runtime")
    submitted = await hub.submit_process_spec(spec)
    if not wait:
        return output.identity(submitted, submitted.process_id)
    return _ended(await _wait(hub, submitted.process_id, timeout))


async def _wait(hub: Colonies, process_id: str, timeout: float | None) -> Process:
    try:
        return await hub.wait_for(process_id, timeout)
    except DeadlineExceeded:
        raise
    except TimeoutError:
        found = await hub.get_process(process_id)
    if found.state.is_final:
        return found
    raise TimedOut(
        f"process <{process_id}> has not ended after {timeout:g} s, still {_progress(found)}"
    )


def _progress(process: Process) -> str:
    if process.state is State.RUNNING:
        return "running"
    conditions = process.spec.conditions
    if conditions.is_addressed:
        return "waiting: none of the runtimes that may have it has taken it"
    return f"waiting: nobody of type {conditions.runtime_type} has taken it"


def _ended(ended: Process) -> Answer:
    if ended.state is State.SUCCESS:
        return Answer(ended, ended.output)
    errors = ended.errors or [f"process <{ended.process_id}> failed"]
    return Answer(ended, complaints=errors, status=Status.PROCESS_FAILED)
