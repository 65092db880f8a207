"""Messages about many processes: submitted all or none, ended each for itself."""

import asyncio

import pytest
from msgspec.structs import replace

from colonies.core.errors import Forbidden, Malformed, NotFound, StaleAttempt
from colonies.core.process import AttemptEnd, Conditions, ProcessSpec, State
from tests.server.doors import idle
from tests.server.leases import row, submit

CLI = Conditions(runtime_type="cli")


def named(*names: str, **conditions) -> list[ProcessSpec]:
    """Specs that differ by their functions."""
    return [ProcessSpec(func=name, conditions=replace(CLI, **conditions)) for name in names]


class TestSubmit:
    async def test_all_are_there_in_their_order(self, member):
        names = [f"f{number}" for number in range(1000)]
        ids = await member.submit_processes(named(*names))
        assert len(set(ids)) == 1000
        assert (await member.get_colony_stats()).waiting_processes == 1000
        taken = [await member.assign_process(timeout=-1) for _ in range(3)]
        assert [one.process_id for one in taken] == ids[:3]
        assert [one.spec.func for one in taken] == names[:3]

    async def test_they_wake_as_many_as_they_are(self, server, member):
        waiting = [asyncio.ensure_future(member.assign_process(timeout=60)) for _ in range(3)]
        await idle(server, 3)
        ids = await member.submit_processes(named("a", "b", "c"))
        assert {(await one).process_id for one in waiting} == set(ids)

    async def test_one_bad_spec_and_there_is_none(self, member, people):
        specs = [*named("a"), *named("b", colony_id=people.other_owner.id)]
        with pytest.raises(Malformed) as refused:
            await member.submit_processes(specs)
        assert refused.value.field == "specs[1].conditions.colonyid"
        assert (await member.get_colony_stats()).waiting_processes == 0

    @pytest.mark.parametrize("count", [0, 1001])
    async def test_there_are_bounds(self, member, count):
        with pytest.raises(Malformed, match="specs: expected"):
            await member.submit_processes(named(*["f"] * count))

    async def test_in_another_colony_nobody_may(self, member, people):
        theirs = people.other_owner.id
        with pytest.raises(Forbidden):
            await member.submit_processes(named("a", colony_id=theirs), theirs)


class TestClose:
    @pytest.fixture
    async def running(self, member):
        for _ in range(3):
            await submit(member)
        return [await member.assign_process(timeout=-1) for _ in range(3)]

    async def test_each_ends_for_itself(self, member, running, sql):
        done, failed, stale = running
        said = await member.close_processes(
            [
                AttemptEnd(done.process_id, done.attempt_token, output=["1"]),
                AttemptEnd(failed.process_id, failed.attempt_token, State.FAILED, errors=["no"]),
                AttemptEnd(stale.process_id, "0" * 16, output=["late"]),
                AttemptEnd("f" * 64),
            ]
        )
        assert [type(one) for one in said] == [type(None), type(None), StaleAttempt, NotFound]
        rows = [await row(sql, one.process_id) for one in running]
        assert [one["state"] for one in rows] == [State.SUCCESS, State.FAILED, State.RUNNING]
        assert (rows[0]["output"], rows[1]["errors"]) == (["1"], ["no"])

    async def test_the_same_again_changes_nothing(self, member, running):
        ends = [AttemptEnd(one.process_id, one.attempt_token, output=["1"]) for one in running]
        assert await member.close_processes(ends) == [None] * 3
        assert await member.close_processes(ends) == [None] * 3

    async def test_twice_in_one_message_the_first_counts(self, member, running):
        one = running[0]
        ends = [AttemptEnd(one.process_id, one.attempt_token, output=[text]) for text in ("a", "b")]
        first, second = await member.close_processes(ends)
        assert (first, second.status) == (None, 409)
        assert (await member.get_process(one.process_id)).output == ["a"]

    @pytest.mark.parametrize("state", [State.WAITING, State.RUNNING, State.CANCELLED])
    async def test_an_end_is_success_or_failure(self, socket, people, running, state):
        ends = [{"processid": running[0].process_id, "state": state}]
        with pytest.raises(Malformed, match=r"ends\[0\]\.state: expected 2 or 3"):
            await socket.ask("closeprocessesmsg", {"ends": ends}, people.runtime)

    async def test_credit_is_given_back(self, member):
        ids = [await submit(member) for _ in range(4)]
        async with await member.subscribe_assignments(credit=2) as work:
            first = [await anext(work) for _ in range(2)]
            await member.close_processes(
                [AttemptEnd(one.process_id, one.attempt_token) for one in first]
            )
            second = [await anext(work) for _ in range(2)]
        assert [one.process_id for one in first + second] == ids


class TestClient:
    """Closes that are asked for while one is under way go together."""

    @pytest.fixture
    def sent(self, member, monkeypatch):
        types: list[str] = []
        call = type(member._transport).call

        async def noted(self, payload_type, *args, **kwargs):
            types.append(payload_type)
            return await call(self, payload_type, *args, **kwargs)

        monkeypatch.setattr(type(member._transport), "call", noted)
        return types

    async def test_many_take_one_message_and_each_hears_its_own(self, member, sent):
        for _ in range(10):
            await submit(member)
        processes = [await member.assign_process(timeout=-1) for _ in range(10)]
        sent.clear()
        results = await asyncio.gather(
            member.close_successful("f" * 64),
            *(
                member.close_successful(
                    one.process_id, [str(number)], attempt_token=one.attempt_token
                )
                for number, one in enumerate(processes)
            ),
            member.close_failed(processes[0].process_id, ["late"]),
            return_exceptions=True,
        )
        assert sent == ["closesuccessfulmsg", "closeprocessesmsg"]
        assert isinstance(results[0], NotFound)
        assert results[1:-1] == [None] * 10
        assert results[-1].status == 409
        outputs = [(await member.get_process(one.process_id)).output for one in processes]
        assert outputs == [[str(number)] for number in range(10)]

    async def test_one_alone_is_sent_as_v1_knows_it(self, member, sent):
        await submit(member)
        process = await member.assign_process(timeout=-1)
        sent.clear()
        await member.close_failed(process.process_id, ["no"])
        assert sent == ["closefailedmsg"]

    async def test_what_is_too_large_together_goes_one_by_one(self, member, sent):
        for _ in range(3):
            await submit(member)
        processes = [await member.assign_process(timeout=-1) for _ in range(3)]
        sent.clear()
        text = "x" * 400_000
        await asyncio.gather(
            *(member.close_successful(one.process_id, [text]) for one in processes)
        )
        assert sent == ["closesuccessfulmsg"] * 3
