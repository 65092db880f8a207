"""Every change of a process graph as a whole, whoever asks for it.

What happens to one of its processes happens in `lifecycle`, like to any other; what follows from
that for the rest of the graph happens here, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec

from colonies.core import wire
from colonies.core.attribute import Attribute
from colonies.core.process import USUAL_LEASE, Process, environment_of, new_id
from colonies.core.process_graph import ProcessGraph
from colonies.core.wire import ZERO_TIME
from colonies.core.workflow import Planned, WorkflowSpec, plan
from colonies.server.db import Statements
from colonies.server.intent import NOBODYS, Intent


class Submitted(msgspec.Struct, frozen=True):
    """A graph that was submitted, and those of its processes that can start: to be published."""

    graph: ProcessGraph
    roots: list[Process]


async def submit(
    db: Statements,
    workflow: WorkflowSpec,
    intent: Intent = NOBODYS,
    *,
    root_args: Sequence[str] | None = None,
    root_input: Sequence[str] = (),
) -> Submitted:
    """Check a workflow and submit it: all of it or nothing, by one statement.

    ``db`` may be a transaction, for what shall happen together with it; publish the roots after its
    commit. ``root_args`` replaces the arguments of the roots, ``root_input`` is their input. Raises
    Malformed, naming the process at fault, before anything is written.
    """
    graph_id = new_id()
    planned = plan(workflow, graph_id, root_args)
    environment = [
        attribute
        for one in planned
        for attribute in environment_of(one.process_id, one.spec, graph_id)
    ]
    (graph,) = await db.fetch_all(
        ProcessGraph,
        "submit_process_graph",
        colony_id=workflow.colony_id,
        process_graph_id=graph_id,
        on_failure=workflow.on_failure,
        root_input=list(root_input),
        **_columns(planned),
        **_environment_columns(environment),
        **intent.parameters,
    )
    return Submitted(graph, _roots(graph, planned, list(root_input)))


def _columns(planned: Sequence[Planned]) -> dict[str, list[object]]:
    specs = [one.spec for one in planned]
    conditions = [spec.conditions for spec in specs]
    return {
        "process_ids": [one.process_id for one in planned],
        "specs": [_json(spec) for spec in specs],
        "runtime_types": [each.runtime_type for each in conditions],
        "runtime_ids": [_json(each.runtime_ids) for each in conditions],
        "cores": [each.cores for each in conditions],
        "mem": [each.mem for each in conditions],
        "gpus": [each.gpus for each in conditions],
        "priorities": [spec.priority for spec in specs],
        "max_wait_times": [spec.max_wait_time for spec in specs],
        "max_exec_times": [spec.max_exec_time for spec in specs],
        "max_retries": [spec.max_retries for spec in specs],
        "leases": [spec.lease or USUAL_LEASE for spec in specs],
        "parents": [_json(one.parents) for one in planned],
        "children": [_json(one.children) for one in planned],
        "missing": [len(one.parents) for one in planned],
    }


def _environment_columns(environment: Sequence[Attribute]) -> dict[str, list[str]]:
    return {
        "env_process_ids": [one.target_id for one in environment],
        "env_ids": [one.attribute_id for one in environment],
        "env_keys": [one.key for one in environment],
        "env_values": [one.value for one in environment],
    }


def _roots(graph: ProcessGraph, planned: Sequence[Planned], root_input: list[str]) -> list[Process]:
    roots = []
    for place, one in enumerate(planned, start=1):
        if one.parents:
            continue
        submitted = graph.submission_time + timedelta(microseconds=place)
        wait = timedelta(seconds=one.spec.max_wait_time)
        roots.append(
            Process(
                process_id=one.process_id,
                submission_time=submitted,
                wait_deadline=submitted + wait if one.spec.max_wait_time > 0 else ZERO_TIME,
                attributes=environment_of(one.process_id, one.spec, graph.process_graph_id),
                spec=one.spec,
                children=one.children,
                process_graph_id=graph.process_graph_id,
                input=root_input,
            )
        )
    return roots


def _json(value: object) -> str:
    return wire.encode(value).decode()
