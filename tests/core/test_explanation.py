"""Why a process is where it is: each sentence, and its grammar."""

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from colonies.core.explanation import MOST_AHEAD, Explanation, Standing, explain
from colonies.core.process import Conditions, Process, ProcessSpec, State

ME, OWNER = "1" * 64, "2" * 64
NOW = datetime(2030, 1, 1, tzinfo=UTC)

ASKED = Conditions(runtime_type="cli", cores=4, mem=100, gpus=2)
TYPED = Process(process_id="p", spec=ProcessSpec(conditions=ASKED))
ADDRESSED = replace(
    TYPED,
    spec=ProcessSpec(conditions=replace(ASKED, runtime_type="", runtime_ids=[ME])),
)


def reasons(process: Process = TYPED, **standing) -> list[str]:
    explanation = explain(process, Standing(**standing))
    assert isinstance(explanation, Explanation)
    assert (explanation.process_id, explanation.state) == (process.process_id, process.state)
    return explanation.reasons


class TestNobody:
    def test_no_runtime_of_the_type(self):
        assert reasons() == ["no approved runtime of type cli"]

    def test_none_of_those_it_is_for(self):
        assert reasons(ADDRESSED) == [
            "none of the runtimes that it is for is an approved runtime of the colony"
        ]

    @pytest.mark.parametrize(
        ("count", "pending", "rejected"),
        [
            (1, "1 waits for approval", "1 is rejected"),
            (2, "2 wait for approval", "2 are rejected"),
            (11, "11 wait for approval", "11 are rejected"),
        ],
    )
    @pytest.mark.parametrize("process", [TYPED, ADDRESSED])
    def test_who_has_not_been_let_in(self, process, count, pending, rejected):
        assert reasons(process, pending=count)[1:] == [pending]
        assert reasons(process, rejected=count)[1:] == [rejected]
        assert reasons(process, rejected=count, pending=count)[1:] == [pending, rejected]

    def test_a_queue_that_is_nobodys_is_called_so(self):
        """Neither a type nor ids: no sentence breaks off."""
        (reason,) = reasons(Process(process_id="p"))
        assert reason == reason.strip()
        assert not reason.endswith("type")

    def test_who_is_not_let_in_does_not_matter_where_somebody_is(self):
        assert reasons(pending=1, rejected=1, approved=1, fit=1) == [
            "of 1 that fit, 0 are busy, 0 silent, 1 idle"
        ]


class TestNotFit:
    @pytest.mark.parametrize(
        ("count", "of_type", "addressed"),
        [
            (1, "1 of type cli has ", "1 of them has "),
            (2, "2 of type cli have ", "2 of them have "),
        ],
    )
    @pytest.mark.parametrize(
        ("figure", "text"),
        [
            ("with_too_few_cores", "fewer than 4 cores"),
            ("with_too_little_memory", "less than 100 MiB of memory"),
            ("with_too_few_gpus", "fewer than 2 GPUs"),
        ],
    )
    def test_who_has_too_little(self, *, count, of_type, addressed, figure, text):
        standing = {"approved": count, figure: count}
        assert reasons(TYPED, **standing) == [of_type + text]
        assert reasons(ADDRESSED, **standing) == [addressed + text]

    def test_one_of_anything_is_singular(self):
        conditions = replace(ASKED, cores=1, gpus=1)
        process = replace(TYPED, spec=ProcessSpec(conditions=conditions))
        said = reasons(process, approved=1, with_too_few_cores=1, with_too_few_gpus=1)
        assert not [one for one in said if one.endswith((" 1 cores", " 1 GPUs"))]

    @pytest.mark.parametrize(("count", "verb"), [(1, "is"), (2, "are")])
    def test_who_is_not_in_the_list(self, count, verb):
        assert reasons(approved=count, excluded=count) == [
            f"{count} of type cli {verb} not among the runtimes that it is for"
        ]

    def test_all_faults_are_said_in_one_order(self):
        said = reasons(
            approved=5,
            excluded=1,
            with_too_few_cores=2,
            with_too_little_memory=3,
            with_too_few_gpus=4,
        )
        assert [one.split()[0] for one in said] == ["1", "2", "3", "4"]

    def test_and_then_what_those_do_that_fit(self):
        assert reasons(approved=2, with_too_few_cores=1, fit=1, busy=1) == [
            "1 of type cli has fewer than 4 cores",
            "the one that fits is busy",
        ]


class TestNotTaken:
    @pytest.mark.parametrize(
        ("standing", "text"),
        [
            ({"fit": 1, "busy": 1}, "the one that fits is busy"),
            ({"fit": 2, "busy": 2}, "the 2 that fit are busy"),
            ({"fit": 1, "silent": 1}, "the one that fits has not been heard from for a minute"),
            ({"fit": 3, "silent": 3}, "the 3 that fit have not been heard from for a minute"),
            ({"fit": 1}, "of 1 that fit, 0 are busy, 0 silent, 1 idle"),
            ({"fit": 2, "busy": 1}, "of 2 that fit, 1 is busy, 0 silent, 1 idle"),
            ({"fit": 6, "busy": 2, "silent": 1}, "of 6 that fit, 2 are busy, 1 silent, 3 idle"),
            ({"fit": 2, "busy": 1, "silent": 1}, "of 2 that fit, 1 is busy, 1 silent, 0 idle"),
        ],
    )
    def test_what_those_do_that_fit(self, standing, text):
        assert reasons(approved=6, **standing) == [text]

    @pytest.mark.parametrize(
        ("ahead", "text"),
        [
            (1, "1 ahead of it in the queue"),
            (7, "7 ahead of it in the queue"),
            (MOST_AHEAD, "1000 ahead of it in the queue"),
            (MOST_AHEAD + 1, "more than 1000 ahead of it in the queue"),
        ],
    )
    def test_who_is_ahead(self, ahead, text):
        assert reasons(approved=1, fit=1, busy=1, ahead=ahead)[1:] == [text]

    def test_who_is_ahead_does_not_matter_where_nobody_fits(self):
        assert reasons(approved=1, with_too_few_cores=1, ahead=5) == [
            "1 of type cli has fewer than 4 cores"
        ]


RUNNING = replace(TYPED, state=State.RUNNING, assigned_runtime_id=ME, attempt=3)
RUNS = f"runtime {ME} is running it, attempt 3"


class TestRunning:
    def test_without_a_lease_who_runs_it(self):
        assert reasons(RUNNING) == [RUNS]

    @pytest.mark.parametrize(
        ("max_retries", "retries", "then"),
        [
            (0, 0, "no retry is left: it fails"),
            (3, 2, "next retry"),
            (3, 3, "no retry is left: it fails"),
            (-1, 99, "next retry"),
        ],
    )
    def test_with_one_what_comes_after_it(self, max_retries, retries, then):
        spec = replace(RUNNING.spec, max_retries=max_retries, lease=60)
        process = replace(RUNNING, spec=spec, retries=retries)
        assert reasons(process, lease_left=17.4) == [
            RUNS,
            f"it has not been heard from for 43 s; unless it is, {then} in 17 s",
        ]

    @pytest.mark.parametrize(("lease", "left"), [(0, 15.1), (0, 30.0), (1000, 600.0)])
    def test_whose_runtime_is_heard_from_has_nothing_to_fear(self, lease, left):
        process = replace(RUNNING, spec=replace(RUNNING.spec, lease=lease))
        assert reasons(process, lease_left=left) == [RUNS]

    @pytest.mark.parametrize(
        ("reason", "said"), [("", ""), ("no need", ": no need"), ("a; b", ": a; b")]
    )
    def test_what_is_being_cancelled(self, reason, said):
        process = replace(RUNNING, cancelled_by=OWNER, cancel_reason=reason, cancel_time=NOW)
        assert reasons(process, lease_left=17) == [
            RUNS,
            f"cancelled by {OWNER}{said}; its runtime is stopping it",
        ]


@pytest.mark.parametrize(
    ("state", "errors"),
    [
        (State.SUCCESS, []),
        (State.FAILED, ["poison", "Lease lost by runtime x"]),
        (State.CANCELLED, ["cancelled by x: no need"]),
    ],
)
def test_what_has_ended_and_why(state, errors):
    process = replace(RUNNING, state=state, errors=errors)
    assert reasons(process, fit=1, ahead=2, lease_left=5) == [
        f"it has ended: {state.name.lower()}",
        *errors,
    ]


def test_what_waits_for_parents():
    process = replace(TYPED, wait_for_parents=True)
    assert reasons(process, approved=1, fit=1, unfinished_parents=["a", "b"]) == [
        "waiting for parents a, b"
    ]
