"""Who may call what: every RPC as seven people, against one table."""

from dataclasses import dataclass

import pytest

from colonies.client import Colonies
from colonies.core.cron import Cron
from colonies.core.errors import Failure
from colonies.core.generator import Generator
from colonies.core.identity import PrivateKey
from colonies.core.process import Conditions, ProcessSpec, new_id
from colonies.core.workflow import WorkflowSpec
from colonies.server.app import make_table
from tests.conftest import add_runtime
from tests.server.doors import Talk
from tests.server.recurring import ONE

PERSONAS = ("server", "owner", "runtime", "fellow", "pending", "foreign", "stranger")

OK = 200

# "runtime" runs the process that the calls are about; "fellow" is another approved runtime of its
# colony, "foreign" one of another colony. The payloads are valid: only the rule decides.
OUTCOMES = {
    #                          server owner runtime fellow pending foreign stranger
    "versionmsg":              (200, 200, 200, 200, 200, 200, 200),
    "getcallermsg":            (200, 200, 200, 200, 200, 200, 200),
    "getstatisticsmsg":        (200, 403, 403, 403, 403, 403, 403),
    "getclustermsg":           (200, 403, 403, 403, 403, 403, 403),
    "resetdatabasemsg":        (200, 403, 403, 403, 403, 403, 403),
    "addcolonymsg":            (200, 403, 403, 403, 403, 403, 403),
    "deletecolonymsg":         (200, 403, 403, 403, 403, 403, 403),
    "getcoloniesmsg":          (200, 403, 403, 403, 403, 403, 403),
    "getcolonymsg":            (403, 200, 200, 200, 403, 403, 403),
    "getcolonystatsmsg":       (403, 200, 200, 200, 403, 403, 403),
    "addruntimemsg":           (403, 200, 403, 403, 403, 403, 403),
    "getruntimesmsg":          (403, 200, 200, 200, 200, 403, 403),
    "getruntimemsg":           (404, 200, 200, 200, 403, 404, 404),
    "approveruntimemsg":       (404, 200, 403, 403, 403, 404, 404),
    "rejectruntimemsg":        (404, 200, 403, 403, 403, 404, 404),
    "labelruntimemsg":         (403, 403, 200, 200, 403, 403, 403),
    "updateruntimemsg":        (403, 200, 200, 403, 403, 403, 403),
    "deleteruntimemsg":        (404, 200, 403, 403, 403, 404, 404),
    "addfunctionmsg":          (403, 403, 200, 200, 403, 403, 403),
    "getfunctionsmsg":         (403, 200, 200, 200, 403, 403, 403),
    "removefunctionmsg":       (403, 403, 200, 200, 403, 403, 403),
    "submitprocessespecmsg":   (403, 403, 200, 200, 403, 403, 403),
    "submitprocessesmsg":      (403, 403, 200, 200, 403, 403, 403),
    "submitworkflowspecmsg":   (403, 403, 200, 200, 403, 403, 403),
    "getprocessgraphmsg":      (404, 200, 200, 200, 403, 404, 404),
    "getprocessgraphsmsg":     (403, 200, 200, 200, 403, 403, 403),
    "addchildmsg":             (404, 403, 200, 403, 403, 404, 404),
    "cancelprocessgraphmsg":   (404, 200, 200, 200, 403, 404, 404),
    "rescueprocessgraphmsg":   (404, 200, 200, 200, 403, 404, 404),
    "deleteprocessgraphmsg":   (404, 403, 200, 200, 403, 404, 404),
    "deleteallprocessgraphsmsg": (403, 200, 403, 403, 403, 403, 403),
    "assignprocessmsg":        (403, 403, 200, 200, 403, 403, 403),
    "getprocesshistmsg":       (403, 200, 200, 200, 403, 403, 403),
    "getprocessesmsg":         (403, 200, 200, 200, 403, 403, 403),
    "getprocessmsg":           (404, 200, 200, 200, 403, 404, 404),
    "getprocesseventsmsg":     (404, 200, 200, 200, 403, 404, 404),
    "whymsg":                  (404, 200, 200, 200, 403, 404, 404),
    "cancelprocessmsg":        (404, 200, 200, 200, 403, 404, 404),
    "deleteprocessmsg":        (404, 403, 200, 200, 403, 404, 404),
    "deleteallprocessesmsg":   (403, 200, 403, 403, 403, 403, 403),
    "closesuccessfulmsg":      (404, 403, 200, 403, 403, 404, 404),
    "closefailedmsg":          (404, 403, 200, 403, 403, 404, 404),
    "closeprocessesmsg":       (403, 403, 200, 200, 403, 200, 403),
    "releasemsg":              (404, 403, 200, 403, 403, 404, 404),
    "renewmsg":                (403, 403, 200, 200, 403, 403, 403),
    "addattributemsg":         (404, 403, 200, 403, 403, 404, 404),
    "getattributemsg":         (404, 200, 200, 200, 403, 404, 404),
    "addcronmsg":              (403, 403, 200, 200, 403, 403, 403),
    "getcronmsg":              (404, 200, 200, 200, 403, 404, 404),
    "getcronsmsg":             (403, 200, 200, 200, 403, 403, 403),
    "runcronmsg":              (404, 403, 200, 200, 403, 404, 404),
    "deletecronmsg":           (404, 403, 200, 200, 403, 404, 404),
    "addgeneratormsg":         (403, 403, 200, 200, 403, 403, 403),
    "getgeneratormsg":         (404, 200, 200, 200, 403, 404, 404),
    "resolvegeneratormsg":     (403, 200, 200, 200, 403, 404, 403),
    "getgeneratorsmsg":        (403, 200, 200, 200, 403, 403, 403),
    "packgeneratormsg":        (404, 403, 200, 200, 403, 404, 404),
    "deletegeneratormsg":      (404, 403, 200, 200, 403, 404, 404),
    "subscribeprocessesmsg":   (403, 200, 200, 200, 403, 200, 403),
    "subscribeprocessmsg":     (404, 200, 200, 200, 403, 404, 404),
    "addlogsmsg":              (403, 403, 200, 200, 403, 200, 403),
    "getlogsmsg":              (404, 200, 200, 200, 403, 404, 404),
    "subscribelogsmsg":        (404, 200, 200, 200, 403, 404, 404),
    "subscribeassignmentsmsg": (403, 403, 200, 200, 403, 403, 403),
    "unsubscribemsg":          (200, 200, 200, 200, 200, 200, 200),
}  # fmt: skip


@dataclass
class World:
    """A process that ``runtime`` runs, and another that waits."""

    colony: str
    runtime: str
    process: str
    attribute: str
    graph: str
    parent: str
    broken: str
    cron: str
    generator: Generator

    def fields(self, payload_type: str) -> dict:
        """Give a valid payload."""
        new = PrivateKey.generate().id
        about = {
            "colonyid": self.colony,
            "runtimeid": self.runtime,
            "processid": self.process,
            "attributeid": self.attribute,
            "processgraphid": self.graph,
            "cronid": self.cron,
            "generatorid": self.generator.generator_id,
            "generatorname": self.generator.name,
        }
        recurring = {"colonyid": self.colony, "name": new, "workflowspec": ONE}
        special = {
            "addcolonymsg": {"colony": {"colonyid": new}},
            "addruntimemsg": {"runtime": {"runtimeid": new, "colonyid": self.colony, "name": new}},
            "labelruntimemsg": {"colonyid": self.colony, "labels": {"os": "linux"}},
            "updateruntimemsg": {
                "colonyid": self.colony,
                "runtimeid": self.runtime,
                "figures": {"cores": 1, "mem": 1, "gpus": 1},
            },
            "addfunctionmsg": {"colonyid": self.colony, "function": {"name": "f"}},
            "removefunctionmsg": {"colonyid": self.colony, "name": "f"},
            "submitprocessespecmsg": {"spec": {"conditions": {"colonyid": self.colony}}},
            "submitprocessesmsg": {
                "colonyid": self.colony,
                "specs": [{"conditions": {"colonyid": self.colony}}],
            },
            "closeprocessesmsg": {"ends": [{"processid": self.process}]},
            "addlogsmsg": {"appends": [{"processid": self.process, "number": 1}]},
            "assignprocessmsg": {"colonyid": self.colony, "timeout": -1},
            "addattributemsg": {"attribute": {"targetid": self.process, "key": new}},
            "submitworkflowspecmsg": {
                "spec": {"colonyid": self.colony, "processspecs": [{"name": "a"}]}
            },
            "addchildmsg": {"processid": self.parent, "spec": {}},
            "rescueprocessgraphmsg": {"processgraphid": self.broken},
            "addcronmsg": {"cron": {**recurring, "interval": 9}},
            "addgeneratormsg": {"generator": {**recurring, "trigger": 9}},
            "unsubscribemsg": {"subscription": "existing"},
        }
        return special.get(payload_type, about)


@pytest.fixture
def keys(people) -> dict[str, PrivateKey]:
    return {
        "server": people.server_owner,
        "owner": people.colony_owner,
        "runtime": people.runtime,
        "fellow": PrivateKey.generate(),
        "pending": people.pending,
        "foreign": people.foreigner,
        "stranger": people.stranger,
    }


@pytest.fixture
async def fellow(client: Colonies, colony, keys) -> None:
    await add_runtime(client, keys["owner"], keys["fellow"])


@pytest.fixture
async def world(member: Colonies, fellow) -> World:
    return await make_world(member)


async def make_world(member: Colonies) -> World:
    colony_id = member.settings.colony_id
    # Of a workflow: one that waits, one that runs, one that has failed.
    conditions = Conditions(runtime_type="cli")
    workflow = WorkflowSpec(
        colony_id=colony_id,
        process_specs=[ProcessSpec(name="work", priority=9, conditions=conditions)],
    )
    broken = await member.submit_workflow_spec(workflow)
    failing = await member.assign_process(timeout=-1, latest=True)
    await member.close_failed(failing.process_id)
    await member.submit_workflow_spec(workflow)
    parent = await member.assign_process(timeout=-1, latest=True)
    graph = await member.submit_workflow_spec(
        WorkflowSpec(
            colony_id=colony_id,
            process_specs=[ProcessSpec(name="work", conditions=conditions)],
        )
    )
    running = await member.submit("work", runtime_type="cli", priority=99)
    await member.submit("work", runtime_type="cli")
    process = await member.assign_process(timeout=-1)
    assert process.process_id == running.id
    attribute = await member.add_attribute(process.process_id, "old", "value")
    named = {"colony_id": process.colony_id, "name": new_id(), "workflow_spec": ONE}
    cron = await member.add_cron(Cron(**named, interval=9))
    generator = await member.add_generator(Generator(**named, trigger=9))
    return World(
        colony=process.colony_id,
        runtime=process.assigned_runtime_id,
        process=process.process_id,
        attribute=attribute.attribute_id,
        graph=graph.process_graph_id,
        parent=parent.process_id,
        broken=broken.process_graph_id,
        cron=cron.cron_id,
        generator=generator,
    )


def test_the_table_has_a_row_for_every_rpc_and_no_other():
    assert OUTCOMES.keys() == make_table().keys()


@pytest.mark.parametrize("payload_type", OUTCOMES)
async def test_the_rule_of_the_rpc_decides(
    payload_type: str, member: Colonies, fellow, socket: Talk, keys
):
    expected = dict(zip(PERSONAS, OUTCOMES[payload_type], strict=True))
    found = {}
    # Who may goes last: it may well be the end of the world.
    for persona in sorted(PERSONAS, key=lambda one: expected[one] == OK):
        world = await make_world(member)
        if payload_type == "unsubscribemsg":
            await socket.ask("subscribeprocessesmsg", {}, keys["runtime"], "existing")
        asked = world.fields(payload_type)
        found[persona] = await outcome(socket, payload_type, asked, keys[persona], persona)
    assert found == expected


async def outcome(
    socket: Talk, payload_type: str, fields: dict, key: PrivateKey | None, id_: str = "q"
) -> int:
    try:
        await socket.ask(payload_type, fields, key, id_)
    except Failure as failure:
        return failure.status
    return OK


@pytest.mark.parametrize("payload_type", [name for name in OUTCOMES if name != "versionmsg"])
async def test_nobody_may_call_unsigned(payload_type: str, world: World, socket: Talk):
    assert await outcome(socket, payload_type, world.fields(payload_type), None) == 403


async def test_unknown_ids_cannot_be_told_from_those_of_another_colony(
    world: World, socket: Talk, keys
):
    theirs, absent = [], []
    for payload_type in ("getprocessmsg", "getruntimemsg", "getattributemsg"):
        fields = world.fields(payload_type)
        unknown = dict.fromkeys(fields, "f" * 64)
        for answers, asked in ((theirs, fields), (absent, unknown)):
            with pytest.raises(Failure) as refusal:
                await socket.ask(payload_type, asked, keys["foreign"])
            answers.append((refusal.value.status, refusal.value.code, refusal.value.field))
    assert theirs == absent


async def test_a_rejected_runtime_may_do_no_more_than_a_pending_one(
    world: World, socket: Talk, client: Colonies, keys
):
    await client.acting_as(keys["owner"]).reject_runtime(keys["runtime"].id)
    for payload_type, outcomes in OUTCOMES.items():
        fields = world.fields(payload_type)
        if payload_type != "unsubscribemsg":
            expected = outcomes[PERSONAS.index("pending")]
            assert await outcome(socket, payload_type, fields, keys["runtime"]) == expected, (
                payload_type
            )


async def test_the_owner_of_a_colony_that_is_gone_owns_nothing(
    world: World, socket: Talk, client: Colonies, keys
):
    await client.acting_as(keys["server"]).delete_colony(world.colony)
    for payload_type, outcomes in OUTCOMES.items():
        if payload_type != "unsubscribemsg":
            expected = outcomes[PERSONAS.index("stranger")]
            fields = world.fields(payload_type)
            assert await outcome(socket, payload_type, fields, keys["owner"]) == expected, (
                payload_type
            )


async def test_one_key_may_be_a_runtime_of_one_colony_and_the_owner_of_another(
    world: World, client: Colonies, people, keys
):
    await add_runtime(client, people.colony_owner, people.other_owner)
    both = client.acting_as(people.other_owner)
    assert len(await both.get_runtimes(people.colony_owner.id)) == 4
    assert len(await both.get_runtimes(people.other_owner.id)) == 1
    assert (await both.get_process(world.process)).process_id == world.process
    await both.approve_runtime(people.foreigner.id)
    caller = await both.get_caller()
    assert [one.is_owner for one in caller.memberships] == [False, True]
