"""Submitting: one process or very many, and waiting for them if that is wanted."""

from __future__ import annotations

import asyncio
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import click

from colonies.cli import answers, output
from colonies.cli.answers import Answer
from colonies.cli.command import Renamed, Session
from colonies.cli.status import Status
from colonies.cli.waiting import Patience, ended, wait_for_all, wait_for_end
from colonies.complaints import printable
from colonies.core import wire
from colonies.core.envelope import too_large
from colonies.core.errors import ColoniesError
from colonies.core.process import Process, ProcessSpec, State
from colonies.core.wire import Wire

F = TypeVar("F", bound=Callable[..., Any])

Submitted = Process | ProcessSpec | list[str] | list[Process] | list[ProcessSpec]
"""What is told of what was submitted: one or the ids of many; all that has ended; or only specs."""

OPTIONS = ("count", "dry_run", "wait", "timeout")
"""What `submit_options` adds."""

MOST_SPECS = 1000
MOST_BYTES = 512 * 1024
"""Specs that go together at most, and their size: half of what a hub takes."""

ENVELOPE_BYTES = 512
"""What a message is more than the base64 of a spec, about."""

MOST_COPIES = 1_000_000

MOST_IDS = 20
"""Ids that are shown at a terminal; more only scroll away."""

MOST_FAILURES = 10
"""Of the processes that did not succeed, those whose reasons are said."""

TIMEOUT_HELP = "Longest wait for its end (default: no limit)."


def check_wait(ctx: click.Context, _param: click.Parameter, value: float | None) -> float | None:
    """Refuse a limit of a wait where nobody waits."""
    if value is not None and not ctx.params["wait"]:
        raise click.UsageError(
            "--within is how long to --wait; the --timeout of an answer goes before the verb"
        )
    return value


def submit_options(function: F) -> F:
    """Add the options of everything that submits."""
    timeout = click.option(
        "--within",
        "timeout",
        cls=Renamed,
        formerly="--timeout",
        metavar="SECONDS",
        type=float,
        callback=check_wait,
        help=TIMEOUT_HELP,
    )
    wait = click.option(
        "--wait",
        is_flag=True,
        is_eager=True,
        help="Wait for its end and print its output, or its errors and exit with 1.",
    )
    count = click.option(
        "--count",
        type=click.IntRange(1, MOST_COPIES),
        metavar="N",
        help="Submit so many of it, and print their ids.",
    )
    dry = click.option("--dry-run", is_flag=True, help="Submit nothing; show what would be.")
    return wait(timeout(count(dry(function))))


async def submit(
    session: Session,
    specs: Sequence[ProcessSpec],
    *,
    count: int | None,
    dry_run: bool,
    wait: bool,
    timeout: float | None,
) -> Answer[Any]:
    """Submit specs, each so many times, and give their ids, or how they ended.

    Without a ``count`` one spec is one process, and the answer about it alone.
    """
    if dry_run:
        for spec in specs:
            check_size(session, spec)
        return _rehearsed(specs)
    if len(specs) == 1 and count is None:
        return await _submit_one(session, specs[0], wait=wait, timeout=timeout)
    patience = Patience(timeout)
    ids = await _submit_all(session, [spec for spec in specs for _ in range(count or 1)])
    if wait:
        return _ended(await _wait_for(session, ids, patience), patience)
    is_long = len(ids) > MOST_IDS and output.looks_at_answer()
    return Answer(ids, () if is_long else ids)


def check_size(session: Session, spec: Wire) -> None:
    """Refuse what a hub would not take as too large; raise TooLarge."""
    most = session.settings.max_message_bytes
    size = len(b64encode(wire.encode(spec))) + ENVELOPE_BYTES
    if size > most:
        raise too_large(size, most)


def _rehearsed(specs: Sequence[ProcessSpec]) -> Answer[Any]:
    if len(specs) == 1:
        shown = answers.view(specs[0])
        return Answer(shown.value, shown.lines, table=shown.table)
    shown_all = answers.table(specs, "func", "args", "conditions.runtime_type", "name")
    return Answer(shown_all.value, shown_all.lines, table=shown_all.table)


async def _submit_one(
    session: Session, spec: ProcessSpec, *, wait: bool, timeout: float | None
) -> Answer[Process]:
    hub = session.acting_as("runtime")
    submitted = await hub.submit_process_spec(spec)
    if not wait:
        return answers.identity(submitted, submitted.process_id)
    try:
        return ended(await wait_for_end(hub, submitted.process_id, Patience(timeout)))
    except asyncio.CancelledError:
        goes_on = f"process <{submitted.process_id}> goes on"
        output.note(f"{goes_on}; to end it: colonies process cancel {submitted.process_id}")
        raise


async def _submit_all(session: Session, specs: Sequence[ProcessSpec]) -> list[str]:
    """Submit in batches; where one is refused, say how many went before, and print their ids."""
    hub, colony_id = session.acting_as("runtime"), session.colony_id
    ids: list[str] = []
    since = time.monotonic()
    try:
        with output.progress("submitting", len(specs)) as progress:
            for batch in _batches(specs):
                ids += await hub.submit_processes(batch, colony_id)
                progress(len(ids))
    except ColoniesError as error:
        output.say("\n".join(ids)) if ids else None
        error.add_note(f"{len(ids)} of {len(specs)} were submitted")
        raise
    output.note(f"{len(ids)} processes submitted in {time.monotonic() - since:.1f} s")
    return ids


async def _wait_for(session: Session, ids: list[str], patience: Patience) -> list[Process]:
    """Wait for all; whoever stops waiting is left with their ids."""
    try:
        return await wait_for_all(session.acting_as("runtime"), ids, patience)
    except (ColoniesError, asyncio.CancelledError):
        output.say("\n".join(ids))
        output.note("they go on; to end them, pipe these ids to: xargs colonies process cancel")
        raise


def _batches(specs: Iterable[ProcessSpec]) -> Iterator[list[ProcessSpec]]:
    batch: list[ProcessSpec] = []
    size = 0
    for spec in specs:
        length = len(wire.encode(spec))
        if batch and (len(batch) == MOST_SPECS or size + length > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(spec)
        size += length
    if batch:
        yield batch


def _ended(processes: list[Process], patience: Patience) -> Answer[list[Process]]:
    """Answer with all outputs in order, and say how many ended how."""
    counts = Counter(process.state.name.lower() for process in processes)
    how = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()))
    output.note(f"{len(processes)} processes in {patience.spent:.1f} s: {how}")
    failures = [process for process in processes if process.state is not State.SUCCESS]
    complaints = [
        f"process <{process.process_id}>: {printable('; '.join(ended(process).complaints))}"
        for process in failures[:MOST_FAILURES]
    ]
    if more := failures[MOST_FAILURES:]:
        complaints.append(f"and {len(more)} more")
    return Answer(
        processes,
        [text for process in processes for text in process.output],
        complaints=complaints,
        status=Status.PROCESS_FAILED if failures else Status.DONE,
    )
