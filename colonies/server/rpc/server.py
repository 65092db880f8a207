"""Asking the hub about itself, and about oneself."""

from __future__ import annotations

from colonies.core.caller import Caller, Membership, Version
from colonies.core.cluster import Cluster, Node
from colonies.core.colony import Colony, Statistics
from colonies.core.errors import Forbidden
from colonies.server.call import Call
from colonies.server.intent import recall
from colonies.server.outages import seen_before
from colonies.server.peers import STALE
from colonies.server.rpc import Request, rpc
from colonies.server.rules import any_key, anyone, server_owner
from colonies.version import __version__


class GetVersion(Request):
    """Fields that v1 clients send along are ignored."""


@rpc("versionmsg", rule=anyone)
async def version(_call: Call, _msg: GetVersion, _: None) -> Version:
    """Give the hub's version; the only call that needs no signature."""
    return Version(build_version=__version__)


class GetStatistics(Request):
    """No fields."""


@rpc("getstatisticsmsg", rule=server_owner)
async def get_statistics(call: Call, _msg: GetStatistics, _: None) -> Statistics:
    """Count everything on the hub."""
    return (await call.db.fetch_all(Statistics, "get_statistics"))[0]


class GetCluster(Request):
    """No fields."""


@rpc("getclustermsg", rule=server_owner)
async def get_cluster(call: Call, _msg: GetCluster, _: None) -> Cluster:
    """List the hubs on this database, and say which one leads."""
    nodes = await call.db.fetch_all(Node, "list_hubs", stale=STALE)
    leader = next((node for node in nodes if node.is_leader), Node())
    return Cluster(nodes=nodes, leader=leader, answered_by=call.hub.id)


class ResetDatabase(Request):
    """No fields."""


@rpc("resetdatabasemsg", rule=server_owner)
async def reset_database(call: Call, _msg: ResetDatabase, _: None) -> None:
    """Delete every colony with all that is in it: the hub is as if new."""
    async with call.db.transaction() as tx:
        await tx.execute("lock_everything")
        if await recall(tx, call.intent):
            raise seen_before()
        colonies = await tx.fetch_all(Colony, "list_colonies")
        await tx.execute("delete_everything")
        await tx.execute("add_request", **call.intent.parameters)
    call.members.forget()
    for colony in colonies:
        call.hub.revoke(colony.colony_id, Forbidden("the hub was reset"))


class GetCaller(Request):
    """No fields."""


@rpc("getcallermsg", rule=any_key)
async def get_caller(call: Call, _msg: GetCaller, _: None) -> Caller:
    """Give the identity that signed this message, and what it is in which colonies."""
    runtimes = await call.members.of(call.caller)
    owned = await call.members.colony_of(call.caller)
    memberships = [
        Membership(colony_id=one.colony_id, is_owner=False, state=one.state, name=one.name)
        for one in runtimes
    ]
    if owned:
        memberships.append(Membership(colony_id=owned.colony_id, is_owner=True, name=owned.name))
    return Caller(
        id=call.caller,
        is_server_owner=call.caller == call.settings.server_id,
        memberships=memberships,
    )
