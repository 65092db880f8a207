"""``colonies doctor``: everything that may be wrong, and what it says to do."""

from datetime import UTC, datetime, timedelta

import pytest

from colonies.cli.doctor import judge_clock

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


async def checks_of(shell, *words, status=0):
    """Give what was looked at by its name: the verdict, and what was found and advised."""
    answer = (await shell("doctor", "--json", *words, status=status)).answer
    return {one["check"]: (one["verdict"], f"{one['found']} -> {one['advice']}") for one in answer}


async def test_all_is_well(shell, member):
    checks = await checks_of(shell)
    assert {name for name, (verdict, _) in checks.items() if verdict == "ok"} >= {
        "settings", "keychain", "server key", "colony key", "runtime key", "connection",
        "versions", "database", "clock", "server", "colony", "runtime",
    }  # fmt: skip
    said = (await shell("doctor")).out
    assert "ok       connection   127.0.0.1 port " in said


async def test_who_has_nothing_is_told_what_is_not_there(bare, server):
    checks = await checks_of(bare.having(COLONIES_SERVERPORT=str(server.port)))
    assert checks["runtime key"][0] == "skipped"
    assert "COLONIES_RUNTIMEID" in checks["runtime key"][1]
    assert (checks["connection"][0], checks["database"][0]) == ("ok", "ok")


async def test_no_hub_is_the_end_of_it(shell):
    checks = await checks_of(shell, "--port", "1", status=5)
    verdict, said = checks["connection"]
    assert verdict == "problem"
    assert "no hub at ws://127.0.0.1:1/ws" in said
    assert "colonies server start" in said
    assert "database" not in checks


async def test_the_wrong_scheme_is_found_out(shell):
    verdict, said = (await checks_of(shell, "--tls", status=5))["connection"]
    assert verdict == "problem"
    assert said.endswith("it answers without TLS: set COLONIES_TLS=false")


async def test_a_variable_with_a_typo_is_noticed(shell):
    checks = await checks_of(shell.having(COLONIES_SERVERPROT="1", COLONIES_PROCESSID="x"))
    warning = "COLONIES_SERVERPROT means nothing -> did you mean COLONIES_SERVERPORT?"
    assert checks["settings"] == ("warning", warning)


async def test_a_key_that_is_not_here_is_a_problem(shell, people):
    foreign = shell.having(COLONIES_RUNTIMEID=people.stranger.id)
    verdict, said = (await checks_of(foreign, status=2))["runtime key"]
    assert verdict == "problem"
    assert f"no key of runtime <{people.stranger.id}>" in said
    assert "that id is from COLONIES_RUNTIMEID" in said


@pytest.mark.parametrize(
    ("who", "advice"),
    [
        ("pending", "it is pending; its owner says: colonies runtime approve {}"),
        ("stranger", "its owner adds it: colonies runtime add --runtimeid {}"),
    ],
)
async def test_who_is_not_in_the_colony_is_told_how_to_get_in(shell, people, keychain, who, advice):
    key = getattr(people, who)
    keychain.add(key)
    checks = await checks_of(shell.having(COLONIES_RUNTIMEID=key.id), status=3)
    assert checks["runtime"][0] == "problem"
    assert checks["runtime"][1].endswith(advice.format(key.id))


async def test_a_database_that_is_not_as_it_was_is_a_problem(shell, db):
    async with db.transaction() as tx:
        await tx.run_script("UPDATE schema_version SET version = version + 1")
    try:
        verdict, said = (await checks_of(shell, status=5))["database"]
    finally:
        async with db.transaction() as tx:
            await tx.run_script("UPDATE schema_version SET version = version - 1")
    assert verdict == "problem"
    assert said.startswith("the database has schema version")


@pytest.mark.parametrize(
    ("seconds", "verdict", "found"),
    [
        (0, "ok", "within 5 s of the hub's"),
        (-20, "warning", "ours is 20 s behind the hub's"),
        (45, "problem", "ours is 45 s ahead of the hub's"),
    ],
)
def test_clocks_are_compared(seconds, verdict, found):
    check = judge_clock(NOW + timedelta(seconds=seconds + 0.5), NOW).check
    assert (check.verdict, check.found) == (verdict, found)


def test_a_hub_need_not_tell_its_time():
    assert judge_clock(NOW, None).check.verdict == "skipped"
