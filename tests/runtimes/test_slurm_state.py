"""What Slurm's commands say, in every form that they have, without a Slurm."""

import json

import pytest

from colonies.core.process import Conditions, Process, ProcessSpec
from runtimes.job_state import Ending, Phase, Unsure
from runtimes.slurm.state import read_json, read_past, read_queue
from runtimes.slurm.terms import Allowed

OLD = {
    "job_id": 7,
    "name": "ours-a",
    "state_reason": "None",
    "start_time": 1795531121,
    "nodes": "n1",
}
NEW = {
    "job_id": 7,
    "name": "ours-a",
    "state_reason": "Resources",
    "start_time": {"set": True, "infinite": False, "number": 1795531121},
    "restart_cnt": {"set": False, "infinite": False, "number": 9},
    "nodes": "",
}


def of_json(job, **fields):
    (sight,) = read_json(json.dumps({"meta": {}, "jobs": [job | fields]}).encode(), "ours-")[
        "ours-a"
    ]
    return sight


@pytest.mark.parametrize(
    ("state", "phase", "ending"),
    [
        ("PENDING", Phase.QUEUED, Ending.ITSELF),
        ("RUNNING", Phase.RUNNING, Ending.ITSELF),
        ("COMPLETING", Phase.RUNNING, Ending.ITSELF),
        ("SUSPENDED", Phase.SUSPENDED, Ending.ITSELF),
        ("REQUEUED", Phase.QUEUED, Ending.ITSELF),
        ("COMPLETED", Phase.ENDED, Ending.ITSELF),
        ("TIMEOUT", Phase.ENDED, Ending.OVERTIME),
        ("OUT_OF_MEMORY", Phase.ENDED, Ending.OUT_OF_MEMORY),
        ("NODE_FAIL", Phase.ENDED, Ending.NODE_FAILED),
        ("PREEMPTED", Phase.ENDED, Ending.PREEMPTED),
        ("CANCELLED", Phase.ENDED, Ending.CANCELLED),
        ("BOOT_FAIL", Phase.ENDED, Ending.NOT_STARTED),
        ("MARVELLOUS", None, Ending.ITSELF),
    ],
)
def test_states_are_told_apart_in_every_form(state, phase, ending):
    row = f"7|{state}|0|N/A|0|n1|ours-a|None|\n".encode()
    past = f"7|{state} by 0|0:0|ours-a\n".encode()
    seen = [
        of_json(OLD, job_state=state, exit_code=0),
        of_json(NEW, job_state=[state]),
        *read_queue(row, "ours-")["ours-a"],
        *read_past(past, "ours-")["ours-a"],
    ]
    assert {(phase, ending)} == {(sight.phase, sight.ending) for sight in seen}


@pytest.mark.parametrize(
    ("states", "phase"),
    [
        (["COMPLETED", "COMPLETING"], Phase.RUNNING),
        (["PENDING", "REQUEUED"], Phase.QUEUED),
        (["NODE_FAIL", "REQUEUED"], Phase.QUEUED),
        (["RUNNING", "MARVELLOUS"], Phase.RUNNING),
    ],
)
def test_of_several_states_that_counts_which_goes_on(states, phase):
    assert phase is of_json(NEW, job_state=states).phase


@pytest.mark.parametrize(
    ("old", "new", "column", "said"),
    [
        (768, ({"set": True, "number": 3}, {"set": False, "number": 0}), "3:0", (3, 0)),
        (9, ({"set": False, "number": 0}, {"set": True, "number": 9}), "0:9", (0, 9)),
        (0, ({"set": True, "number": 0}, {"set": False, "number": 0}), "0:0", (0, 0)),
    ],
)
def test_exit_codes_and_signals_are_read_in_every_form(old, new, column, said):
    code, number = new
    new = {"return_code": code, "signal": {"id": number, "name": ""}}
    seen = [
        of_json(OLD, job_state="FAILED", exit_code=old),
        of_json(NEW, job_state=["FAILED"], exit_code=new),
        *read_queue(f"7|FAILED|{old}|N/A|0|n1|ours-a|x|\n".encode(), "ours-")["ours-a"],
        *read_past(f"7|FAILED|{column}|ours-a\n".encode(), "ours-")["ours-a"],
    ]
    assert {said} == {(sight.exit_code, sight.signal) for sight in seen}


def test_what_waits_says_why_and_until_when():
    for sight in (
        of_json(NEW, job_state=["PENDING"]),
        *read_queue(b"7|PENDING|0|1795531121|0||ours-a|Resources|\n", "ours-")["ours-a"],
    ):
        assert ("Resources", 1795531121, 0) == (sight.reason, sight.expected_start, sight.restarts)
    assert 0 == of_json(OLD, job_state="RUNNING").expected_start


def test_the_state_of_sacct_is_an_object():
    state = {"current": ["TIMEOUT"], "reason": "TimeLimit"}
    assert ("TIMEOUT", "TimeLimit") == (
        (sight := of_json({"job_id": 7, "name": "ours-a"}, state=state)).state, sight.reason
    )  # fmt: skip


def test_jobs_of_others_are_left_out_and_several_of_one_name_are_kept():
    jobs = [OLD | {"job_state": "RUNNING"}, OLD | {"job_id": 8}, OLD | {"name": "theirs"}]
    sights = read_json(json.dumps({"jobs": jobs}).encode(), "ours-")
    assert {"ours-a": ["7", "8"]} == {
        name: [sight.job_id for sight in ones] for name, ones in sights.items()
    }


@pytest.mark.parametrize("said", [b"", b"{", b"{}", b'{"jobs": {}}', b"\xff"])
def test_nonsense_says_nothing(said):
    with pytest.raises(Unsure):
        read_json(said, "")


@pytest.mark.parametrize("read", [read_queue, read_past])
def test_columns_that_are_missing_say_nothing(read):
    assert {} == read(b"", "")
    with pytest.raises(Unsure):
        read(b"7|RUNN", "")


@pytest.mark.parametrize(
    ("wanted", "is_allowed"),
    [
        ("gpu", True), ("gpu:1", True), ("gpu:2", True), ("gpu:3", False), ("gpu:0", False),
        ("gpu:a100:1", True), ("gpu:a100:2", False), ("gpu:h100:1", False), ("gpu:-1", False),
        ("gpu:1,gpu:9", False), ("fpga:1", False), ("gpu:2 ", False), ("", True),
    ],
)  # fmt: skip
def test_generic_resources_are_allowed_by_kind_and_number(wanted, is_allowed):
    spec = ProcessSpec(func="x", kwargs={"gres": wanted} if wanted else {})
    refusals = Allowed(gres=["gpu:2", "gpu:a100:1"]).refusals(Process(spec=spec))
    assert is_allowed == (refusals == [])


@pytest.mark.parametrize(("seconds", "minutes"), [(0, ""), (1, "1"), (60, "1"), (61, "2")])
def test_the_time_limit_is_in_whole_minutes(seconds, minutes):
    options = Allowed().options(Process(spec=ProcessSpec(max_exec_time=seconds)))
    assert [f"--time={minutes}"] * bool(minutes) == [one for one in options if "time" in one]


def test_what_the_conditions_ask_for_is_asked_for_and_the_first_is_usual():
    conditions = Conditions(cores=2, mem=100, gpus=1)
    process = Process(spec=ProcessSpec(func="x", max_retries=1, conditions=conditions))
    allowed = Allowed(partition=["a", "b"], gres=["gpu:1"])
    assert [] == allowed.refusals(process)
    assert [
        "--partition=a", "--gres=gpu:1", "--cpus-per-task=2", "--mem=100M", "--requeue",
    ] == allowed.options(process)  # fmt: skip
    assert ["conditions.gpus: 'gpu:1' is not allowed, nothing is"] == Allowed().refusals(process)
