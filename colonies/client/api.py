"""The client: one short method an RPC, giving the Structs of the core.

::

    async with connect(key=key) as colonies:
        process = await colonies.submit("fibonacci", 12, runtime_type="python")
        done = await process.wait()
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import Any, TypeVar

import msgspec

from colonies import settings as all_settings
from colonies.batch import Batch
from colonies.client.asking import after_last
from colonies.client.connection import Connection, Transport
from colonies.client.cron import Crons
from colonies.client.function import Functions
from colonies.client.generator import Generators
from colonies.client.http import HttpConnection
from colonies.client.log import Logs
from colonies.client.runtime import Runtimes
from colonies.client.work import Changes, SubmittedProcess, in_colony, make_spec
from colonies.client.workflow import Workflows
from colonies.core.attribute import Attribute, AttributeKind
from colonies.core.caller import Caller, Version
from colonies.core.cluster import Cluster
from colonies.core.colony import Colony, Statistics
from colonies.core.errors import Failure, FailureMessage, failure_from
from colonies.core.explanation import Explanation
from colonies.core.history import Event
from colonies.core.identity import PrivateKey
from colonies.core.process import FINAL_STATES, AttemptEnd, Held, Process, ProcessSpec, State
from colonies.settings import Settings

T = TypeVar("T")

MOST_CLOSES = 200
CLOSE_SIZE = 2048
"""Closes that go together at most, and how much of one's text counts as one more of them."""

FIRST_POLL = 0.05
LONGEST_POLL = 2.0
"""Seconds between looks at a process where nothing can be pushed."""


class Colonies(Runtimes, Functions, Workflows, Crons, Generators, Logs):
    """A hub, as seen by one identity. Not for use from several threads."""

    def __init__(
        self, transport: Transport, settings: Settings, key: PrivateKey | None = None
    ) -> None:
        super().__init__(transport, settings, key)
        self._closes: Batch[AttemptEnd, Failure | None] = Batch(self._close_all, most=MOST_CLOSES)

    def acting_as(self, key: PrivateKey) -> Colonies:
        """Give the same connection as seen by another identity."""
        return Colonies(self._transport, self.settings, key)

    # The shortest way to have something done.

    async def submit(
        self, func: str, *args: Any, colony_id: str = "", **options: Any
    ) -> SubmittedProcess:
        """Submit a call of ``func``: arguments by position here, by name as ``kwargs``.

        ``options`` are the fields of ProcessSpec and Conditions, such as ``runtime_type``,
        ``max_exec_time`` (seconds) or ``priority``. A function that runtimes announce needs no
        type, and raises Malformed when the arguments do not fit.
        """
        spec = make_spec(func, args, self._colony(colony_id), options)
        return SubmittedProcess(await self.submit_process_spec(spec), self)

    async def wait_for(self, process_id: str, timeout: float | None = None) -> Process:
        """Wait until a process has ended; raise TimeoutError after ``timeout`` seconds."""
        async with asyncio.timeout(timeout):
            if not isinstance(self._transport, Connection):
                return await self._poll(process_id)
            async with await self.subscribe_process(process_id, states=FINAL_STATES) as changes:
                return await anext(changes)

    async def _poll(self, process_id: str) -> Process:
        pause = FIRST_POLL
        while not (process := await self.get_process(process_id)).state.is_final:
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_POLL)
        return process

    # The hub.

    async def version(self) -> Version:
        """Give the hub's version; needs no key."""
        return await self._ask(Version, "versionmsg", {}, None)

    async def get_statistics(self) -> Statistics:
        """Count everything on the hub."""
        return await self._call(Statistics, "getstatisticsmsg")

    async def get_cluster(self) -> Cluster:
        """List the hubs that serve together, and say which one leads."""
        return await self._call(Cluster, "getclustermsg")

    async def get_caller(self) -> Caller:
        """Give who the caller is to the hub."""
        return await self._call(Caller, "getcallermsg")

    async def reset_database(self) -> None:
        """Delete every colony with all that is in it."""
        await self._call(msgspec.Raw, "resetdatabasemsg")

    # Colonies.

    async def add_colony(self, colony_id: str, name: str = "") -> Colony:
        """Add a colony, owned by the key whose identity is its id."""
        return await self._call(
            Colony, "addcolonymsg", colony=Colony(colony_id=colony_id, name=name)
        )

    async def delete_colony(self, colony_id: str) -> None:
        """Delete a colony with all that is in it."""
        await self._call(msgspec.Raw, "deletecolonymsg", colony_id=colony_id)

    async def get_colonies(self) -> list[Colony]:
        """List all colonies."""
        return await self._call(list[Colony], "getcoloniesmsg")

    async def get_colony(self, colony_id: str = "") -> Colony:
        """Give a colony."""
        return await self._call(Colony, "getcolonymsg", colony_id=self._colony(colony_id))

    async def get_colony_stats(self, colony_id: str = "") -> Statistics:
        """Count everything in a colony."""
        return await self._call(Statistics, "getcolonystatsmsg", colony_id=self._colony(colony_id))

    # Processes.

    async def submit_process_spec(self, spec: ProcessSpec) -> Process:
        """Submit a process."""
        return await self._call(Process, "submitprocessespecmsg", spec=spec)

    async def submit_processes(
        self, specs: Iterable[ProcessSpec], colony_id: str = ""
    ) -> list[str]:
        """Submit up to 1,000 processes with one signature, all or none; gives their ids in order.

        Their colony is that of the call; the specs may leave it out.
        """
        colony_id = self._colony(colony_id)
        return await self._call(
            list[str],
            "submitprocessesmsg",
            colony_id=colony_id,
            specs=[in_colony(spec, colony_id) for spec in specs],
        )

    async def assign_process(
        self,
        colony_id: str = "",
        *,
        timeout: int = 100,
        latest: bool = False,
        leased: bool = False,
    ) -> Process:
        """Take the process to run next, waiting up to ``timeout`` seconds (-1: not at all).

        Raises NothingToAssign when there is none. A ``leased`` process is to be renewed, or it
        goes to somebody else.
        """
        fields = {"colonyid": self._colony(colony_id), "latest": latest, "leased": leased}
        return await self._ask(Process, "assignprocessmsg", fields, self._key(), wait=timeout)

    async def get_process_hist(
        self, state: State, seconds: int, *, colony_id: str = "", runtime_id: str = ""
    ) -> list[Process]:
        """List the processes of a state submitted in the last seconds, of one runtime or all."""
        return await self._call(
            list[Process],
            "getprocesshistmsg",
            colony_id=self._colony(colony_id),
            runtime_id=runtime_id,
            seconds=seconds,
            state=state,
        )

    async def get_processes(
        self,
        state: State = State.WAITING,
        *,
        count: int = 100,
        colony_id: str = "",
        after: Sequence[Process] = (),
        beginning: str = "",
    ) -> list[Process]:
        """List at most ``count`` (up to 100) processes of a state, those ``after`` the ones listed.

        Waiting and running ones come oldest first, ended ones newest first. With a ``beginning`` of
        ids, four characters or more, it is those of any state, by their ids.
        """
        return await self._call(
            list[Process],
            "getprocessesmsg",
            colony_id=self._colony(colony_id),
            count=count,
            state=state,
            beginning=beginning,
            **after_last(after, lambda one: one.time_of(state)),
        )

    async def get_process(self, process_id: str) -> Process:
        """Give a process."""
        return await self._call(Process, "getprocessmsg", process_id=process_id)

    async def get_process_events(self, process_id: str) -> list[Event]:
        """List what has happened to a process, oldest first."""
        return await self._call(list[Event], "getprocesseventsmsg", process_id=process_id)

    async def why(self, process_id: str) -> Explanation:
        """Say why a process is in the state that it is in."""
        return await self._call(Explanation, "whymsg", process_id=process_id)

    async def cancel_process(self, process_id: str, reason: str = "") -> Process:
        """Cancel a process; if it runs, its runtime is told to stop, and this does not wait.

        Raises Conflict when it has ended already.
        """
        return await self._call(Process, "cancelprocessmsg", process_id=process_id, reason=reason)

    async def delete_process(self, process_id: str) -> None:
        """Delete a process."""
        await self._call(msgspec.Raw, "deleteprocessmsg", process_id=process_id)

    async def delete_all_processes(self, colony_id: str = "") -> None:
        """Delete all processes of a colony."""
        await self._call(msgspec.Raw, "deleteallprocessesmsg", colony_id=self._colony(colony_id))

    async def close_successful(
        self, process_id: str, output: Iterable[str] = (), *, attempt_token: str = ""
    ) -> None:
        """End a process as successful, with its output.

        Closes that are asked for while one is under way go together, see `close_processes`.
        """
        await self._close_attempt(
            AttemptEnd(process_id, attempt_token, State.SUCCESS, output=list(output))
        )

    async def close_failed(
        self, process_id: str, errors: Iterable[str] = (), *, attempt_token: str = ""
    ) -> None:
        """End a process as failed, with the reasons."""
        await self._close_attempt(
            AttemptEnd(process_id, attempt_token, State.FAILED, errors=list(errors))
        )

    async def close_processes(self, ends: Iterable[AttemptEnd]) -> list[Failure | None]:
        """End up to 1,000 processes with one signature; gives what was wrong with each, if so."""
        said = await self._call(list[FailureMessage], "closeprocessesmsg", ends=list(ends))
        return [failure_from(one) if one.status else None for one in said]

    async def _close_attempt(self, end: AttemptEnd) -> None:
        size = sum(len(text) for text in chain(end.output, end.errors))
        if failure := await self._closes.add(end, rows=1 + size // CLOSE_SIZE):
            raise failure

    async def _close_all(self, ends: list[AttemptEnd]) -> list[Failure | None]:
        if len(ends) > 1:
            return await self.close_processes(ends)
        (end,) = ends
        said = {"processid": end.process_id, "attempttoken": end.attempt_token}
        if end.state is State.SUCCESS:
            await self._call(msgspec.Raw, "closesuccessfulmsg", **said, out=end.output)
        else:
            await self._call(msgspec.Raw, "closefailedmsg", **said, errors=end.errors)
        return [None]

    async def release(self, process_id: str, *, attempt_token: str = "") -> None:
        """Give a process back to the queue that the caller was assigned."""
        await self._call(
            msgspec.Raw, "releasemsg", process_id=process_id, attempt_token=attempt_token
        )

    async def renew(self, holding: Iterable[Held], colony_id: str = "") -> list[str]:
        """Renew the leases of attempts; gives which processes to stop working on."""
        reply = await self._call(
            dict[str, list[str]],
            "renewmsg",
            colony_id=self._colony(colony_id),
            holding=list(holding),
        )
        return reply["cancel"]

    # Attributes.

    async def add_attribute(
        self,
        process_id: str,
        key: str,
        value: str,
        kind: AttributeKind = AttributeKind.OUT,
        *,
        attempt_token: str = "",
    ) -> Attribute:
        """Add an attribute to a process that the caller is running."""
        attribute = Attribute(target_id=process_id, attribute_type=kind, key=key, value=value)
        return await self._call(
            Attribute, "addattributemsg", attribute=attribute, attempt_token=attempt_token
        )

    async def get_attribute(self, attribute_id: str) -> Attribute:
        """Give an attribute."""
        return await self._call(Attribute, "getattributemsg", attribute_id=attribute_id)

    # Subscriptions; each lasts until it is closed, over reconnects too.

    async def subscribe_process(
        self, process_id: str, *, states: Iterable[State] = FINAL_STATES
    ) -> Changes:
        """Be told when a process changes into one of the states, and at once if it is in one."""
        return await self._subscribe(
            "subscribeprocessmsg", process_id=process_id, states=list(states)
        )

    async def subscribe_processes(self, runtime_type: str, *, states: Iterable[State]) -> Changes:
        """Be told when any process of a type changes into one of the states."""
        return await self._subscribe(
            "subscribeprocessesmsg", runtime_type=runtime_type, states=list(states)
        )

    async def subscribe_assignments(
        self,
        colony_id: str = "",
        *,
        credit: int | Callable[[], int],
        heartbeat: float = 0,
        holding: Callable[[], list[Held]] | None = None,
        request: str = "",
    ) -> Changes:
        """Be given processes, ``credit`` at once at most; `Changes.ask_again` after it changed.

        ``holding`` says which are still held, when the socket was lost: the others go to somebody
        else at once. ``heartbeat`` promises a message at least so often, in seconds. A ``request``
        that was kept makes it the subscription of another life, of which that is said as well.
        """
        is_first = True

        def held() -> list[Held] | None:
            if holding:
                return holding()
            return [] if is_first else None

        changes = await self._subscribe(
            "subscribeassignmentsmsg",
            request=request,
            late={"holding": held, "credit": credit if callable(credit) else lambda: credit},
            colony_id=self._colony(colony_id),
            heartbeat=heartbeat,
            together=True,
        )
        is_first = False
        return changes

    async def unsubscribe(self, subscription: str) -> None:
        """End a subscription of this connection by its name; one that is not there is no error."""
        self._connection().forget(subscription)
        await self._call(msgspec.Raw, "unsubscribemsg", subscription=subscription)


def connect(
    settings: Settings | None = None, *, key: PrivateKey | None = None, http: bool = False
) -> Colonies:
    """Make a client; the connection is opened by its first call.

    ``settings`` are read from environment and file when not given, and the key is then that of
    the runtime they name. ``http`` uses ``POST /api``, where nothing can be pushed.
    """
    settings = settings or all_settings.load()
    transport: Transport = HttpConnection(settings) if http else Connection(settings)
    return Colonies(transport, settings, key)
