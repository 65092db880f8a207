"""Who works against the hub while things break, noting all that they do and see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Self

from colonies.client import Colonies
from colonies.client.connection import Connection
from colonies.client.work import Changes
from colonies.core.identity import PrivateKey
from colonies.core.process import USUAL_LEASE, Held, Process, State
from colonies.core.runtime import Runtime as Member
from colonies.settings import Settings
from runtimes.base import Job, Outcome, Runtime, success
from runtimes.daemon import Daemon, Habits
from runtimes.membership import Membership
from runtimes.outcomes import Outcomes
from tests.faults.history import Journal, Recorder
from tests.faults.world import TYPE


class Recorded(Colonies):
    """A client that notes what it asks as a runtime, and what it is given."""

    def __init__(self, settings: Settings, key: PrivateKey, journal: Journal) -> None:
        super().__init__(Connection(settings), settings, key)
        self.journal = journal

    def facts(self, process_id: str, attempt_token: str) -> dict[str, Any]:
        colony = self.settings.colony_id
        return {"process_id": process_id, "token": attempt_token, "colony_id": colony}

    async def close_successful(
        self, process_id: str, output: Iterable[str] = (), *, attempt_token: str = ""
    ) -> None:
        output = list(output)
        closing = super().close_successful(process_id, output, attempt_token=attempt_token)
        facts = self.facts(process_id, attempt_token)
        await self.journal.watch("close", closing, **facts, output=output)

    async def close_failed(
        self, process_id: str, errors: Iterable[str] = (), *, attempt_token: str = ""
    ) -> None:
        errors = list(errors)
        closing = super().close_failed(process_id, errors, attempt_token=attempt_token)
        facts = self.facts(process_id, attempt_token)
        await self.journal.watch("fail", closing, **facts, output=errors)

    async def release(self, process_id: str, *, attempt_token: str = "") -> None:
        releasing = super().release(process_id, attempt_token=attempt_token)
        await self.journal.watch("release", releasing, **self.facts(process_id, attempt_token))

    async def renew(self, holding: Iterable[Held], colony_id: str = "") -> list[str]:
        holding = list(holding)
        asked = [
            (one, self.journal.invoked("renew", **self.facts(one.process_id, one.attempt_token)))
            for one in holding
        ]
        lost = await super().renew(holding, colony_id)
        for one, renewal in asked:
            if one.process_id in lost:
                self.journal.fail(renewal, "lost")
            else:
                self.journal.ok(renewal)
        return lost

    async def subscribe_assignments(
        self,
        colony_id: str = "",
        *,
        credit: int | Callable[[], int],
        heartbeat: float = 0,
        holding: Callable[[], list[Held]] | None = None,
        request: str = "",
    ) -> Changes:
        work = await super().subscribe_assignments(
            colony_id, credit=credit, heartbeat=heartbeat, holding=holding, request=request
        )
        return Seen(work, self.journal)


class Seen(Changes):
    """Pushes that are noted as they are read."""

    def __init__(self, changes: Changes, journal: Journal) -> None:
        super().__init__(changes._asking, changes._stream)
        self._journal = journal

    async def __anext__(self) -> Process:
        process = await super().__anext__()
        if process.state is State.RUNNING and not process.is_cancelling:
            note_assigned(self._journal, process)
        return process


def note_assigned(journal: Journal, process: Process) -> None:
    """Note an attempt that somebody was given."""
    journal.seen(
        "assigned",
        process_id=process.process_id,
        colony_id=process.colony_id,
        attempt=process.attempt,
        token=process.attempt_token,
        lease=float(process.spec.lease or USUAL_LEASE),
    )


class Worker(Runtime):
    """A plugin that takes the seconds that it is told, and gives back its name."""

    runtime_type = TYPE

    async def execute(self, process: Process, job: Job) -> Outcome:
        del job
        (seconds,) = process.spec.args
        await asyncio.sleep(float(seconds))
        return success(f"{process.spec.name} by attempt {process.attempt}")


class Station:
    """A runtime as people run it, with its history in a file."""

    def __init__(
        self,
        settings: Settings,
        key: PrivateKey,
        *,
        histories: Path,
        state: Path,
        slots: int,
    ) -> None:
        self._recorder = Recorder(histories / f"runtime-{key.id[:16]}.jsonl", key.id)
        self._colonies = Recorded(settings, key, self._recorder)
        member = Member(runtime_id=key.id, runtime_type=TYPE, colony_id=settings.colony_id)
        self._daemon = Daemon(
            self._colonies,
            Worker(Worker.Settings()),
            membership=Membership(self._colonies, member, None),
            outcomes=Outcomes(state, member.runtime_id, member.colony_id),
            habits=Habits(slots=slots, heartbeat=10, drain=30),
        )

    async def run(self) -> None:
        """Work until told to stop."""
        with self._recorder:
            async with self._colonies:
                await self._daemon.run()

    def stop(self) -> None:
        self._daemon.stop()


class Submitter:
    """Submits until told to stop, a unique key each, and keeps what a user would have seen fail."""

    def __init__(self, name: str, colonies: Colonies, histories: Path) -> None:
        self.name = name
        self.errors: list[str] = []
        self.submitted = 0
        self._colonies = colonies
        self._recorder = Recorder(histories / f"submitter-{name}.jsonl", name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._recorder.close()

    async def submit(self, seconds: float, **options: Any) -> str:
        """Submit one process that takes so many seconds."""
        self.submitted += 1
        key = f"{self.name}-{self.submitted}"
        settings = self._colonies.settings
        submitting = self._colonies.submit("work", round(seconds, 3), name=key, **options)
        about = {"key": key, "colony_id": settings.colony_id}
        try:
            submitted = await self._recorder.watch(
                "submit", submitting, lambda one: {"process_id": one.id}, **about
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, a user would have seen it
            self.errors.append(f"{type(error).__name__}: {error}")
            return ""
        return submitted.id
