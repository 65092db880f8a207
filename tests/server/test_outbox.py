"""What a connection still has to send is bounded."""

import asyncio

import pytest

from colonies.server.outbox import Outbox


@pytest.fixture
def outbox() -> Outbox:
    return Outbox(max_frames=3, max_bytes=10)


async def test_frames_come_out_in_the_order_they_went_in(outbox):
    for frame in (b"a", b"b"):
        assert outbox.push(frame)
    await outbox.put(b"c")
    assert [await outbox.get() for _ in range(3)] == [b"a", b"b", b"c"]


async def test_a_push_over_either_bound_is_refused(outbox):
    assert [outbox.push(b"x") for _ in range(4)] == [True, True, True, False]
    heavy = Outbox(max_frames=3, max_bytes=10)
    assert [heavy.push(b"x" * 10) for _ in range(2)] == [True, False]
    await heavy.get()
    assert heavy.push(b"x")


async def test_a_reply_waits_for_room(outbox):
    for _ in range(3):
        outbox.push(b"x")
    waiting = asyncio.ensure_future(outbox.put(b"y"))
    await asyncio.sleep(0)
    assert not waiting.done()
    await outbox.get()
    await waiting
    assert [await outbox.get() for _ in range(3)] == [b"x", b"x", b"y"]


async def test_room_for_one_lets_one_reply_in(outbox):
    for _ in range(3):
        outbox.push(b"x")
    waiting = [asyncio.ensure_future(outbox.put(b"y")) for _ in range(5)]
    await asyncio.sleep(0)
    await outbox.get()
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(outbox._frames) <= 3
    outbox.close(discard=True)
    await asyncio.gather(*waiting)


async def test_who_waits_for_a_frame_gets_it(outbox):
    waiting = asyncio.ensure_future(outbox.get())
    await asyncio.sleep(0)
    outbox.push(b"x")
    assert await waiting == b"x"


async def test_what_can_be_sent_at_once_passes_by_the_writer_but_nothing_before_it(outbox):
    sent = []

    def send_now(frame: bytes) -> bool:
        if frame != b"b":
            sent.append(frame)
        return frame != b"b"

    outbox.send_now = send_now
    assert outbox.push(b"x")
    assert await outbox.get() == b"x"
    waiting = asyncio.ensure_future(outbox.get())
    await asyncio.sleep(0)
    for frame in (b"a", b"b", b"c"):
        assert outbox.push(frame)
    assert (sent, await waiting) == ([b"a"], b"b")
    assert await outbox.get() == b"c"


async def test_closing_keeps_what_was_taken_and_takes_no_more(outbox):
    outbox.push(b"x")
    outbox.close(discard=False)
    assert not outbox.push(b"y")
    await outbox.put(b"z")
    assert [await outbox.get() for _ in range(2)] == [b"x", None]


async def test_discarding_empties_it_and_wakes_everybody(outbox):
    reader = asyncio.ensure_future(Outbox(max_frames=1, max_bytes=1).get())
    for _ in range(3):
        outbox.push(b"x")
    writer = asyncio.ensure_future(outbox.put(b"y"))
    await asyncio.sleep(0)
    outbox.close(discard=True)
    await writer
    assert await outbox.get() is None
    reader.cancel()


async def test_it_may_be_closed_twice(outbox):
    outbox.close(discard=False)
    outbox.close(discard=True)
    assert outbox.is_closed
