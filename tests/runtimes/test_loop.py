"""Two loops in two threads: what is called on one is done on the other."""

import asyncio
import threading

import pytest

from runtimes.loop import Abandoned, LoopThread


@pytest.fixture
async def thread():
    async with LoopThread("test", patience=10) as running:
        yield running
    assert not running.is_alive


async def test_what_is_called_here_is_done_there_and_its_result_comes_back(thread):
    async def where(word):
        return word, threading.current_thread().name

    assert ("there", "test") == await thread.run(where, "there")


async def test_an_exception_comes_back_as_itself(thread):
    async def fail():
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        await thread.run(fail)


async def test_who_tries_to_exit_ends_neither_loop(thread):
    async def leave():
        raise SystemExit(1)

    async def leave_aside():
        await asyncio.gather(leave())

    for function in (leave, leave_aside):
        with pytest.raises(RuntimeError, match="SystemExit"):
            await thread.run(function)
    assert 7 == await thread.run(asyncio.sleep, 0, 7)


async def test_cancelling_here_cancels_there_and_waits_for_the_clean_up(thread):
    began, may_end, traces = asyncio.Event(), asyncio.Event(), []

    async def work():
        try:
            await thread.run_back(_set(began))
            await asyncio.Event().wait()
        finally:
            await thread.run_back(may_end.wait())
            traces.append("clean")

    task = asyncio.create_task(thread.run(work))
    await began.wait()
    for _ in range(3):
        task.cancel()  # once is enough, more is harmless
        await asyncio.sleep(0)
    assert not task.done()
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ["clean"] == traces


async def test_what_is_given_in_spite_of_being_cancelled_counts(thread):
    began = asyncio.Event()

    async def work():
        try:
            await thread.run_back(_set(began))
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "in spite"

    task = asyncio.create_task(thread.run(work))
    await began.wait()
    task.cancel()
    assert "in spite" == await task


async def test_a_child_process_can_be_started_and_waited_for_there(thread):
    async def work():
        child = await asyncio.create_subprocess_exec("sh", "-c", "exit 7", start_new_session=True)
        return await child.wait()

    assert 7 == await thread.run(work)


async def test_what_blocks_there_holds_up_nothing_here_and_can_be_abandoned():
    go = threading.Event()

    async def block():
        go.wait(60)

    async with LoopThread("test", patience=0) as thread:
        task = asyncio.create_task(thread.run(block))
        await asyncio.sleep(0)
        thread.abandon_after(0)
        with pytest.raises(Abandoned):
            await task
        with pytest.raises(Abandoned):
            await thread.run(block)
    assert thread.is_alive
    go.set()
    await asyncio.to_thread(thread._thread.join)


async def test_it_can_be_closed_twice(thread):
    await thread.close()
    await thread.close()


async def _set(event):
    event.set()
