"""``colonies process logs``, and how far a process is while one waits for it."""

import asyncio
import json
from functools import partial

import pytest

from colonies.cli.log import _cut, drawn
from colonies.core.log import Append, Entry, NewEntry, Progress
from colonies.core.process import Process
from tests.cli.conftest import at_terminal
from tests.server.doors import until
from tests.server.leases import submit, take


@pytest.fixture
async def process(member) -> Process:
    await submit(member)
    return await take(member)


@pytest.fixture
def say(member, process):
    """Say something in the name of the running process."""
    numbers, ends = iter(range(1, 1000)), {}

    async def say(text: str, stream: str = "stdout", *, skip: int = 0, of=process, **more) -> None:
        offset = ends.get((of.attempt, stream), 0) + skip
        size = len(text.encode())
        ends[of.attempt, stream] = offset + size
        entry = NewEntry(stream=stream, offset=offset, size=size, text=text)
        append = Append(
            process_id=of.process_id,
            attempt_token=of.attempt_token,
            number=next(numbers),
            entries=[entry] if text else [],
            **more,
        )
        assert await member.add_logs([append]) == [None]

    return say


async def test_what_was_said_is_printed_as_it_was(shell, process, say):
    await say("one\n")
    await say("bad\n", "stderr")
    await say("\x1b[31mred\x1b[0m ö")
    logs = partial(shell, "process", "logs", process.process_id)
    assert (await logs()).out == "one\nbad\n\x1b[31mred\x1b[0m ö"
    assert (await logs("--stream", "stderr")).out == "bad\n"
    for words in (("--attempt", "2"), ("--stream", "nosuch"), ("--stream", "x", "--tail", "2")):
        missed = await logs(*words)
        assert missed.out == ""
        assert missed.err == "note: nothing of that, but stderr, stdout of attempt 1\n"
    assert (await logs("--tail", "1")).out == "\x1b[31mred\x1b[0m ö"
    assert (await logs("--tail", "2", "--stream", "stdout")).out == "one\n\x1b[31mred\x1b[0m ö"
    assert (await logs("--tail", "0")).out == ""
    lines = (await logs("--json")).out.splitlines()
    assert [json.loads(line)["stream"] for line in lines] == ["stdout", "stderr", "stdout"]
    assert json.loads(lines[1])["position"] == 4


async def test_what_is_missing_and_another_attempt_are_told_beside_it(shell, member, process, say):
    await say("one\n")
    await say("after a gap\n", skip=1000)
    await member.release(process.process_id, attempt_token=process.attempt_token)
    await say("again\n", of=await take(member))
    ran = await shell("process", "logs", process.process_id)
    assert ran.out == "one\nafter a gap\nagain\n"
    assert ran.err == "[1000 bytes of stdout left out]\n[attempt 2]\n"


@pytest.mark.settings(max_log_bytes=10)
async def test_that_the_beginning_is_gone_is_told(shell, process, say):
    await say("0123456789\n")
    await say("last\n")
    await say("")
    ran = await shell("process", "logs", process.process_id)
    assert (ran.out, ran.err) == ("last\n", "[the first 11 bytes are not kept]\n")


async def test_it_is_followed_to_the_end_of_the_process(shell, member, process, say, server):
    await say("early\n")
    async with shell.started("process", "logs", process.process_id, "--follow") as following:
        assert await following.stdout.readline() == b"early\n"
        await say("late\n")
        assert await following.stdout.readline() == b"late\n"
        await member.close_failed(process.process_id, attempt_token=process.attempt_token)
        out, err = await following.communicate()
    assert (out, err, following.returncode) == (b"", b"", 0)


async def test_the_last_lines_are_followed_by_what_comes(shell, member, process, say):
    for start in range(0, 100_000, 10_000):
        await say("".join(f"{number}\n" for number in range(start, start + 10_000)))
    words = ("process", "logs", process.process_id, "-f", "--tail", "2")
    async with shell.started(*words) as following:
        assert await following.stdout.readline() == b"99998\n"
        assert await following.stdout.readline() == b"99999\n"
        await say("new\n")
        assert await following.stdout.readline() == b"new\n"


async def test_on_a_terminal_nothing_steers_it(shell, process, say):
    await say("\x1b]0;title\x07 10%\r 20%\n")
    async with at_terminal(shell, "process", "logs", process.process_id) as terminal:
        assert await terminal.rest() == "\\x1b]0;title\\x07 10%\r 20%\n"


async def test_recent_is_what_was_said_in_the_last_seconds(shell, process, say, database_url):
    await say("now\n")
    ran = await shell("process", "logs", process.process_id, "--since", "3600")
    assert ran.out == "now\n"


async def test_how_far_a_process_is_is_drawn(shell, member, process, say):
    await say("", progress=Progress(done=3, total=4, text="stirring"))
    ran = await shell("process", "get", process.process_id)
    assert ran.out.splitlines()[-1].split(maxsplit=1) == [
        "progress",
        "███████████████░░░░░ 75%, 3 of 4: stirring",
    ]


async def test_a_bar_is_drawn_while_one_waits(shell, member, process, say, server):
    async with at_terminal(shell, "process", "wait", process.process_id) as terminal:
        await terminal.until("waiting for its end")
        await until(lambda: bool(server.hub.logs._streams))
        await say("", progress=Progress(done=1, total=4, text="stirring"))
        await terminal.until("running: stirring")
        await terminal.until("25%")
        await member.close_successful(
            process.process_id, ["done"], attempt_token=process.attempt_token
        )
        assert (await terminal.rest()).rstrip().endswith("done")
    assert terminal.status == 0


async def test_an_unknown_process_has_no_log(shell):
    ran = await shell.refuses("process", "logs", "0" * 64, status=4)
    assert "there is no process" in ran


def entries(*texts: str) -> list[Entry]:
    return [
        Entry(position=number * 100, attempt=1, stream="stdout", offset=0, size=0, text=text)
        for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize(
    ("texts", "lines", "kept"),
    [
        (["a\nb\n", "c\n"], 2, "b\nc\n"),
        (["a\nb", "c\n", "d"], 2, "bc\nd"),
        (["a\n", "b\n"], 9, "a\nb\n"),
        (["a\n\n\n"], 2, "\n\n"),
        ([], 3, ""),
        (["a\n"], 0, ""),
    ],
)
def test_the_last_lines_of_texts(texts, lines, kept):
    assert "".join(one.text for one in _cut(entries(*texts), lines)) == kept


def test_a_share_is_said_as_what_it_is():
    assert drawn(Progress(done=0.5, total=1)) == "██████████░░░░░░░░░░ 50%"
    assert drawn(Progress(done=1, total=3)) == "██████░░░░░░░░░░░░░░ 33%, 1 of 3"


async def test_two_hubs_show_the_same(shell, settings, process, say, member):
    from colonies.server.app import Server  # noqa: PLC0415 - for this alone

    await say("one\n")
    async with Server(settings) as second:
        there = shell.having(COLONIES_SERVERPORT=str(second.port))
        async with there.started("process", "logs", process.process_id, "-f") as following:
            assert await following.stdout.readline() == b"one\n"
            await until(lambda: second.news.is_wanted)
            await say("two\n")
            async with asyncio.timeout(60):
                assert await following.stdout.readline() == b"two\n"
