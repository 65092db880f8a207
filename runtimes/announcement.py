"""Announcing what a runtime is and can run, so that others can name it and call it rightly."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from colonies.client import Colonies
from colonies.core.errors import Failure, Malformed
from colonies.core.function import Argument, Function
from colonies.core.runtime import Runtime as Member

logger = structlog.get_logger()


async def announce(colonies: Colonies, member: Member, functions: Sequence[Function]) -> None:
    """Make what the colony knows of us what it is: tell what differs, take back what is no more.

    What the hub does not take is left out; we work all the same.
    """
    await _say_itself(colonies, member)
    try:
        known = await colonies.get_functions(member.colony_id, runtime_id=member.runtime_id)
        said = {one.name: _content(one) for one in known}
        for function in functions:
            if said.pop(function.name, None) != _content(function):
                await _add(colonies, member, function)
        for name in said:
            await colonies.remove_function(name, member.colony_id)
    except Failure as failure:
        logger.warning("functions not announced", error=failure.message)
    else:
        logger.debug("functions announced", count=len(functions))


async def _say_itself(colonies: Colonies, member: Member) -> None:
    """Tell what we have, by which we are given work, and our labels."""
    try:
        known = await colonies.get_runtime(member.runtime_id)
        if known.figures != member.figures:
            await colonies.update_runtime(member.figures, colony_id=member.colony_id)
            logger.info("figures updated", now=_figures(member), before=_figures(known))
        if known.labels != member.labels:
            await colonies.label_runtime(member.labels, member.colony_id)
    except Failure as failure:
        logger.warning("figures and labels not said", error=failure.message)


def _figures(member: Member) -> dict[str, int]:
    return {"cores": member.cores, "mem": member.mem, "gpus": member.gpus}


async def _add(colonies: Colonies, member: Member, function: Function) -> None:
    try:
        await colonies.add_function(function, member.colony_id)
    except Malformed as failure:
        logger.warning("function not announced", func=function.name, error=failure.message)


def _content(function: Function) -> tuple[str, list[Argument]]:
    return function.description, function.args
