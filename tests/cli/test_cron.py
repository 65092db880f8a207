"""``colonies cron``, text and JSON."""

import json
from datetime import datetime

import pytest

from colonies.core.cron import Catchup
from tests.cli.conftest import ROOT

PROCESS = {"name": "a", "func": "work", "conditions": {"runtimetype": "cli"}}


@pytest.fixture
def spec(tmp_path):
    """Write a workflow to a file and give its name."""

    def write(content) -> str:
        file = tmp_path / "workflow.json"
        file.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(file)

    return write


async def test_a_cron_is_added_shown_run_and_removed(shell, member, spec):
    words = ("--name", "nightly", "--cron", "TZ=Europe/Stockholm 0 30 2 * * *", "--spec")
    added = (await shell("cron", "add", *words, spec([PROCESS]))).out.strip()
    cron = await member.get_cron(added)
    assert (cron.name, cron.interval, cron.catchup) == ("nightly", -1, Catchup.ONE)
    assert cron.cron_expression == "TZ=Europe/Stockholm 0 30 2 * * *"

    (heading, row) = (await shell("cron", "ls")).rows
    assert heading == ["CRONID", "NAME", "TIMES", "LASTRUN", "NEXTRUN"]
    assert row[:4] == [added, "nightly", "TZ=Europe/Stockholm", "0"]
    shown = (await shell("cron", "get", added)).rows
    assert ["name", "nightly"] in shown
    assert ["workflowspec", "a:", "work"] in shown
    assert "interval" not in [one[0] for one in shown]
    (listed,) = (await shell("cron", "ls", "--json")).answer
    assert listed["cronid"] == added

    graph = (await shell("cron", "run", "nightly")).out.strip()
    assert (await member.get_cron(added)).prev_process_graph_id == graph
    assert (await member.get_process_graph(graph)).members == 1

    assert (await shell("cron", "delete", "--cronid", added)).out == ""  # as v1 spells it
    assert "<" + added in await shell.refuses("cron", "get", added, status=4)


async def test_the_example_is_a_workflow(shell, member):
    words = ("--name", "n", "--interval", "60", "--spec", str(ROOT / "examples" / "workflow.json"))
    added = (await shell("cron", "add", *words)).out.strip()
    assert ["workflowspec", "left:", "echo", "left", "(after", "fetch)"] in (
        await shell("cron", "get", added)
    ).rows
    assert (await shell("cron", "ls")).rows[1][2:5] == ["every", "60", "s"]
    assert len(json.loads((await member.get_cron(added)).workflow_spec)["processspecs"]) == 4


async def test_all_options_are_what_they_say(shell, member, spec):
    when = ("--interval", "60", "--random", "--waitprevious", "--catchup", "none")
    whole = {"processspecs": [PROCESS], "onfailure": "cancel"}
    added = (
        await shell("cron", "add", "--name", "n", *when, "--spec", spec(whole), "--json")
    ).answer
    cron = await member.get_cron(added["cronid"])
    assert (cron.interval, cron.random, cron.catchup) == (60, True, Catchup.NONE)
    assert cron.wait_for_prev_process_graph
    assert json.loads(cron.workflow_spec)["onfailure"] == "cancel"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--name", "n"), "when? Give --cron or --interval"),
        (
            ("--name", "n", "--cron", "@daily", "--interval", "5"),
            "--interval, not both",
        ),
        (("--name", "n", "--cron", "@daily", "--random"), "--random is a time within"),
        (("--name", "n", "--interval", "0"), "x>=1"),
        (("--name", "n", "--interval", "5", "--catchup", "all"), "'none', 'one'"),
        (("--interval", "5"), "--name"),
    ],
)
async def test_wrong_usage_is_explained(shell, spec, words, expected):
    ran = await shell("cron", "add", *words, "--spec", spec([PROCESS]), status=2)
    assert expected in ran.err


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("nonsense", "expected JSON"),
        ("7", "expected object"),
        (
            [{**PROCESS, "fun": 1}],
            "processspecs[0].fun: there is no such field, did you mean func?",
        ),
        ([{**PROCESS, "func": ""}], "processspecs[0]: func: what shall be done?"),
        ({"processspec": []}, "processspec: there is no such field, did you mean processspecs?"),
    ],
)
async def test_what_is_wrong_in_a_file_is_named_by_its_path(shell, spec, content, expected):
    words = ("--name", "n", "--interval", "5", "--spec", spec(content))
    line = await shell.refuses("cron", "add", *words, status=2)
    assert "workflow.json: " in line
    assert expected in line


async def test_what_could_not_be_run_is_refused(shell, spec):
    words = ("--name", "n", "--interval", "5", "--spec")
    line = await shell.refuses("cron", "add", *words, spec([PROCESS, PROCESS]), status=2)
    assert "'a' is also that of" in line
    line = await shell.refuses("cron", "add", *words, spec([{"name": "a", "func": "f"}]), status=2)
    assert "processspecs[0].func: who may run it? No runtime announces 'f'" in line
    assert "at least one" in await shell.refuses("cron", "add", *words, spec([]), status=2)


async def test_what_the_hub_refuses_is_one_line(shell, spec):
    words = ("--name", "n", "--cron", "* * * * *", "--spec", spec([PROCESS]))
    line = await shell.refuses("cron", "add", *words, status=2)
    assert line.startswith("cron.cronexpression: expected six fields")


async def test_next_shows_when_an_expression_comes_and_asks_no_hub(bare):
    ran = await bare("cron", "next", "0 0 0 29 FEB *", "--count", "3")
    days = [datetime.fromisoformat(line) for line in ran.out.splitlines()]
    assert [(one.month, one.day) for one in days] == [(2, 29)] * 3
    assert days == sorted(set(days))
    assert len((await bare("cron", "next", "@hourly", "--json")).answer) == 5
    assert "EXPRESSION: minute" in await bare.refuses("cron", "next", "0 60 * * * *", status=2)
    assert "does not come" in await bare.refuses("cron", "next", "0 0 0 30 2 *", status=2)
