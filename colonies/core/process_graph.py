"""A process graph: a workflow that was submitted, how far it has come, and how it is drawn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from colonies.core.process import State
from colonies.core.wire import ZERO_TIME, Time, Wire
from colonies.core.workflow import OnFailure

BACKGROUNDS = {
    State.WAITING: "#eee8d8",
    State.RUNNING: "#4689cd",
    State.SUCCESS: "#92d050",
    State.FAILED: "#cb4239",
    State.CANCELLED: "#93a1a1",
}

BOX_WIDTH = 150
GAP = 50
LEVEL_HEIGHT = 80


class NodeData(Wire):
    """What is written on a node: the name of its process, and how far that has come."""

    label: str = ""
    state: State = State.WAITING
    start_time: Time = ZERO_TIME
    end_time: Time = ZERO_TIME


class Position(Wire):
    """Where a node stands; x grows to the right, y downwards."""

    x: int = 0
    y: int = 0


class NodeStyle(Wire):
    """How a node looks, as dashboards of v1 take it."""

    color: str = ""
    background: str = ""


class GraphNode(Wire):
    """A process of a graph. ``type`` is "input" without parents, else "output" without children."""

    id: str = ""
    data: NodeData = NodeData()
    position: Position = Position()
    type: str = ""
    style: NodeStyle = NodeStyle()


class GraphEdge(Wire):
    """From a process to one that depends on it; animated while the first runs."""

    id: str = ""
    source: str = ""
    target: str = ""
    animated: bool = False


class ProcessGraph(Wire):
    """A workflow that was submitted, and how far it has come. Unset times are ``ZERO_TIME``.

    It starts with the first of its ``members`` and ends with the last; of those that have ended, so
    many were ``successful``, ``failed`` or ``cancelled``. Nodes and edges are given with a single
    graph only, process ids as long as a list of graphs is not too long for them.
    """

    process_graph_id: str = ""
    colony_id: str = ""
    root_process_ids: list[str] = []
    state: State = State.WAITING
    submission_time: Time = ZERO_TIME
    start_time: Time = ZERO_TIME
    end_time: Time = ZERO_TIME
    process_ids: list[str] = []
    nodes: list[GraphNode] = []
    edges: list[GraphEdge] = []
    on_failure: OnFailure = OnFailure.CONTINUE
    members: int = 0
    successful: int = 0
    failed: int = 0
    cancelled: int = 0


class Member(Wire):
    """A process of a graph, as far as a picture of the graph shows it."""

    process_id: str
    name: str = ""
    state: State = State.WAITING
    parents: list[str] = []
    children: list[str] = []
    start_time: Time = ZERO_TIME
    end_time: Time = ZERO_TIME


def drawn(graph: ProcessGraph, members: Iterable[Member]) -> ProcessGraph:
    """Give a graph with its picture: roots on top, each process below its first parent.

    Processes that are missing are left out. The others come as a walk from the roots comes by.
    """
    known = {one.process_id: one for one in members}
    walk = _walk(known)
    return msgspec.structs.replace(
        graph,
        process_ids=[one.process_id for one in walk],
        nodes=_nodes(walk, known),
        edges=[
            GraphEdge(
                id=f"{one.process_id}-{child}",
                source=one.process_id,
                target=child,
                animated=one.state is State.RUNNING,
            )
            for one in walk
            for child in one.children
            if child in known
        ],
    )


def _walk(known: Mapping[str, Member]) -> list[Member]:
    """Give each once, depth first from the roots, in the order in which they were submitted."""
    roots = [one for one in known.values() if not known.keys() & set(one.parents)]
    seen: dict[str, Member] = {}
    left = roots[::-1]
    while left:
        one = left.pop()
        if one.process_id not in seen:
            seen[one.process_id] = one
            left += [known[child] for child in reversed(one.children) if child in known]
    return list(seen.values())


def _nodes(walk: Sequence[Member], known: Mapping[str, Member]) -> list[GraphNode]:
    depths = _depths(walk, known)
    widths: dict[int, int] = defaultdict(int)
    for one in walk:
        widths[depths[one.process_id]] += 1
    widest = max((_width(count) for count in widths.values()), default=0)
    placed: dict[int, int] = defaultdict(int)
    nodes = []
    for one in walk:
        depth = depths[one.process_id]
        shift = widest // 2 - _width(widths[depth]) // 2
        position = Position((BOX_WIDTH + GAP) * placed[depth] + shift, LEVEL_HEIGHT * depth)
        placed[depth] += 1
        nodes.append(
            GraphNode(
                id=one.process_id,
                data=NodeData(one.name, one.state, one.start_time, one.end_time),
                position=position,
                type="" if one.parents and one.children else "output" if one.parents else "input",
                style=NodeStyle(background=BACKGROUNDS[one.state]),
            )
        )
    return nodes


def _depths(walk: Sequence[Member], known: Mapping[str, Member]) -> dict[str, int]:
    """Give how many steps each is from a root, following the first parent of each."""
    depths: dict[str, int] = {}
    for one in walk:
        path = []
        at: Member | None = one
        while at is not None and at.process_id not in depths:
            path.append(at.process_id)
            at = next((known[parent] for parent in at.parents if parent in known), None)
        depth = -1 if at is None else depths[at.process_id]
        for process_id in reversed(path):
            depth += 1
            depths[process_id] = depth
    return depths


def _width(count: int) -> int:
    return BOX_WIDTH * count + GAP * (count - 1)
