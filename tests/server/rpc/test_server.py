"""Asking the hub about itself."""

import colonies
from colonies.core.runtime import Approval


async def test_the_version_needs_no_key(client):
    version = await client.version()
    assert version.build_version.startswith(colonies.__version__)


async def test_statistics_count_everything_on_the_hub(client, member, people):
    for _ in range(3):
        await member.submit("work", runtime_type="cli")
    process = await member.assign_process(timeout=-1)
    await member.close_successful(process.process_id)
    await member.close_failed((await member.assign_process(timeout=-1)).process_id)
    statistics = await client.acting_as(people.server_owner).get_statistics()
    assert (statistics.colonies, statistics.runtimes) == (2, 3)
    assert statistics.waiting_processes == 1
    assert statistics.running_processes == 0
    assert statistics.successful_processes == 1
    assert statistics.failed_processes == 1


async def test_the_caller_learns_who_it_is(client, colony, people):
    caller = await client.acting_as(people.pending).get_caller()
    assert caller.id == people.pending.id
    assert not caller.is_server_owner
    (membership,) = caller.memberships
    assert (membership.colony_id, membership.is_owner) == (colony, False)
    assert membership.state is Approval.PENDING


async def test_owners_and_strangers_learn_who_they_are_too(client, colony, people):
    owner = await client.acting_as(people.colony_owner).get_caller()
    assert [(one.colony_id, one.is_owner) for one in owner.memberships] == [(colony, True)]
    assert (await client.acting_as(people.server_owner).get_caller()).is_server_owner
    assert (await client.acting_as(people.stranger).get_caller()).memberships == []
