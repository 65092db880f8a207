"""What comes into a colony while that is being deleted: it is gone with the next sweep."""

import pytest

from colonies.core.process import Conditions, ProcessSpec
from colonies.core.workflow import WorkflowSpec
from colonies.server import lifecycle, workflow
from colonies.server.intent import NOBODYS
from colonies.server.retention import sweep_orphans
from tests.conftest import add_runtime
from tests.server.leases import submit

COUNTS = """
SELECT (SELECT count(*) FROM processes), (SELECT count(*) FROM attributes),
       (SELECT count(*) FROM process_graphs),
       (SELECT count(*) FROM runtimes WHERE colony_id = $1)
"""


@pytest.fixture
def count(sql, colony):
    async def count() -> tuple[int, ...]:
        return tuple(await sql.fetchrow(COUNTS, colony))

    return count


@pytest.fixture
async def orphaned(client, db, colony, people, sql) -> None:
    """Processes, a workflow and a runtime, committed after their colony was deleted."""
    conditions = Conditions(colony_id=colony, runtime_type="cli")
    spec = ProcessSpec(env={"PATH": "/bin"}, conditions=conditions)
    one_process = WorkflowSpec(colony_id=colony, process_specs=[ProcessSpec(name="a")])
    letting_in = "INSERT INTO runtimes SELECT colony_id, $1, runtime_type, $1, cpu, cores, mem, "
    letting_in += "gpu, gpus, state, commission_time, last_heard_from_time, location FROM runtimes "
    async with db.transaction() as tx, sql.transaction():
        await lifecycle.submit(tx, spec, NOBODYS)
        await workflow.submit(tx, one_process)
        await sql.execute(f"{letting_in} WHERE runtime_id = $2", "late", people.runtime.id)
        await client.acting_as(people.server_owner).delete_colony(colony)


@pytest.mark.usefixtures("orphaned")
class TestOrphans:
    async def test_they_are_swept(self, db, count):
        assert await count() == (2, 1, 1, 1)
        await sweep_orphans(db)
        assert await count() == (0, 0, 0, 0)

    async def test_other_colonies_keep_what_is_theirs(self, *, db, client, people, sql):
        foreigner = client.acting_as(people.foreigner)
        theirs = await submit(foreigner, colony_id=people.other_owner.id, env={"A": "b"})
        await sweep_orphans(db)
        assert (await foreigner.get_process(theirs)).spec.env == {"A": "b"}
        assert await sql.fetchval("SELECT count(*) FROM runtimes") == 1

    async def test_a_colony_that_was_added_again_keeps_all(self, db, client, people, count):
        owner = client.acting_as(people.server_owner)
        await owner.add_colony(people.colony_owner.id, "again")
        await sweep_orphans(db)
        assert await count() == (2, 1, 1, 1)


async def test_a_colony_is_deleted_with_all_and_leaves_no_orphans(client, people, member, count):
    await submit(member, env={"A": "b"})
    await add_runtime(client, people.colony_owner, people.stranger)
    await client.acting_as(people.server_owner).delete_colony(people.colony_owner.id)
    assert await count() == (0, 0, 0, 0)
