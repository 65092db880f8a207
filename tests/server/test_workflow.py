"""What is asked of workflows as a whole, and children that are added while they run."""

from functools import partial
from itertools import pairwise

import pytest

from colonies.core.errors import (
    Conflict,
    Forbidden,
    Malformed,
    NotFound,
    StaleAttempt,
)
from colonies.core.process import ProcessSpec, State
from colonies.core.wire import ZERO_TIME
from colonies.core.workflow import MAX_MEMBERS, Edit
from tests.server.graphs import change, started
from tests.server.leases import OVER, expired

WAITING, RUNNING, SUCCESS, FAILED, CANCELLED = State


@pytest.fixture
def start(member, colony):
    return partial(started, member)


class TestChildrenAddedOnTheWay:
    """A process that runs may add others to its workflow."""

    async def test_one_can_start_beside_its_parent_or_wait_for_it(self, start):
        graph = await start(a="", b="a")
        await graph.take("a")
        beside = await graph.add("a", "beside")
        after = await graph.add("a", "after", wait_for_parents=True)
        assert beside.parents == after.parents == [graph.ids["a"]]
        assert beside.spec.conditions.dependencies == ["a"]
        assert (await graph.now()).members == 4
        await graph.take("beside")
        await graph.nothing_to_take()
        await graph.succeed("a", "x")
        await graph.take("b", "after")
        assert (await graph.get("after")).input_by_parent == {"a": ["x"]}
        for name in ("b", "after"):
            await graph.succeed(name)
        assert (await graph.now()).state is RUNNING
        await graph.succeed("beside")
        assert (await graph.now()).state is SUCCESS

    async def test_at_depth(self, start):
        graph = await start(a="")
        names = ["a", "b", "c", "d"]
        for parent, child in pairwise(names):
            await graph.take(parent)
            await graph.add(parent, child, wait_for_parents=child == "c")
            if child == "c":
                await graph.succeed(parent)
        await graph.take("d")
        for name in ("a", "c", "d"):
            await graph.succeed(name)
        assert await graph.states() == "as bs cs ds"
        assert (await graph.now()).state is SUCCESS

    async def test_of_a_parent_that_fails_what_has_not_started_fails_and_what_runs_goes_on(
        self, start
    ):
        graph = await start(a="")
        await graph.take("a")
        await graph.add("a", "runs")
        await graph.take("runs")
        await graph.add("a", "waits")
        await graph.add("runs", "below", wait_for_parents=True)
        await graph.fail("a")
        assert await graph.states() == "af beloww runsr waitsf"
        await graph.succeed("runs")
        await graph.take("below")
        await graph.succeed("below")
        ended = await graph.now()
        assert (ended.state, ended.successful, ended.failed) == (FAILED, 2, 2)

    async def test_only_the_runtime_that_runs_the_parent_may_and_only_while_it_runs(self, start):
        graph = await start(a="", b="")
        with pytest.raises(Forbidden):
            await graph.add("a", "c")
        await graph.take("a", "b")
        with pytest.raises(StaleAttempt):
            await graph.add("a", "c", attempt_token="0" * 16)
        with pytest.raises(Malformed, match="processgraphid"):
            await graph.add("a", "c", process_graph_id="f" * 64)
        await graph.succeed("a")
        with pytest.raises(Conflict):
            await graph.add("a", "c")
        await graph.member.cancel_process(graph.ids["b"])
        with pytest.raises(Conflict, match="is to stop"):
            await graph.add("b", "c")
        assert (await graph.now()).members == 2

    async def test_a_process_of_no_workflow_has_no_children(self, member):
        await member.submit("work", runtime_type="cli")
        process = await member.assign_process(timeout=-1)
        with pytest.raises(Conflict, match="of no workflow"):
            await member.add_child(process.process_id, ProcessSpec(name="c"))

    async def test_a_graph_that_is_full_takes_no_more(self, start, sql):
        graph = await start(a="")
        await graph.take("a")
        await sql.execute("UPDATE process_graphs SET members = $1", MAX_MEMBERS)
        with pytest.raises(Conflict, match="10000"):
            await graph.add("a", "c")
        assert (await graph.get("a")).children == []


class TestCancel:
    async def test_what_waits_is_cancelled_and_what_runs_is_told_to_stop(self, start):
        graph = await start(a="", b="", c="a b")
        await graph.take("a")
        cancelled = await graph.member.cancel_process_graph(graph.id, "enough")
        assert (cancelled.state, cancelled.cancelled) == (RUNNING, 2)
        assert await graph.states() == "ar bc cc"
        a, b = await graph.get("a"), await graph.get("b")
        assert (a.is_cancelling, a.cancel_reason) == (True, "enough")
        assert b.errors == [f"cancelled by {graph.member.key.id}: enough"]
        await graph.member.cancel_process_graph(graph.id)
        await graph.fail("a")
        assert (await graph.now()).state is CANCELLED
        with pytest.raises(Conflict, match="has ended: cancelled"):
            await graph.member.cancel_process_graph(graph.id)

    async def test_one_that_has_not_started_ends_at_once(self, start):
        graph = await start(a="", b="a")
        ended = await graph.member.cancel_process_graph(graph.id)
        assert (ended.state, ended.start_time) == (CANCELLED, ZERO_TIME)
        assert ended.end_time == (await graph.get("b")).end_time


class TestRescue:
    async def test_only_what_has_not_succeeded_is_tried_again(self, start):
        r"""::

        a ─┬▶ b ─┬▶ d        b fails, and d with it
           └▶ c ─┘
        """
        graph = await start(a="", b="a", c="a", d="b c")
        await graph.take("a")
        await graph.succeed("a", "from a")
        await graph.take("b", "c")
        await graph.fail("b")
        await graph.succeed("c", "from c")
        rescued = await graph.member.rescue_process_graph(graph.id)
        assert (rescued.state, rescued.successful, rescued.failed) == (RUNNING, 2, 0)
        assert rescued.end_time == ZERO_TIME
        assert await graph.states() == "as bw cs dw"
        await graph.take("b")
        b = await graph.get("b")
        assert (b.attempt, b.errors, b.input) == (2, [], ["from a"])
        await graph.succeed("b", "from b")
        await graph.take("d")
        assert (await graph.get("d")).input == ["from b", "from c"]
        await graph.succeed("d")
        ended = await graph.now()
        assert (ended.state, ended.successful) == (SUCCESS, 4)

    async def test_what_was_tried_stays_in_the_history(self, start):
        graph = await start(a="")
        await graph.take("a")
        await graph.fail("a")
        await graph.member.rescue_process_graph(graph.id)
        events = await graph.member.get_process_events(graph.ids["a"])
        assert [one.event for one in events] == ["submitted", "assigned", "failed"]

    async def test_with_other_arguments(self, start):
        graph = await start(a="", b="a")
        await graph.take("a")
        await graph.fail("a")
        edits = {"a": Edit(args=["better"], kwargs={"k": "v"}), "b": Edit(args=[])}
        await graph.member.rescue_process_graph(graph.id, edits)
        a, b = await graph.get("a"), await graph.get("b")
        assert (a.spec.args, a.spec.kwargs, a.spec.func) == (["better"], {"k": "v"}, "a")
        assert (b.spec.args, b.spec.conditions.dependencies) == ([], ["a"])

    async def test_arguments_for_what_is_not_tried_again_are_refused(self, start):
        graph = await start(fetch="", other="")
        await graph.take("fetch", "other")
        await graph.succeed("other")
        await graph.fail("fetch")
        for name, hint in (("fetsh", "did you mean 'fetch'"), ("other", "not 'other'")):
            with pytest.raises(Malformed, match=hint) as refusal:
                await graph.member.rescue_process_graph(graph.id, {name: Edit(args=[])})
            assert refusal.value.field == f"edits.{name}"
        assert await graph.states() == "fetchf others"

    async def test_what_has_not_ended_or_ended_well_is_left_alone(self, start):
        graph = await start(a="", b="")
        await graph.take("a", "b")
        await graph.fail("a")
        with pytest.raises(Conflict, match="has not ended"):
            await graph.member.rescue_process_graph(graph.id)
        other = await start(c="")
        await graph.take("c")
        await other.succeed("c")
        with pytest.raises(Conflict, match="nothing to try again"):
            await graph.member.rescue_process_graph(other.id)

    async def test_who_waited_too_long_for_parents_gets_what_they_gave(self, start, server, sql):
        graph = await start(a="", b="a")
        await change(sql, graph, "b", "wait_deadline = " + OVER)
        await expired(server.db)
        await graph.take("a")
        await graph.succeed("a", "x")
        await graph.member.rescue_process_graph(graph.id)
        await graph.take("b")
        assert (await graph.get("b")).input_by_parent == {"a": ["x"]}


class TestDelete:
    async def test_all_of_it_goes_and_nothing_else(self, start, sql):
        graph, other = await start(a="", b="a"), await start(c="")
        await graph.member.delete_process_graph(graph.id)
        assert await sql.fetchval("SELECT count(*) FROM processes") == 1
        with pytest.raises(NotFound):
            await graph.now()
        assert (await other.now()).members == 1

    async def test_who_runs_or_follows_something_of_it_hears_of_it(self, start, member):
        graph = await start(a="", b="a")
        changes = await member.subscribe_process(graph.ids["b"], states=[SUCCESS])
        await member.delete_process_graph(graph.id)
        with pytest.raises(NotFound, match="was deleted"):
            await anext(changes)

    async def test_one_process_alone_is_not_deleted(self, start, member):
        graph = await start(a="", b="a")
        with pytest.raises(Conflict, match="cannot do without"):
            await member.delete_process(graph.ids["a"])

    async def test_all_graphs_of_a_colony_go_and_other_processes_stay(
        self, start, client, people, sql
    ):
        await start(a="", b="a")
        await start(c="")
        await client.acting_as(people.runtime).submit("work", runtime_type="cli")
        owner = client.acting_as(people.colony_owner)
        await owner.delete_all_process_graphs()
        assert await sql.fetchval("SELECT count(*) FROM processes") == 1
        assert await sql.fetchval("SELECT count(*) FROM process_graphs") == 0
        await start(d="")
        await owner.delete_all_processes()
        for table in ("processes", "process_graphs"):
            assert await sql.fetchval(f"SELECT count(*) FROM {table}") == 0

    @pytest.mark.parametrize("name", ["colony", "hub"])
    async def test_graphs_are_counted_by_state_and_go_with_their_colony(
        self, start, client, people, sql, name
    ):
        graph = await start(a="")
        await graph.take("a")
        await graph.fail("a")
        await start(b="")
        owner = client.acting_as(people.server_owner)
        mine = client.acting_as(people.colony_owner)
        found = await (mine.get_colony_stats() if name == "colony" else owner.get_statistics())
        assert (found.waiting_workflows, found.failed_workflows, found.running_workflows) == (
            1, 1, 0,
        )  # fmt: skip
        await owner.delete_colony(people.colony_owner.id)
        assert await sql.fetchval("SELECT count(*) FROM process_graphs") == 0
