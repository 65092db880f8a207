"""Plugins that are wrong, each in one way; everything else of them is `Right`."""

import asyncio
import contextlib

from runtimes.base import Job, Outcome, Runtime, failure, success


class Right(Runtime):
    """Does what its function says."""

    runtime_type = "right"

    async def execute(self, process, job: Job) -> Outcome:
        match process.spec.func:
            case "good":
                return success("done")
            case "say":
                await job.log("hello\n")
                return success()
            case "wait":
                await self.wait(process)
            case "shout":
                return self.shout()
        return self.fail(process)

    async def wait(self, _process):
        await asyncio.Event().wait()

    def shout(self):
        return success("x" * 1000)

    def fail(self, process):
        return failure(f"no such function: {process.spec.func}")


class Deaf(Right):
    """Does not heed that it is cancelled."""

    async def wait(self, _process):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(3)


class Messy(Right):
    """Leaves something behind."""

    left = []

    async def wait(self, process):
        self.left.append(process.process_id)
        await asyncio.Event().wait()


class Cheerful(Right):
    """Knows no failure."""

    def fail(self, _process):
        return success()


class Silent(Right):
    """Gives no reason."""

    def fail(self, _process):
        return failure()


class Wordy(Right):
    """Gives more than a hub takes."""

    def shout(self):
        return success("x" * 3_000_000)


class Tongueless(Right):
    """Does not log."""

    async def execute(self, process, job):
        return await super().execute(process, Job(job.attribute))


class Greedy(Right):
    """Begins no second execution while one goes on, and one that failed goes on for it."""

    is_busy = False

    async def execute(self, process, job):
        if self.is_busy:
            await asyncio.Event().wait()
        self.is_busy = True
        outcome = await super().execute(process, job)
        self.is_busy = not outcome.is_success
        return outcome


class Stubborn(Right):
    """Begins anew what was cancelled."""

    async def wait(self, _process):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.sleep(3)
