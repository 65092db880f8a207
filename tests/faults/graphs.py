"""Everything that a correct hub cannot have done to workflows, by what is stored at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import asyncpg
import msgspec

from colonies.core.workflow import OnFailure
from tests.faults.checker import Violation
from tests.faults.story import CANCELLED, ENDED, FAILED, SUCCESS

BESIDE = "beside"
"""How the names of those begin that may start while their parent runs."""

GRAPHS = """
SELECT process_graph_id AS graph_id, state, members, successful, failed, cancelled, on_failure,
       roots, extract(epoch FROM start_time)::float AS start,
       extract(epoch FROM end_time)::float AS end
FROM process_graphs
"""

MEMBERS = """
SELECT process_id, process_graph_id AS graph_id, spec->>'name' AS name, state, attempt, parents,
       children, input, output, errors, cancelled_by,
       extract(epoch FROM start_time)::float AS start, extract(epoch FROM end_time)::float AS end
FROM processes
"""


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """A graph at the end."""

    graph_id: str
    state: int
    members: int
    successful: int
    failed: int
    cancelled: int
    on_failure: str
    roots: list[str]
    start: float | None
    end: float | None


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A process of a graph at the end."""

    process_id: str
    graph_id: str
    name: str
    state: int
    attempt: int
    parents: list[str]
    children: list[str]
    input: list[str]
    output: list[str]
    errors: list[str]
    cancelled_by: str
    start: float | None
    end: float | None


class Stored(msgspec.Struct, frozen=True):
    """What there is at the end, and how many processes each acknowledged submit was of."""

    graphs: dict[str, Graph]
    members: dict[str, Member]
    submitted: dict[str, int]

    def of(self, graph: Graph) -> list[Member]:
        return [one for one in self.members.values() if one.graph_id == graph.graph_id]

    def parents(self, one: Member) -> list[Member]:
        return [self.members[parent] for parent in one.parents if parent in self.members]


async def read(sql: asyncpg.Connection, submitted: Mapping[str, int]) -> Stored:
    """Read everything."""
    graphs = [Graph(**dict(row)) for row in await sql.fetch(GRAPHS)]
    members = [Member(**dict(row)) for row in await sql.fetch(MEMBERS)]
    return Stored(
        {one.graph_id: one for one in graphs},
        {one.process_id: one for one in members},
        dict(submitted),
    )


def judge_graphs(stored: Stored) -> list[Violation]:
    """Give all that is wrong."""
    return [Violation(kind, text) for kind, check in KINDS.items() for text in check(stored)]


def half_written(stored: Stored) -> Iterator[str]:
    """A graph is there with all its processes, or not at all; edges are known at both ends."""
    for graph_id, count in stored.submitted.items():
        if graph_id not in stored.graphs:
            yield f"graph {graph_id} was acknowledged and is not there"
        elif stored.graphs[graph_id].members < count:
            yield f"graph {graph_id} was of {count} processes"
    counts = Counter(one.graph_id for one in stored.members.values())
    for graph in stored.graphs.values():
        if counts.pop(graph.graph_id, 0) != graph.members:
            yield f"{graph} has not {graph.members} processes"
    yield from (f"graph {graph_id} is not there, but processes of it" for graph_id in counts)
    edges = {(one.process_id, child) for one in stored.members.values() for child in one.children}
    known = {(parent, one.process_id) for one in stored.members.values() for parent in one.parents}
    yield from (f"edge {edge} is known at one end" for edge in edges ^ known)


def never_ended(stored: Stored) -> Iterator[str]:
    """Every graph ends, and every process in it."""
    for one in (*stored.graphs.values(), *stored.members.values()):
        if one.state not in ENDED or one.end is None:
            yield f"{one} has not ended"


def early(stored: Stored) -> Iterator[str]:
    """No child before its parents: these have succeeded, or for some, have started."""
    for one in stored.members.values():
        for parent in stored.parents(one) if one.start is not None else ():
            since = parent.start if one.name.startswith(BESIDE) else parent.end
            is_beside = one.name.startswith(BESIDE)
            if since is None or one.start < since or not (parent.state == SUCCESS or is_beside):
                yield f"{one} started before {parent}"


def wrong_input(stored: Stored) -> Iterator[str]:
    """Whoever waited for its parents was given what they gave, in order."""
    for one in stored.members.values():
        if one.start is not None and one.parents and not one.name.startswith(BESIDE):
            given = [text for parent in stored.parents(one) for text in parent.output]
            if one.input != given:
                yield f"{one} was not given {given}"


def wrong_counts(stored: Stored) -> Iterator[str]:
    """What is written at a graph is what follows from its processes."""
    for graph in stored.graphs.values():
        members = stored.of(graph)
        states = Counter(one.state for one in members)
        if (states[SUCCESS], states[FAILED], states[CANCELLED]) != (
            graph.successful, graph.failed, graph.cancelled,
        ):  # fmt: skip
            yield f"{graph} has {states}"
        state = FAILED if states[FAILED] else CANCELLED if states[CANCELLED] else SUCCESS
        if graph.state != state:
            yield f"{graph} should be in state {state}"
        if graph.end != max((one.end or 0 for one in members), default=None):
            yield f"{graph} did not end with its last process"
        starts = [one.start for one in members if one.start is not None]
        if (graph.start is None) != (not starts) or (starts and graph.start > min(starts)):
            yield f"{graph} did not start with its first process"


def groundless(stored: Stored) -> Iterator[str]:
    """Who never started was cancelled, or has a parent that did not succeed; no others are kept."""
    for one in stored.members.values():
        ends = {parent.state for parent in stored.parents(one)}
        doomed = bool(ends & {FAILED, CANCELLED})
        if one.attempt == 0 and not (doomed or one.cancelled_by):
            yield f"{one} ended without a reason"
        if one.attempt == 0 and one.state == FAILED and FAILED not in ends:
            yield f"{one} failed, but no parent of it"
        graph = stored.graphs.get(one.graph_id)
        is_plain = graph is not None and graph.on_failure == OnFailure.CONTINUE
        is_only_failed = FAILED in ends and CANCELLED not in ends and not one.cancelled_by
        if is_plain and is_only_failed and one.attempt == 0 and one.state != FAILED:
            yield f"{one} did not fail as its parent did"


KINDS: dict[str, Callable[[Stored], Iterable[str]]] = {
    "half written": half_written,
    "never ended": never_ended,
    "early child": early,
    "wrong input": wrong_input,
    "wrong counts": wrong_counts,
    "groundless": groundless,
}
