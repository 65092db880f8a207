import asyncio
import os

import pytest
from msgspec.structs import replace

from colonies.core.errors import Misconfigured
from colonies.core.process import decode_argument, encode_argument
from runtimes.base import Job
from runtimes.python.plugin import Python
from tests.programs import ROOT
from tests.runtimes.podman import Heard
from tests.runtimes.test_shell import gone

MODULE = "tests.runtimes.functions"


@pytest.fixture
async def runtime():
    plugin = Python(Python.Settings(path=[str(ROOT)]))
    yield plugin
    await plugin.close()


@pytest.fixture
def calling(process_of):
    """Make a process that calls a function of ours."""

    def make(name, *args, **kwargs):
        return process_of(
            f"{MODULE}:{name}",
            *(encode_argument(arg) for arg in args),
            kwargs={key: encode_argument(value) for key, value in kwargs.items()},
        )

    return make


@pytest.fixture
def call(runtime, job, calling):
    """Call a function of ours as a process would."""

    async def execute(name, *args, **kwargs):
        return await runtime.execute(calling(name, *args, **kwargs), job)

    return execute


async def test_arguments_go_in_by_position_and_name_and_the_result_comes_out(call):
    outcome = await call("add", 2, b=3)
    assert outcome.is_success
    assert [5] == [decode_argument(text) for text in outcome.output]


async def test_text_stays_text_and_json_becomes_what_it_says(call):
    outcome = await call("kinds", "a", "1", 1, 1.5, None, [1], {"a": 1}, True)
    kinds = ["str", "str", "int", "float", "NoneType", "list", "dict", "bool"]
    assert kinds == decode_argument(outcome.output[0])


async def test_what_the_parents_gave_goes_in_beside_the_arguments(runtime, job, calling):
    process = calling("join", "and")
    conditions = replace(process.spec.conditions, dependencies=["b", "a"])
    process = replace(
        process,
        spec=replace(process.spec, conditions=conditions),
        input=["1", "x", "[2]"],
        input_lengths=[2, 1],
    )
    outcome = await runtime.execute(process, job)
    given = ["and", [1, "x", [2]], {"b": [1, "x"], "a": [[2]]}]
    assert given == decode_argument(outcome.output[0])


async def test_without_parents_it_is_what_a_cron_hands_on_or_nothing(call, runtime, job, calling):
    assert decode_argument((await call("join", "and")).output[0]) == ["and", [], {}]
    process = replace(calling("join", "and"), input=["1"])
    outcome = await runtime.execute(process, job)
    assert decode_argument(outcome.output[0]) == ["and", [1], {}]


async def test_a_coroutine_function_is_awaited(call):
    assert ["soon"] == (await call("later", "soon")).output


async def test_none_is_no_output(call):
    outcome = await call("nothing")
    assert outcome.is_success
    assert [] == outcome.output


@pytest.mark.parametrize(
    ("name", "args", "error"),
    [
        ("fail", ("because",), "ValueError: because"),
        ("add", (), "TypeError: "),
        ("missing", (), "AttributeError: "),
        ("not_callable", (), "TypeError: "),
        ("unspeakable", (), "TypeError: "),
    ],
)
async def test_an_exception_is_a_failure_with_its_text(call, name, args, error):
    outcome = await call(name, *args)
    assert not outcome.is_success
    assert outcome.errors[0].startswith(error)


@pytest.mark.parametrize("func", ["", "no colon", "no.such.module:f", ":f", "json:"])
async def test_a_function_that_is_not_there_is_a_failure(runtime, job, process_of, func):
    outcome = await runtime.execute(process_of(func), job)
    assert not outcome.is_success


async def test_the_interpreter_is_kept_for_the_next_call(call):
    assert (await call("pid")).output == (await call("pid")).output


async def test_an_interpreter_that_dies_is_a_failure_and_the_next_call_gets_a_new_one(call):
    outcome = await call("leave")
    assert ["the interpreter ended with code 7"] == outcome.errors
    assert (await call("add", 1)).is_success


async def test_a_function_reads_nothing_from_the_pipe_of_requests(call):
    assert [""] == (await call("read_stdin")).output
    assert (await call("add", 1)).is_success


async def test_a_function_sees_no_key(call, monkeypatch):
    monkeypatch.setenv("COLONIES_RUNTIMEPRVKEY", "secret")
    assert [""] == (await call("see", "COLONIES_RUNTIMEPRVKEY")).output
    seen = await call("see", "COLONIES_PROCESSID")
    assert "1" * 64 == decode_argument(seen.output[0])


async def test_only_allowed_modules_are_called(job, process_of):
    plugin = Python(Python.Settings(allow=["tests.runtimes"], path=[str(ROOT)]))
    try:
        assert not (await plugin.execute(process_of("os:getcwd"), job)).is_success
        assert not (await plugin.execute(process_of("tests.runtimes2:f"), job)).is_success
        assert (await plugin.execute(process_of(f"{MODULE}:pid"), job)).is_success
    finally:
        await plugin.close()


async def test_cancelling_stops_a_function_in_the_middle(call, tmp_path):
    fifo = tmp_path / "ready"
    os.mkfifo(fifo)
    task = asyncio.create_task(call("sleep_for_ever", str(fifo)))
    pid = int(await asyncio.to_thread(fifo.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await gone(pid)


@pytest.fixture
def interrupted(runtime, job, calling, tmp_path):
    """Call a function and ask it to end when it is in the middle; give how it ended."""

    async def execute(name, *args):
        fifo = tmp_path / "ready"
        os.mkfifo(fifo)
        process = calling(name, str(fifo), *args)
        task = asyncio.create_task(runtime.execute(process, job))
        pid = int(await asyncio.to_thread(fifo.read_text))
        assert await runtime.cancel(process)
        assert await runtime.cancel(process)  # once more is harmless
        await asyncio.wait({task})
        assert await gone(pid)  # nobody inherits the interpreter
        return task

    return execute


@pytest.mark.parametrize("name", ["tidy", "tidy_later"])
async def test_a_function_that_is_asked_to_end_can_clean_up(interrupted, tmp_path, name):
    task = await interrupted(name, str(tmp_path / "trace"))
    assert task.cancelled()
    assert "tidy" == (tmp_path / "trace").read_text()


@pytest.mark.parametrize("name", ["finish", "finish_later"])
async def test_a_function_that_is_asked_to_end_may_give_a_value(interrupted, name):
    outcome = (await interrupted(name, 7)).result()
    assert (True, ["7"]) == (outcome.is_success, outcome.output)


async def test_a_function_that_takes_no_notice_is_ended_with_its_children(
    runtime, job, calling, tmp_path
):
    runtime.grace = 0.1
    fifo = tmp_path / "ready"
    os.mkfifo(fifo)
    process = calling("stubborn", str(fifo))
    task = asyncio.create_task(runtime.execute(process, job))
    pids = (await asyncio.to_thread(fifo.read_text)).split()
    assert await runtime.cancel(process)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [True, True] == [await gone(int(pid)) for pid in pids]


async def test_what_does_not_run_cannot_be_asked_to_end(runtime, calling):
    assert not await runtime.cancel(calling("pid"))


async def test_nothing_of_our_environment_reaches_a_function(job, calling, monkeypatch):
    """Not in the environment that it sees, and not in that with which its interpreter began."""
    monkeypatch.setenv("SOME_TOKEN", "secret")
    monkeypatch.setenv("COLONIES_PASSPHRASE", "secret")
    monkeypatch.setenv("MAY_SEE", "this")
    plugin = Python(Python.Settings(path=[str(ROOT)], pass_env=["MAY_SEE", "COLONIES_PASSPHRASE"]))
    try:
        began = (await plugin.execute(calling("environment_at_start"), job)).output[0]
        sees = (await plugin.execute(calling("see", "MAY_SEE"), job)).output
    finally:
        await plugin.close()
    assert "MAY_SEE=this" in began
    assert "secret" not in began
    assert ["this"] == [decode_argument(text) for text in sees]


@pytest.mark.parametrize("name", ["nested_failure", "nested_failure_later"])
async def test_where_a_function_failed_is_in_its_log(runtime, calling, name):
    heard = Heard()
    outcome = await runtime.execute(calling(name), Job(None, heard))
    assert ["ValueError: deep"] == outcome.errors
    said = heard.said["stderr"].decode()
    lines = said.splitlines()
    assert "Traceback (most recent call last):" == lines[0]
    assert lines[1].startswith(f'  File "{ROOT}/tests/runtimes/functions.py", line ')
    assert lines[1].endswith(f", in {name}")
    assert "ValueError: deep" == lines[-1]
    assert "runtimes/python/" not in said


@pytest.mark.parametrize(("name", "args"), [("add", (1, 2, 3)), ("__name__", ())])
async def test_what_was_never_called_has_no_traceback(runtime, calling, name, args):
    heard = Heard()
    outcome = await runtime.execute(calling(name, *args), Job(None, heard))
    assert not outcome.is_success
    assert "" == heard.said["stderr"].decode()


async def test_a_folder_that_is_not_there_is_said_at_the_start():
    plugin = Python(Python.Settings(path=["/no/such"]))
    for ask in (plugin.check, plugin.open):
        with pytest.raises(Misconfigured, match=r"^path: there is no folder '/no/such'$"):
            await ask()
