"""The checker accepts what a correct hub may do, and finds each bug that is put into one."""

import asyncio
import signal
import sys
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from colonies.core.errors import Conflict, ConnectionLost, Failure, StaleAttempt, Unavailable
from tests.faults.checker import judge
from tests.faults.history import Journal, Phase, Recorder, read_histories
from tests.faults.model import Bug
from tests.faults.model_drivers import play
from tests.faults.story import CANCELLED, RUNNING, SUCCESS, WAITING, End, Final, Past
from tests.programs import python

SEEDS = range(60)

CAUGHT_AS = {
    Bug.DROPPED_SUBMIT: "lost",
    Bug.LOST_PROCESS: "lost",
    Bug.LOST_CLOSE: "lost",
    Bug.LOST_OUTPUT: "lost",
    Bug.NEVER_ENDS: "lost",
    Bug.LOST_ASSIGNMENT: "overlap",
    Bug.GHOST: "ghost",
    Bug.REFUSED_AND_KEPT: "ghost",
    Bug.UNDEAD: "ghost",
    Bug.DOUBLED_SUBMIT: "doubled",
    Bug.DOUBLE_CLOSE: "twice ended",
    Bug.STALE_CLOSE: "stale write",
    Bug.STALE_RELEASE: "stale write",
    Bug.STALE_RENEW: "stale write",
    Bug.STALE_ATTRIBUTE: "stale write",
    Bug.OLD_OUTPUT: "stale write",
    Bug.EARLY_REQUEUE: "overlap",
    Bug.EARLY_REQUEUE_HIDDEN: "overlap",
    Bug.SKIPPED_ATTEMPT: "overlap",
    Bug.TWO_OWNERS: "overlap",
    Bug.RUNNING_ASSIGNED: "overlap",
    Bug.REUSED_TOKEN: "reused token",
    Bug.CROSS_COLONY_CLAIM: "isolation",
    Bug.CROSS_COLONY_CANCEL: "isolation",
    Bug.CROSS_COLONY_SUBMIT: "isolation",
    Bug.ENDED_REQUEUED: "restarted",
    Bug.CANCELLED_STARTED: "started after cancel",
    Bug.CANCEL_IGNORED: "started after cancel",
    Bug.VIEWS_DIFFER: "disagreement",
    Bug.HIDDEN: "disagreement",
}


def kinds(events, end, **options) -> set[str]:
    return {violation.kind for violation in judge(events, end, **options)}


class TestModel:
    """Histories made by chance, of a hub that is correct and of one that is not."""

    @given(st.integers(0, 2**64), st.sampled_from([0.0, 0.2, 0.5]), st.integers(1, 8))
    @settings(max_examples=150)
    def test_a_correct_hub_is_not_complained_of(self, seed, lossy, submits):
        events, end = play(Random(seed), lossy=lossy, submits=submits)
        assert judge(events, end) == []

    @given(st.integers(0, 2**16), st.lists(st.integers(0, 7), max_size=150))
    @settings(max_examples=60)
    def test_nor_is_it_in_interleavings_that_hypothesis_picks(self, seed, schedule):
        events, end = play(Random(seed), submits=2, schedule=schedule)
        assert judge(events, end) == []

    def test_chance_leads_everywhere(self):
        """What never happens in the model would not be shown to be accepted."""
        found = [play(Random(seed)) for seed in range(30)]
        calls = {(event.call, event.phase) for events, _ in found for event in events}
        ended = [one for _, end in found for one in end.stored_by_sql]
        everything = {call for call, _ in calls}
        assert calls == {(call, phase) for call in everything for phase in Phase}
        assert len(everything) == 9
        assert {past.why for one in ended for past in one.past} == {
            "released",
            "lease lost",
            "execution time exceeded",
        }

    @pytest.mark.parametrize("bug", Bug, ids=lambda bug: bug.name.lower())
    def test_a_bug_is_found_and_named(self, bug):
        assert any(CAUGHT_AS[bug] in kinds(*play(Random(seed), bug)) for seed in SEEDS)


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def one(clock):
    """The journal of a runtime of colony A that has submitted p1 itself."""
    journal = Journal("runtime-1", clock)
    asked = journal.invoked("submit", key="k1", colony_id="A")
    journal.ok(asked, process_id="p1")
    return journal


@pytest.fixture
def other(clock):
    return Journal("runtime-2", clock)


def assigned(journal, attempt, *, lease=10.0):
    facts = {"process_id": "p1", "attempt": attempt, "token": f"t{attempt}", "colony_id": "A"}
    journal.seen("assigned", lease=lease, **facts)
    return facts


def final(**changes) -> Final:
    usual = {"process_id": "p1", "colony_id": "A", "name": "k1", "state": SUCCESS}
    return Final(**usual | changes)


def found(*journals, must_end=True, end=(), **changes) -> set[str]:
    """Judge what was noted, with p1 at the end as it is said to be."""
    finals = list(end) or [final(**changes)]
    events = [event for journal in journals for event in journal.events]
    return kinds(events, End(finals, finals), must_end=must_end)


class TestUncertainty:
    """What nobody can know is held against nobody."""

    def test_a_submit_without_an_answer_may_have_been_done_or_not(self, one):
        one.invoked("submit", key="k2", colony_id="A")
        assert found(one) == set()
        assert found(one, end=[final(), final(process_id="p2", name="k2")]) == set()

    def test_a_close_without_an_answer_may_have_been_done_or_not(self, one, other):
        facts = assigned(one, 1)
        one.unknown(one.invoked("close", output=["a"], **facts))
        assert found(one, attempt=1, output=["a"]) == set()
        other.ok(other.invoked("close", output=["b"], **(assigned(other, 2, lease=0.0))))
        one_by_other = {"attempt": 2, "output": ["b"]}
        assert "overlap" in found(one, other, **one_by_other)  # at the same moment
        assert found(one, other, **one_by_other | {"output": ["a"]}) >= {"lost", "stale write"}

    def test_a_push_may_have_been_long_under_way(self, one, other, clock):
        """Its lease began when it was assigned, which nobody saw."""
        clock.now = 9.0
        assigned(one, 1)
        clock.now = 10.0
        close = assigned(other, 2)
        other.ok(other.invoked("close", **close))
        assert found(one, other, attempt=2) == set()

    def test_a_renewal_counts_from_when_it_was_asked_for(self, one, other, clock):
        facts = assigned(one, 1)
        clock.now = 5.0
        asked = one.invoked("renew", lease=10.0, **facts)
        clock.now = 8.0
        one.ok(asked)
        clock.now = 15.0
        other.ok(other.invoked("close", **assigned(other, 2)))
        assert found(one, other, attempt=2) == set()
        other.events[0] = replace(other.events[0], at=14.9)
        assert found(one, other, attempt=2) == {"overlap"}

    def test_a_release_without_an_answer_may_have_ended_the_attempt(self, one, other):
        one.unknown(one.invoked("release", **assigned(one, 1)))
        other.ok(other.invoked("close", **assigned(other, 2)))
        assert found(one, other, attempt=2) == set()

    def test_a_release_refused_at_its_second_try_may_have_been_done(self, one, other):
        one.fail(one.invoked("release", **assigned(one, 1)), "stale_attempt")
        other.ok(other.invoked("close", **assigned(other, 2)))
        assert found(one, other, attempt=2) == set()

    def test_an_acknowledgement_may_come_late(self, one, other, clock):
        release = one.invoked("release", **assigned(one, 1))
        clock.now = 1.0
        close = other.invoked("close", **assigned(other, 2))
        clock.now = 2.0
        one.ok(release)
        other.ok(close)
        assert found(one, other, attempt=2) == set()

    def test_who_was_deleted_need_not_be_there(self, one, other):
        other.invoked("delete", process_id="p1", colony_id="A")
        assert found(one, other, end=[final(process_id="p2", name="k1")]) == {"doubled"}
        one.events.pop()
        assert found(one, other, end=[final(process_id="p2", name="k1")]) == set()

    def test_the_same_close_may_be_acknowledged_twice(self, one):
        facts = assigned(one, 1)
        for _ in range(2):
            one.ok(one.invoked("close", output=["a"], **facts))
        assert found(one, attempt=1, output=["a"]) == set()

    def test_a_failure_of_what_was_cancelled_makes_it_cancelled(self, one, other):
        facts = assigned(one, 1)
        other.ok(other.invoked("cancel", process_id="p1", colony_id="A"), attempt=1)
        one.ok(one.invoked("fail", output=["stopped"], **facts))
        assert found(one, other, attempt=1, state=CANCELLED, errors=["stopped"]) == set()

    def test_a_runtime_that_is_deleted_loses_its_attempts_at_once(self, one, other):
        assigned(one, 1)
        other.ok(other.invoked("close", **assigned(other, 2)))
        past = Past(1, "runtime-1", 1e9, 1e9 + 1, 1e9 + 10, "runtime deleted")
        assert found(one, other, attempt=2, past=[past]) == set()
        lost = replace(past, why="lease lost")
        assert found(one, other, attempt=2, past=[lost]) == {"overlap"}


class TestEnd:
    """What the end state says by itself."""

    @pytest.mark.parametrize("state", [WAITING, RUNNING])
    def test_what_has_not_ended_is_lost_if_it_had_to(self, one, state):
        assert found(one, state=state) == {"lost"}
        assert found(one, state=state, must_end=False) == set()

    def test_views_may_differ_in_what_one_does_not_tell(self, one):
        told, stored = final(start=1.0), final(start=1.0001, past=[])
        assert kinds(one.events, End([told], [stored])) == set()
        assert kinds(one.events, End([told], [replace(stored, start=2.0)])) == {"disagreement"}

    def test_attempts_come_one_after_the_other(self, one):
        past = [Past(1, "r", 1.0, 5.0, None, "released"), Past(2, "r", 4.0, 6.0, None, "released")]
        assert found(one, attempt=3, past=past) == {"overlap"}
        assert found(one, attempt=3, past=past[:1]) == {"overlap"}

    def test_a_text_names_the_process_and_the_event(self, one):
        (violation,) = judge(one.events, End([], []))
        assert "p1" in violation.text
        assert "runtime-1#1 submit" in violation.text


class TestHistory:
    """What is on disk after everything."""

    async def test_a_call_is_noted_before_and_after(self, tmp_path):
        async def work(result):
            if isinstance(result, BaseException):
                raise result
            return result

        errors = [Conflict(), StaleAttempt(), Unavailable(), Failure(), ConnectionLost()]
        with Recorder(tmp_path / "one.jsonl", "driver") as recorder:
            told = {"told": lambda result: {"process_id": result}}
            assert await recorder.watch("submit", work("p1"), **told, key="k") == "p1"
            for error in [*errors, asyncio.CancelledError()]:
                with pytest.raises(type(error)):
                    await recorder.watch("close", work(error), process_id="p1")
        events = read_histories(tmp_path)
        ends = [event for event in events if event.phase is not Phase.INVOKED]
        assert [event.op for event in events] == [op for op in range(1, 8) for _ in range(2)]
        assert (ends[0].process_id, ends[0].key, ends[0].phase) == ("p1", "k", Phase.OK)
        assert [event.phase for event in ends[1:]] == [Phase.FAIL] * 2 + [Phase.UNKNOWN] * 4
        assert ends[2].error == "stale_attempt"

    def test_a_torn_line_is_skipped_and_a_successor_goes_on_after_it(self, tmp_path):
        path = tmp_path / "one.jsonl"
        with Recorder(path, "driver") as recorder:
            recorder.invoked("submit", key="k")
        with path.open("ab") as file:
            file.write(b'{"at": 1.0, "wh')
        assert len(read_histories(tmp_path)) == 1
        with Recorder(path, "driver") as recorder:
            recorder.invoked("submit", key="k2")
        assert [event.op for event in read_histories(tmp_path)] == [1, 2]

    async def test_what_was_noted_survives_a_kill(self, tmp_path):
        driver = tmp_path / "driver.py"
        driver.write_text(
            "import pathlib, sys, time\n"
            f"sys.path[:0] = {sys.path!r}\n"
            "from tests.faults.history import Recorder\n"
            f"recorder = Recorder(pathlib.Path({str(tmp_path / 'one.jsonl')!r}), 'driver')\n"
            "recorder.invoked('submit', key='k')\n"
            "print('noted')\n"
            "while True: recorder.invoked('renew', process_id='p')\n"
        )
        async with python(driver) as program:
            await program.line_with("noted")
            program.send(signal.SIGKILL)
            assert await program.finish() == -signal.SIGKILL
        assert read_histories(tmp_path)[0].key == "k"
