"""Processes: submitted, assigned, closed, read and deleted."""

from __future__ import annotations

from typing import Annotated

import msgspec

from colonies.core.colony import Colony
from colonies.core.errors import Conflict, FailureMessage, Malformed
from colonies.core.explanation import MOST_AHEAD, Explanation, Standing, explain
from colonies.core.history import Event, PastAttempt, events_of
from colonies.core.process import AttemptEnd, Held, Process, ProcessSpec, State, new_id
from colonies.core.runtime import Runtime
from colonies.core.wire import LAST_TIME, ZERO_TIME, Beginning, Int32, Time
from colonies.server import assignment, closing, lifecycle, workflow
from colonies.server.call import Call
from colonies.server.intent import Seen
from colonies.server.lifecycle import Assignment
from colonies.server.rpc import Reason, Request, rpc
from colonies.server.rules import (
    assignee,
    assignee_of_any,
    colony_owner,
    find_process,
    member,
    member_of_process,
    member_or_owner,
    reader_of_process,
    refuse_assignee,
)

MAX_SKIPPED = 1_000_000
MAX_COUNT = 100
"""Processes that one list gives at most."""

MAX_HISTORY = 10_000
"""Processes that one history gives at most."""

MAX_TOGETHER = 1000
"""Processes that one message may be about."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
Skip = Annotated[int, msgspec.Meta(ge=0, le=MAX_SKIPPED)]


class SubmitProcessSpec(Request):
    """What shall be done."""

    spec: ProcessSpec


async def _submitted(call: Call, _msg: SubmitProcessSpec, seen: Seen) -> Process:
    return await find_process(call, seen.process_id)


@rpc("submitprocessespecmsg", rule=member("spec.conditions.colony_id"), again=_submitted)
async def submit_process_spec(call: Call, msg: SubmitProcessSpec, _member: Runtime) -> Process:
    """Submit a process to the queue of a colony; without a type, to that of its function."""
    spec = await call.functions.settled(msg.spec, "spec")
    async with call.quotas.submitting(call.caller, msg.spec.conditions.colony_id, 1) as submitter:
        process = await lifecycle.submit(
            call.db, spec, call.intent, call.hub.lines, submitter=submitter
        )
    if process.state is State.WAITING:  # else its runtime does
        call.publish(process)
    return assignment.without_token(process)


class SubmitProcesses(Request):
    """What shall be done, up to 1,000 times. All of it is for ``colonyid``."""

    colony_id: str
    specs: Annotated[list[ProcessSpec], msgspec.Meta(min_length=1, max_length=MAX_TOGETHER)]


async def _submitted_together(_call: Call, msg: SubmitProcesses, seen: Seen) -> list[str]:
    return lifecycle.ids_from(seen.process_id, len(msg.specs))


@rpc("submitprocessesmsg", rule=member("colony_id"), again=_submitted_together)
async def submit_processes(call: Call, msg: SubmitProcesses, _member: Runtime) -> list[str]:
    """Submit many processes, all or none; gives their ids in the same order."""
    for number, spec in enumerate(msg.specs):
        if spec.conditions.colony_id != msg.colony_id:
            field = f"specs[{number}].conditions.colonyid"
            raise Malformed(f"{field}: expected the colony of the request", field=field)
    specs = await call.functions.settled_all(msg.specs, "specs")
    async with call.quotas.submitting(call.caller, msg.colony_id, len(msg.specs)) as submitter:
        submitted = await lifecycle.submit_many(
            call.db, specs, new_id(), call.intent, call.hub.lines, submitter=submitter
        )
    call.publish(*(one for one in submitted if one.state is State.WAITING))
    return [process.process_id for process in submitted]


class AssignProcess(Request):
    """Which colony to work for, and how many seconds to wait; below 0 is not at all.

    ``leased`` is for those who renew: without it, the attempt has a lease without an end.
    """

    colony_id: str
    latest: bool = False
    timeout: Int32 = 0
    leased: bool = False


async def _assigned(call: Call, msg: AssignProcess, _seen: Seen) -> Process:
    """Give the same assignment while it lives, and then another."""
    runtime: Runtime = await member("colony_id").check(call, msg)
    assigned: Process = await assign_process(call, msg, runtime)
    return assigned


@rpc("assignprocessmsg", rule=member("colony_id"), again=_assigned)
async def assign_process(call: Call, msg: AssignProcess, runtime: Runtime) -> Process:
    """Give the caller the process it may run next, waiting for one if there is none."""
    if msg.timeout == 0:
        raise Malformed("timeout: expected seconds to wait, or -1 not to wait", field="timeout")
    call.hub.hear(runtime)
    return await assignment.assign(
        call, runtime, latest=msg.latest, timeout=msg.timeout, is_leased=msg.leased
    )


class GetProcessHist(Request):
    """Which processes: by state, submitted in the last seconds, of one runtime or of all."""

    colony_id: str
    runtime_id: str = ""
    seconds: Int32 = 0
    state: Int32 = 0


@rpc("getprocesshistmsg", rule=member_or_owner("colony_id"))
async def get_process_hist(call: Call, msg: GetProcessHist, _: None) -> list[Process]:
    """List the processes submitted lately, oldest first; at most 10,000."""
    return await call.db.fetch_within(
        Process,
        "list_process_history",
        colony_id=msg.colony_id,
        runtime_id=msg.runtime_id,
        seconds=msg.seconds,
        state=msg.state,
        count=MAX_HISTORY,
    )


class GetProcesses(Request):
    """Which processes, at most ``count``: of a state, or of any if ids have a ``beginning``.

    A list goes on from a time, by which those of the state are sorted, after so many that had it.
    """

    colony_id: str
    count: Count = 0
    state: State = State.WAITING
    from_time: Time = ZERO_TIME
    skip: Skip = 0
    beginning: Beginning = ""


@rpc("getprocessesmsg", rule=member_or_owner("colony_id"))
async def get_processes(call: Call, msg: GetProcesses, _: None) -> list[Process]:
    """List processes: waiting and running ones oldest first, ended ones newest first."""
    of_colony = {"colony_id": msg.colony_id, "count": msg.count}
    if msg.beginning:
        beginning = {**of_colony, "beginning": msg.beginning}
        return await call.db.fetch_within(Process, "list_processes_beginning", **beginning)
    is_backwards = msg.state.is_final and msg.from_time == ZERO_TIME
    return await call.db.fetch_within(
        Process,
        {
            State.WAITING: "list_waiting_processes",
            State.RUNNING: "list_running_processes",
            State.SUCCESS: "list_successful_processes",
            State.FAILED: "list_failed_processes",
            State.CANCELLED: "list_cancelled_processes",
        }[msg.state],
        **of_colony,
        from_time=LAST_TIME if is_backwards else msg.from_time,
        skip=msg.skip,
    )


class GetProcess(Request):
    """The process asked for."""

    process_id: str


@rpc("getprocessmsg", rule=reader_of_process("process_id"))
async def get_process(_call: Call, _msg: GetProcess, process: Process) -> Process:
    """Give a process."""
    return process


class GetProcessEvents(Request):
    """The process asked for."""

    process_id: str


@rpc("getprocesseventsmsg", rule=reader_of_process("process_id"))
async def get_process_events(call: Call, _msg: GetProcessEvents, process: Process) -> list[Event]:
    """List what has happened to a process, oldest first; of its attempts, at most 100."""
    past = await call.db.fetch_all(
        PastAttempt,
        "list_past_attempts",
        colony_id=process.colony_id,
        process_id=process.process_id,
    )
    return events_of(process, past)


class Why(Request):
    """The process asked for."""

    process_id: str


@rpc("whymsg", rule=reader_of_process("process_id"))
async def why(call: Call, _msg: Why, process: Process) -> Explanation:
    """Say why a process is in the state that it is in, and what it waits for."""
    (standing,) = await call.db.fetch_all(
        Standing,
        "get_standing",
        colony_id=process.colony_id,
        process_id=process.process_id,
        most_ahead=MOST_AHEAD,
    )
    return explain(process, standing, most_running=call.settings.max_running)


class CancelProcess(Request):
    """The process to cancel, and why, in words for people."""

    process_id: str
    reason: Reason = ""


async def _cancelled(call: Call, msg: CancelProcess, _seen: Seen) -> Process:
    return await find_process(call, msg.process_id)


@rpc("cancelprocessmsg", rule=reader_of_process("process_id"), again=_cancelled)
async def cancel_process(call: Call, msg: CancelProcess, process: Process) -> Process:
    """Cancel a process: if it waits, it never starts; if it runs, its runtime is told to stop."""
    cancelled = await lifecycle.cancel(
        call.db, process, by=call.caller, reason=msg.reason, intent=call.intent
    )
    if cancelled:
        call.publish(*cancelled)
        return cancelled[0]
    current = await find_process(call, process.process_id)
    if current.cancelled_by and current.state in (State.RUNNING, State.CANCELLED):
        return current
    raise Conflict(f"process <{current.process_id}> has ended: {current.state.name.lower()}")


class DeleteProcess(Request):
    """The process to delete."""

    process_id: str


@rpc("deleteprocessmsg", rule=member_of_process("process_id"))
async def delete_process(call: Call, _msg: DeleteProcess, process: Process) -> None:
    """Delete a process with its attributes, in any state; not one of a workflow alone."""
    if process.process_graph_id:
        raise Conflict(
            f"process <{process.process_id}> is of workflow <{process.process_graph_id}>, which "
            "cannot do without: delete that, or cancel this one"
        )
    await lifecycle.delete(call.db, process, call.intent)
    call.hub.remove(process.colony_id, process.process_id)


class DeleteAllProcesses(Request):
    """The colony whose processes go."""

    colony_id: str


@rpc("deleteallprocessesmsg", rule=colony_owner("colony_id"))
async def delete_all_processes(call: Call, msg: DeleteAllProcesses, _colony: Colony) -> None:
    """Delete all processes of a colony, in any state, and so all its workflows."""
    running = await workflow.delete_all_processes(call.db, msg.colony_id, call.intent)
    for process_id in running:
        call.hub.holders.let_go(process_id)
    call.hub.remove(msg.colony_id)


class CloseSuccessful(Request):
    """The process that is done, and what came out of it."""

    process_id: str
    attempt_token: str = ""
    output: list[str] = msgspec.field(name="out", default_factory=list)


@rpc("closesuccessfulmsg", rule=assignee("process_id"))
async def close_successful(call: Call, msg: CloseSuccessful, assignment: Assignment) -> None:
    """End a process as successful. The first close wins; the same again changes nothing."""
    end = AttemptEnd(msg.process_id, state=State.SUCCESS, output=msg.output)
    await closing.close(call, assignment, end)


class CloseFailed(Request):
    """The process that failed, and why."""

    process_id: str
    attempt_token: str = ""
    errors: list[str] = []


@rpc("closefailedmsg", rule=assignee("process_id"))
async def close_failed(call: Call, msg: CloseFailed, assignment: Assignment) -> None:
    """End a process as failed. The first close wins; the same again changes nothing."""
    end = AttemptEnd(msg.process_id, state=State.FAILED, errors=msg.errors)
    await closing.close(call, assignment, end)


class CloseProcesses(Request):
    """Up to 1,000 attempts that have ended, and how."""

    ends: Annotated[list[AttemptEnd], msgspec.Meta(min_length=1, max_length=MAX_TOGETHER)]


@rpc("closeprocessesmsg", rule=assignee_of_any)
async def close_processes(
    call: Call, msg: CloseProcesses, colony_ids: list[str]
) -> list[FailureMessage]:
    """End processes, each for itself; gives what was wrong with each, empty where nothing was.

    As with one alone, the first close wins, and the same again changes nothing.
    """
    for number, end in enumerate(msg.ends):
        if end.state not in {State.SUCCESS, State.FAILED}:
            field = f"ends[{number}].state"
            raise Malformed(f"{field}: expected {State.SUCCESS} or {State.FAILED}", field=field)

    attempts = [
        Assignment(end.process_id, call.caller, colony_ids, end.attempt_token) for end in msg.ends
    ]
    return await closing.close_each(call, list(zip(attempts, msg.ends, strict=True)))


class Release(Request):
    """The process to give back."""

    process_id: str
    attempt_token: str = ""


@rpc("releasemsg", rule=assignee("process_id"))
async def release(call: Call, _msg: Release, assignment: Assignment) -> None:
    """Give a running process back to the queue unharmed, for another runtime to take."""
    returned = await lifecycle.release(call.db, assignment, call.intent)
    if not returned:
        raise await refuse_assignee(call, assignment)
    call.publish(*returned)


class Renew(Request):
    """The attempts that the caller is making."""

    colony_id: str
    holding: list[Held] = []


class Renewal(msgspec.Struct, frozen=True):
    """Which processes are not the caller's to work on any more."""

    cancel: list[str]


@rpc("renewmsg", rule=member("colony_id"))
async def renew(call: Call, msg: Renew, runtime: Runtime) -> Renewal:
    """Renew leases and give a sign of life; the reply says what to stop working on."""
    call.hub.hear(runtime)
    attempts = [Assignment.holding(held, runtime) for held in msg.holding]
    alive = await lifecycle.renew(call.db, attempts)
    for attempt in attempts:
        if attempt.process_id not in alive:
            call.hub.holders.let_go_of(attempt)
    return Renewal([one.process_id for one in attempts if alive.get(one.process_id, True)])
