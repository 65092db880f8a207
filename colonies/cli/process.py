"""``colonies process``: submitted, waited for, asked about, cancelled, and worked on by hand.

What stands in a spec is read in `spec.py`; how an end is waited for is in `waiting.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from colonies import complaints
from colonies.cli import answers, output, submitting
from colonies.cli.answers import Answer
from colonies.cli.command import Noun, Renamed, Session
from colonies.cli.ids import Id, IdOption, completing, functions, processes, runtimes
from colonies.cli.log import Printer, Wanted, drawn, progress_of, read_log
from colonies.cli.paging import paged
from colonies.cli.spec import make_spec, read_pairs, read_spec, read_specs
from colonies.cli.status import Status, status_of
from colonies.cli.submitting import TIMEOUT_HELP, Submitted, check_wait, submit_options
from colonies.cli.waiting import Patience, ended, wait_for_end
from colonies.core.errors import Conflict, Forbidden, Malformed, NotFound, TimedOut
from colonies.core.explanation import Explanation
from colonies.core.history import Event
from colonies.core.process import ANYBODY, Process, ProcessSpec, State
from colonies.core.runtime import Runtime

if TYPE_CHECKING:
    from colonies.client import Colonies

T = TypeVar("T")

STATES = {state.name.lower(): state for state in State}


@click.group(cls=Noun)
def process() -> None:
    """Processes: what shall be done, and how far it has come."""


@process.command("submit")
@click.option("--spec", type=click.File("rb"), callback=read_spec, metavar="FILE",
              help="ProcessSpec in JSON, YAML or TOML; - is standard input.")  # fmt: skip
@click.option("--from", "specs", type=click.File("rb"), callback=read_specs, metavar="FILE",
              help="Many: a ProcessSpec in JSON on each line.")  # fmt: skip
@submit_options
async def submit(
    session: Session, spec: ProcessSpec | None, specs: list[ProcessSpec] | None, **how: Any
) -> Answer[Submitted]:
    """Submit a process, or many, as a file says and print its id. For the colony's runtimes.

    The colony may be left out of the file; it is then that of --colonyid. So may the runtime type
    of a function that is announced, see "colonies function ls". With many, ids go to
    standard output and a summary to standard error; with --wait, all outputs do in their order.
    """
    if (spec is None) == (specs is None):
        raise click.UsageError("give --spec FILE for one process, or --from FILE for many")
    if specs is not None:
        how["count"] = how["count"] or 1
    wanted = [spec] if spec is not None else specs or []
    return await submitting.submit(session, _in_colony(session, wanted), **how)


@process.command("run")
@click.argument("func", shell_complete=completing(functions))
@click.argument("args", nargs=-1)
@click.option(
    "--type",
    "runtime_type",
    default="",
    help="Type of the runtimes that may have it (default: that which announces FUNC).",
)
@click.option("--only", "runtime_ids", multiple=True, metavar="ID", cls=IdOption, listing=runtimes,
              is_named=True, help="The one runtime that may have it; repeatable.")  # fmt: skip
@click.option("--kwarg", "kwargs", multiple=True, metavar="KEY=VALUE", callback=read_pairs,
              help="Argument by name; repeatable.")  # fmt: skip
@click.option("--env", multiple=True, metavar="KEY=VALUE", callback=read_pairs,
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
@submit_options
async def run(session: Session, **fields: Any) -> Answer[Submitted]:
    """Submit a call of FUNC with ARGS and print its id. For the colony's runtimes.

    ARGS that read as JSON are taken as such by whoever runs them, all others as text. Put "--"
    before ARGS that begin with a dash. Neither --type nor --only is needed for a function that the
    runtimes of one type announce, see "colonies function ls".
    """
    how = {name: fields.pop(name) for name in submitting.OPTIONS}
    spec = make_spec(session.colony_id, fields)
    if not how["dry_run"]:
        await _note_strangers(session, spec.conditions.runtime_ids)
    try:
        return await submitting.submit(session, [spec], **how)
    except Malformed as error:
        if error.field.endswith((".func", ".runtimetype")):
            error.add_note("give --type or --only, or a function of `colonies function ls`")
        raise


@process.command("wait")
@click.argument("process_id", cls=Id, listing=processes)
@click.option("--within", "timeout", cls=Renamed, formerly="--timeout", metavar="SECONDS",
              type=float, help="Longest wait (default: no limit).")  # fmt: skip
async def wait(session: Session, process_id: str, timeout: float | None) -> Answer[Process]:
    """Wait until a process has ended and print its output. For the colony's runtimes and its owner.

    When it failed or was cancelled, the reasons are printed to standard error and the exit code is
    1.
    """
    return ended(await _end_of(session, process_id, Patience(timeout)))


@process.command("get")
@click.argument("process_id", cls=Id, listing=processes)
@click.option("--output", "only_output", is_flag=True, help="Print its output and nothing else.")
async def get(
    session: Session, process_id: str, *, only_output: bool
) -> Answer[Process | list[str]]:
    """Show a process. For the colony's runtimes and its owner."""
    found = await session.read(lambda hub: hub.get_process(process_id))
    if only_output:
        return Answer(found.output, found.output)
    progress = await session.read(lambda hub: progress_of(hub, process_id))
    said = {"progress": drawn(progress)} if progress.is_known else {}
    return answers.view(found, more=said)


@process.command("logs")
@click.argument("process_id", cls=Id, listing=processes)
@click.option("--follow", "-f", is_flag=True, help="Go on until the process has ended.")
@click.option("--stream", metavar="NAME", help="Only this one, such as stdout or stderr.")
@click.option("--attempt", type=click.IntRange(1), metavar="N", help="Only what this one has said.")
@click.option("--since", type=click.FloatRange(0, min_open=True), metavar="SECONDS",
              help="Only what was said in the last so many seconds.")  # fmt: skip
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last so many lines.")
@click.option("--json", "in_json", is_flag=True, help="A text of the log in JSON on each line.")
async def logs(
    session: Session,
    process_id: str,
    *,
    follow: bool,
    stream: str | None,
    attempt: int | None,
    since: float | None,
    tail: int | None,
    in_json: bool,
) -> None:
    """Print what a process has said: all of its streams and attempts, in the order they were heard.

    What is not there any more, and where another attempt begins, is told on standard error. For the
    colony's runtimes and its owner.
    """
    wanted = Wanted(stream=stream, attempt=attempt, seconds=since or 0.0, tail=tail)
    printer = Printer(in_json=in_json, is_whole=tail is None and since is None)

    async def tell(hub: Colonies) -> None:
        async with output.while_read():
            async for entries in read_log(hub, process_id, wanted, follow=follow):
                for entry in entries:
                    printer.show(entry)

    try:
        await session.read(tell)
    finally:
        printer.end_line()
    if wanted.is_missed:
        output.note(f"note: nothing of that, but {wanted.instead}")


@process.command("ls", is_list=True)
@click.option("--state", type=click.Choice(list(STATES)), help="Only those (default: all).")
@click.option("--count", type=click.IntRange(0), default=100, show_default=True, metavar="N",
              help="At most, of each state.")  # fmt: skip
async def ls(session: Session, state: str | None, count: int) -> Answer[Sequence[Process]]:
    """List processes. For the colony's runtimes and its owner.

    Waiting and running ones come oldest first, ended ones newest first.
    """
    found: list[Process] = []
    for one in [STATES[state]] if state else STATES.values():
        found += await session.read(partial(_of_state, one, count, session.colony_id))
    return answers.table(
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


@process.command("why")
@click.argument("process_id", cls=Id, listing=processes)
async def why(session: Session, process_id: str) -> Answer[Explanation]:
    """Say why a process is in its state, and what it waits for.

    One reason a line. For the colony's runtimes and its owner.
    """
    explanation = await session.read(lambda hub: hub.why(process_id))
    return answers.sentences(explanation, explanation.reasons)


@process.command("history", is_list=True)
@click.argument("process_id", cls=Id, listing=processes)
async def history(session: Session, process_id: str) -> Answer[Sequence[Event]]:
    """List what has happened to a process, oldest first. For the colony's runtimes and its owner.

    Of very many attempts, only the first and the last are known.
    """
    events = await session.read(lambda hub: hub.get_process_events(process_id))
    return answers.table(events, "time", "event", "attempt", "runtime_id", "text")


@process.command("cancel")
@click.argument("process_ids", cls=Id, listing=processes, metavar="ID...", nargs=-1)
@click.option("--reason", default="", help="Why, for whoever waits for it or asks.")
@click.option("--wait", is_flag=True, is_eager=True, help="Wait until they have ended.")
@click.option("--within", "timeout", cls=Renamed, formerly="--timeout", metavar="SECONDS",
              type=float, callback=check_wait, help=TIMEOUT_HELP)  # fmt: skip
async def cancel(
    session: Session,
    process_ids: tuple[str, ...],
    *,
    reason: str,
    wait: bool,
    timeout: float | None,
) -> Answer[list[Process]]:
    """Cancel processes. For the colony's runtimes and its owner.

    One that waits never starts. One that runs is cancelled when its runtime has stopped it, or when
    its time for that is over, 30 seconds unless the hub is set otherwise. The exit code is 6 if one
    has ended by itself before.
    """

    async def ask(process_id: str) -> Process:
        return await session.read(lambda hub: hub.cancel_process(process_id, reason))

    async def follow(asked: Process) -> Process:
        last = await _end_of(session, asked.process_id, patience)
        if last.state is not State.CANCELLED:
            before = f"has ended before it was stopped: {last.state.name.lower()}"
            raise Conflict(f"process <{last.process_id}> {before}")
        return last

    patience = Patience(timeout)
    cancelled, status = await _each(dict.fromkeys(process_ids), ask)
    if wait:
        for one in cancelled:
            if one.is_cancelling:
                output.note(_cancellation(one, process_ids))
        cancelled, late = await _each(cancelled, follow)
        status = status or late
    lines = [_cancellation(one, process_ids) for one in cancelled]
    return Answer(cancelled, lines, status=status)


@process.command("assign")
@click.option("--within", "timeout", cls=Renamed, formerly="--timeout", metavar="SECONDS",
              type=click.IntRange(0), default=100, show_default=True,
              help="Longest wait for one.")  # fmt: skip
@click.option("--latest", is_flag=True, help="Take the one submitted last, not first.")
async def assign(session: Session, timeout: int, *, latest: bool) -> Answer[Process]:
    """Take the next process to run and show it. For runtimes."""
    hub = session.acting_as("runtime")
    # To the hub, -1 is not to wait and 0 is nothing.
    return answers.view(
        await hub.assign_process(session.colony_id, timeout=timeout or -1, latest=latest)
    )


@process.command("close")
@click.argument("process_id", cls=Id, listing=processes)
@click.option("--out", "texts", multiple=True, metavar="TEXT", help="An output; repeatable.")
async def close(session: Session, process_id: str, texts: tuple[str, ...]) -> None:
    """End a process as successful. For the runtime that runs it."""
    await session.acting_as("runtime").close_successful(process_id, texts)


@process.command("fail")
@click.argument("process_id", cls=Id, listing=processes)
@click.option("--error", "texts", multiple=True, metavar="TEXT", help="A reason; repeatable.")
async def fail(session: Session, process_id: str, texts: tuple[str, ...]) -> None:
    """End a process as failed. For the runtime that runs it."""
    await session.acting_as("runtime").close_failed(process_id, texts)


@process.command("rm")
@click.argument("process_id", cls=Id, listing=processes, metavar="[ID]", required=False)
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


def _in_colony(session: Session, specs: list[ProcessSpec]) -> list[ProcessSpec]:
    from colonies.client.work import in_colony  # noqa: PLC0415 - help does without the client

    return [one if one.conditions.colony_id else in_colony(one, session.colony_id) for one in specs]


async def _note_strangers(session: Session, runtime_ids: Iterable[str]) -> None:
    """Say which of these no runtime of the colony has: it may come, but a slip waits for ever."""
    for runtime_id in set(runtime_ids) - {ANYBODY}:
        try:
            known = await session.read(partial(_runtime, runtime_id))
        except (Forbidden, NotFound):
            known = None
        if known is None or known.colony_id != session.colony_id:
            output.note(f"note: no runtime of the colony is <{runtime_id}>")


async def _runtime(runtime_id: str, hub: Colonies) -> Runtime:
    return await hub.get_runtime(runtime_id)


async def _of_state(state: State, count: int, colony_id: str, hub: Colonies) -> list[Process]:
    return await paged(partial(hub.get_processes, state, colony_id=colony_id), count)


async def _end_of(session: Session, process_id: str, patience: Patience) -> Process:
    return await session.read(lambda hub: wait_for_end(hub, process_id, patience))


async def _each(
    items: Iterable[T], work: Callable[[T], Awaitable[Process]]
) -> tuple[list[Process], Status]:
    """Do something with each; where it is not possible say so, go on, and give the first code."""
    done: list[Process] = []
    status = Status.DONE
    for item in items:
        try:
            done.append(await work(item))
        except (Conflict, NotFound, TimedOut) as error:
            complaints.complain(error)
            status = status or status_of(error)
    return done, status


def _cancellation(process: Process, among: Sequence[str]) -> str:
    """Say what became of a process that was cancelled; by its id if it is not the only one."""
    name = f"{process.process_id}: " if len(among) > 1 else ""
    if process.is_cancelling:
        return f"{name}stopping at runtime {process.assigned_runtime_id}"
    return f"{name}{process.state.name.lower()}"
