"""Runtimes: added and let in by the colony's owner."""

from __future__ import annotations

from colonies.core import wire
from colonies.core.colony import Colony
from colonies.core.runtime import Approval, Figures, Location, Runtime, check_labels
from colonies.core.wire import ZERO_TIME, Int32, Label, Time, Wire
from colonies.server import lifecycle
from colonies.server.call import Call
from colonies.server.intent import Seen
from colonies.server.rpc import Request, rpc
from colonies.server.rpc.colony import Identity
from colonies.server.rules import (
    any_member_or_owner,
    colony_owner,
    fellow_of_runtime,
    find_runtime,
    itself_or_owner,
    member,
    not_approved,
    owner_of_runtime,
)


class NewRuntime(Wire):
    """A runtime to be: its id is the identity of its own key."""

    runtime_id: Identity
    colony_id: str
    runtime_type: Label = ""
    name: Label = ""
    cpu: str = ""
    cores: Int32 = 0
    mem: Int32 = 0
    gpu: str = ""
    gpus: Int32 = 0
    last_heard_from_time: Time = ZERO_TIME
    location: Location = Location()


class AddRuntime(Request):
    """The runtime to add; its state and commission time are the hub's to set."""

    runtime: NewRuntime


async def _added(call: Call, msg: AddRuntime, _seen: Seen) -> Runtime:
    return await find_runtime(call, msg.runtime.runtime_id)


@rpc("addruntimemsg", rule=colony_owner("runtime.colony_id"), again=_added)
async def add_runtime(call: Call, msg: AddRuntime, _colony: Colony) -> Runtime:
    """Add a runtime to the colony; it has to be approved before it may do anything."""
    new = msg.runtime
    heard = new.last_heard_from_time
    (runtime,) = await call.db.fetch_all(
        Runtime,
        "add_runtime",
        colony_id=new.colony_id,
        runtime_id=new.runtime_id,
        runtime_type=new.runtime_type,
        name=new.name,
        cpu=new.cpu,
        cores=new.cores,
        mem=new.mem,
        gpu=new.gpu,
        gpus=new.gpus,
        last_heard_from_time=None if heard == ZERO_TIME else heard,
        location=wire.encode(new.location).decode(),
        **call.intent.parameters,
    )
    call.members.forget()
    return runtime


class GetRuntimes(Request):
    """The colony asked for."""

    colony_id: str


@rpc("getruntimesmsg", rule=any_member_or_owner("colony_id"))
async def get_runtimes(call: Call, msg: GetRuntimes, _: None) -> list[Runtime]:
    """List the runtimes of a colony, oldest first."""
    return await call.db.fetch_all(Runtime, "list_runtimes", colony_id=msg.colony_id)


class GetRuntime(Request):
    """The runtime asked for."""

    runtime_id: str


@rpc("getruntimemsg", rule=fellow_of_runtime("runtime_id"))
async def get_runtime(_call: Call, _msg: GetRuntime, runtime: Runtime) -> Runtime:
    """Give a runtime."""
    return runtime


class ApproveRuntime(Request):
    """The runtime to let in."""

    runtime_id: str


@rpc("approveruntimemsg", rule=owner_of_runtime("runtime_id"))
async def approve_runtime(call: Call, _msg: ApproveRuntime, runtime: Runtime) -> None:
    """Let a runtime in, whatever its state was."""
    await _set_state(call, runtime, Approval.APPROVED)


class RejectRuntime(Request):
    """The runtime to shut out."""

    runtime_id: str


@rpc("rejectruntimemsg", rule=owner_of_runtime("runtime_id"))
async def reject_runtime(call: Call, _msg: RejectRuntime, runtime: Runtime) -> None:
    """Shut a runtime out, whatever its state was; its waits and subscriptions end."""
    await _set_state(call, runtime, Approval.REJECTED)
    call.hub.revoke(runtime.colony_id, not_approved(runtime), runtime.runtime_id)


class LabelRuntime(Request):
    """All labels of the caller in this colony."""

    colony_id: str
    labels: dict[str, str]


@rpc("labelruntimemsg", rule=member("colony_id"))
async def label_runtime(call: Call, msg: LabelRuntime, runtime: Runtime) -> None:
    """Say the labels of the caller, in place of those that it had; for people only."""
    check_labels(msg.labels)
    await call.db.execute(
        "set_runtime_labels",
        colony_id=runtime.colony_id,
        runtime_id=runtime.runtime_id,
        labels=wire.encode(msg.labels).decode(),
        **call.intent.parameters,
    )
    call.members.forget()


class UpdateRuntime(Request):
    """What a runtime has now, the caller itself if none is named."""

    colony_id: str
    figures: Figures
    runtime_id: str = ""


@rpc("updateruntimemsg", rule=itself_or_owner("colony_id", "runtime_id"))
async def update_runtime(call: Call, msg: UpdateRuntime, runtime: Runtime) -> None:
    """Say what a runtime has, in place of what was known; it is given work by that from then on."""
    changed = await call.db.fetch_all(
        Runtime,
        "set_runtime_figures",
        colony_id=runtime.colony_id,
        runtime_id=runtime.runtime_id,
        cores=msg.figures.cores,
        mem=msg.figures.mem,
        gpus=msg.figures.gpus,
        cpu=msg.figures.cpu,
        gpu=msg.figures.gpu,
        **call.intent.parameters,
    )
    call.members.forget()
    for one in changed:
        call.hub.refit(one)


class DeleteRuntime(Request):
    """The runtime to delete."""

    runtime_id: str


@rpc("deleteruntimemsg", rule=owner_of_runtime("runtime_id"))
async def delete_runtime(call: Call, _msg: DeleteRuntime, runtime: Runtime) -> None:
    """Delete a runtime; what it was running returns to the queue."""
    returned = await lifecycle.delete_runtime(call.db, runtime, call.intent)
    call.members.forget()
    call.hub.revoke(runtime.colony_id, not_approved(runtime), runtime.runtime_id)
    call.publish(*returned)


async def _set_state(call: Call, runtime: Runtime, state: Approval) -> None:
    await call.db.execute(
        "set_runtime_state",
        colony_id=runtime.colony_id,
        runtime_id=runtime.runtime_id,
        state=state,
        **call.intent.parameters,
    )
    call.members.forget()
