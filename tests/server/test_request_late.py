"""A request that is repeated after something else has happened: it is not done again."""

import pytest

from colonies.core.errors import Conflict, Forbidden, NotFound, StaleAttempt
from colonies.core.process import State
from colonies.core.runtime import Approval
from tests.conftest import add_runtime, held
from tests.server.doors import refused
from tests.server.leases import submit, take
from tests.server.repeats import ask, ask_process, asked, everything


@pytest.fixture
def nothing_more(server, sql):
    """Repeat a request, through to its first answer, and see that nothing happens by it."""

    async def again(one, answer=None) -> None:
        before = await everything(sql)
        for _ in range(2):
            assert await ask(server, one) == ({} if answer is None else answer)
        assert await everything(sql) == before

    return again


async def test_an_approval_does_not_let_in_again_who_was_rejected_since(
    server, owner, people, nothing_more
):
    approval = asked("approveruntimemsg", {"runtimeid": people.pending.id}, people.colony_owner)
    await ask(server, approval)
    await owner.reject_runtime(people.pending.id)
    await nothing_more(approval)
    assert (await owner.get_runtime(people.pending.id)).state is Approval.REJECTED


async def test_a_rejection_does_not_shut_out_again_who_was_let_in_since(
    *, server, owner, member, people, nothing_more
):
    rejection = asked("rejectruntimemsg", {"runtimeid": people.runtime.id}, people.colony_owner)
    await ask(server, rejection)
    await owner.approve_runtime(people.runtime.id)
    waiting = await member.subscribe_processes("cli", states=[State.WAITING])
    await nothing_more(rejection)
    process_id = await submit(member)
    assert (await anext(waiting)).process_id == process_id


async def test_deleting_a_runtime_does_not_delete_it_again_when_it_is_back(
    *, server, client, people, colony, member, nothing_more
):
    deletion = asked("deleteruntimemsg", {"runtimeid": people.runtime.id}, people.colony_owner)
    await ask(server, deletion)
    await nothing_more(deletion)
    await add_runtime(client, people.colony_owner, people.runtime)
    await submit(member)
    process = await take(member)
    await nothing_more(deletion)
    assert await member.renew([held(process)]) == []


async def test_adding_a_runtime_does_not_bring_it_back(server, owner, people, colony, sql):
    runtime = {"runtimeid": people.stranger.id, "colonyid": colony, "name": "new"}
    addition = asked("addruntimemsg", {"runtime": runtime}, people.colony_owner)
    await ask(server, addition)
    await owner.approve_runtime(people.stranger.id)
    assert (await ask(server, addition))["state"] == Approval.APPROVED
    await owner.delete_runtime(people.stranger.id)
    before = await everything(sql)
    assert isinstance(await refused(ask(server, addition)), NotFound)
    assert await everything(sql) == before


async def test_adding_a_colony_does_not_bring_it_back(server, client, people, nothing_more):
    colony = {"colonyid": people.stranger.id, "name": "new"}
    addition = asked("addcolonymsg", {"colony": colony}, people.server_owner)
    await ask(server, addition)
    await client.acting_as(people.server_owner).delete_colony(people.stranger.id)
    await nothing_more(addition, colony)


async def test_deleting_a_colony_does_not_delete_it_again_when_it_is_back(
    *, server, client, people, colony, nothing_more
):
    deletion = asked("deletecolonymsg", {"colonyid": colony}, people.server_owner)
    await ask(server, deletion)
    await client.acting_as(people.server_owner).add_colony(colony, "again")
    await add_runtime(client, people.colony_owner, people.runtime)
    await nothing_more(deletion)
    assert (await client.acting_as(people.runtime).get_colony()).name == "again"


async def test_deleting_all_processes_does_not_delete_what_was_submitted_since(
    *, server, member, people, colony, nothing_more
):
    await submit(member)
    deletion = asked("deleteallprocessesmsg", {"colonyid": colony}, people.colony_owner)
    await ask(server, deletion)
    process_id = await submit(member)
    await nothing_more(deletion)
    assert (await member.get_process(process_id)).state is State.WAITING


async def test_deleting_a_process_is_done_when_it_is_gone(server, member, people, nothing_more):
    deletion = asked("deleteprocessmsg", {"processid": await submit(member)}, people.runtime)
    await ask(server, deletion)
    await nothing_more(deletion)


async def test_a_submit_does_not_create_anew_what_was_deleted(server, member, people, colony, sql):
    spec = {"func": "f", "conditions": {"colonyid": colony, "runtimetype": "cli"}}
    submission = asked("submitprocessespecmsg", {"spec": spec}, people.runtime)
    process = await ask_process(server, submission)
    await member.delete_process(process.process_id)
    before = await everything(sql)
    assert isinstance(await refused(ask(server, submission)), NotFound)
    assert await everything(sql) == before


async def test_a_submit_is_answered_with_the_process_as_it_is_now(server, member, people, colony):
    spec = {"func": "f", "conditions": {"colonyid": colony, "runtimetype": "cli"}}
    submission = asked("submitprocessespecmsg", {"spec": spec}, people.runtime)
    first = await ask_process(server, submission)
    process = await take(member)
    again = await ask_process(server, submission)
    assert (again.process_id, again.state) == (first.process_id, State.RUNNING)
    assert again.attempt_token == ""
    await member.close_successful(process.process_id, ["x"])
    assert (await ask_process(server, submission)).output == ["x"]


RELEASE, FAIL, SUCCEED = "releasemsg", "closefailedmsg", "closesuccessfulmsg"


with_or_without = pytest.mark.parametrize("with_token", [False, True])


def since(*names: str):
    """What has happened in between, with a token and without."""
    cases = [(name, with_token) for name in names for with_token in (True, False)]
    return pytest.mark.parametrize(("since", "with_token"), cases)


class TestOfAnAttempt:
    """What a runtime says of what it runs, with its token or, as v1 clients, without."""

    def about(self, process, people, payload_type, *, with_token):
        token = {"attempttoken": process.attempt_token} if with_token else {}
        return asked(payload_type, {"processid": process.process_id} | token, people.runtime)

    @with_or_without
    async def test_a_release_leaves_the_next_attempt_alone(
        self, *, server, member, people, nothing_more, with_token
    ):
        await submit(member)
        release = self.about(await take(member), people, RELEASE, with_token=with_token)
        await ask(server, release)
        again = await take(member)
        assert again.attempt == 2
        await nothing_more(release)
        assert await member.renew([held(again)]) == []

    @since("waits", "is another's", "is deleted", "ended")
    async def test_a_release_is_done_whatever_has_become_of_the_process(
        self, *, server, member, fellow, people, nothing_more, with_token, since
    ):
        process_id = await submit(member)
        release = self.about(await take(member), people, RELEASE, with_token=with_token)
        await ask(server, release)
        if since in ("is another's", "ended"):
            await take(fellow)
        if since == "ended":
            await fellow.close_successful(process_id)
        if since == "is deleted":
            await member.delete_process(process_id)
        await nothing_more(release)

    @with_or_without
    @pytest.mark.parametrize("payload_type", [SUCCEED, FAIL])
    @pytest.mark.parametrize("since", ["nothing", "is deleted"])
    async def test_a_close_is_done_whatever_has_become_of_the_process(
        self, *, server, member, people, nothing_more, payload_type, with_token, since
    ):
        process_id = await submit(member)
        close = self.about(await take(member), people, payload_type, with_token=with_token)
        await ask(server, close)
        if since == "is deleted":
            await member.delete_process(process_id)
        await nothing_more(close)

    @since("nothing", "ended", "released", "is another's")
    async def test_an_attribute_is_there_whatever_has_become_of_the_process(
        self, *, server, member, fellow, people, nothing_more, with_token, since
    ):
        process_id = await submit(member)
        process = await take(member)
        token = {"attempttoken": process.attempt_token} if with_token else {}
        attribute = {"targetid": process_id, "attributetype": 1, "key": "k", "value": "v"}
        addition = asked("addattributemsg", {"attribute": attribute} | token, people.runtime)
        first = await ask(server, addition)
        if since == "ended":
            await member.close_successful(process_id)
        elif since != "nothing":
            await member.release(process_id, attempt_token=process.attempt_token)
        if since == "is another's":
            await take(fellow)
        await nothing_more(addition, first)

    @with_or_without
    async def test_a_close_that_comes_too_late_the_first_time_is_refused_each_time(
        self, *, server, member, fellow, people, lose, sql, with_token
    ):
        await submit(member)
        close = self.about(await take(member), people, SUCCEED, with_token=with_token)
        await lose()
        await take(fellow)
        before = await everything(sql)
        for _ in range(2):
            refusal = await refused(ask(server, close))
            assert type(refusal) is (StaleAttempt if with_token else Forbidden)
        assert await everything(sql) == before

    @with_or_without
    async def test_a_close_without_a_request_id_is_harmless_when_repeated(
        self, *, server, member, people, with_token
    ):
        await submit(member)
        close = self.about(await take(member), people, FAIL, with_token=with_token)
        for _ in range(2):
            await ask(server, close._replace(req=""))


async def test_a_cancellation_is_answered_with_the_process_as_it_is_now(server, member, people):
    process_id = await submit(member)
    process = await take(member)
    cancel = asked("cancelprocessmsg", {"processid": process_id}, people.runtime)
    assert (await ask_process(server, cancel)).is_cancelling
    await member.close_successful(process_id, attempt_token=process.attempt_token)
    assert (await ask_process(server, cancel)).state is State.SUCCESS
    refusal = await refused(member.cancel_process(process_id))
    assert type(refusal) is Conflict
    await member.delete_process(process_id)
    assert isinstance(await refused(ask(server, cancel)), NotFound)
