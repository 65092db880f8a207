"""Workflows are checked before anything of them exists, and the error names who is at fault."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from colonies.core.errors import Malformed
from colonies.core.process import Conditions, ProcessSpec
from colonies.core.workflow import (
    MAX_MEMBERS,
    WorkflowSpec,
    check,
    child_spec,
    plan,
    read_workflow,
    write_workflow,
)

COLONY = "c" * 64


def workflow(**dependencies: str) -> WorkflowSpec:
    """Make ``a="", b="a", d="b c"`` a workflow."""
    return of({name: names.split() for name, names in dependencies.items()})


def of(dependencies: dict[str, list[str]]) -> WorkflowSpec:
    return WorkflowSpec(
        colony_id=COLONY,
        process_specs=[
            ProcessSpec(name=name, func=name, conditions=Conditions(dependencies=names))
            for name, names in dependencies.items()
        ],
    )


@st.composite
def dags(draw: st.DrawFn, most: int = 60) -> dict[str, list[str]]:
    """Dependencies by name, in an order that has nothing to do with them."""
    count = draw(st.integers(1, most))
    edges = {
        number: draw(st.sets(st.integers(0, number - 1), max_size=4)) if number else set()
        for number in range(count)
    }
    order = draw(st.permutations(range(count)))
    return {f"n{one}": [f"n{parent}" for parent in edges[one]] for one in order}


def test_parents_stand_in_the_order_of_the_dependencies():
    r"""::

    a ─┬▶ b ─┬▶ d
       └▶ c ─┘
    """
    a, b, c, d = plan(workflow(a="", b="a", c="a", d="c b"), "g")
    assert a.parents == []
    assert a.children == [b.process_id, c.process_id]
    assert d.parents == [c.process_id, b.process_id]
    assert d.children == []


@given(dags())
def test_every_edge_is_known_at_both_ends(dependencies):
    planned = {one.spec.name: one for one in plan(of(dependencies), "g")}
    assert list(planned) == list(dependencies)
    ids = {name: one.process_id for name, one in planned.items()}
    assert len(set(ids.values())) == len(dependencies)
    for name, one in planned.items():
        assert one.parents == [ids[parent] for parent in dependencies[name]]
        assert sorted(one.children) == sorted(
            ids[child] for child, parents in dependencies.items() if name in parents
        )


def test_ids_follow_from_that_of_the_graph():
    first, second = (plan(workflow(a="", b="a"), graph) for graph in ("g", "h"))
    assert first == plan(workflow(a="", b="a"), "g")
    assert {one.process_id for one in first} & {one.process_id for one in second} == set()


def test_one_that_names_another_colony_is_refused_by_its_name():
    spec = ProcessSpec(name="a", conditions=Conditions(colony_id="d" * 64))
    with pytest.raises(Malformed, match=f"'a' runs in <{COLONY}>") as refusal:
        check(WorkflowSpec(colony_id=COLONY, process_specs=[spec]))
    assert refusal.value.field == "spec.processspecs[0].conditions.colonyid"
    with pytest.raises(Malformed, match="it runs in"):
        child_spec(replace(spec, name=""), ProcessSpec(conditions=Conditions(colony_id=COLONY)))


@pytest.mark.parametrize("said", ["", COLONY])
def test_all_run_in_the_colony_of_the_workflow(said):
    spec = ProcessSpec(name="a", conditions=Conditions(colony_id=said, runtime_ids=["*"]))
    (one,) = plan(WorkflowSpec(colony_id=COLONY, process_specs=[spec]), "g")
    assert one.spec.conditions.colony_id == COLONY
    assert one.spec.conditions.runtime_ids == []


def test_arguments_for_the_roots_replace_theirs_and_nobody_elses():
    specs = [
        ProcessSpec(name="a", args=["mine"]),
        ProcessSpec(name="b", args=["mine"], conditions=Conditions(dependencies=["a"])),
    ]
    one = WorkflowSpec(colony_id=COLONY, process_specs=specs)
    assert [each.spec.args for each in plan(one, "g", root_args=["x", "y"])] == [
        ["x", "y"],
        ["mine"],
    ]
    assert [each.spec.args for each in plan(one, "g", root_args=[])] == [[], ["mine"]]
    assert [each.spec.args for each in plan(one, "g")] == [["mine"], ["mine"]]


REFUSALS = [
    (workflow(), "spec.processspecs", "at least one process"),
    (of({"": []}), "spec.processspecs[0].name", "expected a name"),
    (
        workflow(a="", fetch="a", b="fetsh"),
        "spec.processspecs[2].conditions.dependencies[0]",
        "'b' depends on 'fetsh', which is not there; did you mean 'fetch'?",
    ),
    (
        workflow(a="", b="zzz"),
        "spec.processspecs[1].conditions.dependencies[0]",
        "'b' depends on 'zzz', which is not there",
    ),
    (
        workflow(a="", b="a a"),
        "spec.processspecs[1].conditions.dependencies[1]",
        "'b' depends on 'a' twice",
    ),
    (workflow(a="a"), "spec.processspecs[0].conditions.dependencies", "no cycle, but 'a' → 'a'"),
    (
        workflow(z="", x="z", a="c x", b="a", c="b", d="c"),
        "spec.processspecs[2].conditions.dependencies",
        "no cycle, but 'a' → 'b' → 'c' → 'a'",
    ),
]


@pytest.mark.parametrize(("spec", "field", "text"), REFUSALS)
def test_what_cannot_run_is_refused_by_field_and_name(spec, field, text):
    with pytest.raises(Malformed) as refusal:
        check(spec)
    assert refusal.value.field == field
    assert text in refusal.value.message


def test_two_of_one_name_are_refused():
    specs = [ProcessSpec(name=name) for name in ("a", "b", "a")]
    with pytest.raises(Malformed, match=r"processspecs\[2\]\.name.*'a'.*processspecs\[0\]"):
        check(WorkflowSpec(process_specs=specs))


def test_as_many_as_are_allowed_and_no_more():
    most = of({f"n{number}": [] for number in range(MAX_MEMBERS)})
    check(most)
    with pytest.raises(Malformed, match="at most 10000 processes, not 10001"):
        check(of({f"n{number}": [] for number in range(MAX_MEMBERS + 1)}))


def test_a_long_cycle_is_named_in_part():
    count = 1000
    with pytest.raises(Malformed) as refusal:
        check(of({f"n{number}": [f"n{(number - 1) % count}"] for number in range(count)}))
    assert "'n0' → 'n1' →" in refusal.value.message
    assert refusal.value.message.endswith("… (1000 processes)")


@given(dags(), st.data())
def test_one_edge_backwards_is_found_and_the_cycle_is_one(dependencies, data):
    """Whoever depends on its own descendant, or on itself, is in the cycle that is named."""
    last = data.draw(st.sampled_from(sorted(dependencies)))
    first, seen = last, {last}
    while dependencies[first] and data.draw(st.booleans()):
        first = dependencies[first][0]
        seen.add(first)
    broken = dependencies | {first: sorted({*dependencies[first], last})}
    with pytest.raises(Malformed) as refusal:
        check(of(broken))
    named = refusal.value.message.partition("but ")[2].replace("'", "").split(" → ")
    if "…" not in named[-1]:
        assert named[0] == named[-1]
    for parent, child in pairwise(named):
        if "…" not in child:
            assert parent in broken[child]


def test_ten_thousand_in_a_chain_are_planned_without_recursion():
    chain = {f"n{number}": [f"n{number - 1}"] if number else [] for number in range(MAX_MEMBERS)}
    planned = plan(of(chain), "g")
    assert len(planned) == MAX_MEMBERS


class TestKept:
    """As crons and generators keep workflows: as JSON, in a text."""

    def test_what_is_written_is_read(self):
        spec = workflow(a="", b="a")
        assert read_workflow(write_workflow(spec), COLONY) == spec
        specs = WorkflowSpec(process_specs=spec.process_specs)
        assert read_workflow(write_workflow(specs), COLONY) == spec

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[]", "expected object, got array"),
            ('{"processspecs": [{"name": 7}]}', "processspecs[0].name: expected str, got int"),
            ('{"processspecs": []}', "processspecs: expected at least one process"),
            (
                '{"colonyid": "d", "processspecs": [{"name": "a"}]}',
                "colonyid: expected the colony that it is for",
            ),
        ],
    )
    def test_what_is_wrong_is_named_with_where_it_is_kept(self, text, message):
        with pytest.raises(Malformed) as caught:
            read_workflow(text, COLONY, "cron.workflowspec")
        assert caught.value.message == f"cron.workflowspec: {message}"
        assert caught.value.field == "cron.workflowspec"
