"""What becomes of a graph when its processes end, however they do."""

import asyncio
from functools import partial

import pytest

from colonies.core.process import State
from colonies.core.workflow import OnFailure
from colonies.server.app import Server
from colonies.server.metrics import Metrics
from colonies.server.retention import Keep, sweep
from tests.server.doors import blocked, idle
from tests.server.graphs import change, started
from tests.server.hubs import acquainted, reaching
from tests.server.leases import OVER, expired

WAITING, RUNNING, SUCCESS, FAILED, CANCELLED = State


@pytest.fixture
def start(member, colony):
    return partial(started, member)


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
    ("what", "state", "text"),
    [
        ("exec_deadline = " + OVER, FAILED, "failed"),
        (f"leased_until = {OVER}, lease = 1", FAILED, "failed"),
        (f"cancelled_by = 'x', cancel_time = {OVER} - interval '1 h'", CANCELLED, "was cancelled"),
    ],
)
async def test_times_that_are_over_have_the_effect_of_a_close(
    *, start, server, sql, what, state, text
):  # fmt: skip
    graph = await start(a="", b="a", c="")
    await graph.take("a", "c")
    await change(sql, graph, "a", what)
    changed = {one.spec.name: one for one in await expired(server.db)}
    assert {name: one.state for name, one in changed.items()} == {"a": state, "b": state}
    assert changed["b"].errors == [f"parent {graph.ids['a']} {text}"]
    await graph.succeed("c")
    assert (await graph.now()).state is state


async def test_who_waits_too_long_fails_even_while_waiting_for_parents(start, server, sql):
    graph = await start(a="", b="a", c="b")
    await change(sql, graph, "b", "wait_deadline = " + OVER)
    await expired(server.db)
    assert await graph.states() == "aw bf cf"
    assert (await graph.get("b")).errors == ["Maximum waiting time limit exceeded"]
    assert (await graph.now()).state is WAITING
    await graph.take("a")
    await graph.succeed("a")
    assert (await graph.now()).state is FAILED


async def test_what_returns_to_the_queue_changes_nothing_in_its_graph(start, server, sql):
    graph = await start(a="", b="a")
    await graph.take("a")
    started = (await graph.now()).start_time
    await change(sql, graph, "a", f"exec_deadline = {OVER}, max_retries = 1")
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


async def test_a_graph_is_kept_as_long_as_it_has_ended_and_then_goes_whole(start, db, sql):
    graph = await start(a="", b="a")
    await graph.take("a")
    await graph.succeed("a")
    metrics, a_day = Metrics.create(), Keep(1, 1, 1)
    await sql.execute("UPDATE processes SET end_time = now() - interval '9 days' WHERE state = 2")
    assert not await sweep(db, a_day, metrics)
    assert (await graph.now()).state is RUNNING
    await graph.take("b")
    await graph.succeed("b")
    assert not await sweep(db, a_day, metrics)
    assert (await graph.now()).state is SUCCESS
    await sql.execute("UPDATE process_graphs SET end_time = now() - interval '25 hours'")
    assert await sweep(db, a_day, metrics, batch=2)
    assert await sql.fetchval("SELECT count(*) FROM processes") == 0
    assert await sql.fetchval("SELECT count(*) FROM process_graphs") == 0


async def test_why_names_the_parents_that_are_waited_for(start, member):
    graph = await start(a="", b="", c="a b")
    await graph.take("a", "b")
    await graph.succeed("b")
    assert (await member.why(graph.ids["c"])).reasons == ["waiting for parents a"]


async def test_a_child_that_can_start_wakes_whoever_waits_at_another_hub(
    start, server, settings, member
):
    graph = await start(a="", b="a")
    await graph.take("a")
    async with Server(settings) as other, reaching(other, member.key) as there:
        await acquainted(server, other)
        waiting = asyncio.ensure_future(there.assign_process(timeout=60))
        await idle(other, 1)
        await graph.succeed("a", "x")
        b = await waiting
    assert (b.spec.name, b.input) == ("b", ["x"])


@pytest.mark.parametrize("by", ["close", "deadline"])
async def test_what_cancels_others_that_run_waits_for_none_while_it_holds_a_later_one(
    *, start, server, sql, by
):
    """A renewal holds the first of what runs; it may want the last, which is to fail."""
    graph = await start(OnFailure.CANCEL, a="", b="", c="")
    await graph.take("a", "b", "c")
    first, *_, last = sorted(graph.ids, key=graph.ids.__getitem__)
    lock = "SELECT FROM processes WHERE process_id = $1 FOR UPDATE"
    await change(sql, graph, last, "exec_deadline = " + OVER)
    async with sql.transaction():
        await sql.execute(lock, graph.ids[first])
        ending = asyncio.ensure_future(graph.fail(last) if by == "close" else expired(server.db))
        await blocked(sql)
        await sql.execute(f"{lock} NOWAIT", graph.ids[last])
    await ending
    assert (await graph.get(last)).state is FAILED
    assert (await graph.get(first)).is_cancelling
