"""The client without ``await``, on a plain thread."""

import asyncio
import threading

import pytest
from msgspec.structs import replace

from colonies.client import BlockingColonies
from colonies.core.errors import NotFound
from colonies.core.log import Append, NewEntry
from colonies.core.process import State


@pytest.fixture
def there(server, settings, colony):
    return replace(settings, server_port=server.port)


async def on_a_thread(work):
    """The hub of the test needs this loop meanwhile."""
    return await asyncio.to_thread(work)


@pytest.mark.parametrize("http", [False, True])
async def test_it_does_what_the_other_does(there, people, http):
    def work():
        with BlockingColonies(there, key=people.runtime, http=http) as colonies:
            submitted = colonies.submit("add", 1, 2, runtime_type="cli")
            process = colonies.assign_process(timeout=5)
            assert process.process_id == submitted.id
            colonies.close_successful(process.process_id, ["3"])
            with pytest.raises(NotFound):
                colonies.get_process("f" * 64)
            return submitted.wait(10)

    done = await on_a_thread(work)
    assert (done.state, done.output) == (State.SUCCESS, ["3"])


async def test_subscriptions_are_plain_iterators(there, people, server):
    def work():
        with BlockingColonies(there, key=people.runtime) as colonies:
            changes = colonies.subscribe_processes("cli", states=[State.WAITING])
            ids = [colonies.submit("work", runtime_type="cli").id for _ in range(3)]
            assert [next(changes).process_id for _ in ids] == ids
            changes.close()
            colonies.get_caller()

    await on_a_thread(work)
    assert len(server.hub.listeners) == 0


async def test_a_log_is_a_plain_iterator_that_ends_with_it(there, people):
    def work():
        with BlockingColonies(there, key=people.runtime) as colonies:
            submitted = colonies.submit("work", runtime_type="cli")
            token = colonies.assign_process(timeout=5).attempt_token
            entry = NewEntry(stream="stdout", offset=0, size=4, text="said")
            colonies.add_logs([Append(submitted.id, 1, token, [entry])])
            colonies.close_successful(submitted.id, attempt_token=token)
            pages = list(colonies.subscribe_logs(submitted.id))
            return [one.text for page in pages for one in page.entries]

    assert await on_a_thread(work) == ["said"]


async def test_another_identity_is_blocking_too(there, people):
    def work():
        with BlockingColonies(there, key=people.runtime) as colonies:
            other = colonies.acting_as(people.colony_owner)
            assert isinstance(other, BlockingColonies)
            return other.get_caller().id

    assert await on_a_thread(work) == people.colony_owner.id


async def test_closing_twice_is_fine_and_leaves_no_thread(there, people):
    def work():
        colonies = BlockingColonies(there, key=people.runtime)
        colonies.get_caller()
        colonies.close()
        colonies.close()
        with pytest.raises(RuntimeError, match="closed"):
            colonies.get_caller()

    await on_a_thread(work)
    assert not [thread for thread in threading.enumerate() if thread.name == "colonies"]
