"""``colonies workflow``, as people type it."""

import json
from functools import partial

import pytest

from tests.cli.conftest import at_terminal
from tests.server.graphs import started


@pytest.fixture
def start(member, colony):
    return partial(started, member)


def file_of(tmp_path, value) -> str:
    path = tmp_path / "workflow.json"
    path.write_text(json.dumps(value))
    return str(path)


def member_of(name: str, *dependencies: str) -> dict:
    conditions = {"runtimetype": "cli", "dependencies": list(dependencies)}
    return {"name": name, "func": name, "conditions": conditions}


@pytest.fixture
def diamond(tmp_path) -> str:
    """The bare list that v1's command line takes."""
    members = [member_of("a"), member_of("b", "a"), member_of("c", "a"), member_of("d", "b", "c")]
    return file_of(tmp_path, members)


async def test_a_workflow_is_submitted_and_drawn(shell, diamond, member):
    submitted = await shell("workflow", "submit", "--spec", diamond)
    workflow_id = submitted.out.strip()
    a = await member.assign_process(timeout=-1)
    drawn = await shell("workflow", "get", workflow_id)
    lines = drawn.out.splitlines()
    assert lines[0] == f"workflow   {workflow_id}"
    assert lines[1] == "state      running: 0 of 4 successful"
    picture = [line.split("  ")[0] for line in lines[lines.index("") + 1 :]]
    assert picture == ["▶ a", "├─○ b", "○ │ c", "○─╯ d"]
    assert drawn.rows[-4][2:] == ["running", a.process_id]
    graph = (await shell("workflow", "get", workflow_id, "--json")).answer
    assert len(graph["nodes"]) == 4
    listed = await shell("workflow", "ls", "--state", "running")
    assert listed.rows[1][:3] == [workflow_id, "running", "4"]
    assert len((await shell("workflow", "ls", "--state", "waiting")).rows) == 1


async def test_an_object_says_what_becomes_of_the_rest(shell, tmp_path):
    value = {"processspecs": [member_of("a")], "onfailure": "cancel"}
    file = file_of(tmp_path, value)
    answer = (await shell("workflow", "submit", "--spec", file, "--json")).answer
    assert answer["onfailure"] == "cancel"
    dry = await shell("workflow", "submit", "--spec", file, "--on-failure", "continue", "--dry-run")
    assert dry.out == "a workflow of 1 processes\n"
    assert len((await shell("workflow", "ls")).rows) == 2


async def test_a_dry_run_says_what_would_be_too_large(shell, tmp_path):
    large = {**member_of("a"), "args": ["x" * 800_000]}
    file = file_of(tmp_path, [large])
    said = await shell.refuses("workflow", "submit", "--spec", file, "--dry-run", status=2)
    assert "is too large: expected at most 1048576" in said
    spec = tmp_path / "spec.json"
    spec.write_text(json.dumps(large))
    words = ("process", "submit", "--spec", str(spec))
    said = [await shell.refuses(*words, *more, status=2) for more in ((), ("--dry-run",))]
    limit = "is too large: expected at most 1048576 bytes, max_message_bytes here and at the hub"
    assert [limit in one for one in said] == [True, True]
    assert [one.startswith("a message of 10") for one in said] == [True, True]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([], "expected at least one process"),
        ([member_of("a", "b")], "'a' depends on 'b', which is not there"),
        ([member_of("a"), {**member_of("b"), "fnc": 1}], "processspecs[1].fnc"),
        ([{"name": "a"}], "processspecs[0]: func: what shall be done?"),
        ([{"name": "a", "func": "f"}], "processspecs[0].func: who may run it? No runtime"),
        ([member_of("a") | {"conditions": {"colonyid": "x"}}], "'a' runs in"),
        ({"processes": []}, "processes: there is no such field"),
        ([{"name": 1}], "processspecs[0].name"),
        ("text", "expected"),
    ],
)
async def test_what_is_wrong_in_a_file_is_named(shell, tmp_path, value, said):
    file = file_of(tmp_path, value)
    assert said in await shell.refuses("workflow", "submit", "--spec", file, status=2)


async def test_the_end_is_waited_for_and_a_failure_is_said(shell, start):
    graph = await start(a="", b="a")
    async with shell.started("workflow", "wait", graph.id) as process:
        await graph.take("a")
        await graph.fail("a")
        out, err = await process.communicate()
    assert process.returncode == 1
    assert b"failed: 0 of 2 successful, 2 failed" in out
    assert err.decode().splitlines() == ["a: broken", f"b: parent {graph.ids['a']} failed"]
    waited = await shell("workflow", "wait", graph.id, status=1)
    assert waited.err.startswith("a: broken")


async def test_who_looks_sees_how_far_it_is_and_what_holds_it_up(shell, start):
    graph = await start(a="", b="a")
    await graph.take("a")
    await graph.succeed("a")
    async with at_terminal(shell, "workflow", "wait", graph.id) as terminal:
        await terminal.until("1/2")
        await terminal.until("b is waiting: ")
        await graph.take("b")
        await graph.succeed("b")
        assert "success: 2 of 2 successful" in await terminal.rest()
    assert terminal.status == 0


async def test_time_runs_out(shell, start):
    graph = await start(a="", b="", c="a", d="b c", e="a")
    await graph.take("a")
    said = await shell.refuses("workflow", "wait", graph.id, "--within", "0.5", status=124)
    unended, reasons = said.split("; ", 1)
    assert unended.endswith("has not ended after 0.5 s: 0 of 5 successful")
    assert reasons.startswith("a is running: ")
    assert "b is waiting: " in reasons
    assert "d is" not in reasons


async def test_what_failed_is_tried_again_with_other_arguments(shell, start):
    graph = await start(a="", b="")
    await graph.take("a", "b")
    await graph.succeed("a")
    await graph.fail("b")
    edit = ["--args", 'b=["x", 2]', "--args", 'b={"k": "1", "n": [1]}']
    rescued = await shell("workflow", "rescue", graph.id, *edit)
    assert "running: 1 of 2 successful" in rescued.out
    spec = (await graph.get("b")).spec
    assert (spec.args, spec.kwargs) == (["x", "2"], {"k": '"1"', "n": "[1]"})
    await shell.refuses("workflow", "rescue", graph.id, status=6)
    for wrong in ("b", "b=x", "b=7"):
        await shell("workflow", "rescue", graph.id, "--args", wrong, status=2)


async def test_one_is_cancelled_and_deleted(shell, start):
    graph = await start(a="", b="a")
    cancelled = await shell("workflow", "cancel", graph.id, "--reason", "enough")
    assert "cancelled: 0 of 2 successful, 2 cancelled" in cancelled.out
    await shell.refuses("workflow", "cancel", graph.id, status=6)
    await shell("workflow", "rm", graph.id)
    await shell.refuses("workflow", "get", graph.id, status=4)
    await start(c="")
    assert (
        "nothing was deleted"
        in (await shell("workflow", "rm", "--all", stdin=b"n\n", status=2)).err
    )
    await shell("workflow", "rm", "--all", "--yes")
    assert len((await shell("workflow", "ls")).rows) == 1
