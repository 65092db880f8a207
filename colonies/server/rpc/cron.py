"""Crons: added, run, read and deleted; their ticks are run by the hub that leads."""

from __future__ import annotations

from typing import Annotated

import msgspec

from colonies.core.cron import NO_INTERVAL, Catchup, Cron
from colonies.core.errors import Malformed
from colonies.core.process import new_id
from colonies.core.runtime import Runtime
from colonies.core.wire import Int32, Label, Wire
from colonies.server import cron as crons
from colonies.server.call import Call
from colonies.server.intent import Seen
from colonies.server.rpc import Request, rpc
from colonies.server.rules import find_cron, member, member_of_cron, member_or_owner, reader_of_cron

MAX_COUNT = 1000
"""Crons that one list gives at most."""

MILLISECONDS = 1000

Name = Annotated[Label, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]


class NewCron(Wire):
    """A cron to be; its id, its times and what it has submitted are the hub's to fill in."""

    colony_id: str
    name: Name
    cron_expression: Label = ""
    interval: Int32 = NO_INTERVAL
    random: bool = False
    workflow_spec: str = ""
    wait_for_prev_process_graph: bool = False
    catchup: Catchup = Catchup.ONE


class AddCron(Request):
    """The cron to add; its workflow is the JSON of a WorkflowSpec, as text."""

    cron: NewCron


async def _added(call: Call, _msg: AddCron, seen: Seen) -> Cron:
    return await find_cron(call, seen.process_id)


@rpc("addcronmsg", rule=member("cron.colony_id"), again=_added)
async def add_cron(call: Call, msg: AddCron, _member: Runtime) -> Cron:
    """Add a cron; gives when it comes first."""
    asked = msgspec.structs.asdict(msg.cron)
    asked["workflow_spec"] = await call.functions.settled_text(
        msg.cron.workflow_spec, msg.cron.colony_id, "cron.workflowspec"
    )
    new = Cron(cron_id=new_id(), **asked)
    first = await crons.first_run(call.db, new)
    if first is None:
        field = "cron.cronexpression"
        raise Malformed(f"{field}: expected a time that comes in the next years", field=field)
    (added,) = await call.db.fetch_all(
        Cron,
        "add_cron",
        cron_id=new.cron_id,
        **asked,
        next_run=first,
        added_by=call.caller,
        **call.intent.parameters,
    )
    call.agenda.change()
    return added


class GetCron(Request):
    """The cron asked for."""

    cron_id: str


@rpc("getcronmsg", rule=reader_of_cron("cron_id"))
async def get_cron(call: Call, _msg: GetCron, cron: Cron) -> Cron:
    """Give a cron."""
    return msgspec.structs.replace(cron, checker_period=int(call.settings.tick * MILLISECONDS))


class GetCrons(Request):
    """Of which colony, and how many at most."""

    colony_id: str
    count: Count = 0


@rpc("getcronsmsg", rule=member_or_owner("colony_id"))
async def get_crons(call: Call, msg: GetCrons, _: None) -> list[Cron]:
    """List the crons of a colony by name."""
    return await call.db.fetch_all(Cron, "list_crons", colony_id=msg.colony_id, count=msg.count)


class RunCron(Request):
    """The cron to run."""

    cron_id: str


async def _run(call: Call, msg: RunCron, _seen: Seen) -> Cron:
    return await find_cron(call, msg.cron_id)


@rpc("runcronmsg", rule=member_of_cron("cron_id"), again=_run)
async def run_cron(call: Call, _msg: RunCron, cron: Cron) -> Cron:
    """Submit the workflow of a cron at once, whatever it waits for; then it goes on from now."""
    run, submitted = await crons.run_now(call.db, cron, call.quotas, call.caller, call.intent)
    call.agenda.change()
    call.publish(*submitted)
    return run


class DeleteCron(Request):
    """The cron to delete."""

    cron_id: str


@rpc("deletecronmsg", rule=member_of_cron("cron_id"))
async def delete_cron(call: Call, _msg: DeleteCron, cron: Cron) -> None:
    """Delete a cron; what it has submitted goes on."""
    await call.db.execute(
        "delete_cron", colony_id=cron.colony_id, cron_id=cron.cron_id, **call.intent.parameters
    )
