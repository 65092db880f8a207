"""Logs: added to by the runtimes that run the processes, read by their colony.

How they are followed is in `subscription.py`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec

from colonies.core.errors import Failure, FailureMessage, NotFound, Unavailable
from colonies.core.log import Append, Count, LogPage
from colonies.core.process import Process
from colonies.server import log
from colonies.server.call import Call
from colonies.server.lifecycle import Assignment
from colonies.server.rpc import Request, rpc
from colonies.server.rules import assignee_of_any, reader_of_process, refuse_assignee

MOST_APPENDS = 1000


class AddLogs(Request):
    """What up to 1,000 attempts have said."""

    appends: Annotated[list[Append], msgspec.Meta(min_length=1, max_length=MOST_APPENDS)]


@rpc("addlogsmsg", rule=assignee_of_any)
async def add_logs(call: Call, msg: AddLogs, colony_ids: list[str]) -> list[FailureMessage]:
    """Add to the logs of running processes, each for itself; gives what was wrong with each.

    Empty where nothing was. What was added before, by its number, is not added twice.
    """

    async def add(append: Append) -> FailureMessage:
        attempt = Assignment(append.process_id, call.caller, colony_ids, append.attempt_token)
        try:
            if not await log.append(call.db, attempt, append, most=call.settings.max_log_bytes):
                raise await refuse_assignee(call, attempt)
        except Unavailable:
            raise  # for all: they are sent again, and those that were heard change nothing
        except Failure as failure:
            return failure.to_message()
        call.hub.logs.tell(append.process_id)
        return FailureMessage()

    return list(await asyncio.gather(*(add(append) for append in msg.appends)))


class GetLogs(Request):
    """From which position on, and how many seconds ago it was said at most; 0: whenever."""

    process_id: str
    position: Count = 0
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1_000_000_000)] = 0


@rpc("getlogsmsg", rule=reader_of_process("process_id"))
async def get_logs(call: Call, msg: GetLogs, process: Process) -> LogPage:
    """Give a part of the log of a process, and how far all of it has come."""
    reader = log.Reader(process.colony_id, process.process_id, msg.position, msg.seconds)
    part = await log.read(call.db, reader)
    if part is None:
        raise NotFound(f"there is no process <{process.process_id}>")
    return part.page
