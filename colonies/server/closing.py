"""Closing attempts for their runtimes: the first close wins, the same again changes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from colonies.core.errors import Conflict, Failure, FailureMessage
from colonies.core.process import AttemptEnd, State
from colonies.server import lifecycle
from colonies.server.call import Call
from colonies.server.lifecycle import Assignment
from colonies.server.rules import find_process, refuse_assignee


async def close(call: Call, assignment: Assignment, end: AttemptEnd) -> None:
    """End an attempt; raise why not, unless it has ended so before."""
    closed = await lifecycle.close(
        call.db, assignment, end.state, output=end.output, errors=end.errors, intent=call.intent
    )
    call.publish(*closed)
    if not closed:
        await _check_same(call, assignment, end)


async def close_each(
    call: Call, ends: Sequence[tuple[Assignment, AttemptEnd]]
) -> list[FailureMessage]:
    """End attempts, each for itself; gives what was wrong with each, empty where nothing was."""
    closed = await lifecycle.close_many(call.db, ends)
    said = [FailureMessage()] * len(ends)
    left = []
    for place, one in enumerate(closed):
        if isinstance(one, Failure):
            said[place] = one.to_message()
        elif isinstance(one, BaseException):
            raise one
        elif one:
            call.publish(*one)
        else:
            left.append(place)
    answers = await asyncio.gather(*(_refused(call, *ends[place]) for place in left))
    for place, answer in zip(left, answers, strict=True):
        said[place] = answer
    return said


async def _refused(call: Call, assignment: Assignment, end: AttemptEnd) -> FailureMessage:
    """Give why an attempt was not closed; nothing, if it has ended so before."""
    try:
        await _check_same(call, assignment, end)
    except Failure as failure:
        return failure.to_message()
    return FailureMessage()


async def _check_same(call: Call, assignment: Assignment, end: AttemptEnd) -> None:
    """Raise why an attempt could not be closed, unless it has ended so before."""
    refusal = await refuse_assignee(call, assignment)
    ended = await find_process(call, assignment.process_id)
    # A failure is recorded as such, or as what it was: the end of a cancelled process.
    states = {State.FAILED: (State.FAILED, State.CANCELLED)}.get(end.state, (end.state,))
    is_same = (ended.output, ended.errors) == (end.output, end.errors)
    is_repeat = is_same and ended.state in states
    if not (is_repeat and type(refusal) is Conflict):
        raise refusal
