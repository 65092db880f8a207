"""How a runtime becomes a member of its colony: let in by its owner, or by the owner's key."""

from __future__ import annotations

import asyncio

import structlog

from colonies.client import Colonies
from colonies.core.identity import PrivateKey
from colonies.core.runtime import Approval
from colonies.core.runtime import Runtime as Member
from runtimes.patience import persist

logger = structlog.get_logger()

APPROVAL_PERIOD = 2.0
"""Seconds between looks whether the owner has let us in."""


class Membership:
    """Our place in one colony; with the owner's key at hand we take it ourselves."""

    def __init__(self, colonies: Colonies, member: Member, owner: PrivateKey | None) -> None:
        self.member = member
        self._colonies = colonies
        self._owner = owner
        self._is_known = False

    async def join(self) -> None:
        """Wait until we are approved, however long that takes."""
        is_asked = False
        while not await self._is_approved():
            if not is_asked:
                logger.info(
                    "waiting for approval", runtime=self.member.runtime_id, ask=self._advice()
                )
                is_asked = True
            await asyncio.sleep(APPROVAL_PERIOD)
        await self._compare()

    def _advice(self) -> str:
        """Give the command by which the colony's owner lets us in."""
        member = self.member
        colony = f"--colonyid {member.colony_id}"
        if self._is_known:
            return f"colonies runtime approve {member.runtime_id} {colony}"
        return (
            f"colonies runtime add --runtimeid {member.runtime_id} --name {member.name} "
            f"--type {member.runtime_type} --cores {member.cores} --mem {member.mem} "
            f"--gpus {member.gpus} --approve {colony}"
        )

    async def _is_approved(self) -> bool:
        caller = await persist(self._colonies.get_caller)
        ours = [one for one in caller.memberships if one.colony_id == self.member.colony_id]
        self._is_known = bool(ours)
        if any(one.state is Approval.APPROVED for one in ours):
            return True
        if self._owner is None:
            return False
        owner = self._colonies.acting_as(self._owner)
        if not ours:
            await owner.add_runtime(self.member)
            await owner.approve_runtime(self.member.runtime_id)
            logger.info("runtime registered", runtime=self.member.runtime_id)
            return True
        return False

    async def _compare(self) -> None:
        """Say so when the colony knows us as another type: we are given work of that."""
        known = await self._colonies.get_runtime(self.member.runtime_id)
        if known.runtime_type != self.member.runtime_type:
            logger.warning(
                "registered as something else",
                runtime=known.runtime_id,
                registered=known.runtime_type,
                wanted=self.member.runtime_type,
            )
