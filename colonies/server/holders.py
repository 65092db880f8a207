"""Who holds which assigned process, and is told what becomes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from colonies.core.process import Process
from colonies.server.lifecycle import Assignment
from colonies.server.parties import NOBODY, Holder, Outlet, Wish


class Holders:
    """One holder for each process that is held here."""

    def __init__(self, outlet: Outlet = NOBODY) -> None:
        self._outlet = outlet
        self._by_process: dict[str, Holder] = {}
        self._told_to_stop: set[str] = set()

    def __len__(self) -> int:
        """Give how many processes are held."""
        return len(self._by_process)

    def __contains__(self, process_id: str) -> bool:
        return process_id in self._by_process

    def __iter__(self) -> Iterator[Holder]:
        """Give everybody who holds something, once."""
        return iter(set(self._by_process.values()))

    def hold(self, process_id: str, holder: Holder) -> None:
        """Tell a holder when this process stops running."""
        self._by_process[process_id] = holder
        self._outlet.wish(Wish.HELD, holder.colony_id)
        self._told_to_stop.discard(process_id)

    def drop(self, process_id: str, holder: Holder) -> None:
        """Forget that a holder holds a process."""
        if self._by_process.get(process_id) is holder:
            del self._by_process[process_id]
            self._told_to_stop.discard(process_id)

    def has(self, process: Process) -> bool:
        """Whether it is held, unless the news is older than that: the next attempt may be on."""
        holder = self._by_process.get(process.process_id)
        return holder is not None and holder.attempt_of(process.process_id) <= process.attempt

    def has_attempt(self, attempt: Assignment) -> bool:
        """Whether it is this very attempt that is held."""
        holder = self._by_process.get(attempt.process_id)
        return holder is not None and holder.makes(attempt)

    def tell(self, process: Process) -> None:
        """Tell whoever holds a process what has become of it; to stop, no more than once."""
        holder = self._by_process.get(process.process_id)
        if holder is None or (process.is_cancelling and process.process_id in self._told_to_stop):
            return
        if process.is_cancelling:
            self._told_to_stop.add(process.process_id)
        holder.tell(process)

    def let_go(self, process_id: str, *, is_lost: bool = False) -> None:
        """Tell whoever holds this process that it is over, lost or gone."""
        self._told_to_stop.discard(process_id)
        if holder := self._by_process.pop(process_id, None):
            holder.give_back(process_id, is_lost=is_lost)

    def let_go_of(self, attempt: Assignment, *, is_lost: bool = False) -> None:
        """The same, but only if it is this very attempt that is held."""
        if self.has_attempt(attempt):
            self.let_go(attempt.process_id, is_lost=is_lost)

    def renewals(self) -> tuple[list[Assignment], list[float]]:
        """Give the attempts of everybody who gave a sign of life since the last time.

        And, for each, how many seconds ago that was.
        """
        held: list[Assignment] = []
        ages: list[float] = []
        for holder in self:
            attempts, age = holder.renewals()
            held += attempts
            ages += [age] * len(attempts)
        return held, ages

    def attempts(self) -> list[Assignment]:
        """Give all attempts that are held."""
        return [holder.attempt(process_id) for process_id, holder in self._by_process.items()]

    def attempts_up_to(self, latest: Mapping[str, int]) -> list[Assignment]:
        """Give the attempts that are held of some processes, none after the latest of each."""
        return [
            holder.attempt(process_id)
            for process_id, attempt in latest.items()
            if (holder := self._by_process.get(process_id))
            and holder.attempt_of(process_id) <= attempt
        ]
