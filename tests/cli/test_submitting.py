"""Submitting very many processes, nothing at all, and waiting for all of them."""

import asyncio
import json

import pytest

from colonies.cli.submitting import MOST_BYTES, MOST_SPECS, _batches
from colonies.core import wire
from colonies.core.process import ProcessSpec, State
from tests.cli.conftest import at_terminal

ONE = {"func": "f", "conditions": {"runtimetype": "cli"}}


@pytest.fixture
def jobs(tmp_path):
    """Write a file of jobs; gives its name."""

    def write(*lines) -> str:
        file = tmp_path / "jobs.jsonl"
        file.write_text("".join(f"{json.dumps(one) if one else ''}\n" for one in lines))
        return str(file)

    return write


def test_batches_are_bounded_in_number_and_size():
    small, large = ProcessSpec(func="f"), ProcessSpec(func="f", args=["x" * (MOST_BYTES // 2)])
    assert [len(one) for one in _batches([small] * (MOST_SPECS + 1))] == [MOST_SPECS, 1]
    batches = list(_batches([large] * 3))
    assert [len(one) for one in batches] == [1, 1, 1]
    assert all(len(wire.encode(one)) < 2 * MOST_BYTES for one in batches)
    assert list(_batches([])) == []


async def test_nothing_is_submitted_in_a_dry_run(shell, member, jobs, colony):
    file = jobs({**ONE, "args": ["1"]}, None, ONE)
    without_key = shell.having(COLONIES_RUNTIMEID=None, COLONIES_SERVERPORT="1")
    ran = await without_key("process", "submit", "--from", file, "--dry-run", "--json")
    assert [one["args"] for one in ran.answer] == [["1"], []]
    words = ("process", "run", "f", "--type", "cli", "--mem", "7", "--dry-run")
    answer = (await without_key(*words, "--json")).answer
    assert (answer["func"], answer["conditions"]["colonyid"]) == ("f", colony)
    assert ["conditions.mem", "7"] in (await without_key(*words)).rows
    assert await member.get_processes(State.WAITING) == []


async def test_many_are_submitted_and_their_ids_printed_in_order(shell, member, jobs):
    file = jobs(*({**ONE, "args": [str(number)]} for number in range(3)))
    ran = await shell("process", "submit", "--from", file, "--count", "2")
    ids = ran.out.split()
    assert [(await member.get_process(one)).spec.args for one in ids] == [
        ["0"], ["0"], ["1"], ["1"], ["2"], ["2"],
    ]  # fmt: skip
    assert ran.err.startswith("6 processes submitted in ")
    ran = await shell("process", "run", "f", "--type", "cli", "--count", "1", "--json")
    assert len(ran.answer) == 1


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"conditions": {"mem": "8G"}}', 'conditions.mem: expected int, got str "8G"'),
        ("not json", "expected JSON"),
        ('{"func": ""}', "func: what shall be done?"),
    ],
)  # fmt: skip
async def test_what_is_wrong_in_a_file_of_many_is_named_by_its_line(
    shell, member, tmp_path, line, expected
):
    file = tmp_path / "jobs.jsonl"
    file.write_text(f"{json.dumps(ONE)}\n\n{line}\n")
    said = await shell.refuses("process", "submit", "--from", str(file), status=2)
    assert said.startswith(f"{file}:3: {expected}")
    assert await member.get_processes(State.WAITING) == []


async def test_one_or_many_are_submitted_not_both(shell, jobs):
    file = jobs(ONE)
    for words in ((), ("--spec", file, "--from", file)):
        assert "--from FILE for many" in (await shell("process", "submit", *words, status=2)).err


@pytest.mark.settings(max_waiting=1500)
async def test_where_it_ends_too_soon_it_is_said_how_far_it_came(shell, member):
    words = ("process", "run", "f", "--type", "cli", "--count", "2500")
    ran = await shell(*words, status=6)
    assert ran.err.startswith("error: ")
    assert ran.err.endswith("; 1000 of 2500 were submitted\n")
    assert len(ran.out.split()) == 1000


async def test_all_are_waited_for_and_those_that_failed_are_named(shell, member, jobs):
    file = jobs(*({**ONE, "args": [str(number)]} for number in range(3)))
    async with asyncio.TaskGroup() as tasks:
        words = ("process", "submit", "--from", file, "--wait", "--within", "60")
        running = tasks.create_task(shell(*words, status=1))
        held = [await member.assign_process(timeout=30) for _ in range(3)]
        for process in reversed(held):
            (number,) = process.spec.args
            if number == "1":
                await member.close_failed(process.process_id, ["it broke"])
                broken = process.process_id
            else:
                await member.close_successful(process.process_id, [f"out {number}"])
    ran = running.result()
    assert ran.out == "out 0\nout 2\n"
    _, summary, reason = ran.err.splitlines()
    assert summary.endswith(": 1 failed, 2 success")
    assert reason == f"process <{broken}>: it broke"


async def test_waiting_for_all_has_an_end(shell, jobs):
    words = ("process", "submit", "--from", jobs(ONE, ONE), "--wait", "--within", "0.5")
    ran = await shell(*words, status=124)
    _, advice, line = ran.err.splitlines()
    assert advice.endswith("xargs colonies process cancel")
    assert line == "error: 2 of 2 have not ended after 0.5 s"
    cancelled = await shell("process", "cancel", *ran.out.split())
    assert cancelled.out.count(": cancelled\n") == 2


async def test_who_looks_sees_how_far_it_is(shell, member):
    words = ("process", "run", "f", "--type", "cli", "--count", "30", "--wait")
    async with at_terminal(shell, *words) as terminal:
        await terminal.until("30 processes submitted")
        for _ in range(30):
            process = await member.assign_process(timeout=30)
            await member.close_successful(process.process_id)
        await terminal.until("30/30")
        assert "30 success" in await terminal.rest()
    assert terminal.status == 0


async def test_who_waits_is_told_what_for(shell, member):
    words = ("process", "run", "f", "--type", "nobody", "--wait")
    async with at_terminal(shell, *words) as terminal:
        await terminal.until("waiting: no approved runtime of type nobody")
