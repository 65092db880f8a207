"""``colonies process``, text and JSON."""

import asyncio
import json
import signal

import pytest

from colonies.core.process import ZERO_TIME, Conditions, ProcessSpec, State
from tests.cli.conftest import stop
from tests.server.doors import until
from tests.server.leases import listeners


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
        (("run", "f"), "give --type or --only"),
        (("run", "f", "--only", "*"), "give --type or --only"),
        (("ls", "--count", "-1"), "x>=0"),
        (("run", "f", "--type", "t", "--kwarg", "novalue"), "KEY=VALUE"),
        (("run", "f", "--type", "t", "--timeout", "1"), "--within is how long to --wait"),
        (("cancel", "x", "--timeout", "1"), "--within is how long to --wait"),
        (("cancel",), "missing argument 'ID...'"),
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
        words = ("process", "run", "f", "--type", "cli", "--wait", "--within", "60")
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
        (b'{"conditions": {"mem": "8G"}}', 'conditions.mem: expected int, got str "8G"'),
        (b'{"args": [1]}', 'args[0]: expected str, got int 1; write "1"'),
        (b'{"priority": 3000000000}', "priority: expected int <= 2147483647, got 3000000000"),
        (b"{not json", "expected JSON"),
        (b"not a spec", 'expected object, got str "not a spec"'),
        (b"a: [", "expected YAML"),
        (b"\xff", "expected YAML"),
        (
            b'{"func": "f", "conditions": {"runtimeType": "cli"}}',
            "conditions.runtimeType: there is no such field, did you mean runtimetype?",
        ),
        (b'{"func": "f", "q": 1}', "q: there is no such field"),
        (b'{"conditions": {"runtimetype": "cli"}}', "func: "),
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
    ran = await shell("process", "assign", "--latest", "--within", "0", "--json")
    assert ran.answer["processid"] == second.id

    assert (await shell("process", "close", first.id, "--out", "1", "--out", "b c")).out == ""
    closed = await member.get_process(first.id)
    assert (closed.state, closed.output) == (State.SUCCESS, ["1", "b c"])
    await shell("process", "fail", second.id, "--error", "no", "--error", "more")
    closed = await member.get_process(second.id)
    assert (closed.state, closed.errors) == (State.FAILED, ["no", "more"])


async def test_waiting_has_an_end(shell, member):
    submitted = await member.submit("f", runtime_type="nobody")
    words = ("process", "wait", submitted.id, "--within", "0.1")
    line = await shell.refuses(*words, status=124)
    unended = f"process <{submitted.id}> has not ended after 0.1 s, still"
    assert line == f"{unended} waiting: no approved runtime of type nobody"
    await shell.refuses("process", "assign", "--timeout", "0", status=124)


async def test_waiting_in_vain_says_why(shell, member, people):
    words = ("--wait", "--within", "0.1")
    run = ("process", "run", "f", "--only", people.stranger.id)
    note, line = (await shell(*run, *words, status=124)).err.splitlines()
    assert note == f"note: no runtime of the colony is <{people.stranger.id}>"
    nobody = "none of the runtimes that it is for is an approved runtime of the colony"
    assert line.endswith(f"has not ended after 0.1 s, still waiting: {nobody}")
    await member.submit("f", runtime_type="cli")
    process = await member.assign_process()
    words = ("process", "wait", process.process_id, "--within", "0.1")
    line = await shell.refuses(*words, status=124)
    assert line.endswith(f"still running: runtime {people.runtime.id} is running it, attempt 1")


async def test_waiting_has_an_end_where_the_hub_is_silent(shell, silent):
    port, _ = silent
    words = ("process", "wait", "x", "--within", "0.1", "--port", str(port))
    line = await shell.refuses(*words, status=124)
    assert line == "process <x> has not ended after 0.1 s, and the hub does not say why"


async def test_who_stops_waiting_hears_what_goes_on(shell, member, server):
    async with shell.started("process", "run", "f", "--type", "cli", "--wait") as waiting:
        process = await member.assign_process(timeout=30)
        await until(lambda: listeners(server) == 1)
        ran = await stop(waiting, signal.SIGINT)
    assert (ran.status, ran.out) == (130, "")
    id_ = process.process_id
    assert ran.err == f"process <{id_}> goes on; to end it: colonies process cancel {id_}\n"


@pytest.mark.parametrize("words", ["run f --type t --wait", "wait x", "cancel x --wait", "why x"])
async def test_a_hub_that_was_never_there_is_not_waited_for(shell, words):
    patient = shell.having(COLONIES_TIMEOUT="1000", COLONIES_SERVERPORT="1")
    line = await patient.refuses("process", *words.split(), status=5)
    assert line.startswith("no hub at ws://127.0.0.1:1/ws")


async def test_an_ended_process_is_waited_for_at_once(shell, member):
    submitted = await member.submit("f", runtime_type="cli")
    await member.assign_process()
    await member.close_successful(submitted.id, ["12"])
    assert (await shell("process", "wait", submitted.id)).out == "12\n"


async def test_what_waits_is_cancelled_at_once(shell, member, people):
    submitted = await member.submit("f", runtime_type="cli")
    words = ("process", "cancel", submitted.id)
    assert (await shell(*words, "--reason", "not any more")).out == "cancelled\n"
    cancelled = await member.get_process(submitted.id)
    assert (cancelled.state, cancelled.cancel_reason) == (State.CANCELLED, "not any more")
    assert cancelled.cancelled_by == people.runtime.id

    (answer,) = (await shell(*words, "--wait", "--json")).answer
    assert (answer["processid"], answer["state"]) == (submitted.id, State.CANCELLED)
    ran = await shell("process", "ls", "--state", "cancelled")
    assert [row[:2] for row in ran.rows[1:]] == [[submitted.id, "cancelled"]]


async def test_what_runs_is_being_cancelled_until_its_runtime_has_stopped_it(shell, member, people):
    submitted = await member.submit("f", runtime_type="cli")
    await member.assign_process()
    ran = await shell("process", "cancel", submitted.id)
    assert ran.out == f"stopping at runtime {people.runtime.id}\n"
    assert [submitted.id, "cancelling"] == (await shell("process", "ls")).rows[1][:2]
    assert ["state", "cancelling"] in (await shell("process", "get", submitted.id)).rows
    await member.close_failed(submitted.id, ["stopped"])
    assert ["state", "cancelled"] in (await shell("process", "get", submitted.id)).rows


async def test_a_cancellation_is_followed_to_its_end(shell, member, people):
    submitted = await member.submit("f", runtime_type="cli")
    await member.assign_process()
    async with shell.started("process", "cancel", submitted.id, "--wait") as cancelling:
        line = await cancelling.stderr.readline()
        assert line.decode() == f"stopping at runtime {people.runtime.id}\n"
        await member.close_failed(submitted.id, ["stopped"])
        out, err = await cancelling.communicate()
    assert (cancelling.returncode, out, err) == (0, b"cancelled\n", b"")


async def test_several_cancellations_are_followed_at_once(shell, member, people):
    ids = [(await member.submit("f", runtime_type="cli")).id for _ in range(2)]
    for _ in ids:
        await member.assign_process()
    async with shell.started("process", "cancel", *ids, "--wait") as cancelling:
        for id_ in ids:
            line = await cancelling.stderr.readline()
            assert line.decode() == f"{id_}: stopping at runtime {people.runtime.id}\n"
        for id_ in reversed(ids):
            await member.close_failed(id_, ["stopped"])
        out, _ = await cancelling.communicate()
    assert out.decode() == "".join(f"{id_}: cancelled\n" for id_ in ids)


async def test_a_cancellation_that_takes_long_says_so(shell, member, people):
    submitted = await member.submit("f", runtime_type="cli")
    await member.assign_process()
    ran = await shell("process", "cancel", submitted.id, "--wait", "--within", "0.1", status=124)
    _, line = ran.err.splitlines()
    assert ran.out == ""
    assert line.endswith(f"cancelled by {people.runtime.id}; its runtime is stopping it")


async def test_what_ends_before_it_is_stopped_was_not_cancelled(shell, member):
    submitted = await member.submit("f", runtime_type="cli")
    await member.assign_process()
    async with shell.started("process", "cancel", submitted.id, "--wait") as cancelling:
        await cancelling.stderr.readline()
        await member.close_successful(submitted.id, ["12"])
        out, err = await cancelling.communicate()
    assert (cancelling.returncode, out) == (6, b"")
    ended = f"error: process <{submitted.id}> has ended before it was stopped: success\n"
    assert err.decode() == ended

    line = await shell.refuses("process", "cancel", submitted.id, status=6)
    assert line == f"process <{submitted.id}> has ended: success"


async def test_several_are_cancelled_as_far_as_possible(shell, member):
    first = await member.submit("f", runtime_type="cli")
    second = await member.submit("f", runtime_type="cli")
    words = ("process", "cancel", first.id, "nope", second.id, first.id)
    ran = await shell(*words, "--wait", status=4)
    assert ran.out == f"{first.id}: cancelled\n{second.id}: cancelled\n"
    assert ran.err == "error: there is no process <nope>\n"
    ran = await shell(*words, "--json", status=4)
    assert [one["processid"] for one in ran.answer] == [first.id, second.id]


async def test_the_owner_cancels_where_there_is_no_runtime(shell, member):
    submitted = await member.submit("f", runtime_type="cli")
    owner = shell.having(COLONIES_RUNTIMEID=None)
    assert (await owner("process", "cancel", submitted.id)).out == "cancelled\n"


async def test_who_waits_for_a_cancelled_process_hears_by_whom_and_why(shell, member, people):
    by = f"cancelled by {people.runtime.id}: not any\\x1b more\n"
    submitted = await member.submit("f", runtime_type="cli")
    await member.cancel_process(submitted.id, "not any\x1b more")
    ran = await shell("process", "wait", submitted.id, status=1)
    assert (ran.out, ran.err) == ("", by)

    async with asyncio.TaskGroup() as tasks:
        words = ("process", "run", "f", "--type", "cli", "--wait")
        running = tasks.create_task(shell(*words, status=1))
        process = await member.assign_process(timeout=30)
        await member.cancel_process(process.process_id, "not any\x1b more")
        await member.close_failed(process.process_id, ["stopped"])
    assert (running.result().out, running.result().err) == ("", f"{by}stopped\n")


async def test_it_is_explained_why_a_process_is_where_it_is(shell, member, people):
    submitted = await member.submit("f", runtime_type="cli", cores=1000)
    ran = await shell("process", "why", submitted.id)
    assert ran.out == "1 of type cli has fewer than 1000 cores\n"
    await member.cancel_process(submitted.id)
    answer = (await shell("process", "why", submitted.id, "--json")).answer
    reasons = ["it has ended: cancelled", f"cancelled by {people.runtime.id}"]
    assert (answer["state"], answer["reasons"]) == (State.CANCELLED, reasons)


async def test_what_has_happened_to_a_process_is_listed(shell, member, people):
    submitted = await member.submit("f", runtime_type="cli")
    await member.assign_process()
    await member.release(submitted.id)
    await member.cancel_process(submitted.id, "not any more")
    ran = await shell("process", "history", submitted.id)
    assert ran.rows[0] == ["TIME", "EVENT", "ATTEMPT", "RUNTIMEID", "TEXT"]
    assert [row[2:] for row in ran.rows[1:]] == [
        ["submitted", "0", "by", people.runtime.id],
        ["assigned", "1", people.runtime.id],
        ["released", "1", people.runtime.id, "back", "in", "the", "queue"],
        ["cancelled", "0", "by", f"{people.runtime.id}:", "not", "any", "more"],
    ]
    answer = (await shell("process", "history", submitted.id, "--json")).answer
    events = [one["event"] for one in answer]
    assert events == ["submitted", "assigned", "released", "cancelled"]


async def test_an_unknown_process_is_not_found(shell):
    for verb in ("get", "wait", "close", "rm", "cancel", "why", "history"):
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


async def test_many_are_listed_and_any_of_them_is_found(shell, member, colony):
    spec = ProcessSpec(func="f", conditions=Conditions(colony_id=colony, runtime_type="cli"))
    ids = await member.submit_processes([spec] * 250)
    listed = (await shell("process", "ls", "--count", "250", "--json")).answer
    assert {one["processid"] for one in listed} == set(ids)
    assert len((await shell("process", "ls", "--count", "101", "--json")).answer) == 101
    last = listed[-1]["processid"]
    assert (await shell("process", "get", last[:12], "--json")).answer["processid"] == last
