"""Who listens for changes: of single processes, or of all that a runtime type is for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator

from colonies.core.envelope import pack
from colonies.core.errors import Failure, NotFound
from colonies.core.process import NOTHING, Process, Progress, State
from colonies.server.parties import NOBODY, Listener, Outlet, Wish


class Listeners:
    """Tells them what concerns them; those who follow one process, how far it has come, once."""

    def __init__(self, outlet: Outlet = NOBODY) -> None:
        self._outlet = outlet
        # By process, or by colony and runtime type.
        self._by_key: dict[tuple[str, ...], set[Listener]] = defaultdict(set)
        self._watched: set[tuple[str, str]] = set()
        # How far a process had come when its followers were told of it last.
        self._told: dict[Listener, Progress] = {}

    def __len__(self) -> int:
        return len(self._all())

    def add(self, listener: Listener) -> None:
        """Start telling a listener of changes."""
        for key in listener.subscription.keys:
            self._by_key[key].add(listener)
        self._watched |= listener.subscription.queues
        for colony_id in listener.subscription.colony_ids:
            self._outlet.wish(Wish.ALL, colony_id)

    def remove(self, listener: Listener) -> None:
        """Stop telling a listener; may be called twice."""
        for key in listener.subscription.keys:
            self._by_key[key].discard(listener)
            if not self._by_key[key]:
                del self._by_key[key]
        self._watched -= listener.subscription.queues - self._by_key.keys()
        self._told.pop(listener, None)

    def tell(self, process: Process) -> None:
        """Tell everybody whom a process concerns how it is now."""
        if self._by_key:
            self._push(
                [*self._followers_of(process.process_id), *self._watchers_of(process)], process
            )

    def tell_watchers(self, process: Process) -> None:
        """The same for those who watch its type."""
        self._push(self._watchers_of(process), process)

    def show(self, process: Process) -> None:
        """Tell the followers of a process how far it has come, if that is news to them."""
        followers = self._followers_of(process.process_id)
        self._push([one for one in followers if self._is_news(one, process)], process)

    def show_to(self, listener: Listener, process: Process) -> None:
        """The same for one of them."""
        if self._is_news(listener, process):
            self._push([listener], process)

    def missed(self, process_id: str, progress: Progress | None) -> bool:
        """Whether a follower of a process was not told how far it has come."""
        return progress is not None and any(
            self._told.get(one, NOTHING) < progress for one in self._followers_of(process_id)
        )

    def end(self, colony_id: str, failure: Failure, caller: str = "") -> None:
        """End what somebody, or anybody, listens for in a colony, and say why."""
        for listener, theirs in list(self.with_colonies()):
            if theirs == colony_id and caller in ("", listener.caller):
                self.remove(listener)
                listener.end(failure)

    def bury(self, colony_id: str, process_id: str = "") -> None:
        """Tell who follows a process, or any of a colony's, that it was deleted."""
        if process_id:
            followers = list(self._followers_of(process_id))
        else:
            theirs = (one for one, where in self.with_colonies() if where == colony_id)
            followers = [one for one in theirs if one.subscription.process_id]
        for listener in followers:
            self.remove(listener)
            gone = listener.subscription.process_id
            listener.end(NotFound(f"process <{gone}> was deleted"))

    def follows(self, process_id: str) -> bool:
        """Whether somebody follows a process."""
        return (process_id,) in self._by_key

    def followed(self) -> dict[str, str]:
        """Give every process that somebody follows, with its colony."""
        pairs = ((one.subscription.process_id, where) for one, where in self.with_colonies())
        return {process_id: where for process_id, where in pairs if process_id}

    def watched(self) -> dict[tuple[str, str], frozenset[State]]:
        """Give the colonies and types whose processes somebody watches, and in which states."""
        return {
            key: frozenset(state for one in self._by_key[key] for state in one.subscription.states)
            for key in self._watched
        }

    def with_colonies(self) -> Iterator[tuple[Listener, str]]:
        """Give everybody who listens, with each colony in which he does."""
        for one in self._all():
            for colony_id in one.subscription.colony_ids:
                yield one, colony_id

    def _all(self) -> set[Listener]:
        return {one for group in self._by_key.values() for one in group}

    def _followers_of(self, process_id: str) -> Iterable[Listener]:
        return self._by_key.get((process_id,), ())

    def _watchers_of(self, process: Process) -> Iterable[Listener]:
        return self._by_key.get((process.colony_id, process.spec.conditions.runtime_type), ())

    def _is_news(self, listener: Listener, process: Process) -> bool:
        return self._told.get(listener, NOTHING) < process.progress

    def _push(self, listeners: Iterable[Listener], process: Process) -> None:
        concerned = [one for one in listeners if one.subscription.concerns(process)]
        if concerned:
            payload = pack(process)
            for listener in concerned:
                if listener.subscription.process_id:
                    self._told[listener] = max(process.progress, self._told.get(listener, NOTHING))
                listener.push(payload)
