"""``colonies process``, text and JSON."""

import asyncio
import json

import pytest

from colonies.core.process import ZERO_TIME, State


async def test_a_call_is_submitted_with_all_its_options(shell, member, people):
    words = "run f 1 two --type cli --kwarg a=b=c --kwarg d= --env X=1 --max-exec-time 5"
    words += " --max-wait-time 6 --max-retries -1 --priority 7 --cores 1 --mem 2 --gpus 3 --name n"
    ran = await shell("process", *words.split(), "--only", people.runtime.id, "--", "-3")
    spec = (await member.get_process(ran.out.strip())).spec
    assert (spec.func, spec.args, spec.name) == ("f", ["1", "two", "-3"], "n")
    assert (spec.kwargs, spec.env) == ({"a": "b=c", "d": ""}, {"X": "1"})
    assert (spec.max_exec_time, spec.max_wait_time, spec.max_retries) == (5, 6, -1)
    conditions = spec.conditions
    assert (spec.priority, conditions.cores, conditions.mem, conditions.gpus) == (7, 1, 2, 3)
    assert (conditions.runtime_type, conditions.runtime_ids) == ("cli", [people.runtime.id])
    assert conditions.colony_id == people.colony_owner.id


async def test_a_submitted_call_is_json_if_wanted(shell):
    answer = (await shell("process", "run", "f", "--type", "t", "--json")).answer
    assert (answer["state"], answer["spec"]["func"]) == (State.WAITING, "f")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("run", "f"), "Give --type or --only"),
        (("run", "f", "--only", "*"), "Give --type or --only"),
        (("ls", "--count", "101"), "0<=x<=100"),
        (("run", "f", "--type", "t", "--kwarg", "novalue"), "KEY=VALUE"),
        (("run", "f", "--type", "t", "--timeout", "1"), "--timeout is how long to --wait"),
        (("rm",), "give the ID of one process, or --all"),
        (("submit", "--spec", "/nowhere.json"), "No such file"),
    ],
)
async def test_wrong_usage_is_explained(shell, words, expected):
    assert expected in (await shell("process", *words, status=2)).err


async def test_waiting_gives_the_output_and_nothing_else(shell, member):
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(shell("process", "run", "f", "--type", "cli", "--wait"))
        process = await member.assign_process(timeout=30)
        await member.close_successful(process.process_id, ["one", "two\nlines"])
    assert running.result().out == "one\ntwo\nlines\n"
    assert running.result().err == ""


async def test_a_failed_process_gives_its_errors_and_exit_code_1(shell, member):
    async with asyncio.TaskGroup() as tasks:
        words = ("process", "run", "f", "--type", "cli", "--wait", "--timeout", "60")
        running = tasks.create_task(shell(*words, status=1))
        process = await member.assign_process(timeout=30)
        await member.close_failed(process.process_id, ["it broke", "badly"])
    assert (running.result().out, running.result().err) == ("", "it broke\nbadly\n")

    ran = await shell("process", "wait", process.process_id, "--json", status=1)
    assert ran.answer["errors"] == ["it broke", "badly"]


async def test_a_file_is_submitted_into_the_colony_of_the_settings(shell, member, colony, tmp_path):
    spec = {"func": "f", "args": ["1"], "conditions": {"runtimetype": "cli"}}
    file = tmp_path / "spec.json"
    file.write_text(json.dumps(spec))
    ran = await shell("process", "submit", "--spec", str(file))
    got = (await member.get_process(ran.out.strip())).spec
    assert (got.func, got.args, got.conditions.colony_id) == ("f", ["1"], colony)


async def test_a_file_may_be_stdin_and_be_waited_for(shell, member, colony):
    spec = {"func": "f", "conditions": {"runtimetype": "cli", "colonyid": colony}}
    words = ("process", "submit", "--spec", "-", "--wait", "--json")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(shell(*words, stdin=json.dumps(spec).encode()))
        process = await member.assign_process(timeout=30)
        await member.close_successful(process.process_id, ["12"])
    answer = running.result().answer
    assert (answer["processid"], answer["out"]) == (process.process_id, ["12"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"conditions": {"cores": "many"}}', "conditions.cores: expected int"),
        (b'{"args": [1]}', "args[0]: expected str"),
        (b"not json", "expected JSON"),
        (b"\xff", "expected JSON"),
        (
            b'{"func": "f", "conditions": {"runtimeType": "cli"}}',
            "conditions.runtimeType: there is no such field, did you mean runtimetype?",
        ),
        (b'{"func": "f", "q": 1}', "q: there is no such field"),
        (b'{"conditions": {"runtimetype": "cli"}}', "func: "),
        (b'{"func": "f", "conditions": null}', "who may run it? Give conditions.runtimetype or"),
        (b'{"func": "f", "conditions": {"runtimeids": ["*"]}}', "who may run it?"),
    ],
)
async def test_a_malformed_file_is_refused_with_the_path_of_the_fault(shell, content, expected):
    line = await shell.refuses("process", "submit", "--spec", "-", stdin=content, status=2)
    assert line.startswith(f"<stdin>: {expected}")


async def test_a_number_out_of_range_is_refused_with_its_field(shell):
    words = ("process", "run", "f", "--type", "t", "--priority", str(2**40))
    assert "spec.priority" in await shell.refuses(*words, status=2)


async def test_a_process_is_shown(shell, member):
    submitted = await member.submit("f", 1, runtime_type="cli")
    ran = await shell("process", "get", submitted.id)
    assert ["processid", submitted.id] in ran.rows
    assert ["state", "waiting"] in ran.rows
    assert ["spec.args", "1"] in ran.rows
    answer = (await shell("process", "get", submitted.id, "--json")).answer
    assert answer["endtime"].startswith(ZERO_TIME.isoformat()[:19])


async def test_its_output_alone_is_an_item_a_line(shell, member):
    submitted = await member.submit("f", runtime_type="cli")
    assert (await shell("process", "get", submitted.id, "--output")).out == ""
    await member.assign_process()
    await member.close_successful(submitted.id, ["1", "two words"])
    assert (await shell("process", "get", submitted.id, "--output")).out == "1\ntwo words\n"
    ran = await shell("process", "get", submitted.id, "--output", "--json")
    assert ran.answer == ["1", "two words"]


async def test_processes_are_listed_by_state(shell, member):
    running = await member.submit("f", "a", "b", runtime_type="cli")
    await member.assign_process()
    waiting = await member.submit("g", runtime_type="cli")
    ran = await shell("process", "ls")
    assert [row[:3] for row in ran.rows[1:]] == [
        [waiting.id, "waiting", "g"],
        [running.id, "running", "f"],
    ]
    assert ran.rows[0][:4] == ["PROCESSID", "STATE", "FUNC", "ARGS"]
    ran = await shell("process", "ls", "--state", "running", "--count", "1", "--json")
    assert [one["processid"] for one in ran.answer] == [running.id]


async def test_the_owner_reads_where_there_is_no_runtime(shell, member):
    submitted = await member.submit("f", runtime_type="cli")
    owner = shell.having(COLONIES_RUNTIMEID=None)
    assert submitted.id in (await owner("process", "ls")).out
    assert submitted.id in (await owner("process", "get", submitted.id)).out


async def test_work_is_done_by_hand(shell, member):
    first = await member.submit("f", runtime_type="cli")
    second = await member.submit("f", runtime_type="cli")
    assert ["processid", first.id] in (await shell("process", "assign")).rows
    ran = await shell("process", "assign", "--latest", "--timeout", "0", "--json")
    assert ran.answer["processid"] == second.id

    assert (await shell("process", "close", first.id, "--out", "1", "--out", "b c")).out == ""
    closed = await member.get_process(first.id)
    assert (closed.state, closed.output) == (State.SUCCESS, ["1", "b c"])
    await shell("process", "fail", second.id, "--error", "no", "--error", "more")
    closed = await member.get_process(second.id)
    assert (closed.state, closed.errors) == (State.FAILED, ["no", "more"])


async def test_waiting_has_an_end(shell, member):
    submitted = await member.submit("f", runtime_type="nobody")
    words = ("process", "wait", submitted.id, "--timeout", "0.1")
    line = await shell.refuses(*words, status=124)
    unended = f"process <{submitted.id}> has not ended after 0.1 s, still"
    assert line == f"{unended} waiting: nobody of type nobody has taken it"
    await shell.refuses("process", "assign", "--timeout", "0", status=124)


async def test_waiting_says_who_has_not_taken_it_or_that_it_runs(shell, member, people):
    words = ("--wait", "--timeout", "0.1")
    run = ("process", "run", "f", "--only", people.runtime.id)
    line = await shell.refuses(*run, *words, status=124)
    assert line.endswith("still waiting: none of the runtimes that may have it has taken it")
    process = await member.assign_process()
    words = ("process", "wait", process.process_id, "--timeout", "0.1")
    assert (await shell.refuses(*words, status=124)).endswith("0.1 s, still running")


async def test_an_ended_process_is_waited_for_at_once(shell, member):
    submitted = await member.submit("f", runtime_type="cli")
    await member.assign_process()
    await member.close_successful(submitted.id, ["12"])
    assert (await shell("process", "wait", submitted.id)).out == "12\n"


async def test_an_unknown_process_is_not_found(shell):
    for verb in ("get", "wait", "close", "rm"):
        assert "no process <nope>" in await shell.refuses("process", verb, "nope", status=4)


async def test_a_process_is_deleted(shell, member):
    submitted = await member.submit("f", runtime_type="cli")
    assert (await shell("process", "rm", submitted.id)).out == ""
    assert await member.get_processes(State.WAITING) == []


async def test_all_processes_are_deleted_only_on_a_yes(shell, member):
    await member.submit("f", runtime_type="cli")
    for answer in (b"", b"no\n", b"\n"):
        ran = await shell("process", "rm", "--all", stdin=answer, status=2)
        assert "nothing was deleted" in ran.err
    assert len(await member.get_processes(State.WAITING)) == 1
    await shell("process", "rm", "--all", stdin=b"yes\n")
    assert await member.get_processes(State.WAITING) == []
    await member.submit("f", runtime_type="cli")
    await shell("process", "rm", "--all", "--yes")
    assert await member.get_processes(State.WAITING) == []
