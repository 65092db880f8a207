"""What people see at a terminal: real ones, of 80 and of 120 columns."""

import signal
from datetime import UTC, datetime, timedelta

import pytest

from colonies.cli.drawing import age
from colonies.core.colony import Statistics
from colonies.core.process import Conditions, ProcessSpec, State
from colonies.core.wire import ZERO_TIME
from colonies.core.workflow import WorkflowSpec
from tests.cli.conftest import at_terminal

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (NOW - timedelta(milliseconds=10), "0s ago"),
        (NOW - timedelta(seconds=59), "59s ago"),
        (NOW - timedelta(seconds=61), "1m ago"),
        (NOW - timedelta(hours=30), "1d ago"),
        (NOW + timedelta(seconds=90), "in 1m"),
        (NOW - timedelta(days=100), "2026-08-16"),
        (ZERO_TIME, "-"),
    ],
)
def test_a_time_is_said_as_an_age(time, said):
    assert age(time, NOW, " ago") == said


@pytest.mark.parametrize("columns", [80, 120])
async def test_a_table_fits_the_terminal(shell, member, columns):
    submitted = await member.submit("f", "\x1b[2J" + "long " * 60, runtime_type="cli")
    await member.assign_process()
    async with at_terminal(shell, "process", "ls", columns=columns) as terminal:
        screen = await terminal.rest()
    lines = screen.splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[-1].startswith(f"{submitted.id[:12]}  running  f")
    assert "s ago" not in lines[-1]
    assert "\\x1b[2J" in lines[-1]
    assert terminal.status == 0


async def test_an_age_is_said_in_words_where_there_is_room(shell, member):
    await member.submit("f", "hello", runtime_type="cli")
    async with at_terminal(shell, "process", "ls") as terminal:
        assert "s ago" in await terminal.rest()


@pytest.mark.parametrize("columns", [40, 55])
async def test_a_narrow_table_cuts_no_state(shell, member, columns):
    await member.submit("f", "a", runtime_type="cli")
    await member.assign_process()
    cancelled = await member.submit("f", "b", runtime_type="cli")
    await member.cancel_process(cancelled.id)
    async with at_terminal(shell, "process", "ls", columns=columns) as terminal:
        screen = await terminal.rest()
    assert max(map(len, screen.splitlines())) <= columns
    assert [state in screen for state in ("running", "cancelled")] == [True, True]


@pytest.mark.parametrize(
    ("columns", "headings"),
    [
        (60, "PROCESS STATE FUNC ARGS TYPE SUBMISSION"),
        (40, "PROCESS STATE FUNC ARGS"),
        (24, "PROCESS STATE"),
    ],
)
async def test_a_narrow_table_leaves_out_what_counts_least(shell, member, columns, headings):
    await member.submit("function", "an argument that is long", runtime_type="kubernetes")
    async with at_terminal(shell, "process", "ls", columns=columns) as terminal:
        lines = (await terminal.rest()).splitlines()
    assert max(map(len, lines)) <= columns
    assert lines[-2].split() == headings.split()
    for word in ("functi", "an arg", "kubern")[: len(headings.split()) - 2]:
        assert word[:5] in lines[-1]


@pytest.mark.parametrize("columns", [30, 60])
async def test_a_narrow_table_cuts_no_name_to_nothing(shell, people, columns):
    async with at_terminal(shell, "runtime", "ls", columns=columns) as terminal:
        lines = (await terminal.rest()).splitlines()
    assert max(map(len, lines)) <= columns
    mine = next(line for line in lines if line.startswith(people.runtime.id[:12]))
    assert "  runti" in mine


async def test_a_count_of_nothing_is_shown(shell):
    async with at_terminal(shell, "colony", "stats") as terminal:
        lines = (await terminal.rest()).splitlines()
    assert len(lines) == len(Statistics.__struct_fields__)
    assert {line.split()[-1] for line in lines} >= {"0"}


async def test_ids_are_cut_in_what_is_said_of_them_too(shell, member):
    submitted = await member.submit("f", runtime_type="cli")
    async with at_terminal(shell, "process", "history", submitted.id) as terminal:
        screen = await terminal.rest()
    assert screen.splitlines()[-1].split()[-2:] == ["by", member.key.id[:12]]


async def test_a_drawn_workflow_fits_the_terminal(shell, member, colony):
    names = ["short", "a name that is longer than any terminal has room for, " * 2]
    specs = [
        ProcessSpec(
            name=name,
            func="f",
            conditions=Conditions(runtime_type="cli", dependencies=names[:number]),
        )
        for number, name in enumerate(names)
    ]
    graph = await member.submit_workflow_spec(WorkflowSpec(colony_id=colony, process_specs=specs))
    async with at_terminal(shell, "workflow", "get", graph.process_graph_id) as terminal:
        lines = (await terminal.rest()).splitlines()
    assert max(map(len, lines)) <= 80
    first, second = lines[-2:]
    assert first.split()[:3] == ["○", "short", "waiting"]
    assert "… " in second
    whole = await member.get_process_graph(graph.process_graph_id)
    assert first.endswith(f"  {whole.process_ids[0][:12]}")


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
async def test_colours_are_for_terminals_that_may_have_them(shell, member, variables, coloured):
    await member.submit("f", runtime_type="cli")
    shell = shell.having(**variables)
    async with at_terminal(shell, "process", "ls") as terminal:
        assert ("\x1b[33mwaiting" in await terminal.rest(raw=True)) == coloured
    async with at_terminal(shell, "process", "get", "nope") as terminal:
        assert ("\x1b[31m" in await terminal.rest(raw=True)) == coloured
    assert "\x1b" not in (await shell("process", "ls")).out


async def test_what_is_shown_of_a_thing_is_indented_and_without_zeros(shell, member, colony):
    submitted = await member.submit("f", "a", "b", runtime_type="cli")
    async with at_terminal(shell, "process", "get", submitted.id, columns=100) as terminal:
        lines = [line.rstrip() for line in (await terminal.rest()).splitlines()]
    assert lines[0] == f"processid        {submitted.id}"
    at = lines.index("spec")
    assert lines[at + 1 : at + 6] == [
        "  func           f",
        "  args           a",
        "                 b",
        "  conditions",
        f"    colonyid     {colony}",
    ]
    assert not any("maxretries" in line for line in lines)


async def test_in_full_nothing_is_cut(shell, member):
    text = "long " * 60
    submitted = await member.submit("f", text, runtime_type="cli")
    async with at_terminal(shell, "process", "ls", "--full") as terminal:
        assert submitted.id in await terminal.rest()
    assert text in (await shell("process", "ls", "--full")).out


async def test_a_watched_list_is_drawn_again_until_ctrl_c(shell, member):
    async with at_terminal(shell, "process", "ls", "--watch=0.1") as terminal:
        await terminal.until("Ctrl-C ends")
        submitted = await member.submit("f", runtime_type="cli")
        await terminal.until(submitted.id[:12])
        await member.assign_process()
        await terminal.until("running")
        terminal.send(signal.SIGINT)
        screen = await terminal.rest(raw=True)
    assert (terminal.status, screen.endswith("\x1b[?25h")) == (0, True)  # the cursor is back


async def test_a_watched_list_in_a_pipe_is_told_when_it_changes(shell, member):
    submitted = await member.submit("f", runtime_type="cli")
    words = ("process", "ls", "--watch=0.1", "--json")
    async with shell.started(*words) as process:
        first = await process.stdout.readline()
        await member.assign_process()
        second = await process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert [submitted.id.encode() in line for line in (first, second)] == [True, True]
    assert [f'"state":{state}'.encode() in second for state in (State.WAITING, State.RUNNING)] == [
        False,
        True,
    ]
    assert (process.returncode, out, err) == (0, b"", b"")
