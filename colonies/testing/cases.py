"""What is asked of every plugin: one function a case, each a sentence.

A case raises AssertionError with what was expected and what came instead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from colonies.client import SubmittedProcess
from colonies.core.identity import PrivateKey
from colonies.core.process import FINAL_STATES, USUAL_LEASE, Process, State
from colonies.testing.running import Running
from colonies.testing.world import World
from runtimes.base import Runtime
from runtimes.lasting import Lasting

SHORT_LEASE = 10
"""Seconds in which the hub takes back itself what a runtime in a hurry could not give back."""


class Words(Protocol):
    """A piece of work; see `conformance.Work`."""

    func: str
    args: tuple[Any, ...]
    options: dict[str, Any]


class Subject:
    """A plugin under test, in a world of its own; ``saying`` is a `Conformance`."""

    def __init__(self, saying: Any, world: World, make: Callable[[], Runtime]) -> None:
        self.saying = saying
        self.world = world
        self.make = make

    @property
    def is_lasting(self) -> bool:
        """Whether what it executes lives on without it."""
        return issubclass(self.saying.plugin, Lasting)

    def running(
        self, slots: int = 1, key: PrivateKey | None = None
    ) -> AbstractAsyncContextManager[Running]:
        """Have the plugin work while the block lasts."""
        return self.world.running(self.make(), slots=slots, grace=self.saying.grace, key=key)

    async def submit(self, work: Words, **options: Any) -> SubmittedProcess:
        """Submit work for the plugin."""
        kind = self.saying.plugin.runtime_type
        return await self.world.submit(
            work.func, *work.args, runtime_type=kind, **{**work.options, **options}
        )

    async def ended(self, submitted: SubmittedProcess, though: str, *, due: float = 0) -> Process:
        """Give a process when it has ended, in ``due`` seconds; complain if it takes longer."""
        async with self.within(f"the process has not ended, {though}", due=due):
            return await self.world.ended(submitted.id, None)

    @asynccontextmanager
    async def within(self, complaint: str, *, due: float = 0) -> AsyncIterator[None]:
        """Complain when the block takes longer than ``due`` seconds and one's patience."""
        patience = due + self.saying.patience
        try:
            async with asyncio.timeout(patience):
                yield
        except TimeoutError as error:
            raise AssertionError(f"{complaint}, in {patience} s") from error

    async def expect_free(self, after: str) -> None:
        """Expect that the slot is free again: other work is done."""
        submitted = await self.submit(self.saying.good)
        done = await self.ended(submitted, f"as the slot was not free {after}")
        expect_state(done, State.SUCCESS)

    def expect_nothing_left(self, process: Process) -> None:
        """Expect that whatever was started is gone."""
        left = self.saying.left_of(process)
        expect(not left, f"expected nothing left of a stopped process, there is {left}")


Case = Callable[[Subject], Awaitable[None]]


def expect(is_so: bool, complaint: str) -> None:  # noqa: FBT001 - it reads as a sentence
    """Raise AssertionError unless it is so."""
    if not is_so:
        raise AssertionError(complaint)


def expect_state(process: Process, *states: State) -> None:
    """Expect that a process has ended in one of these states."""
    wanted = " or ".join(state.name for state in states)
    said = f": {process.errors}" if process.errors else ""
    expect(process.state in states, f"expected {wanted}, the process is {process.state.name}{said}")


async def succeeds(subject: Subject) -> None:
    """Work that succeeds is closed as such, and others are done after it, several at once."""
    async with subject.running(slots=2):
        submitted = [await subject.submit(subject.saying.good) for _ in range(4)]
        for one in submitted:
            expect_state(await subject.ended(one, "though its work should succeed"), State.SUCCESS)


async def fails(subject: Subject) -> None:
    """Work that fails is closed as such, with a reason, and ends nothing else."""
    async with subject.running():
        done = await subject.ended(await subject.submit(subject.saying.bad), "though it fails")
        expect_state(done, State.FAILED)
        expect(any(text.strip() for text in done.errors), "expected a reason, there are no errors")
        said = [text for text in done.errors if text.startswith("the plugin gave ")]
        expect(not said, f"expected an Outcome: {said}")
        await subject.expect_free("after a failure")


async def refuses_nonsense(subject: Subject) -> None:
    """Work that names nothing and has odd arguments ends, one way or another."""
    nonsense = type(subject.saying.good)("", '"\n$(x)', -1, {"a": None})
    async with subject.running():
        await subject.ended(await subject.submit(nonsense), "though it makes no sense")
        await subject.expect_free("after nonsense")


async def heeds_cancel(subject: Subject) -> None:
    """What somebody cancels is ended, with all that it started."""
    async with subject.running() as running:
        submitted = await subject.submit(subject.saying.endless)
        async with subject.within("the plugin was not asked to execute"):
            await running.begun(submitted.id)
        await subject.world.client.cancel_process(submitted.id, "not needed")
        done = await subject.ended(submitted, "though it was cancelled")
        # One that can be asked may give an outcome all the same.
        expect_state(done, State.CANCELLED, State.SUCCESS, State.FAILED)
        subject.expect_nothing_left(done)
        await subject.expect_free("after a cancel")


async def heeds_deadline(subject: Subject) -> None:
    """What runs longer than its ``maxexectime`` is ended."""
    async with subject.running() as running:
        submitted = await subject.submit(subject.saying.endless, max_exec_time=1)
        done = await subject.ended(submitted, "though its maxexectime is over", due=1)
        expect_state(done, State.FAILED, State.SUCCESS)
        async with subject.within("the plugin still executes what is over"):
            await running.ended(submitted.id)
        subject.expect_nothing_left(done)
        await subject.expect_free("after a maxexectime")


async def bounds_output(subject: Subject) -> None:
    """Of work that says too much so much is kept that the hub takes it."""
    async with subject.running():
        done = await subject.ended(await subject.submit(subject.saying.loud), "though it is loud")
        refused = [text for text in done.errors if "was refused" in text]
        expect(not refused, f"expected output that is bounded: {refused}")
        await subject.expect_free("after much output")


async def logs_before_it_closes(subject: Subject) -> None:
    """What was said is in the log when the process has ended."""
    work, text = subject.saying.telling
    async with subject.running():
        done = await subject.ended(await subject.submit(work), "though it only says something")
        log = await subject.world.log_of(done.process_id)
        expect(text in log, f"expected {text!r} in the log at the end, it is {log[-1000:]!r}")


async def outlives_the_hub(subject: Subject) -> None:
    """Work goes on while the hub is away, and its outcome is delivered when it is back."""
    async with subject.running() as running:
        submitted = await subject.submit(subject.saying.slow)
        async with subject.within("the plugin was not asked to execute"):
            await running.begun(submitted.id)
        await subject.world.stop_hub()
        try:
            async with subject.within("the execution has not ended while the hub was away"):
                await running.ended(submitted.id)
        finally:
            await subject.world.start_hub()
        done = await subject.ended(submitted, "though the hub is back")
        expect_state(done, State.SUCCESS)
        expect(done.attempt == 1, f"expected one attempt, there were {done.attempt}")


async def leaves(subject: Subject) -> None:
    """When the runtime leaves, what runs is ended and given back, or lives on if it can."""
    key = PrivateKey.generate()
    lease = USUAL_LEASE if subject.is_lasting else SHORT_LEASE
    async with subject.running(key=key) as running:
        submitted = await subject.submit(subject.saying.endless, lease=lease)
        async with subject.within("the plugin was not asked to execute"):
            await running.begun(submitted.id)
        running.stop()
        async with subject.within("the plugin executes on though the runtime leaves"):
            await running.ended(submitted.id)
    expect(running.daemon.is_ended, "expected the plugin to end, it was left behind")
    if subject.is_lasting:
        expect_state(await subject.world.client.get_process(submitted.id), State.RUNNING)
        await _cancel_in_its_next_life(subject, submitted, key)
        return
    now = await _given_back(subject, submitted)
    expect_state(now, State.WAITING)
    subject.expect_nothing_left(now)


async def _given_back(subject: Subject, submitted: SubmittedProcess) -> Process:
    """Give a process when it is in the queue again, or has ended instead."""
    states = (State.WAITING, *FINAL_STATES)
    async with subject.within("what was running was not given back"):
        changes = await subject.world.client.subscribe_process(submitted.id, states=states)
        async with changes:
            return await anext(changes)


async def _cancel_in_its_next_life(
    subject: Subject, submitted: SubmittedProcess, key: PrivateKey
) -> None:
    async with subject.running(key=key) as running:
        async with subject.within("what lives on was not taken up"):
            await running.begun(submitted.id)
        await subject.world.client.cancel_process(submitted.id, "not needed")
        done = await subject.ended(submitted, "though it was cancelled after a restart")
        subject.expect_nothing_left(done)


async def outlives_its_runtime(subject: Subject) -> None:
    """What a lasting plugin executes goes on when the runtime has left, and is found again."""
    key = PrivateKey.generate()
    async with subject.running(key=key) as running:
        submitted = await subject.submit(subject.saying.slow)
        async with subject.within("the plugin was not asked to execute"):
            await running.begun(submitted.id)
    await _expect_found_again(subject, submitted, key)


async def outlives_a_kill(subject: Subject) -> None:
    """What a lasting plugin executes goes on when the runtime was killed, and is found again."""
    key = PrivateKey.generate()
    saying = subject.saying
    settings = subject.make().settings
    launched = subject.world.launched(saying.plugin, settings, key=key, grace=saying.grace)
    async with launched as runtime:
        submitted = await subject.submit(saying.slow)
        async with subject.within("the plugin was not asked to execute"):
            await runtime.busy()
    await _expect_found_again(subject, submitted, key)


async def _expect_found_again(
    subject: Subject, submitted: SubmittedProcess, key: PrivateKey
) -> None:
    async with subject.running(key=key):
        done = await subject.ended(submitted, "though its runtime is back")
        expect_state(done, State.SUCCESS)
        expect(done.attempt == 1, f"expected one attempt, there were {done.attempt}")
        count = subject.saying.starts_of(done)
        expect(count == 1, f"expected work that is begun once, it was {count} times")


_NEEDS: dict[Case, str] = {
    succeeds: "",
    fails: "bad",
    refuses_nonsense: "",
    heeds_cancel: "endless",
    heeds_deadline: "endless",
    bounds_output: "loud",
    logs_before_it_closes: "telling",
    outlives_the_hub: "slow",
    leaves: "endless",
    outlives_its_runtime: "slow",
    outlives_a_kill: "slow",
}

LASTING = (outlives_its_runtime, outlives_a_kill)
"""The cases of `Lasting` plugins only."""

ALL = tuple(_NEEDS)


def needs_of(case: Case) -> str:
    """Give which work a test class must say for a case, if any."""
    return _NEEDS[case]
