"""A request that is repeated: the first answer, and one effect."""

import asyncio
import re
from typing import Any, NamedTuple

import pytest

from colonies.core.cron import Cron
from colonies.core.function import Function
from colonies.core.generator import Generator
from colonies.core.process import Process
from colonies.server.app import Server, make_table
from colonies.server.intent import key_of
from colonies.server.query import load_queries
from tests.conftest import held
from tests.server.leases import submit, take
from tests.server.recurring import ONE
from tests.server.repeats import Asked, asked, by_api, by_one_ws, by_ws, content, everything
from tests.server.rpc.test_workflow import workflow


class World(NamedTuple):
    """One process that runs, three that wait; of workflows, one that runs, one that failed.

    And a cron and a generator.
    """

    colony: str
    running: Process
    waiting: str
    people: Any
    parent: Process
    broken: str
    cron: str
    generator: str

    def conditions(self) -> dict:
        return {"colonyid": self.colony, "runtimetype": "cli"}

    def about_running(self) -> dict:
        return {"processid": self.running.process_id, "attempttoken": self.running.attempt_token}


@pytest.fixture
async def world(member, colony, people, sql) -> World:
    await submit(member)
    running = await take(member)
    spec = workflow(colony, name="")
    broken = await member.submit_workflow_spec(spec)
    await member.close_failed((await take(member)).process_id)
    await member.submit_workflow_spec(spec)
    parent = await take(member)
    waiting = [await submit(member) for _ in range(3)]
    named = {"colony_id": colony, "name": "old", "workflow_spec": ONE}
    cron = await member.add_cron(Cron(**named, interval=9))
    generator = await member.add_generator(Generator(**named, trigger=9))
    await member.add_function(Function(name="old"))
    await sql.execute("DELETE FROM requests")
    return World(
        colony=colony,
        running=running,
        waiting=waiting[0],
        people=people,
        parent=parent,
        broken=broken.process_graph_id,
        cron=cron.cron_id,
        generator=generator.generator_id,
    )


def recurring(world: World, **more: int) -> dict:
    return {"colonyid": world.colony, "name": "new", "workflowspec": ONE, **more}


def runtime_of(world: World, runtime_id: str) -> dict:
    return {"runtimeid": runtime_id, "colonyid": world.colony, "name": "new"}


def attribute_of(world: World) -> dict:
    attribute = {"targetid": world.running.process_id, "attributetype": 1, "key": "k"}
    return {"attribute": attribute, "attempttoken": world.running.attempt_token}


# Who asks for what, and what there is once it was done once.
WRITES: dict[str, tuple[str, Any, str, int]] = {
    "addcolonymsg": (
        "server_owner", lambda w: {"colony": {"colonyid": w.people.stranger.id, "name": "new"}},
        "colonies WHERE name = 'new'", 1),
    "deletecolonymsg": (
        "server_owner", lambda w: {"colonyid": w.people.other_owner.id},
        "colonies WHERE name = 'theirs'", 0),
    "resetdatabasemsg": ("server_owner", lambda _w: {}, "colonies", 0),
    "addruntimemsg": (
        "colony_owner", lambda w: {"runtime": runtime_of(w, w.people.stranger.id)},
        "runtimes WHERE name = 'new'", 1),
    "approveruntimemsg": (
        "colony_owner", lambda w: {"runtimeid": w.people.pending.id},
        "runtimes WHERE state = 0", 0),
    "rejectruntimemsg": (
        "colony_owner", lambda w: {"runtimeid": w.people.pending.id},
        "runtimes WHERE state = 2", 1),
    "labelruntimemsg": (
        "runtime", lambda w: {"colonyid": w.colony, "labels": {"os": "linux"}},
        "runtimes WHERE labels->>'os' = 'linux'", 1),
    "updateruntimemsg": (
        "runtime", lambda w: {"colonyid": w.colony, "figures": {"cores": 7, "mem": 1, "gpus": 0}},
        "runtimes WHERE cores = 7", 1),
    "deleteruntimemsg": (
        "colony_owner", lambda w: {"runtimeid": w.people.pending.id},
        "runtimes WHERE state = 0", 0),
    "addfunctionmsg": (
        "runtime", lambda w: {"colonyid": w.colony, "function": {"name": "new"}},
        "functions WHERE name = 'new'", 1),
    "removefunctionmsg": (
        "runtime", lambda w: {"colonyid": w.colony, "name": "old"},
        "functions", 0),
    "submitprocessespecmsg": (
        "runtime", lambda w: {"spec": {"func": "new", "env": {"A": "B", "C": "D"},
                                       "conditions": w.conditions()}},
        "processes WHERE spec->>'func' = 'new'", 1),
    "submitprocessesmsg": (
        "runtime", lambda w: {"colonyid": w.colony, "specs": [
            {"func": "new", "env": {"A": name}, "conditions": w.conditions()}
            for name in "abc"]},
        "processes WHERE spec->>'func' = 'new'", 3),
    "submitworkflowspecmsg": (
        "runtime", lambda w: {"spec": {"colonyid": w.colony, "processspecs": [
            {"name": "a", "func": "new", "env": {"A": "B"}, "conditions": {"runtimetype": "cli"}},
            {"name": "b", "func": "new",
             "conditions": {"runtimetype": "cli", "dependencies": ["a"]}}]}},
        "processes JOIN process_graphs USING (process_graph_id) WHERE spec->>'func' = 'new'", 2),
    "addchildmsg": (
        "runtime", lambda w: {"processid": w.parent.process_id,
                              "attempttoken": w.parent.attempt_token,
                              "spec": {"func": "new", "env": {"A": "B"},
                                       "conditions": {"runtimetype": "cli"}}},
        "processes WHERE spec->>'func' = 'new'", 1),
    "cancelprocessgraphmsg": (
        "runtime", lambda w: {"processgraphid": w.parent.process_graph_id},
        "processes WHERE cancelled_by <> ''", 1),
    "rescueprocessgraphmsg": (
        "runtime", lambda w: {"processgraphid": w.broken,
                              "edits": {"name": {"args": ["x"], "kwargs": None}}},
        "processes WHERE spec->'args'->>0 = 'x'", 1),
    "deleteprocessgraphmsg": (
        "runtime", lambda w: {"processgraphid": w.parent.process_graph_id},
        "process_graphs", 1),
    "deleteallprocessgraphsmsg": (
        "colony_owner", lambda w: {"colonyid": w.colony}, "process_graphs", 0),
    "addcronmsg": (
        "runtime", lambda w: {"cron": recurring(w, interval=9)}, "crons WHERE name = 'new'", 1),
    "runcronmsg": (
        "runtime", lambda w: {"cronid": w.cron}, "process_graphs", 3),
    "deletecronmsg": (
        "runtime", lambda w: {"cronid": w.cron}, "crons", 0),
    "addgeneratormsg": (
        "runtime", lambda w: {"generator": recurring(w, trigger=9)},
        "generators WHERE name = 'new'", 1),
    "packgeneratormsg": (
        "runtime", lambda w: {"generatorid": w.generator, "arg": "a"}, "generator_args", 1),
    "deletegeneratormsg": (
        "runtime", lambda w: {"generatorid": w.generator}, "generators", 0),
    "assignprocessmsg": (
        "runtime", lambda w: {"colonyid": w.colony, "timeout": -1},
        "processes WHERE state = 1", 3),
    "cancelprocessmsg": (
        "colony_owner", lambda w: {"processid": w.waiting, "reason": "why"},
        "processes WHERE state = 4", 1),
    "closesuccessfulmsg": (
        "runtime", lambda w: w.about_running() | {"out": ["x"]},
        "processes WHERE state = 2", 1),
    "closefailedmsg": (
        "runtime", lambda w: w.about_running() | {"errors": ["x"]},
        "processes WHERE state = 3", 2),
    "releasemsg": (
        "runtime", lambda w: w.about_running(),
        "processes WHERE state = 0 AND jsonb_array_length(past) = 1", 1),
    "addattributemsg": ("runtime", attribute_of, "attributes", 1),
    "deleteprocessmsg": (
        "runtime", lambda w: {"processid": w.waiting},
        "processes WHERE state = 0", 2),
    "deleteallprocessesmsg": (
        "colony_owner", lambda w: {"colonyid": w.colony},
        "processes", 0),
}  # fmt: skip


def intention(payload_type: str, world: World) -> Asked:
    who, fields, *_ = WRITES[payload_type]
    return asked(payload_type, fields(world), getattr(world.people, who))


async def is_done_once(sql, payload_type: str) -> bool:
    *_, what, count = WRITES[payload_type]
    remembered = await sql.fetchval("SELECT count(*) FROM requests")
    return (await sql.fetchval(f"SELECT count(*) FROM {what}"), remembered) == (count, 1)


@pytest.mark.parametrize("payload_type", WRITES)
class TestOnce:
    @pytest.mark.parametrize(
        "doors", [(by_ws, by_ws), (by_ws, by_api), (by_api, by_ws), (by_api, by_api)]
    )
    async def test_the_same_again_gets_the_first_answer_and_has_no_second_effect(
        self, *, server, world, sql, payload_type, doors
    ):
        one = intention(payload_type, world)
        assert not await is_done_once(sql, payload_type)
        first = await doors[0](server, one)
        assert not first.error
        assert await is_done_once(sql, payload_type)
        before = await everything(sql)
        for _ in range(3):
            assert content(await doors[1](server, one)) == content(first)
        assert await everything(sql) == before

    async def test_many_at_once_through_all_doors_of_two_hubs_are_one(
        self, *, server, settings, world, sql, payload_type
    ):
        one = intention(payload_type, world)
        async with Server(settings) as other:
            answers = await asyncio.gather(
                by_one_ws(server, one, 5),
                by_one_ws(other, one, 5),
                *(by_one_ws(hub, one, 1) for hub in (server, other) for _ in range(2)),
                *(many_by_api(hub, one, 2) for hub in (server, other)),
            )
        replies = [reply for some in answers for reply in some]
        assert len(replies) == 18
        (said,) = {content(reply) for reply in replies}
        assert not said[0]
        assert await is_done_once(sql, payload_type)
        assert content(await by_api(server, one)) == said
        assert await is_done_once(sql, payload_type)

    async def test_without_an_id_nothing_is_remembered(self, server, world, sql, payload_type):
        one = intention(payload_type, world)
        assert not (await by_api(server, one._replace(req=""))).error
        assert await sql.fetchval("SELECT count(*) FROM requests") == 0


async def many_by_api(server: Server, one: Asked, count: int):
    return await asyncio.gather(*(by_api(server, one) for _ in range(count)))


READS = {
    "versionmsg", "getcallermsg", "getstatisticsmsg", "getclustermsg", "getcoloniesmsg",
    "getcolonymsg", "getcolonystatsmsg", "getruntimesmsg", "getruntimemsg", "getfunctionsmsg",
    "getprocesshistmsg",
    "getprocessesmsg", "getprocessmsg", "getprocesseventsmsg", "whymsg", "getattributemsg",
    "getprocessgraphmsg", "getprocessgraphsmsg", "getcronmsg", "getcronsmsg", "getgeneratormsg",
    "getgeneratorsmsg", "resolvegeneratormsg", "getlogsmsg",
}  # fmt: skip

OF_THE_MOMENT = {
    "renewmsg", "subscribeprocessesmsg", "subscribeprocessmsg", "subscribeassignmentsmsg",
    "unsubscribemsg", "closeprocessesmsg", "subscribelogsmsg", "addlogsmsg",
}  # fmt: skip
"""What may be done twice: leases last from the last time, subscriptions belong to a socket, and the
same end of the same attempt is no other; nor is an append of a number that was reached.
"""

SUBMITS = {"submit_processes", "submit_assigned_processes"}

STATEMENTS = {
    "addcolonymsg": {"add_colony"},
    "deletecolonymsg": {"delete_colony"},
    "resetdatabasemsg": {"add_request"},
    "addruntimemsg": {"add_runtime"},
    "approveruntimemsg": {"set_runtime_state"},
    "rejectruntimemsg": {"set_runtime_state"},
    "labelruntimemsg": {"set_runtime_labels"},
    "updateruntimemsg": {"set_runtime_figures"},
    "deleteruntimemsg": {"delete_runtime"},
    "addfunctionmsg": {"add_function"},
    "removefunctionmsg": {"delete_function"},
    "submitprocessespecmsg": SUBMITS,
    "submitprocessesmsg": SUBMITS,
    "submitworkflowspecmsg": {"submit_process_graph"},
    "addchildmsg": {"add_child"},
    "cancelprocessgraphmsg": {"lock_process_graph"},
    "rescueprocessgraphmsg": {"lock_process_graph"},
    "deleteprocessgraphmsg": {"lock_process_graph"},
    "deleteallprocessgraphsmsg": {"delete_all_process_graphs"},
    "addcronmsg": {"add_cron"},
    "runcronmsg": {"set_cron_run"},
    "deletecronmsg": {"delete_cron"},
    "addgeneratormsg": {"add_generator"},
    "packgeneratormsg": {"add_generator_args"},
    "deletegeneratormsg": {"delete_generator"},
    "assignprocessmsg": {
        "claim_oldest_of_queue", "claim_latest_of_queue",
        "claim_oldest_processes", "claim_latest_processes",
    },
    "cancelprocessmsg": {"cancel_process"},
    "closesuccessfulmsg": {"close_processes"},
    "closefailedmsg": {"close_processes"},
    "releasemsg": {"release_process", "close_processes"},
    "addattributemsg": {"add_attribute"},
    "deleteprocessmsg": {"delete_process"},
    "deleteallprocessesmsg": {"delete_all_processes"},
}  # fmt: skip

NOBODYS = {
    "set_next_run", "claim_generator_args", "set_generator_run", "set_generator_stopped",
    "release_processes_unheard",  # harmless to repeat: a subscription says what is held
    "cancel_processes_not_stopped", "fail_processes_not_started", "return_processes_overrun",
    "fail_processes_overrun", "return_processes_lost", "fail_processes_lost",  # deadlines
    "renew_processes", "touch_runtimes",  # signs of life
    "touch_hub", "delete_hub",  # signs of life of hubs
    "delete_request", "delete_old_requests", "delete_ended_processes", "delete_orphans",
    "add_log_entries",  # the numbers of the appends see to it
    "delete_old_log_entries",
    "set_schema_version",
    "close_descendants", "release_children", "set_graph_progress",  # with the end of a process
    "set_graphs_started",  # with its start
    "cancel_members", "return_members", "delete_process_graph",  # with lock_process_graph
    "delete_ended_graphs",
    "return_processes_of_runtime", "cancel_processes_of_runtime",  # with delete_runtime, or not
}  # fmt: skip
"""Statements that change something and remember no request for it."""

CHANGE = re.compile(r"\b(INSERT INTO|DELETE FROM|(?<!FOR )(?<!KEY )UPDATE) (\w+)")


def test_every_rpc_is_known_to_write_or_not():
    assert set(make_table()) == set(WRITES) | READS | OF_THE_MOMENT
    assert set(WRITES) == set(STATEMENTS)


def test_every_statement_that_changes_something_remembers_the_request_or_is_nobodys():
    changes = {
        name: {table for _, table in CHANGE.findall(query.text)}
        for name, query in load_queries().items()
    }
    writers = {name for name, tables in changes.items() if tables}
    remembering = {name for name in writers if "requests" in changes[name] and name not in NOBODYS}
    assert writers - remembering == NOBODYS
    assert remembering == {name for names in STATEMENTS.values() for name in names}
    for name in remembering:
        parameters = set(load_queries()[name].parameters)
        assert {"request", "digest"} <= {each.removesuffix("s") for each in parameters}


async def test_a_read_is_answered_anew_each_time(server, world, member, sql):
    one = asked("getprocessmsg", {"processid": world.waiting}, world.people.runtime)
    first = await by_api(server, one)
    await member.cancel_process(world.waiting)
    assert content(await by_api(server, one)) != content(first)
    key = key_of(one.key.id, one.req)
    assert await sql.fetchval("SELECT count(*) FROM requests WHERE request = $1", key) == 0


async def test_a_renewal_again_renews_again(server, world, lapse, sql):
    holding = [held(world.running), held(world.parent)]
    fields = {"colonyid": world.colony, "holding": holding}
    one = asked("renewmsg", fields, world.people.runtime)
    for _ in range(2):
        await lapse()
        assert not (await by_api(server, one)).error
        left = "SELECT bool_and(leased_until > now()) FROM processes WHERE state = 1"
        assert await sql.fetchval(left)
