"""What becomes of a graph when its processes end, however they do."""

import pytest

from colonies.core.errors import NothingToAssign
from colonies.core.process import Process, State
from colonies.core.process_graph import ProcessGraph
from colonies.core.workflow import OnFailure
from tests.server.leases import OVER, expired
from tests.server.rpc.test_workflow import workflow

WAITING, RUNNING, SUCCESS, FAILED, CANCELLED = State


class Graph:
    """A workflow under way, by the names of its processes."""

    def __init__(self, member, sql, graph: ProcessGraph, ids: dict[str, str]) -> None:
        self.member = member
        self.sql = sql
        self.id = graph.process_graph_id
        self.ids = ids

    async def get(self, name: str) -> Process:
        return await self.member.get_process(self.ids[name])

    async def now(self) -> ProcessGraph:
        return await self.member.get_process_graph(self.id)

    async def states(self) -> str:
        """Give a letter a process: w, r, s, f or c."""
        names = {node.data.label: node.data.state for node in (await self.now()).nodes}
        return " ".join(f"{name}{state.name[0].lower()}" for name, state in sorted(names.items()))

    async def take(self, *names: str) -> None:
        """Be assigned exactly these, in any order."""
        taken = {(await self.member.assign_process(timeout=-1)).spec.name for _ in names}
        assert taken == set(names)

    async def nothing_to_take(self) -> None:
        with pytest.raises(NothingToAssign):
            await self.member.assign_process(timeout=-1)

    async def succeed(self, name: str, *output: str) -> None:
        await self.member.close_successful(self.ids[name], output)

    async def fail(self, name: str) -> None:
        await self.member.close_failed(self.ids[name], ["broken"])

    async def set(self, name: str, change: str) -> None:
        await self.sql.execute(
            f"UPDATE processes SET {change} WHERE process_id = $1", self.ids[name]
        )


@pytest.fixture
def start(member, colony, sql):
    async def start(on_failure: OnFailure = OnFailure.CONTINUE, **dependencies: str) -> Graph:
        spec = workflow(colony, on_failure=on_failure, **dependencies)
        graph = await member.submit_workflow_spec(spec)
        drawn = await member.get_process_graph(graph.process_graph_id)
        return Graph(member, sql, graph, {one.data.label: one.id for one in drawn.nodes})

    return start


async def test_a_child_is_in_the_queue_when_the_last_of_its_parents_has_succeeded(start):
    r"""::

    a ─┬▶ b ─┬▶ d
       └▶ c ─┘
    """
    graph = await start(a="", b="a", c="a", d="c b")
    await graph.take("a")
    await graph.nothing_to_take()
    await graph.succeed("a", "1", "2")
    await graph.take("b", "c")
    assert (await graph.get("b")).input == ["1", "2"]
    await graph.succeed("b", "from b")
    await graph.nothing_to_take()
    await graph.succeed("c", "from c", "too")
    await graph.take("d")
    d = await graph.get("d")
    assert d.input == ["from c", "too", "from b"]
    assert d.input_by_parent == {"c": ["from c", "too"], "b": ["from b"]}
    await graph.succeed("d")
    assert await graph.states() == "as bs cs ds"


async def test_a_parent_that_gives_nothing_has_its_place_in_the_input(start):
    graph = await start(a="", b="", c="", d="a b c")
    await graph.take("a", "b", "c")
    for name, output in (("c", ["3"]), ("b", []), ("a", ["1"])):
        await graph.succeed(name, *output)
    assert (await graph.get("d")).input_by_parent == {"a": ["1"], "b": [], "c": ["3"]}


async def test_a_graph_starts_with_its_first_process_and_ends_with_its_last(start):
    graph = await start(a="", b="a")
    before = await graph.now()
    assert before.state is WAITING
    await graph.take("a")
    a = await graph.get("a")
    running = await graph.now()
    assert (running.state, running.start_time) == (RUNNING, a.start_time)
    await graph.succeed("a")
    await graph.take("b")
    await graph.succeed("b")
    ended = await graph.now()
    b = await graph.get("b")
    assert (ended.state, ended.start_time, ended.end_time) == (SUCCESS, a.start_time, b.end_time)
    assert (ended.members, ended.successful, ended.failed, ended.cancelled) == (2, 2, 0, 0)
    listed = await graph.member.get_process_graphs(state=SUCCESS)
    assert [one.process_graph_id for one in listed] == [graph.id]


async def test_a_start_that_nobody_noted_is_made_good_by_the_first_end(start, sql):
    graph = await start(a="", b="a")
    await graph.take("a")
    await sql.execute("UPDATE process_graphs SET state = 0, start_time = NULL")
    await graph.succeed("a")
    running = await graph.now()
    assert (running.state, running.start_time) == (RUNNING, (await graph.get("a")).start_time)


async def test_what_depends_on_a_failure_fails_and_what_does_not_goes_on(start):
    r"""::

    a ─┬▶ b ─▶ d ─▶ e
       └▶ c ─────────▶ f      f waits for b, too
    """
    graph = await start(a="", b="a", c="a", d="b", e="d", f="c b")
    await graph.take("a")
    await graph.succeed("a")
    await graph.take("b", "c")
    await graph.fail("b")
    assert await graph.states() == "as bf cr df ef ff"
    d, e, f = [await graph.get(name) for name in "def"]
    assert d.errors == f.errors == [f"parent {graph.ids['b']} failed"]
    assert e.errors == [f"parent {graph.ids['d']} failed"]
    b = await graph.get("b")
    assert b.end_time == d.end_time == e.end_time
    assert (await graph.now()).state is RUNNING
    await graph.succeed("c", "x")
    ended = await graph.now()
    assert (ended.state, ended.successful, ended.failed) == (FAILED, 2, 4)


async def test_one_that_shall_not_go_on_after_a_failure_is_cancelled(start):
    graph = await start(OnFailure.CANCEL, a="", b="", c="", d="a", e="c")
    await graph.take("a", "b")
    await graph.fail("a")
    assert await graph.states() == "af br cc df ec"
    b, c = await graph.get("b"), await graph.get("c")
    assert b.is_cancelling
    assert c.errors == [f"cancelled by workflow {graph.id}: a failed"]
    await graph.fail("b")
    ended = await graph.now()
    assert (ended.state, ended.failed, ended.cancelled) == (FAILED, 2, 3)


async def test_what_depends_on_something_cancelled_is_cancelled(start):
    graph = await start(a="", b="a", c="b", d="")
    await graph.member.cancel_process(graph.ids["b"], "no")
    assert await graph.states() == "aw bc cc dw"
    assert (await graph.get("c")).errors == [f"parent {graph.ids['b']} was cancelled"]
    await graph.take("a", "d")
    await graph.succeed("a")
    await graph.succeed("d")
    assert (await graph.now()).state is CANCELLED


async def test_one_that_is_stopped_takes_its_children_with_it_when_it_has_stopped(start):
    graph = await start(a="", b="a")
    await graph.take("a")
    await graph.member.cancel_process(graph.ids["a"])
    assert await graph.states() == "ar bw"
    await graph.fail("a")
    assert await graph.states() == "ac bc"
    assert (await graph.now()).state is CANCELLED


@pytest.mark.parametrize(
    ("change", "state", "text"),
    [
        ("exec_deadline = " + OVER, FAILED, "failed"),
        (f"leased_until = {OVER}, lease = 1", FAILED, "failed"),
        (f"cancelled_by = 'x', cancel_time = {OVER} - interval '1 h'", CANCELLED, "was cancelled"),
    ],
)
async def test_times_that_are_over_have_the_effect_of_a_close(start, server, change, state, text):
    graph = await start(a="", b="a", c="")
    await graph.take("a", "c")
    await graph.set("a", change)
    changed = {one.spec.name: one for one in await expired(server.db)}
    assert {name: one.state for name, one in changed.items()} == {"a": state, "b": state}
    assert changed["b"].errors == [f"parent {graph.ids['a']} {text}"]
    await graph.succeed("c")
    assert (await graph.now()).state is state


async def test_who_waits_too_long_fails_even_while_waiting_for_parents(start, server):
    graph = await start(a="", b="a", c="b")
    await graph.set("b", "wait_deadline = " + OVER)
    await expired(server.db)
    assert await graph.states() == "aw bf cf"
    assert (await graph.get("b")).errors == ["Maximum waiting time limit exceeded"]
    assert (await graph.now()).state is WAITING
    await graph.take("a")
    await graph.succeed("a")
    assert (await graph.now()).state is FAILED


async def test_what_returns_to_the_queue_changes_nothing_in_its_graph(start, server):
    graph = await start(a="", b="a")
    await graph.take("a")
    started = (await graph.now()).start_time
    await graph.set("a", f"exec_deadline = {OVER}, max_retries = 1")
    await expired(server.db)
    assert await graph.states() == "aw bw"
    await graph.take("a")
    await graph.succeed("a")
    assert (await graph.now()).start_time == started


async def test_the_deletion_of_a_runtime_that_was_to_stop_something_ends_it(start, client, people):
    graph = await start(a="", b="a")
    await graph.take("a")
    await graph.member.cancel_process(graph.ids["a"])
    owner = client.acting_as(people.colony_owner)
    await owner.delete_runtime(people.runtime.id)
    graph.member = owner
    assert await graph.states() == "ac bc"


async def test_the_first_close_wins_and_counts_once(start):
    graph = await start(a="", b="a", c="a b")
    await graph.take("a")
    for _ in range(2):
        await graph.succeed("a", "x")
    assert (await graph.now()).successful == 1
    await graph.take("b")
    await graph.nothing_to_take()


async def test_those_who_wait_are_told_of_a_child_that_can_start(start, member, server):
    graph = await start(a="", b="a")
    await graph.take("a")
    changes = await member.subscribe_processes("cli", states=[WAITING])
    await graph.succeed("a")
    pushed = await anext(changes)
    assert (pushed.spec.name, pushed.wait_for_parents) == ("b", False)
