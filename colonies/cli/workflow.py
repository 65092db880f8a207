"""``colonies workflow``: submitted, drawn, waited for, cancelled, tried again and deleted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import msgspec

from colonies.cli import answers, output
from colonies.cli.answers import Answer
from colonies.cli.command import Noun, Renamed, Session
from colonies.cli.ids import Id, workflows
from colonies.cli.paging import paged
from colonies.cli.picture import Row, picture
from colonies.cli.spec import read_workflow
from colonies.cli.status import Status
from colonies.cli.submitting import TIMEOUT_HELP, check_size, check_wait
from colonies.cli.waiting import REASONS_TIMEOUT, Patience, meanwhile, standing
from colonies.complaints import printable
from colonies.core.errors import DeadlineExceeded, TimedOut
from colonies.core.process import State, encode_argument
from colonies.core.process_graph import ProcessGraph
from colonies.core.wire import ZERO_TIME
from colonies.core.workflow import Edit, OnFailure, WorkflowSpec, check

if TYPE_CHECKING:
    from colonies.client import Colonies

STATES = {state.name.lower(): state for state in State}

MOST_HELD_UP = 3
"""Processes that a workflow waits for of which it is said why; of more, the first."""

MOST_FAILURES = 5
"""Failures whose reasons are said; of more, the first."""


@click.group(cls=Noun)
def workflow() -> None:
    """Workflows: processes that wait for each other."""


@workflow.command("submit")
@click.option(
    "--spec",
    required=True,
    type=click.File("rb"),
    callback=read_workflow,
    metavar="FILE",
    help="WorkflowSpec in JSON, YAML or TOML, or only its list of processes; - is standard input.",
)
@click.option("--on-failure", type=click.Choice([one.value for one in OnFailure]),
              help="What becomes of the rest after a failure (default: as in FILE).")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only check it.")
@click.option(
    "--wait", is_flag=True, is_eager=True, help="Wait for its end; exit with 1 unless it ends well."
)
@click.option("--within", "timeout", cls=Renamed, formerly="--timeout", metavar="SECONDS",
              type=float, callback=check_wait, help=TIMEOUT_HELP)  # fmt: skip
async def submit(
    session: Session,
    spec: WorkflowSpec,
    *,
    on_failure: str | None,
    dry_run: bool,
    wait: bool,
    timeout: float | None,
) -> Answer[ProcessGraph | WorkflowSpec]:
    """Submit a workflow as a file says and print its id. For the colony's runtimes.

    All its processes run in one colony: that of the file or else of --colonyid.
    """
    whole = msgspec.structs.replace(
        spec,
        colony_id=spec.colony_id or session.colony_id,
        on_failure=OnFailure(on_failure) if on_failure else spec.on_failure,
    )
    check(whole)
    if dry_run:
        check_size(session, whole)
        return Answer(whole, [f"a workflow of {len(whole.process_specs)} processes"])
    hub = session.acting_as("runtime")
    graph = await hub.submit_workflow_spec(whole)
    if not wait:
        return answers.identity(graph, graph.process_graph_id)
    end = await _end_of(hub, graph.process_graph_id, Patience(timeout))
    return Answer(end.value, end.lines, end.complaints, end.status)


@workflow.command("get")
@click.argument("workflow_id", cls=Id, listing=workflows)
@click.option("--each", is_flag=True, help="A line a process, even where many are alike.")
async def get(session: Session, workflow_id: str, *, each: bool) -> Answer[ProcessGraph]:
    """Draw a workflow with the states of its processes. For the colony's runtimes and its owner."""
    graph = await session.read(lambda hub: hub.get_process_graph(workflow_id))
    rows = picture(graph, is_full=each)
    return Answer(graph, [*_summary(graph), "", *_drawing(rows)])


@workflow.command("ls", is_list=True)
@click.option("--state", type=click.Choice(list(STATES)), help="Only those (default: all).")
@click.option("--count", type=click.IntRange(0), default=100, show_default=True,
              help="At most, of each state.")  # fmt: skip
async def ls(session: Session, state: str | None, count: int) -> Answer[Sequence[ProcessGraph]]:
    """List workflows, those submitted last first. For the colony's runtimes and its owner."""
    found: list[ProcessGraph] = []
    for one in [STATES[state]] if state else STATES.values():
        found += await session.read(partial(_of_state, one, count, session.colony_id))
    return answers.table(
        found,
        "process_graph_id",
        "state",
        "members",
        "successful",
        "failed",
        "cancelled",
        "submission_time",
        "start_time",
        "end_time",
    )


@workflow.command("wait")
@click.argument("workflow_id", cls=Id, listing=workflows)
@click.option("--within", "timeout", cls=Renamed, formerly="--timeout", metavar="SECONDS",
              type=float, help="Longest wait (default: no limit).")  # fmt: skip
async def wait(session: Session, workflow_id: str, timeout: float | None) -> Answer[ProcessGraph]:
    """Wait until a workflow has ended. For the colony's runtimes and its owner.

    When it failed or was cancelled, the reasons are printed to standard error and the exit code is
    1.
    """
    return await session.read(lambda hub: _end_of(hub, workflow_id, Patience(timeout)))


@workflow.command("cancel")
@click.argument("workflow_id", cls=Id, listing=workflows)
@click.option("--reason", default="", help="Why, for whoever waits for it or asks.")
async def cancel(session: Session, workflow_id: str, *, reason: str) -> Answer[ProcessGraph]:
    """Cancel all of a workflow that has not ended. For the colony's runtimes and its owner.

    What waits never starts; what runs is cancelled when its runtime has stopped it.
    """
    graph = await session.read(lambda hub: hub.cancel_process_graph(workflow_id, reason))
    return Answer(graph, _summary(graph))


def _read_edits(
    _ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]
) -> dict[str, Edit]:
    edits: dict[str, Edit] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f'expected NAME=["arg", ...], not {text!r}')
        try:
            given = msgspec.json.decode(value, type=list[Any] | dict[str, Any])
        except msgspec.MsgspecError as error:
            expected = f"expected a list or an object in JSON, not {value!r}"
            raise click.BadParameter(f"{name}: {expected}") from error
        edits[name] = msgspec.structs.replace(edits.get(name, Edit()), **_arguments(given))
    return edits


def _arguments(given: list[Any] | dict[str, Any]) -> dict[str, Any]:
    """Give arguments by position, or by name, as a spec has them."""
    if isinstance(given, dict):
        return {"kwargs": {key: encode_argument(one) for key, one in given.items()}}
    return {"args": [encode_argument(one) for one in given]}


@workflow.command("rescue")
@click.argument("workflow_id", cls=Id, listing=workflows)
@click.option("--args", "edits", multiple=True, callback=_read_edits, metavar="NAME=JSON",
              help="Other arguments: a list, or an object by name; repeatable.")  # fmt: skip
@click.option(
    "--wait", is_flag=True, is_eager=True, help="Wait for its end; exit with 1 unless it ends well."
)
@click.option("--within", "timeout", cls=Renamed, formerly="--timeout", metavar="SECONDS",
              type=float, callback=check_wait, help=TIMEOUT_HELP)  # fmt: skip
async def rescue(
    session: Session,
    workflow_id: str,
    *,
    edits: Mapping[str, Edit],
    wait: bool,
    timeout: float | None,
) -> Answer[ProcessGraph]:
    """Try again what has failed or was cancelled in a workflow that has ended, and only that.

    What has succeeded stays as it is, and its outputs are the inputs of what is tried again. For
    the colony's runtimes and its owner.
    """
    graph = await session.read(lambda hub: hub.rescue_process_graph(workflow_id, edits))
    if wait:
        return await session.read(lambda hub: _end_of(hub, workflow_id, Patience(timeout)))
    return Answer(graph, _summary(graph))


@workflow.command("rm")
@click.argument("workflow_id", cls=Id, listing=workflows, required=False, metavar="[ID]")
@click.option("--all", "is_all", is_flag=True, help="All of the colony.")
@click.option("--yes", is_flag=True, help="Do not ask about all.")
async def rm(session: Session, workflow_id: str, *, is_all: bool, yes: bool) -> None:
    """Delete a workflow with its processes, or all of them, in any state.

    One is for the colony's runtimes to delete, all of them for its owner.
    """
    if bool(workflow_id) == is_all:
        raise click.UsageError("give the ID of one workflow, or --all")
    if not is_all:
        await session.acting_as("runtime").delete_process_graph(workflow_id)
        return
    hub = session.acting_as("colony")
    if not yes:
        question = "Delete all workflows of the colony with their processes, running ones too?"
        await output.confirm_deletion(question)
    await hub.delete_all_process_graphs(session.colony_id)


async def _of_state(state: State, count: int, colony_id: str, hub: Colonies) -> list[ProcessGraph]:
    return await paged(partial(hub.get_process_graphs, state=state, colony_id=colony_id), count)


async def _end_of(hub: Colonies, workflow_id: str, patience: Patience) -> Answer[ProcessGraph]:
    """Wait for the end of a workflow and answer with it, or with what went wrong."""
    try:
        graph = await _watched(hub, workflow_id, patience)
    except DeadlineExceeded:
        raise
    except TimeoutError:
        async with asyncio.timeout(patience.seconds):
            graph = await hub.get_process_graph(workflow_id)
        unended = f"workflow <{workflow_id}> has not ended after {patience.seconds:g} s"
        said = "; ".join([_counts(graph), *await _held_up(hub, graph)])
        raise TimedOut(f"{unended}: {said}") from None
    if graph.state is State.SUCCESS:
        return Answer(graph, _summary(graph))
    return Answer(
        graph,
        _summary(graph),
        complaints=await _failures(hub, graph),
        status=Status.PROCESS_FAILED,
    )


async def _watched(hub: Colonies, workflow_id: str, patience: Patience) -> ProcessGraph:
    """Wait for the end of a workflow, and show meanwhile how far it is and what holds it up."""
    async with asyncio.timeout(patience.left):
        graph = await hub.get_process_graph(workflow_id)
        with output.progress("waiting for its end", graph.members) as progress:
            progress(_ended(graph))

            async def tell() -> None:
                seen = await hub.get_process_graph(workflow_id)
                progress(_ended(seen), next(iter(await _held_up(hub, seen)), ""))

            async with meanwhile(tell, progress):
                return await hub.wait_for_process_graph(workflow_id)


async def _held_up(hub: Colonies, graph: ProcessGraph) -> list[str]:
    """Say of the first that all others wait for, in which state they are and why."""
    unended = {node.id for node in graph.nodes if not node.data.state.is_final}
    behind = {edge.target for edge in graph.edges if edge.source in unended}
    first = [node for node in graph.nodes if node.id in unended - behind]
    try:
        async with asyncio.timeout(REASONS_TIMEOUT):
            said = [
                f"{node.data.label or node.id} is {standing(await hub.why(node.id))}"
                for node in first[:MOST_HELD_UP]
            ]
    except TimeoutError:
        return ["the hub does not say why"]
    more = len(first) - MOST_HELD_UP
    return [*said, *([f"and {more} more"] if more > 0 else [])]


async def _failures(hub: Colonies, graph: ProcessGraph) -> list[str]:
    """Say what failed and why, those first that did so by themselves."""
    failed = [node for node in graph.nodes if node.data.state in {State.FAILED, State.CANCELLED}]
    failed.sort(key=lambda node: (node.data.start_time == ZERO_TIME, node.data.end_time))
    reasons = []
    for node in failed[:MOST_FAILURES]:
        process = await hub.get_process(node.id)
        said = "; ".join(process.errors) or process.state.name.lower()
        reasons.append(printable(f"{node.data.label or node.id}: {said}"))
    more = len(failed) - MOST_FAILURES
    return [*reasons, *([f"and {more} more"] if more > 0 else [])]


def _summary(graph: ProcessGraph) -> list[str]:
    rows = [
        ("workflow", graph.process_graph_id),
        ("state", f"{graph.state.name.lower()}: {_counts(graph)}"),
        ("submitted", answers.text_of(graph.submission_time)),
        ("started", answers.text_of(graph.start_time)),
        ("ended", answers.text_of(graph.end_time)),
    ]
    return [f"{name:<9}  {value}" for name, value in rows if value != "-"]


def _ended(graph: ProcessGraph) -> int:
    return graph.successful + graph.failed + graph.cancelled


def _counts(graph: ProcessGraph) -> str:
    parts = [f"{graph.successful} of {graph.members} successful"]
    parts += [f"{graph.failed} failed"] * bool(graph.failed)
    parts += [f"{graph.cancelled} cancelled"] * bool(graph.cancelled)
    return ", ".join(parts)


def _drawing(rows: Sequence[Row]) -> list[str]:
    """Give the lines of a picture: name, state, seconds from start to end, id.

    At a terminal ids are cut as in tables, and names so that a line is one.
    """
    shown = answers.SHORT_ID if output.looks_at_answer() else None
    cells = [
        (
            f"{row.lines} {printable(row.name)}",
            _states(row),
            _took(row),
            row.ids[0][:shown] if len(row.ids) == 1 else f"{len(row.ids)} processes",
        )
        for row in rows
    ]
    return answers.aligned(cells, width=output.width_of_answer())


def _states(row: Row) -> str:
    if len(row.ids) == 1:
        return "".join(state.name.lower() for state in row.states)
    return ", ".join(f"{count} {state.name.lower()}" for state, count in sorted(row.states.items()))


def _took(row: Row) -> str:
    if ZERO_TIME in {row.started, row.ended}:
        return ""
    return f"{(row.ended - row.started).total_seconds():.1f} s"
