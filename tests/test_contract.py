"""Client and hub mean the same: one method an RPC, and the same fields."""

import inspect
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from colonies.client.api import Colonies
from colonies.core import wire
from colonies.core.attribute import Attribute
from colonies.core.colony import Colony, Statistics
from colonies.core.cron import Cron
from colonies.core.envelope import Envelope, Reply, pack, seal, unpack
from colonies.core.errors import Misconfigured
from colonies.core.function import Function
from colonies.core.generator import Generator
from colonies.core.identity import PrivateKey
from colonies.core.log import Append
from colonies.core.process import AttemptEnd, Held, Process, ProcessSpec, State
from colonies.core.process_graph import ProcessGraph
from colonies.core.runtime import Figures, Runtime
from colonies.core.workflow import Edit, WorkflowSpec
from colonies.server import app
from colonies.settings import Settings

TABLE = app.make_table()
MISSPELLED = {"submitprocessespecmsg": "submit_process_spec"}
"""The one type that does not follow from the name: the reference's own misspelling."""

KEY = PrivateKey(f"{1:064x}")
COLONY = "c" * 64

# What each method is called with; the names are those of its parameters.
ARGUMENTS: dict[str, Any] = {
    "request": "r" * 22,
    "colony_id": COLONY,
    "name": "ours",
    "runtime": Runtime(runtime_id="f" * 64, colony_id=COLONY),
    "runtime_id": "f" * 64,
    "function": Function(name="f"),
    "process_id": "e" * 64,
    "attempt_token": "0123456789abcdef",
    "attribute_id": "a" * 64,
    "spec": ProcessSpec(),
    "process_graph_id": "b" * 64,
    "wait_for_parents": True,
    "edits": {"a": Edit(args=["x"])},
    "cron": Cron(colony_id=COLONY, name="each", interval=5),
    "cron_id": "b" * 64,
    "generator": Generator(colony_id=COLONY, name="words"),
    "generator_id": "b" * 64,
    "generator_name": "words",
    "arg": "a",
    "specs": [ProcessSpec()],
    "ends": [AttemptEnd(process_id="e" * 64, attempt_token="0123456789abcdef")],
    "appends": [Append(process_id="e" * 64, attempt_token="0123456789abcdef", number=1)],
    "position": 5,
    "state": State.WAITING,
    "states": [State.WAITING],
    "seconds": 5,
    "count": 5,
    "beginning": "abcd",
    "timeout": 5,
    "latest": True,
    "leased": True,
    "output": ["one"],
    "errors": ["one"],
    "labels": {"os": "linux"},
    "figures": Figures(cores=4, mem=1024, gpus=0),
    "key": "key",
    "value": "value",
    "kind": 1,
    "runtime_type": "cli",
    "credit": 3,
    "heartbeat": 5.0,
    "reason": "not needed any more",
    "subscription": "s1",
}

HELD = Held(process_id="e" * 64, attempt_token="0123456789abcdef")
# Asked anew at every subscription, given once to a renewal.
HOLDING = {"subscribeassignmentsmsg": lambda: [HELD], "renewmsg": [HELD]}

# Of the same name, but another thing.
V1 = """
    addattribute addchild addcolony addcron addgenerator addruntime approveruntime
    assignprocess closefailed closesuccessful deleteallprocesses deleteallprocessgraphs
    deletecolony deletecron deletegenerator deleteprocessgraph deleteprocess deleteruntime
    getattribute getcluster getcolonies getcolony getcolonystats getcron getcrons
    getgenerator getgenerators getprocesses getprocessgraph getprocessgraphs getprocesshist
    getprocess getruntime getruntimes getstatistics packgenerator rejectruntime
    resetdatabase resolvegenerator runcron submitprocessespec submitworkflowspec
    subscribeprocesses subscribeprocess version
"""
"""The 45 messages of v1."""

OTHERWISE = {
    "submitworkflowspecmsg": {"spec": WorkflowSpec()},
    "getprocessesmsg": {"after": [Process()]},
    "getprocessgraphsmsg": {"after": [ProcessGraph()]},
}

# The Structs inside a request, which the hub reads as narrower ones of its own.
INNER = {"colony", "runtime", "attribute", "spec", "cron", "generator", "function"}


def method_of(payload_type: str) -> str:
    """Give the method that asks for it: found, not guessed, as underscores are not in the type."""
    if payload_type in MISSPELLED:
        return MISSPELLED[payload_type]
    names = [
        name
        for name in dir(Colonies)
        if f"{name.replace('_', '')}msg" == payload_type and name[0] != "_"
    ]
    assert len(names) == 1, f"one client method for {payload_type}, not {names}"
    return names[0]


class Recorder:
    """A transport that notes what is asked and answers nothing of use."""

    has_served = is_closed = False

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    async def call(self, payload_type, fields, key, _timeout, *, req="") -> Reply:
        envelope = wire.decode(seal(payload_type, fields, key, req=req), Envelope)
        self.sent.append((payload_type, wire.decode(unpack(envelope.payload), dict)))
        return Reply(payload_type=payload_type, payload=pack(ANSWERS.get(payload_type, {})))

    async def close(self) -> None: ...


ANSWERS = {
    "getcallermsg": {"id": "x"},
    "unsubscribemsg": {"ended": True},
    "renewmsg": {"cancel": []},
    "submitprocessesmsg": ["e" * 64],
    "closeprocessesmsg": [{}],
    "addlogsmsg": [{}],
    "getlogsmsg": {"processid": "e" * 64},
    "getcoloniesmsg": [],
    "getruntimesmsg": [],
    "getfunctionsmsg": [],
    "getprocessesmsg": [],
    "getprocesshistmsg": [],
    "getprocesseventsmsg": [],
    "getprocessgraphsmsg": [],
    "getcronsmsg": [],
    "getgeneratorsmsg": [],
    "whymsg": {"processid": "e" * 64, "state": 0, "reasons": []},
}


async def ask(payload_type: str) -> dict[str, Any]:
    """Call the client's method with everything that it takes; give what it sent."""
    recorder = Recorder()
    client = Colonies(recorder, Settings(), KEY)
    if "subscribe" in payload_type:
        client._connection = lambda: Subscriber(recorder)
    method = getattr(client, method_of(payload_type))
    parameters = inspect.signature(method).parameters
    arguments = ARGUMENTS | {"holding": HOLDING.get(payload_type)} | OTHERWISE.get(payload_type, {})
    positional = [
        arguments[name] for name, one in parameters.items() if one.kind is not one.KEYWORD_ONLY
    ]
    keywords = {
        name: arguments[name] for name, one in parameters.items() if one.kind is one.KEYWORD_ONLY
    }
    await method(*positional, **keywords)
    ((sent, fields),) = recorder.sent
    assert sent == payload_type == fields.pop("msgtype")
    security = fields.pop("sec", {})
    reads = payload_type.startswith(("get", "resolve", "why", "version"))
    assert payload_type.startswith("subscribe") or len(security.get("req", "")) == 22 * (not reads)
    return fields


class Subscriber:
    """The one thing of a WebSocket that subscribing needs."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def forget(self, name) -> None: ...

    def make_stream(self, payload_type, fields, key, *, make=None, request=""):
        del make, request
        return payload_type, fields, key

    async def subscribe(self, stream, timeout) -> None:
        payload_type, fields, key = stream
        await self._recorder.call(payload_type, fields(), key, timeout)


@pytest.mark.parametrize("payload_type", TABLE)
def test_every_rpc_has_its_method_by_name(payload_type):
    assert inspect.iscoroutinefunction(getattr(Colonies, method_of(payload_type)))


@pytest.mark.parametrize("payload_type", TABLE)
def test_the_function_on_the_hub_has_the_same_name(payload_type):
    assert TABLE[payload_type].handler.__name__ == method_of(payload_type)


@pytest.mark.parametrize("payload_type", TABLE)
async def test_a_method_sends_exactly_fields_that_the_hub_knows(payload_type):
    sent = await ask(payload_type)
    known = {
        field.encode_name: field for field in msgspec.structs.fields(TABLE[payload_type].request)
    }
    assert sent.keys() <= known.keys()
    required = {name for name, field in known.items() if field.required}
    assert required <= sent.keys()
    wire.decode(wire.encode(sent), TABLE[payload_type].request)


def known_to_client(kind: type) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


@pytest.mark.parametrize("payload_type", TABLE)
def test_what_the_hub_reads_of_a_struct_is_a_part_of_it(payload_type):
    whole = {"colony": Colony, "runtime": Runtime, "attribute": Attribute, "spec": ProcessSpec}
    whole |= {"cron": Cron, "generator": Generator, "function": Function}
    whole |= {"spec": WorkflowSpec} if payload_type == "submitworkflowspecmsg" else {}
    for field in msgspec.structs.fields(TABLE[payload_type].request):
        if field.encode_name in INNER and isinstance(field.type, type):
            assert known_to_client(field.type) <= known_to_client(whole[field.encode_name])


@pytest.mark.parametrize("payload_type", TABLE)
def test_every_rpc_says_what_it_does_and_who_may(payload_type):
    rpc = TABLE[payload_type]
    assert rpc.doc.splitlines()[0].endswith(".")
    assert rpc.request.__doc__
    assert rpc.rule.who
    assert rpc.doors


def test_payload_types_are_lower_case_and_end_in_msg():
    assert all(re.fullmatch(r"[a-z]+msg", payload_type) for payload_type in TABLE)


async def test_without_a_colony_the_client_says_what_is_missing():
    with pytest.raises(Misconfigured, match="which colony"):
        await Colonies(Recorder(), Settings(), KEY).get_colony()


def test_all_that_v1_can_ask_is_answered():
    assert {f"{name}msg" for name in V1.split()} <= set(TABLE)


def test_the_protocol_page_names_every_rpc():
    page = (Path(__file__).parents[1] / "docs" / "protocol.md").read_text()
    assert [payload_type for payload_type in TABLE if payload_type not in page] == []


def test_structs_on_the_wire_have_the_keys_of_v1():
    assert list(wire.decode(wire.encode(Statistics()), dict))[:10] == [
        "colonies", "runtimes", "waitingprocesses", "runningprocesses", "successfulprocesses",
        "failedprocesses", "waitingworkflows", "runningworkflows", "successfulworkflows",
        "failedworkflows",
    ]  # fmt: skip
    assert list(wire.decode(wire.encode(Runtime()), dict))[:-1] == [
        "runtimeid", "runtimetype", "name", "colonyid", "cpu", "cores", "mem", "gpu", "gpus",
        "state", "commissiontime", "lastheardfromtime", "location",
    ]  # fmt: skip
    assert list(wire.decode(wire.encode(Attribute()), dict)) == [
        "attributeid", "targetid", "targetcolonyid", "targetprocessgraphid", "attributetype",
        "key", "value",
    ]  # fmt: skip
    assert Process.__struct_fields__[0] == "process_id"
    assert list(wire.decode(wire.encode(Cron()), dict))[:-2] == [
        "cronid", "colonyid", "name", "cronexpression", "interval", "random", "nextrun", "lastrun",
        "workflowspec", "prevprocessgraphid", "waitforprevprocessgraph", "checkerperiod",
    ]  # fmt: skip
    assert list(wire.decode(wire.encode(Generator()), dict))[:-3] == [
        "generatorid", "colonyid", "name", "workflowspec", "trigger", "lastrun", "queuesize",
        "checkerperiod",
    ]  # fmt: skip
