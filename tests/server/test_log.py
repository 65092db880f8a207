"""Logs at the hub: added to once, kept in order, and followed from anywhere."""

import asyncio

import pytest

from colonies.core.envelope import open_reply
from colonies.core.errors import Conflict, Forbidden, NotFound, StaleAttempt
from colonies.core.log import Append, LogPage, NewEntry, Progress
from colonies.core.process import Process
from colonies.server import log as logs
from colonies.server import log_stream, retention
from tests.conftest import add_runtime
from tests.server.doors import LONG, refused, talk, until
from tests.server.hubs import acquainted, narrow, narrow_socket, reaching
from tests.server.leases import submit, take


def entry(text: str, offset: int = 0, stream: str = "stdout", size: int | None = None) -> NewEntry:
    length = len(text.encode()) if size is None else size
    return NewEntry(stream=stream, offset=offset, size=length, text=text)


def append(process: Process, number: int, *entries: NewEntry, **more) -> Append:
    return Append(
        process_id=process.process_id,
        attempt_token=process.attempt_token,
        number=number,
        entries=list(entries),
        **more,
    )


def text_of(*pages: LogPage) -> str:
    return "".join(one.text for page in pages for one in page.entries)


@pytest.fixture
async def process(member) -> Process:
    """One that our runtime runs."""
    await submit(member)
    return await take(member)


async def say(member, process, number, text, offset=0) -> None:
    assert await member.add_logs([append(process, number, entry(text, offset))]) == [None]


async def test_what_was_said_is_read_in_order_with_its_streams(member, process):
    said = [entry("one\n"), entry("öh\n", 0, "stderr"), entry("two\n", 4)]
    assert await member.add_logs([append(process, 1, *said)]) == [None]
    assert await member.add_logs([append(process, 2, entry("three\n", 8))]) == [None]
    page = await member.get_logs(process.process_id)
    assert [(one.position, one.stream, one.offset, one.text) for one in page.entries] == [
        (0, "stdout", 0, "one\n"),
        (4, "stderr", 0, "öh\n"),
        (8, "stdout", 4, "two\n"),
        (12, "stdout", 8, "three\n"),
    ]
    assert {one.attempt for one in page.entries} == {1}
    assert (page.length, page.next_position, page.number) == (18, 18, 2)
    assert page.ends == {"stdout": 14, "stderr": 4}
    assert not page.is_over
    later = await member.get_logs(process.process_id, 8)
    assert text_of(later) == "two\nthree\n"


async def test_what_is_sent_again_is_not_said_again(member, process):
    for number in (1, 1, 2, 1, 2):
        await say(member, process, number, f"{number}\n", 2 * number - 2)
    page = await member.get_logs(process.process_id)
    assert text_of(page) == "1\n2\n"


async def test_many_at_once_are_each_said_once(member, process):
    """As when a hub has got the same twice, by two sockets."""
    one = append(process, 1, entry("once\n"))
    assert (
        await asyncio.gather(*(member.add_logs([one, one]) for _ in range(8))) == [[None, None]] * 8
    )
    assert text_of(await member.get_logs(process.process_id)) == "once\n"


async def test_attempts_are_told_apart_and_one_that_is_over_says_nothing(member, process):
    await say(member, process, 7, "first\n")
    await member.release(process.process_id, attempt_token=process.attempt_token)
    second = await take(member)
    (refusal,) = await member.add_logs([append(process, 8, entry("late\n", 6))])
    assert isinstance(refusal, StaleAttempt)
    assert refusal.status == 409
    await say(member, second, 1, "second\n")
    page = await member.get_logs(process.process_id)
    assert [(one.attempt, one.text) for one in page.entries] == [(1, "first\n"), (2, "second\n")]
    assert (page.attempt, page.ends) == (2, {"stdout": 7})


async def test_a_process_that_has_ended_takes_no_more(member, process):
    await say(member, process, 1, "last words\n")
    await member.close_successful(process.process_id, attempt_token=process.attempt_token)
    (refusal,) = await member.add_logs([append(process, 2, entry("late\n", 11))])
    assert type(refusal) is Conflict
    page = await member.get_logs(process.process_id)
    assert (text_of(page), page.is_over) == ("last words\n", True)


async def test_each_append_is_for_itself(member, fellow, process):
    await submit(member)
    theirs = await take(fellow)
    gone = Append(process_id="0" * 64, number=1)
    refused, found, missing = await member.add_logs(
        [append(theirs, 1, entry("x")), append(process, 1, entry("mine\n")), gone]
    )
    assert (type(refused), found, type(missing)) == (StaleAttempt, None, NotFound)
    assert text_of(await member.get_logs(process.process_id)) == "mine\n"
    assert text_of(await member.get_logs(theirs.process_id)) == ""


async def test_progress_is_the_last_that_was_said_by_the_attempt(member, process):
    for done in (1, 3):
        said = Progress(done=done, total=4, text="stirring")
        assert await member.add_logs([append(process, done, progress=said)]) == [None]
    await say(member, process, 4, "text\n")
    page = await member.get_logs(process.process_id)
    assert page.progress == Progress(done=3, total=4, text="stirring")
    assert page.progress.fraction == 0.75
    await member.release(process.process_id, attempt_token=process.attempt_token)
    await say(member, await take(member), 1, "again\n")
    assert not (await member.get_logs(process.process_id)).progress.is_known


@pytest.mark.settings(max_log_bytes=1000)
async def test_of_more_than_is_kept_the_beginning_goes(member, process, sql):
    for number in range(100):
        await say(member, process, number + 1, f"{number:09}\n" * 5, number * 50)
    page = await member.get_logs(process.process_id)
    assert page.length == 5000
    assert page.entries[0].position == 4000
    assert text_of(page).splitlines()[-1] == "000000099"
    assert await sql.fetchval("SELECT count(*) FROM log_entries") == 20


async def test_a_long_log_is_read_page_by_page(member, process, monkeypatch):
    monkeypatch.setattr(logs, "PAGE_BYTES", 100)
    whole = ""
    for number in range(30):
        await say(member, process, number + 1, f"{number:09}\n", len(whole))
        whole += f"{number:09}\n"
    pages = [await member.get_logs(process.process_id)]
    while pages[-1].next_position < pages[-1].length:
        pages.append(await member.get_logs(process.process_id, pages[-1].next_position))
    assert text_of(*pages) == whole
    assert len(pages) == 3


async def test_what_is_older_is_left_out_when_asked(member, process, sql):
    await say(member, process, 1, "old\n")
    await sql.execute("UPDATE log_entries SET time = now() - interval '1 hour'")
    await say(member, process, 2, "new\n", 4)
    assert text_of(await member.get_logs(process.process_id, seconds=60)) == "new\n"
    assert text_of(await member.get_logs(process.process_id, seconds=7200)) == "old\nnew\n"


async def follow(member, process_id: str, position: int = 0) -> list[LogPage]:
    async with await member.subscribe_logs(process_id, position) as log, asyncio.timeout(LONG):
        return [page async for page in log]


async def test_a_log_is_followed_from_before_it_begins_to_its_end(member):
    process_id = await submit(member)
    following = asyncio.create_task(follow(member, process_id))
    process = await take(member)
    for number in range(50):
        await say(member, process, number + 1, f"{number:02}\n", number * 3)
    await member.close_successful(process_id, attempt_token=process.attempt_token)
    pages = await following
    assert text_of(*pages) == "".join(f"{number:02}\n" for number in range(50))
    assert [page.is_over for page in pages[-2:]] == [False, True] or len(pages) == 1


async def test_two_hubs_tell_the_same_of_both_attempts(member, there, second, process):
    """What is said at one is seen at both, by those who begin early, late or in the middle."""
    await until(lambda: second.news.is_wanted)
    here, far = (asyncio.create_task(follow(one, process.process_id)) for one in (member, there))
    await say(member, process, 1, "first\n")
    middle = asyncio.create_task(follow(there, process.process_id, 6))
    await member.release(process.process_id, attempt_token=process.attempt_token)
    again = await take(there)
    for number in range(20):
        teller = member if number % 2 else there
        await say(teller, again, number + 1, f"{number:02}\n", number * 3)
    await there.close_successful(process.process_id, attempt_token=again.attempt_token)
    later = "".join(f"{number:02}\n" for number in range(20))
    assert text_of(*await here) == "first\n" + later
    assert text_of(*await far) == "first\n" + later
    assert text_of(*await middle) == later
    assert text_of(*await follow(there, process.process_id)) == "first\n" + later


async def test_a_log_is_told_of_where_it_is_followed_and_only_there(
    *, server, second, member, there, process, monkeypatch
):
    """Nobody looks by himself here: what is pushed was told of."""
    monkeypatch.setattr(log_stream, "LOOK_AGAIN", 2 * LONG)
    told: list[str] = []
    stir = second.hub.logs.stir

    def noted(process_ids):
        told.extend(process_ids)
        stir(process_ids)

    monkeypatch.setattr(second.hub.logs, "stir", noted)
    await acquainted(server, second)
    await until(lambda: not server.news._wanted.has_log(process.process_id))
    await say(member, process, 1, "before\n")
    await submit(member)
    other = await take(member)
    async with await there.subscribe_logs(process.process_id) as log, asyncio.timeout(LONG):
        assert text_of(await anext(log)) == "before\n"
        await say(member, other, 1, "not followed\n")
        await say(member, process, 2, "after\n", 7)
        assert text_of(await anext(log)) == "after\n"
        await until(lambda: process.process_id in told)
    assert set(told) == {process.process_id}


async def test_many_followers_share_what_they_read(member, process, server, statements):
    following = [asyncio.create_task(follow(member, process.process_id)) for _ in range(50)]
    await until(lambda: len(server.hub.logs._streams[process.process_id]) == 50)
    statements.clear()
    await say(member, process, 1, "heard\n")
    await member.close_successful(process.process_id, attempt_token=process.attempt_token)
    for one in following:
        assert text_of(*await one) == "heard\n"
    assert statements.count("list_log_pages") < 100
    assert not server.hub.logs._streams


@pytest.mark.settings(max_log_bytes=2**26)
async def test_a_follower_that_does_not_read_holds_no_text_and_misses_none(
    settings, process, people
):
    """The hub keeps a position for it, and goes on when it reads."""
    line, count = "x" * 59_999 + "\n", 60
    async with (
        narrow(settings) as server,
        reaching(server, people.runtime) as member,
        talk(server, max_queue=1, sock=narrow_socket(server)) as slow,
    ):
        await slow.ask("subscribelogsmsg", {"processid": process.process_id}, people.runtime, "log")
        (stream,) = server.hub.logs._streams[process.process_id]
        for number in range(count):
            await say(member, process, number + 1, line, number * len(line))
        assert stream._position < count * len(line)
        assert stream._connection._outbox._bytes < 1_000_000
        await member.close_successful(process.process_id, attempt_token=process.attempt_token)
        pages: list[LogPage] = []
        while not (pages and pages[-1].is_over):
            pages.append(open_reply(await slow.push(), LogPage))
    assert text_of(*pages) == line * count


async def test_a_client_that_does_not_read_keeps_little_and_misses_none(member, process):
    async with await member.subscribe_logs(process.process_id) as log:
        for number in range(40):
            await say(member, process, number + 1, f"{number:02}\n", number * 3)
            await asyncio.sleep(0)
        await member.close_successful(process.process_id, attempt_token=process.attempt_token)
        assert len(log._stream._unread) <= 8
        async with asyncio.timeout(LONG):
            pages = [page async for page in log]
    assert text_of(*pages) == "".join(f"{number:02}\n" for number in range(40))


async def test_who_follows_is_told_of_progress(member, process):
    async with await member.subscribe_logs(process.process_id) as log, asyncio.timeout(LONG):
        await anext(log)
        said = Progress(done=1, total=2)
        await member.add_logs([append(process, 1, progress=said)])
        assert (await anext(log)).progress == said


async def test_who_follows_hears_that_the_process_was_deleted(member, process):
    async with await member.subscribe_logs(process.process_id) as log, asyncio.timeout(LONG):
        await anext(log)
        await member.delete_process(process.process_id)
        with pytest.raises(NotFound):
            await anext(log)


async def test_who_is_shut_out_hears_no_more(client, member, owner, process, people):
    async with await member.subscribe_logs(process.process_id) as log, asyncio.timeout(LONG):
        await anext(log)
        await owner.reject_runtime(people.runtime.id)
        with pytest.raises(Forbidden, match="not approved"):
            await anext(log)


async def test_a_log_goes_with_its_process(member, process, sql, owner):
    await say(member, process, 1, "gone\n")
    await submit(member)
    other = await take(member)
    await say(member, other, 1, "gone too\n")
    await member.delete_process(process.process_id)
    count = "SELECT (SELECT count(*) FROM logs) + (SELECT count(*) FROM log_entries)"
    assert await sql.fetchval(count) == 2
    await owner.delete_all_processes()
    assert await sql.fetchval(count) == 0


async def test_a_log_goes_with_a_process_that_was_kept_long_enough(member, process, sql, server):
    await say(member, process, 1, "gone\n")
    await member.close_successful(process.process_id, attempt_token=process.attempt_token)
    await sql.execute("UPDATE processes SET end_time = now() - interval '2 days'")
    await retention.sweep_all(server.db, retention.Keep(1, 1, 1), server.metrics)
    count = "SELECT (SELECT count(*) FROM logs) + (SELECT count(*) FROM log_entries)"
    assert await sql.fetchval(count) == 0


async def test_what_was_said_long_ago_goes_and_the_log_goes_on(member, process, sql, server):
    for number in range(5):
        await say(member, process, number + 1, "old\n", 4 * number)
    await sql.execute("UPDATE log_entries SET time = now() - interval '2 days'")
    await say(member, process, 6, "new\n", 20)
    await retention.sweep_logs(server.db, retention.Keep(0, 0, 0), batch=2)
    assert await sql.fetchval("SELECT count(*) FROM log_entries") == 6
    await retention.sweep_logs(server.db, retention.Keep(0, 0, 0, logs=1), batch=2)
    page = await member.get_logs(process.process_id)
    assert [(one.position, one.text) for one in page.entries] == [(20, "new\n")]


async def test_a_colony_takes_its_logs_with_it(client, people, member, process, sql):
    await say(member, process, 1, "gone\n")
    await client.acting_as(people.server_owner).delete_colony(people.colony_owner.id)
    count = "SELECT (SELECT count(*) FROM logs) + (SELECT count(*) FROM log_entries)"
    assert await sql.fetchval(count) == 0


async def test_nobody_reads_another_colonys(foreigner, member, process):
    await say(member, process, 1, "secret\n")
    with pytest.raises(NotFound):
        await foreigner.get_logs(process.process_id)
    (refusal,) = await foreigner.add_logs([append(process, 2, entry("x"))])
    assert isinstance(refusal, NotFound)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"number": -1}, "appends[0].number"),
        ({"number": 1, "entries": [{"stream": "", "offset": 0, "size": 1, "text": "x"}]},
         "appends[0].entries[0].stream"),
        ({"number": 1, "entries": [{"stream": "a", "offset": 0, "size": 1, "text": ""}]},
         "appends[0].entries[0].text"),
        ({"number": 1, "entries": [{"stream": "a", "offset": 2**60, "size": 1, "text": "x"}]},
         "appends[0].entries[0].offset"),
        ({"number": 1, "entries": [{"stream": "a", "offset": 0, "size": 1, "text": "a\0b"}]},
         "appends[0].entries[0].text"),
        ({"number": 1, "progress": {"done": -1, "total": 1}}, "appends[0].progress.done"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_by_its_field(server, process, people, fields, field):
    fields = {"appends": [{"processid": process.process_id} | fields]}
    async with talk(server) as talking:
        failure = await refused(talking.ask("addlogsmsg", fields, people.runtime))
    assert (failure.status, failure.field) == (400, field)


async def test_a_newcomer_of_the_colony_reads_it_too(client, people, member, process):
    await say(member, process, 1, "ours\n")
    await add_runtime(client, people.colony_owner, people.stranger)
    page = await client.acting_as(people.stranger).get_logs(process.process_id)
    assert text_of(page) == "ours\n"
