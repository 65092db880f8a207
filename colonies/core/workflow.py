"""A workflow: processes that depend on each other, checked and planned before any of them exists.

::

             ┌──▶ b ──┐          a names nobody as its dependency: it is a root and starts at once.
        a ──▶┤        ├──▶ d     b and c wait for a, d for b and c. What a process gives when it
             └──▶ c ──┘          closes is the input of those that depend on it.

What becomes of the processes of a graph is decided in ``server/workflow.py``; how a graph is drawn
stands in ``core/process_graph.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum

import msgspec

from colonies.core import wire
from colonies.core.digest import sha3
from colonies.core.errors import Malformed
from colonies.core.process import ProcessSpec
from colonies.core.wire import Wire

MAX_MEMBERS = 10_000
"""Processes of one graph, those added while it runs included."""

MOST_NAMED = 10
"""Processes of a cycle that the error names; of more, the first."""


class OnFailure(StrEnum):
    """What becomes of the rest when a process of a graph has failed."""

    CONTINUE = "continue"
    CANCEL = "cancel"


class WorkflowSpec(Wire):
    """What is submitted: processes that name each other as ``conditions.dependencies``.

    All run in ``colony_id``; their conditions say the same or nothing. After a failure those that
    depend on it fail too; with ``on_failure`` "cancel" everything else is cancelled as well.
    """

    colony_id: str = ""
    process_specs: list[ProcessSpec] = []
    on_failure: OnFailure = OnFailure.CONTINUE


class Edit(Wire, omit_defaults=True):
    """Other arguments for a process that is tried again; what is None stays as it was."""

    args: list[str] | None = None
    kwargs: dict[str, str] | None = None

    def applied(self, spec: ProcessSpec) -> ProcessSpec:
        """Give a spec with these arguments; the rescue in SQL makes the same of it."""
        return msgspec.structs.replace(
            spec,
            args=spec.args if self.args is None else self.args,
            kwargs=spec.kwargs if self.kwargs is None else self.kwargs,
        )


class Planned(msgspec.Struct, frozen=True):
    """A process to be: its id, its spec, and the ids of those before and after it."""

    process_id: str
    spec: ProcessSpec
    parents: list[str]
    children: list[str]


def plan(
    workflow: WorkflowSpec, graph_id: str, root_args: Sequence[str] | None = None
) -> list[Planned]:
    """Plan the processes of a workflow that `check` has passed, in the order of the spec.

    Their ids follow from the graph's; parents stand in the order of the dependencies. ``root_args``
    replaces the arguments of the roots.
    """
    specs = members_of(workflow)
    ids = {spec.name: sha3(f"{graph_id}:{number}") for number, spec in enumerate(specs)}
    children: dict[str, list[str]] = {spec.name: [] for spec in specs}
    for spec in specs:
        for parent in spec.conditions.dependencies:
            children[parent].append(ids[spec.name])
    return [
        Planned(
            process_id=ids[spec.name],
            spec=_kept(spec, root_args),
            parents=[ids[parent] for parent in spec.conditions.dependencies],
            children=children[spec.name],
        )
        for spec in specs
    ]


def _kept(spec: ProcessSpec, root_args: Sequence[str] | None) -> ProcessSpec:
    """Give a spec as it is kept, with the arguments for a root."""
    if root_args is not None and not spec.conditions.dependencies:
        spec = msgspec.structs.replace(spec, args=list(root_args))
    return spec.normalised()


def members_of(workflow: WorkflowSpec) -> list[ProcessSpec]:
    """Give the specs of a workflow, each in the colony of that."""
    colony_id = workflow.colony_id
    return [
        spec
        if spec.conditions.colony_id == colony_id
        else msgspec.structs.replace(
            spec, conditions=msgspec.structs.replace(spec.conditions, colony_id=colony_id)
        )
        for spec in workflow.process_specs
    ]


def child_spec(spec: ProcessSpec, parent: ProcessSpec) -> ProcessSpec:
    """Give the spec of a process that is added below another, as it is kept.

    Raises Malformed when it says that it is of another colony.
    """
    _check_colony(spec, parent.conditions.colony_id, "spec")
    conditions = msgspec.structs.replace(
        spec.conditions,
        colony_id=parent.conditions.colony_id,
        dependencies=[parent.name],
    )
    return msgspec.structs.replace(spec, conditions=conditions).normalised()


def write_workflow(workflow: WorkflowSpec) -> str:
    """Give a workflow as crons and generators keep it."""
    return wire.encode(workflow).decode()


def read_workflow(text: str, colony_id: str, field: str = "workflowspec") -> WorkflowSpec:
    """Read a workflow that is kept as JSON in ``field`` of something of a colony, and check it.

    It runs in that colony and must not name another. Raises Malformed, naming what is at fault.
    """
    try:
        workflow = wire.decode(text, WorkflowSpec)
        named = workflow.colony_id
        workflow = msgspec.structs.replace(workflow, colony_id=colony_id)
        check(workflow)
    except Malformed as error:
        reason = error.message.removeprefix("spec.")
        raise Malformed(f"{field}: {reason}", field=field) from error
    if named not in ("", colony_id):
        raise Malformed(f"{field}: colonyid: expected the colony that it is for", field=field)
    return workflow


def check(workflow: WorkflowSpec) -> None:
    """Raise Malformed, naming the process at fault, unless the workflow can be run."""
    specs = workflow.process_specs
    if not specs:
        raise _malformed("", "expected at least one process")
    if len(specs) > MAX_MEMBERS:
        raise _malformed("", f"expected at most {MAX_MEMBERS} processes, not {len(specs)}")
    places = _places(specs)
    for number, spec in enumerate(specs):
        _check_colony(spec, workflow.colony_id, f"spec.processspecs[{number}]")
        _check_dependencies(number, spec, places)
    _check_order(specs, places)


def _places(specs: Sequence[ProcessSpec]) -> dict[str, int]:
    """Give the place of each process by its name."""
    places: dict[str, int] = {}
    for number, spec in enumerate(specs):
        if not spec.name:
            raise _malformed(f"[{number}].name", "expected a name: others depend on it by that")
        if spec.name in places:
            raise _malformed(
                f"[{number}].name",
                f"expected a name of its own: {spec.name!r} is also that of "
                f"processspecs[{places[spec.name]}]",
            )
        places[spec.name] = number
    return places


def _check_colony(spec: ProcessSpec, colony_id: str, at: str) -> None:
    if spec.conditions.colony_id not in ("", colony_id):
        field = f"{at}.conditions.colonyid"
        whose = f"{spec.name!r} runs" if spec.name else "it runs"
        reason = f"expected none, or that of its workflow: {whose} in <{colony_id}>"
        raise Malformed(f"{field}: {reason}", field=field)


def _check_dependencies(number: int, spec: ProcessSpec, places: Mapping[str, int]) -> None:
    seen: set[str] = set()
    for place, name in enumerate(spec.conditions.dependencies):
        field = f"[{number}].conditions.dependencies[{place}]"
        if name not in places:
            near = get_close_matches(name, places, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise _malformed(field, f"{spec.name!r} depends on {name!r}, which is not there{hint}")
        if name in seen:
            raise _malformed(field, f"{spec.name!r} depends on {name!r} twice")
        seen.add(name)


def _check_order(specs: Sequence[ProcessSpec], places: Mapping[str, int]) -> None:
    """Raise Malformed with the cycle, if there is no order in which all could run."""
    stuck = _never_ready(specs, places)
    if not stuck:
        return
    cycle = _cycle_among(stuck)
    named = [repr(specs[number].name) for number in cycle[:MOST_NAMED]]
    rest = f" … ({len(cycle)} processes)" if len(cycle) > MOST_NAMED else f" → {named[0]}"
    field = f"[{cycle[0]}].conditions.dependencies"
    raise _malformed(field, f"expected no cycle, but {' → '.join(named)}{rest}")


def _never_ready(specs: Sequence[ProcessSpec], places: Mapping[str, int]) -> dict[int, list[int]]:
    """Give who would never start, each with those of its dependencies that would not either."""
    parents = [[places[name] for name in spec.conditions.dependencies] for spec in specs]
    missing = [len(some) for some in parents]
    children: list[list[int]] = [[] for _ in specs]
    for child, some in enumerate(parents):
        for parent in some:
            children[parent].append(child)
    ready = [number for number, count in enumerate(missing) if not count]
    while ready:
        for child in children[ready.pop()]:
            missing[child] -= 1
            if not missing[child]:
                ready.append(child)
    return {
        number: [parent for parent in parents[number] if missing[parent]]
        for number, count in enumerate(missing)
        if count
    }


def _cycle_among(stuck: Mapping[int, list[int]]) -> list[int]:
    """Give a cycle, from whichever of its processes stands first in the spec, parents first."""
    one = min(stuck)
    path: dict[int, int] = {}
    while one not in path:
        path[one] = len(path)
        one = stuck[one][0]
    cycle = list(path)[path[one] :][::-1]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]


def _malformed(where: str, what: str) -> Malformed:
    field = f"spec.processspecs{where}"
    return Malformed(f"{field}: {what}", field=field)
