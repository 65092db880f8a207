"""What runs says live: by ``colonies-run`` at a real hub, over sockets that are lost."""

import asyncio
import os
import signal
import sys

import asyncpg
import msgspec
import pytest

from colonies.client import connect
from colonies.core.log import Entry, LogPage
from colonies.core.process import State
from runtimes import logs
from runtimes.logs import Logs
from tests.faults.proxy import FaultProxy
from tests.programs import ROOT
from tests.server.doors import LONG, until
from tests.server.leases import OVER

FUNCTIONS = "tests.runtimes.functions"
SPEAKER = """
import asyncio
class Plugin(Runtime):
    'Says what it is told, and waits to be told that it is enough.'
    runtime_type = 'speaker'
    async def execute(self, process, job):
        await job.progress(1, 4, 'begun')
        await job.log('ä text\\n')
        await job.log(b'\\xe4 bytes', 'own')
        await job.log(b'01234567', 'file', offset=0)
        await job.log(b'456789\\n', 'file', offset=4)
        await job.log(b'after a gap\\n', 'file', offset=1000)
        at = await job.logged('file')
        try:
            await job.progress(5, 4)
        except ValueError as error:
            await job.log(str(error), 'error')
        return success(at)
"""


async def pages_of(colonies, process_id: str) -> list[LogPage]:
    """Read all that there is now."""
    pages = [await colonies.get_logs(process_id)]
    while pages[-1].next_position < pages[-1].length:
        pages.append(await colonies.get_logs(process_id, pages[-1].next_position))
    return pages


async def followed(colonies, process_id: str) -> list[LogPage]:
    async with await colonies.subscribe_logs(process_id) as log, asyncio.timeout(LONG):
        return [page async for page in log]


def said(pages: list[LogPage], stream: str = "stdout", attempt: int = 1) -> str:
    """Give what a stream has said, which must be without gaps."""
    entries = [
        entry
        for page in pages
        for entry in page.entries
        if (entry.stream, entry.attempt) == (stream, attempt)
    ]
    assert gaps(entries) == 0
    return "".join(entry.text for entry in entries)


def gaps(entries: list[Entry]) -> int:
    """Count the bytes that are missing between the texts of a stream."""
    ends = [entry.offset + entry.size for entry in entries]
    return sum(one.offset - end for end, one in zip([0, *ends], entries, strict=False))


@pytest.fixture
async def sql(database_url, db):
    """A connection of our own to the hub's database."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def submit(member, *words: str, runtime_type: str = "shell", **options) -> str:
    func, *args = words
    return (await member.submit(func, *args, runtime_type=runtime_type, **options)).id


async def test_a_command_is_followed_while_it_runs_and_all_is_there_when_it_has_ended(
    launch, member, tmp_path
):
    go = tmp_path / "go"
    os.mkfifo(go)
    async with launch("shell"):
        process_id = await submit(member, "sh", "-c", f"echo first; echo bad >&2; cat {go}")
        async with await member.subscribe_logs(process_id) as log, asyncio.timeout(LONG):
            early = []
            while not (said(early) and said(early, "stderr")):
                early.append(await anext(log))
            await asyncio.to_thread(go.write_text, "last")
            assert (await member.wait_for(process_id, LONG)).output == ["first", "last"]
            after = await pages_of(member, process_id)
            late = [page async for page in log]
    assert (said(early), said(early, "stderr")) == ("first\n", "bad\n")
    assert said(after) == said(early + late) == "first\nlast"
    assert late[-1].is_over


async def test_what_a_function_prints_and_logs_and_how_far_it_is_goes_by_itself(launch, member):
    async with launch("python", "--path", ROOT):
        for _ in range(2):  # by the same interpreter
            process_id = await submit(member, f"{FUNCTIONS}:talk", 3, runtime_type="python")
            pages = await followed(member, process_id)
            assert said(pages) == "line 0\nline 1\nline 2\nfrom a child\nno end"
            assert said(pages, "stderr") == "logged 0\nlogged 1\nlogged 2\n"
            assert (pages[-1].progress.done, pages[-1].progress.text) == (3, "at 2")
            assert (await member.get_process(process_id)).state is State.SUCCESS


async def test_a_plugin_says_what_it_likes_and_goes_on_in_a_file_where_it_was(launch, member, site):
    async with launch("speaker", **site(speaker=SPEAKER)):
        process_id = await submit(member, "say", runtime_type="speaker")
        pages = await followed(member, process_id)
    assert said(pages) == "ä text\n"
    assert said(pages, "own") == "\ufffd bytes"
    file = [entry for page in pages for entry in page.entries if entry.stream == "file"]
    assert "".join(entry.text for entry in file) == "0123456789\nafter a gap\n"
    assert gaps(file) == 1000 - 11
    assert pages[-1].progress.fraction == 0.25
    assert "expected 0 <= done <= total" in said(pages, "error")
    assert (await member.get_process(process_id)).output == ["1012"]


@pytest.mark.settings(max_log_bytes=32 * 1024 * 1024)
async def test_ten_megabytes_arrive_whole_and_a_bounded_tail_of_them_is_the_output(launch, member):
    script = "import sys\nfor i in range(1_250_000): sys.stdout.write(f'{i:07}\\n')"
    async with launch("shell"):
        process_id = await submit(member, sys.executable, "-c", script)
        process = await member.wait_for(process_id, LONG)
        pages = await pages_of(member, process_id)
    text = said(pages)
    assert text == "".join(f"{number:07}\n" for number in range(1_250_000))
    assert process.output[0].endswith("bytes left out]")
    assert process.output[-1] == "1249999"


@pytest.mark.settings(max_log_bytes=100_000)
async def test_of_more_than_the_hub_keeps_the_end_is_there(launch, member, sql):
    async with launch("shell"):
        process_id = await submit(member, "sh", "-c", "seq 1 200000")
        await member.wait_for(process_id, LONG)
        pages = await pages_of(member, process_id)
    assert pages[0].entries[0].position > 1_000_000
    assert pages[-1].entries[-1].text.endswith("\n199999\n200000\n")
    kept = await sql.fetchval("SELECT sum(octet_length(text)) FROM log_entries")
    assert kept <= 100_000


async def test_bytes_of_any_kind_arrive_as_text(launch, member):
    script = "import sys; sys.stdout.buffer.write(bytes(range(256)) * 400)"
    async with launch("shell"):
        process_id = await submit(member, sys.executable, "-c", script)
        assert (await member.wait_for(process_id, LONG)).state is State.SUCCESS
        text = said(await pages_of(member, process_id))
    assert "ABCDEFG" in text
    assert "\x1b" in text
    assert "\0" not in text
    assert text.count("\ufffd") >= 400 * 127


async def test_bars_that_are_drawn_over_are_few_and_long_lines_are_whole(launch, member):
    script = "printf '%0100000d\\n' 7; for i in $(seq 1000); do printf \"\\r$i%%\"; done; echo"
    async with launch("shell"):
        process_id = await submit(member, "sh", "-c", script)
        pages = await followed(member, process_id)
    first, bar = said(pages).split("\n")[:2]
    assert first == "0" * 99_999 + "7"
    assert bar.endswith("1000%")
    assert len(bar) < 1000


@pytest.fixture
def never(tmp_path):
    """What is waited for in vain; who still does when the test has ended need not any more."""
    path = tmp_path / "never"
    os.mkfifo(path)
    yield path
    os.close(os.open(path, os.O_RDWR))


async def test_what_follows_of_a_runtime_that_is_killed_is_its_own(
    launch, member, server, sql, never
):
    """kill -9 in the middle: what was heard stays, and the next attempt begins its own log."""
    wait = f"echo attempt; echo $COLONIES_PROCESSID >&2; read _ < {never}"
    async with launch("shell", "--name", "one") as first:
        process_id = await submit(member, "sh", "-c", wait, max_retries=-1, max_exec_time=60)
        following = asyncio.create_task(followed(member, process_id))
        await logged(member, process_id, attempt=1)
        first.send(signal.SIGKILL)
        await first.finish()
    await sql.execute(f"UPDATE processes SET leased_until = {OVER} WHERE state = 1")
    await server.ticker.run_once()
    async with launch("shell", "--name", "two"):
        await logged(member, process_id, attempt=2)
        await member.cancel_process(process_id)
        pages = await following
    for attempt in (1, 2):
        assert said(pages, attempt=attempt) == "attempt\n"
        assert said(pages, "stderr", attempt) == f"{process_id}\n"
    assert pages[-1].is_over


async def logged(member, process_id: str, *, attempt: int) -> None:
    """Wait until an attempt has said both of its lines."""
    async with await member.subscribe_logs(process_id) as log, asyncio.timeout(LONG):
        streams = set()
        while streams != {"stdout", "stderr"}:
            page = await anext(log)
            streams |= {one.stream for one in page.entries if one.attempt == attempt}


async def test_no_line_comes_twice_and_none_is_lost_over_reconnects(
    launch, member, server, settings, people
):
    """The sockets of the runtime and of who follows are cut again and again."""

    async with FaultProxy(server.port) as proxy, FaultProxy(server.port) as readers:
        for _ in range(3):
            proxy.drop_reply("addlogsmsg")
        there = msgspec.structs.replace(settings, server_port=readers.port, try_timeout=1.0)
        speaking = {"COLONIES_SERVERPORT": str(proxy.port), "COLONIES_TRY_TIMEOUT": "0.5"}
        async with launch("shell", **speaking), connect(there, key=people.runtime) as reader:
            script = "for i in $(seq 300); do echo line $i; sleep 0.01; done"
            process_id = await submit(member, "sh", "-c", script)
            following = asyncio.create_task(followed(reader, process_id))
            for count in (20, 100, 200):
                await until_said(member, process_id, f"line {count}\n")
                proxy.cut()
                readers.cut()
            pages = await following
            assert (await member.wait_for(process_id, LONG)).state is State.SUCCESS
        assert proxy.requests["addlogsmsg"] > 3
    assert said(pages) == "".join(f"line {number}\n" for number in range(1, 301))


async def until_said(member, process_id: str, text: str) -> None:
    async with await member.subscribe_logs(process_id) as log, asyncio.timeout(LONG):
        seen = ""
        while text not in seen:
            seen += "".join(one.text for one in (await anext(log)).entries)


@pytest.fixture
async def telling(member):
    """The logs of a runtime, sending; and one attempt of it."""
    await member.submit("work", runtime_type="cli")
    process = await member.assign_process(timeout=-1, leased=True)
    sender = Logs(member)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(sender.run())
        yield sender, process
        running.cancel()


@pytest.fixture
def away(member, monkeypatch):
    """Have the hub hear nothing until it is back, which counts as long at once."""
    back = asyncio.Event()
    add = member.add_logs

    async def held_up(appends):
        await back.wait()
        return await add(appends)

    monkeypatch.setattr(member, "add_logs", held_up)
    monkeypatch.setattr(logs, "STALL", 0.1)
    return back


async def entries_of(member, process) -> list[Entry]:
    return [one for page in await pages_of(member, process.process_id) for one in page.entries]


async def test_a_hub_that_is_away_holds_nobody_up_for_long_and_the_gap_is_told(
    telling, member, away
):
    sender, process = telling
    log = sender.open(process)
    async with asyncio.timeout(LONG):
        for number in range(100):
            await log.write(f"{number:09}\n" * 1000, "stdout", None)
    assert sender.waiting <= logs.MOST_WAITING
    away.set()
    await log.finish()
    entries = await entries_of(member, process)
    assert gaps(entries) > 500_000
    assert entries[0].text.startswith("000000000\n")
    assert entries[-1].text.endswith("000000099\n")


async def test_what_waits_is_bounded_in_all_and_in_pieces_as_well(
    telling, member, away, monkeypatch
):
    monkeypatch.setattr(logs, "MOST_WAITING_IN_ALL", 100_000)
    monkeypatch.setattr(logs, "MOST_SEGMENTS", 10)
    sender, process = telling
    await member.submit("work", runtime_type="cli")
    flood = await member.assign_process(timeout=-1, leased=True)
    log, other = sender.open(process), sender.open(flood)
    async with asyncio.timeout(LONG):
        await other.write(b"x" * 99_999 + b"\n", "stdout", None)
        for number in range(100):
            await log.write(f"{number}\n", f"{number % 2}", None)
            assert sender.waiting <= 100_000 + logs.PIECE
            assert len(log._segments) <= 10
    other.close()
    away.set()
    await log.write("after\n", "0", None)
    await log.finish()
    assert (await entries_of(member, process))[-1].text == "after\n"


async def test_who_says_more_than_the_hub_takes_is_held_up_and_loses_nothing(
    telling, member, monkeypatch
):
    sender, process = telling
    log = sender.open(process)
    may_hear = asyncio.Semaphore(0)
    add = member.add_logs

    async def slow(appends):
        await may_hear.acquire()
        return await add(appends)

    monkeypatch.setattr(member, "add_logs", slow)
    writing = asyncio.create_task(log.write("x" * 79 + "\n" * 1 + "y" * 1_000_000, "stdout", None))
    await until(lambda: sender.waiting > logs.MOST_WAITING - logs.PIECE)
    assert not writing.done()
    for _ in range(100):
        may_hear.release()
    await writing
    await log.finish()
    assert len(said(await pages_of(member, process.process_id))) == 1_000_080


async def test_a_restarted_runtime_goes_on_where_the_hub_has_heard_it(telling, member):
    sender, process = telling
    log = sender.open(process)
    await log.write("0123\n", "stdout", None)
    await log.finish()
    again = sender.open(process, is_resumed=True)
    assert await again.reached("stdout") == 5
    await again.write("0123\n5678\n", "stdout", 0)
    await again.finish()
    assert said(await pages_of(member, process.process_id)) == "0123\n5678\n"


async def test_a_log_that_is_refused_holds_nobody_up(telling, member):
    sender, process = telling
    log = sender.open(process)
    await member.release(process.process_id, attempt_token=process.attempt_token)
    await log.write("late\n", "stdout", None)
    async with asyncio.timeout(LONG):
        await log.finish()
    await log.write("later\n", "stdout", None)
    assert sender.waiting == 0


async def test_many_attempts_share_messages_and_each_has_its_turn(telling, member, monkeypatch):
    sender, process = telling
    others = [await member.submit("work", runtime_type="cli") for _ in range(20)]
    taken = [await member.assign_process(timeout=-1, leased=True) for _ in others]
    calls = []
    add = member.add_logs

    async def counted(appends):
        calls.append(len(appends))
        return await add(appends)

    monkeypatch.setattr(member, "add_logs", counted)
    flood = sender.open(process)
    quiet = [sender.open(one) for one in taken]
    flooding = asyncio.create_task(flood.write("x" * 99 + "\n" + "z" * 2_000_000, "stdout", None))
    await asyncio.gather(*(one.write("mine\n", "stdout", None) for one in quiet))
    async with asyncio.timeout(LONG):
        await asyncio.gather(*(one.finish() for one in quiet))
    assert not flooding.done() or len(calls) > 1
    for one in taken:
        assert said(await pages_of(member, one.process_id)) == "mine\n"
    await flooding
    await flood.finish()
    assert len(calls) < 100


@pytest.mark.parametrize(
    ("stream", "offset"), [("", None), ("x" * 33, None), ("a\0", None), ("a", -1), ("a", 2**60)]
)
async def test_what_cannot_be_said_is_refused_where_it_is_said(telling, stream, offset):
    sender, process = telling
    log = sender.open(process)
    with pytest.raises(ValueError, match=r"^(stream|offset): expected"):
        await log.write(b"x", stream, offset)
