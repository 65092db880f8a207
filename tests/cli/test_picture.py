"""Workflows drawn with letters."""

from itertools import pairwise
from textwrap import dedent

import pytest
from hypothesis import given

from colonies.cli.picture import picture
from colonies.core.process import State
from colonies.core.process_graph import Member, ProcessGraph, drawn
from colonies.core.workflow import plan
from tests.core.test_workflow import dags, of


def graph_of(dependencies: dict[str, list[str]], **states: State) -> ProcessGraph:
    members = [
        Member(
            one.process_id,
            name=one.spec.name,
            state=states.get(one.spec.name, State.WAITING),
            parents=one.parents,
            children=one.children,
        )
        for one in plan(of(dependencies), "g")
    ]
    return drawn(ProcessGraph(), members)


PICTURES = [
    ({"a": ""}, "○ a"),
    (
        {"a": "", "b": "a", "c": "b"},
        """
        ○ a
        ○ b
        ○ c
        """,
    ),
    (
        {"a": "", "b": "a", "c": "a", "d": "b c"},
        """
        ○ a
        ├─○ b
        ○ │ c
        ○─╯ d
        """,
    ),
    (
        {"fetch": "", "clean": "fetch", "train": "clean", "report": "fetch train"},
        """
        ○ fetch
        ├─○ clean
        │ ○ train
        ○─╯ report
        """,
    ),
    (
        {"a": "", "b": "", "c": "a", "d": "b", "e": "a b"},
        """
        ○ a
        ├─○ c
        │   ○ b
        │   ├─○ d
        ○───╯ e
        """,
    ),
    (
        {"a": "", "b": "", "c": "", "d": "c"},
        """
        ○ a
          ○ b
        ○ c
        ○ d
        """,
    ),
    (
        {"a": "", "b": "a", "c": "a b", "d": "a c", "e": "b d"},
        """
        ○ a
        ├─○ b
        ├─┼─○ c
        ○─│─╯ d
        ○─╯ e
        """,
    ),
]


@pytest.mark.parametrize(("dependencies", "expected"), PICTURES)
def test_a_picture(dependencies, expected):
    graph = graph_of({name: names.split() for name, names in dependencies.items()})
    rows = picture(graph, is_full=True)
    assert [f"{row.lines} {row.name}" for row in rows] == dedent(expected).strip().splitlines()


@given(dags())
def test_everybody_is_drawn_below_its_parents_and_every_line_comes_to_an_end(dependencies):
    rows = picture(graph_of(dependencies), is_full=True)
    place = {row.name: number for number, row in enumerate(rows)}
    assert place.keys() == dependencies.keys()
    for name, parents in dependencies.items():
        assert all(place[parent] < place[name] for parent in parents)
    assert all(row.lines.count("○") == 1 for row in rows)
    assert set(rows[-1].lines) <= set("○─╯╰┴ ")


@given(dags())
def test_what_stands_right_below_another_waits_for_it(dependencies):
    lines = [(row.lines, row.name) for row in picture(graph_of(dependencies), is_full=True)]
    for (above, parent), (below, name) in pairwise(lines):
        column = below.index("○")
        if above[column : column + 1] == "○" and "─" not in below[:column]:
            assert parent in dependencies[name]


@given(dags())
def test_a_line_of_many_stands_for_each_of_them_once(dependencies):
    graph = graph_of(dependencies)
    ids = [id_ for row in picture(graph) for id_ in row.ids]
    assert sorted(ids) == sorted(graph.process_ids)


def test_those_that_are_alike_are_one_line_with_the_worst_of_their_states():
    dependencies = {"a": [], **{f"m{number}": ["a"] for number in range(500)}}
    dependencies["z"] = [f"m{number}" for number in range(500)]
    graph = graph_of(dependencies, a=State.SUCCESS, m7=State.FAILED, m8=State.SUCCESS)
    first, many, last = picture(graph)
    assert [row.lines for row in (first, many, last)] == ["●", "✗", "○"]
    assert many.name == "m0 … m499"
    assert many.states == {State.WAITING: 498, State.FAILED: 1, State.SUCCESS: 1}
    assert len(picture(graph, is_full=True)) == 502
