"""What the runtimes of a colony say they can run: remembered for a moment, as submits ask for it.

Forgotten with the memberships (`members.py`), at once when anything about runtimes is changed, by
this hub or by another that tells, and after a while in any case.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from functools import lru_cache
from time import monotonic

import msgspec

from colonies.core import wire
from colonies.core.errors import Malformed
from colonies.core.function import LONGEST_NAME, Argument, Function, check_call, check_packed
from colonies.core.generator import Generator
from colonies.core.process import ProcessSpec
from colonies.core.workflow import WorkflowSpec, members_of, read_workflow, write_workflow
from colonies.server.db import Statements
from colonies.server.members import Members

LIFETIME = 10.0
"""Seconds that announcements are remembered, where nobody says that they have changed."""

MAX_REMEMBERED = 10_000
"""Colonies remembered at once; over it, all are forgotten."""

MOST_NAMED = 10
"""Runtime types that a refusal lists."""


class Announced(msgspec.Struct, frozen=True):
    """What approved runtimes of a type say about a function; each different say is one."""

    colony_id: str
    runtime_type: str
    name: str
    args: list[Argument]


Announcements = dict[str, dict[str, list[Function]]]
"""By the name of the function, by runtime type."""


class Functions:
    """What the runtimes of each colony announce."""

    def __init__(
        self, db: Statements, members: Members, clock: Callable[[], float] = monotonic
    ) -> None:
        self._db = db
        self._members = members
        self._clock = clock
        self._remembered: dict[str, tuple[float, int, Announcements]] = {}

    async def settled(self, spec: ProcessSpec, at: str, *, has_args: bool = True) -> ProcessSpec:
        """Give a spec with the one runtime type that it is for; ``at`` is its path in the request.

        Raises Malformed when it names no type and not exactly one announces the function, or when
        its arguments fit nothing that runtimes of its type announce by that name. One that
        ``has_args`` not yet is not checked for these. A spec that is for runtimes by their ids,
        whatever their type, is taken as it is.
        """
        announced = (await self._of(spec.conditions.colony_id)) if spec.func else {}
        spec = spec.normalised()
        if spec.conditions.is_addressed:
            return spec
        by_type = announced.get(spec.func, {})
        if spec.func and not spec.conditions.runtime_type:
            spec = _with_type(spec, _only_type(spec.func, by_type, announced, at))
        if has_args:
            functions = by_type.get(spec.conditions.runtime_type, ())
            _check_any(functions, lambda one: check_call(one, spec.args, spec.kwargs, at))
        return spec

    async def settled_all(self, specs: Sequence[ProcessSpec], at: str) -> list[ProcessSpec]:
        """Give specs with their runtime types, as `settled` does, or raise for the first fault."""
        return [await self.settled(spec, f"{at}[{number}]") for number, spec in enumerate(specs)]

    async def settled_workflow(
        self, workflow: WorkflowSpec, at: str, *, have_roots_args: bool = True
    ) -> WorkflowSpec:
        """Give a workflow with the runtime types of its processes, or raise for the first fault."""
        specs = [
            await self.settled(
                spec,
                f"{at}[{number}]",
                has_args=have_roots_args or bool(spec.conditions.dependencies),
            )
            for number, spec in enumerate(members_of(workflow))
        ]
        return msgspec.structs.replace(workflow, process_specs=specs)

    async def settled_text(
        self, text: str, colony_id: str, field: str, *, have_roots_args: bool = True
    ) -> str:
        """Check and settle a workflow that is kept as text in ``field``, for whoever submits it.

        What names all its types stays as it was written. Raises Malformed, naming what is at fault.
        """
        workflow = read_workflow(text, colony_id, field)
        try:
            settled = await self.settled_workflow(
                workflow, "processspecs", have_roots_args=have_roots_args
            )
        except Malformed as error:
            raise Malformed(f"{field}: {error.message}", field=field) from error
        if _types(settled) == _types(workflow):
            return text
        return write_workflow(settled)

    async def check_packed(self, generator: Generator, text: str, field: str) -> None:
        """Refuse an argument that fits nowhere in a call that a generator will make with it.

        Which place it gets is known when it is used. Raises Malformed that names ``field``.
        """
        if not (announced := await self._of(generator.colony_id)):
            return
        for func, runtime_type in _calls_with_packed(generator.workflow_spec):
            functions = announced.get(func, {}).get(runtime_type, ())
            _check_any(functions, lambda one: check_packed(one, text, generator.trigger, field))

    async def _of(self, colony_id: str) -> Announcements:
        until, generation, announced = self._remembered.get(colony_id, (0.0, -1, {}))
        if generation == self._members.generation and self._clock() < until:
            return announced
        # What was read before a change counts as of before it.
        generation = self._members.generation
        announced = await self._db.batched(_announcements, colony_id)
        if len(self._remembered) >= MAX_REMEMBERED:
            self._remembered.clear()
        self._remembered[colony_id] = (self._clock() + LIFETIME, generation, announced)
        return announced


@lru_cache(maxsize=32)
def _calls_with_packed(workflow_spec: str) -> list[tuple[str, str]]:
    """Give function and runtime type of what takes packed arguments: those that wait for none.

    Remembered for few, as the texts may be long: who packs much does it for the same generators.
    """
    return [
        (spec.func, spec.conditions.runtime_type)
        for spec in wire.decode(workflow_spec, WorkflowSpec).process_specs
        if not spec.conditions.dependencies and not spec.conditions.is_addressed
    ]


async def _announcements(db: Statements, colony_ids: Sequence[str]) -> list[Announcements]:
    found: dict[str, Announcements] = {one: defaultdict(dict) for one in colony_ids}
    for said in await db.fetch_all(Announced, "list_announcements", colony_ids=list(found)):
        function = Function(name=said.name, args=said.args)
        found[said.colony_id][said.name].setdefault(said.runtime_type, []).append(function)
    return [found[colony_id] for colony_id in colony_ids]


def _types(workflow: WorkflowSpec) -> list[str]:
    return [spec.conditions.runtime_type for spec in workflow.process_specs]


def _only_type(
    func: str, by_type: dict[str, list[Function]], announced: Announcements, at: str
) -> str:
    if len(by_type) == 1:
        return next(iter(by_type))
    if by_type:
        field = f"{at}.conditions.runtimetype"
        types = ", ".join(list(by_type)[:MOST_NAMED])
        reason = f"runtimes of several types announce {func!r}, choose one: {types}"
    else:
        field = f"{at}.func"
        near = get_close_matches(func[:LONGEST_NAME], announced, 1)
        hint = f"did you mean {near[0]!r}?" if near else "say which: conditions.runtimetype"
        reason = f"who may run it? No runtime announces {func[:LONGEST_NAME]!r}; {hint}"
    raise Malformed(f"{field}: {reason}", field=field)


def _with_type(spec: ProcessSpec, runtime_type: str) -> ProcessSpec:
    conditions = msgspec.structs.replace(spec.conditions, runtime_type=runtime_type)
    return msgspec.structs.replace(spec, conditions=conditions)


def _check_any(announced: Sequence[Function], check: Callable[[Function], None]) -> None:
    """Let pass what fits any of what is announced, or raise what is wrong by the first."""
    refusal: Malformed | None = None
    for function in announced:
        try:
            check(function)
        except Malformed as error:
            refusal = refusal or error
        else:
            return
    if refusal:
        raise refusal
