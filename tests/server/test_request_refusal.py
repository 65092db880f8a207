"""Requests whose ids are wrong, somebody else's, used up, or too old."""

import asyncio
from uuid import UUID

import pytest

from colonies.core.envelope import seal
from colonies.core.errors import AlreadyExists, Conflict, Forbidden, Malformed, NotFound
from colonies.core.process import State
from colonies.server import lifecycle
from colonies.server.duties import REQUESTS_KEPT
from colonies.server.intent import key_of
from tests.conftest import add_runtime
from tests.server.doors import failure_of, post, refused, until
from tests.server.leases import submit, take
from tests.server.repeats import ask, asked, by_api, by_ws, content, everything

AGE = "UPDATE requests SET time = now() - make_interval(secs => $1) WHERE request = $2"


def submission(colony, key, req="", **spec):
    conditions = {"colonyid": colony, "runtimetype": "cli"}
    fields = {"spec": {"func": "f", "conditions": conditions} | spec}
    return asked("submitprocessespecmsg", fields, key, req)


async def remembered(sql) -> set[UUID]:
    return {row["request"] for row in await sql.fetch("SELECT request FROM requests")}


@pytest.fixture
def refuse(server, sql):
    """See that a request is refused, and that nothing is changed by it."""

    async def refuse(one):
        before = await everything(sql)
        refusal = await refused(ask(server, one))
        assert await everything(sql) == before
        return refusal

    return refuse


class TestAnothers:
    async def test_the_same_id_of_another_caller_is_another_intention(
        self, server, fellow, people, colony
    ):
        one = submission(colony, people.runtime)
        first = await ask(server, one)
        second = await ask(server, one._replace(key=fellow.key))
        assert first["processid"] != second["processid"]
        assert await ask(server, one) == first

    async def test_a_stranger_is_told_the_same_whether_a_request_exists_or_not(
        self, *, server, member, people, colony, refuse
    ):
        process_id = await submit(member)
        used = submission(colony, people.runtime)
        await ask(server, used)
        about = {"processid": process_id, "colonyid": colony, "timeout": -1}
        for key in (people.stranger, people.foreigner, people.pending):
            for payload_type in ("submitprocessespecmsg", "assignprocessmsg", "cancelprocessmsg"):
                fields = used.fields | about
                refusals = [
                    await refuse(asked(payload_type, fields, key, req)) for req in (used.req, "new")
                ]
                assert {type(one) for one in refusals} <= {Forbidden, NotFound}
                assert str(refusals[0]) == str(refusals[1])

    async def test_who_is_forbidden_costs_no_look_at_what_is_remembered(
        self, server, people, colony, sql
    ):
        async with sql.transaction():
            await sql.execute("LOCK TABLE requests IN ACCESS EXCLUSIVE MODE")
            for payload_type in ("submitprocessespecmsg", "deleteallprocessesmsg"):
                fields = submission(colony, people.stranger).fields | {"colonyid": colony}
                reply = await by_api(server, asked(payload_type, fields, people.stranger))
                assert failure_of(reply).code == "forbidden"

    async def test_who_was_shut_out_is_refused_what_was_done_for_them(
        self, server, owner, people, colony, refuse
    ):
        one = submission(colony, people.runtime)
        await ask(server, one)
        await owner.reject_runtime(people.runtime.id)
        assert type(await refuse(one)) is Forbidden

    async def test_who_signs_badly_with_an_id_that_is_used_learns_nothing(
        self, server, people, colony
    ):
        one = submission(colony, people.runtime)
        await ask(server, one)
        sealed = one.sealed().replace(b'"signature":"', b'"signature":"0')
        _, reply = await post(server, sealed)
        assert failure_of(reply).code == "bad_signature"


class TestOtherContent:
    @pytest.mark.parametrize(
        "change",
        [{"func": "g"}, {"args": ["x"]}, {"env": {"A": "1"}}, {"priority": 1}, {"maxretries": 3}],
    )
    async def test_the_same_id_with_other_content_is_refused(
        self, *, server, people, colony, refuse, change
    ):
        one = submission(colony, people.runtime)
        await ask(server, one)
        refusal = await refuse(submission(colony, people.runtime, one.req, **change))
        assert (type(refusal), refusal.field) == (Conflict, "sec.req")

    @pytest.mark.parametrize(
        "payload_type",
        ["assignprocessmsg", "cancelprocessmsg", "deleteprocessmsg", "closefailedmsg",
         "releasemsg", "addattributemsg"],
    )  # fmt: skip
    async def test_the_same_id_with_another_payload_type_is_refused(
        self, *, server, member, people, colony, refuse, payload_type
    ):
        await submit(member)
        process = await take(member)
        one = submission(colony, people.runtime)
        await ask(server, one)
        fields = {
            "colonyid": colony,
            "timeout": -1,
            "processid": process.process_id,
            "attribute": {"targetid": process.process_id, "key": "k"},
        }
        refusal = await refuse(asked(payload_type, fields, people.runtime, one.req))
        assert (type(refusal), refusal.field) == (Conflict, "sec.req")
        assert (await member.get_process(process.process_id)).state is State.RUNNING

    async def test_a_close_with_another_outcome_is_refused(self, server, member, people, refuse):
        process_id = await submit(member)
        await take(member)
        one = asked("closesuccessfulmsg", {"processid": process_id, "out": ["1"]}, people.runtime)
        await ask(server, one)
        refusal = await refuse(one._replace(fields=one.fields | {"out": ["2"]}))
        assert (type(refusal), refusal.field) == (Conflict, "sec.req")

    async def test_what_the_hub_does_not_know_is_no_other_content(self, server, people, colony):
        one = submission(colony, people.runtime)
        first = await ask(server, one)
        more = one._replace(fields=one.fields | {"whatever": 1})
        assert await ask(server, more) == first


class TestMalformed:
    @pytest.mark.parametrize(
        ("sec", "field"),
        [
            ({"req": "x" * 65}, "sec.req"),
            ({"req": 7}, "sec.req"),
            ({"req": ["x"]}, "sec.req"),
            ({"req": "a\0b"}, "sec.req"),
            ({"v": "one"}, "sec.v"),
            ("x", "sec"),
            ([], "sec"),
        ],
    )
    @pytest.mark.parametrize("payload_type", ["submitprocessespecmsg", "getcallermsg"])
    async def test_one_that_means_nothing_is_refused_by_its_name(
        self, *, people, colony, refuse, sec, field, payload_type
    ):
        fields = submission(colony, people.runtime).fields | {"sec": sec}
        refusal = await refuse(asked(payload_type, fields, people.runtime)._replace(req=""))
        assert (type(refusal), refusal.field) == (Malformed, field)

    @pytest.mark.parametrize("req", ["x" * 64, "ü" * 64, "' OR true --", " ", "\\", "日本"])
    async def test_any_text_of_64_characters_will_do(self, server, people, colony, req):
        one = submission(colony, people.runtime, req)
        assert await ask(server, one) == await ask(server, one)

    @pytest.mark.parametrize("sec", [None, {}, {"v": 1}, {"req": None}, {"req": ""}, {"x": 1}])
    async def test_without_an_id_each_is_an_intention_of_its_own_as_in_v1(
        self, *, server, people, colony, sql, sec
    ):
        fields = submission(colony, people.runtime).fields | {"sec": sec}
        sealed = seal("submitprocessespecmsg", fields, people.runtime)
        known = await remembered(sql)
        replies = [(await post(server, sealed))[1] for _ in range(3)]
        assert len({content(reply) for reply in replies}) == 3
        assert await remembered(sql) == known


class TestFailed:
    """What was refused was not done: it can be done when nothing is in the way any more."""

    async def test_a_submit(self, server, owner, people, colony, refuse):
        one = submission(colony, people.pending)
        assert type(await refuse(one)) is Forbidden
        await owner.approve_runtime(people.pending.id)
        assert (await ask(server, one))["state"] == State.WAITING
        assert await ask(server, one) == await ask(server, one)

    async def test_a_runtime_whose_name_was_taken(self, server, owner, people, colony, refuse):
        taken = (await owner.get_runtime(people.runtime.id)).name
        runtime = {"runtimeid": people.stranger.id, "colonyid": colony, "name": taken}
        one = asked("addruntimemsg", {"runtime": runtime}, people.colony_owner)
        assert type(await refuse(one)) is AlreadyExists
        await owner.delete_runtime(people.runtime.id)
        assert (await ask(server, one))["name"] == taken

    async def test_a_close_of_what_is_not_assigned_yet(self, server, member, people, refuse):
        one = asked("closefailedmsg", {"processid": await submit(member)}, people.runtime)
        assert type(await refuse(one)) is Forbidden
        await take(member)
        assert await ask(server, one) == {}

    async def test_an_attribute_that_was_there(self, member, people, refuse):
        process_id = await submit(member)
        await take(member)
        await member.add_attribute(process_id, "k", "v")
        attribute = {"targetid": process_id, "attributetype": 1, "key": "k", "value": "v"}
        one = asked("addattributemsg", {"attribute": attribute}, people.runtime)
        assert type(await refuse(one)) is AlreadyExists

    @pytest.mark.parametrize("door", [by_api, by_ws])
    async def test_an_assignment_when_there_was_nothing(
        self, *, server, member, people, colony, refuse, door
    ):
        one = asked("assignprocessmsg", {"colonyid": colony, "timeout": -1}, people.runtime)
        assert (await refuse(one)).code == "nothing_to_assign"
        await submit(member)
        assert not (await door(server, one)).error


class TestForgotten:
    """Requests are remembered for an hour."""

    @pytest.fixture(autouse=True)
    async def aged(self, server, people, colony, sql):
        """Seven old requests and two that are not: fifty-nine minutes, and now."""
        await sql.execute("DELETE FROM requests")
        requests = [submission(colony, people.runtime, f"r{number}") for number in range(9)]
        for one in requests:
            await ask(server, one)
        for one, minutes in zip(requests, [61] * 7 + [59, 0], strict=True):
            await sql.execute(AGE, minutes * 60.0, key_of(one.key.id, one.req))
        await sql.execute(
            "INSERT INTO requests (request, digest, time) "
            "SELECT gen_random_uuid(), gen_random_uuid(), now() - interval '61 min' "
            "FROM generate_series(1, 1000)"
        )
        return requests

    @pytest.mark.parametrize("pages", [1, 3, 64])
    async def test_they_go_some_pages_at_a_time_and_younger_ones_stay(
        self, *, server, aged, sql, monkeypatch, pages
    ):
        monkeypatch.setattr(lifecycle, "FORGET_PAGES", pages)
        await lifecycle.forget_requests(server.db, age=REQUESTS_KEPT)
        assert await remembered(sql) == {key_of(one.key.id, one.req) for one in aged[7:]}
        before = await everything(sql)
        await ask(server, aged[7])
        assert await everything(sql) == before

    async def test_hubs_may_forget_at_once(self, *, server, aged, sql, monkeypatch):
        monkeypatch.setattr(lifecycle, "FORGET_PAGES", 1)
        forgetting = (lifecycle.forget_requests(server.db, age=REQUESTS_KEPT) for _ in range(4))
        await asyncio.gather(*forgetting)
        assert await remembered(sql) == {key_of(one.key.id, one.req) for one in aged[7:]}


@pytest.fixture
def hasty(monkeypatch):
    """Forget all the time."""
    monkeypatch.setattr("colonies.server.duties.REQUESTS_PERIOD", 0.01)


@pytest.mark.usefixtures("hasty")
async def test_the_leader_forgets_what_is_an_hour_old(server, people, colony, sql, monkeypatch):
    done: list[float] = []
    forget = lifecycle.forget_requests

    async def noted(db, *, age):
        await forget(db, age=age)
        done.append(age)

    monkeypatch.setattr(lifecycle, "forget_requests", noted)
    await sql.execute("DELETE FROM requests")
    old, young = (key_of(people.runtime.id, name) for name in ("old", "young"))
    await ask(server, submission(colony, people.runtime, "old"))
    await ask(server, submission(colony, people.runtime, "young"))
    await sql.execute(AGE, 7200.0, old)
    seen = len(done)
    await until(lambda: len(done) > seen + 1)
    assert set(done) == {3600.0}
    assert await remembered(sql) == {young}


async def test_what_is_remembered_is_the_callers_in_all_its_colonies(
    *, server, client, people, colony, member
):
    """A runtime of two colonies has one set of intentions: the content tells them apart."""
    await add_runtime(client, people.other_owner, people.runtime)
    one = submission(colony, people.runtime)
    await ask(server, one)
    refusal = await refused(ask(server, submission(people.other_owner.id, one.key, one.req)))
    assert (type(refusal), refusal.field) == (Conflict, "sec.req")
