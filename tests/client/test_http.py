"""The same scenario over WebSocket and over ``POST /api``."""

import asyncio

import pytest
from msgspec.structs import replace

from colonies.client import connect
from colonies.client.work import result_of
from colonies.core.errors import Misconfigured, NotFound, NothingToAssign
from colonies.core.process import State


@pytest.fixture(params=[False, True], ids=["ws", "http"])
async def worker(request, server, settings, colony, people):
    there = replace(settings, server_port=server.port)
    async with connect(there, key=people.runtime, http=request.param) as colonies:
        yield colonies


async def test_the_life_of_a_process(worker):
    submitted = await worker.submit("add", 1, "2", kwargs={"c": [3]}, runtime_type="cli")
    process = await worker.assign_process(timeout=5)
    assert process.process_id == submitted.id
    assert (process.spec.args, process.spec.kwargs) == (["1", '"2"'], {"c": "[3]"})
    attribute = await worker.add_attribute(process.process_id, "key", "välue")
    assert await worker.get_attribute(attribute.attribute_id) == attribute
    waiting = asyncio.ensure_future(submitted.wait(60))
    await worker.close_successful(process.process_id, ["6"])
    done = await waiting
    assert (done.state, result_of(done)) == (State.SUCCESS, 6)
    assert [one.process_id for one in await worker.get_processes(State.SUCCESS)] == [submitted.id]
    await worker.delete_process(submitted.id)
    with pytest.raises(NotFound):
        await worker.get_process(submitted.id)


async def test_a_long_poll(worker, server):
    waiting = asyncio.ensure_future(worker.assign_process(timeout=60))
    submitted = await worker.submit("work", runtime_type="cli")
    assert (await waiting).process_id == submitted.id
    with pytest.raises(NothingToAssign):
        await worker.assign_process(timeout=1)


async def test_many_long_polls_hold_up_no_other_call(worker, server):
    """There may be more of them than a pool has threads."""
    waiting = [asyncio.ensure_future(worker.assign_process(timeout=60)) for _ in range(40)]
    async with asyncio.timeout(30):  # the polls would last longer
        await worker.get_caller()
        for _ in waiting:
            await worker.submit("work", runtime_type="cli")
        assert len({(await task).process_id for task in waiting}) == 40


async def test_waiting_for_a_process_that_failed(worker):
    submitted = await worker.submit("work", runtime_type="cli")
    await worker.assign_process(timeout=-1)
    await worker.close_failed(submitted.id, ["why"])
    done = await submitted.wait(60)
    assert (done.state, done.errors) == (State.FAILED, ["why"])


async def test_http_cannot_be_pushed_to(server, settings, people):
    there = replace(settings, server_port=server.port)
    async with connect(there, key=people.runtime, http=True) as colonies:
        with pytest.raises(Misconfigured, match="WebSocket"):
            await colonies.subscribe_processes("cli", states=[State.WAITING])
