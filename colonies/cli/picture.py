"""A workflow drawn with letters: a line a process, parents above children.

::

    ● fetch
    ├─● clean
    │ ● train          below clean, which nobody else waits for
    ○─╯ report         waits for fetch and train

What stands right below another waits for it; what waits for nothing stands beside what is above.
The line of a process goes on down to the last that depends on it: ``╯`` and ``╰`` are where one
ends, ``┤``, ``├`` and ``┼`` where one goes on, and ``│`` between two ``─`` is passed by.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from colonies.core.process import State
from colonies.core.process_graph import ProcessGraph
from colonies.core.wire import ZERO_TIME

MARKS = {
    State.WAITING: "○",
    State.RUNNING: "▶",
    State.SUCCESS: "●",
    State.FAILED: "✗",
    State.CANCELLED: "⊘",
}

FEWEST_ALIKE = 4
"""So many with the same parents and children are drawn as one."""

WIDTH = 2
"""Characters of a column."""

Edges = Mapping[str, Sequence[str]]


class Row(msgspec.Struct, frozen=True):
    """A line of the picture: the lines that lead to a process, and what is known of that."""

    lines: str
    name: str
    states: dict[State, int]
    started: datetime
    ended: datetime
    ids: list[str]


def picture(graph: ProcessGraph, *, is_full: bool = False) -> list[Row]:
    """Draw a graph; unless it ``is_full``, those that are alike are one line."""
    groups = _grouped(graph, is_full=is_full)
    group_of = {id_: key for key, ids in groups.items() for id_ in ids}
    parents: dict[str, dict[str, None]] = defaultdict(dict)
    children: dict[str, dict[str, None]] = defaultdict(dict)
    for edge in graph.edges:
        parent, child = group_of[edge.source], group_of[edge.target]
        parents[child][parent] = children[parent][child] = None
    nodes = {node.id: node.data for node in graph.nodes}
    rows = []
    for key, lines in _drawn(
        list(groups),
        {key: list(parents[key]) for key in groups},
        {key: list(children[key]) for key in groups},
    ):
        some = [nodes[id_] for id_ in groups[key]]
        states = Counter(one.state for one in some)
        name = some[0].label if len(some) == 1 else f"{some[0].label} … {some[-1].label}"
        started = [one.start_time for one in some if one.start_time != ZERO_TIME]
        ended = [one.end_time for one in some if one.end_time != ZERO_TIME]
        is_over = len(ended) == len(some)
        row = Row(
            lines.replace("*", MARKS[_worst(states)]),
            name,
            dict(states),
            min(started, default=ZERO_TIME),
            max(ended) if is_over else ZERO_TIME,
            groups[key],
        )
        rows.append(row)
    return rows


def _worst(states: Mapping[State, int]) -> State:
    order = (State.FAILED, State.CANCELLED, State.RUNNING, State.WAITING, State.SUCCESS)
    return next(state for state in order if state in states)


def _grouped(graph: ProcessGraph, *, is_full: bool) -> dict[str, list[str]]:
    """Give the ids that each line stands for, by the first of them."""
    parents: dict[str, list[str]] = defaultdict(list)
    children: dict[str, list[str]] = defaultdict(list)
    for edge in graph.edges:
        parents[edge.target].append(edge.source)
        children[edge.source].append(edge.target)
    alike: dict[tuple[object, ...], list[str]] = defaultdict(list)
    for node in graph.nodes:
        key = frozenset(parents[node.id]), frozenset(children[node.id])
        alike[key].append(node.id)
    return {
        part[0]: part
        for ids in alike.values()
        for part in ([ids] if len(ids) >= FEWEST_ALIKE and not is_full else [[id_] for id_ in ids])
    }


def _drawn(nodes: Sequence[str], parents: Edges, children: Edges) -> Iterator[tuple[str, str]]:
    """Give the nodes in an order in which all can be drawn, each with the lines to it.

    A place in ``lanes`` is a column; in it is whose line goes down there. The node itself is ``*``.
    """
    lanes: list[str] = []
    line = ""
    left = {node: len(children[node]) for node in nodes}
    for node in _ordered(nodes, parents, children):
        above = [lanes.index(parent) for parent in parents[node]]
        for parent in parents[node]:
            left[parent] -= 1
        ending = [at for at in above if not left[lanes[at]]]
        column = min(ending) if ending else _free(lanes, above, line)
        line = _line(lanes, column, above, ending).rstrip()
        yield node, line
        for at in ending:
            lanes[at] = ""
        lanes[column] = node if left[node] else ""


def _free(lanes: list[str], above: Sequence[int], last_line: str) -> int:
    """Give a column right of the parents, or of a root's own: with nothing right above it."""
    for at in range(max(above, default=-1) + 1, len(lanes)):
        is_below = not above and last_line[WIDTH * at : WIDTH * at + 1].strip()
        if not lanes[at] and not is_below:
            return at
    lanes.append("")
    return len(lanes) - 1


def _line(lanes: Sequence[str], column: int, above: Sequence[int], ending: Sequence[int]) -> str:
    first, last = min([column, *above]), max([column, *above])
    cells = []
    for at, lane in enumerate(lanes):
        if at == column:
            cell = "*"
        elif at in above:
            corners = "╰╯┴" if at in ending else "├┤┼"
            cell = corners[0 if at == first else 1 if at == last else 2]
        elif lane:
            cell = "│"
        else:
            cell = "─" if first < at < last else " "
        cells.append(cell + ("─" if first <= at < last else " "))
    return "".join(cells)


def _ordered(nodes: Sequence[str], parents: Edges, children: Edges) -> Iterator[str]:
    """Give each after its parents, and right after one of them where that is possible."""
    missing = {node: len(parents[node]) for node in nodes}
    ready = [node for node in reversed(nodes) if not missing[node]]
    while ready:
        node = ready.pop()
        yield node
        for child in reversed(children[node]):
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
