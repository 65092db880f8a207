"""What has happened to a process, told from the process and its past attempts."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from colonies.core import wire
from colonies.core.history import Event, Happening, PastAttempt, events_of
from colonies.core.process import Process, State

A, B, OWNER = "a" * 64, "b" * 64, "c" * 64


def at(seconds: int) -> datetime:
    return datetime(2030, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


WAITING = Process(process_id="p", submission_time=at(0))
RUNNING = replace(WAITING, state=State.RUNNING, start_time=at(50), attempt=1, assigned_runtime_id=A)
SUBMITTED = Event(at(0), Happening.SUBMITTED)
ASSIGNED = Event(at(50), Happening.ASSIGNED, 1, A)


def ended(process: Process, state: State, **more) -> Process:
    return replace(process, state=state, end_time=at(90), **more)


def test_what_waits_was_submitted():
    assert events_of(WAITING, []) == [SUBMITTED]


def test_what_runs_was_assigned():
    assert events_of(RUNNING, []) == [SUBMITTED, ASSIGNED]


@pytest.mark.parametrize(
    ("state", "happening"),
    [
        (State.SUCCESS, Happening.SUCCESSFUL),
        (State.FAILED, Happening.FAILED),
    ],
)
@pytest.mark.parametrize(("errors", "text"), [([], ""), (["one"], "one"), (["1", "2"], "1; 2")])
def test_what_has_ended_says_how_and_why(state, happening, errors, text):
    assert events_of(ended(RUNNING, state, errors=errors), []) == [
        SUBMITTED,
        ASSIGNED,
        Event(at(90), happening, 1, A, text),
    ]


def test_what_was_never_started_in_time_has_no_attempt():
    process = ended(WAITING, State.FAILED, errors=["too late"])
    assert events_of(process, [])[1:] == [Event(at(90), Happening.FAILED, 0, "", "too late")]


@pytest.mark.parametrize(("reason", "text"), [("", f"by {OWNER}"), ("no", f"by {OWNER}: no")])
class TestCancelled:
    def test_in_the_queue(self, reason, text):
        process = ended(
            WAITING, State.CANCELLED, cancelled_by=OWNER, cancel_reason=reason, cancel_time=at(90)
        )
        assert events_of(process, []) == [SUBMITTED, Event(at(90), Happening.CANCELLED, text=text)]

    @pytest.mark.parametrize(
        ("state", "last"),
        [
            (State.RUNNING, None),
            (State.CANCELLED, Happening.CANCELLED),
            (State.SUCCESS, Happening.SUCCESSFUL),
        ],
    )
    def test_while_it_ran(self, reason, text, state, last):
        process = replace(
            RUNNING, cancelled_by=OWNER, cancel_reason=reason, cancel_time=at(70), errors=["x"]
        )
        process = ended(process, state) if last else process
        events = events_of(process, [])
        assert events[:3] == [
            SUBMITTED,
            ASSIGNED,
            Event(at(70), Happening.CANCELLING, 1, A, text),
        ]
        assert [one.event for one in events[3:]] == ([last] if last else [])
        if last is Happening.CANCELLED:
            assert events[-1].text == text

    def test_in_the_queue_after_an_attempt(self, reason, text):
        """The number of the last attempt stays with the process; its runtime is gone."""
        process = ended(
            WAITING,
            State.CANCELLED,
            attempt=1,
            cancelled_by=OWNER,
            cancel_reason=reason,
            cancel_time=at(90),
        )
        past = [PastAttempt(1, A, at(10), at(20), Happening.RELEASED)]
        assert [(one.event, one.attempt, one.runtime_id) for one in events_of(process, past)] == [
            (Happening.SUBMITTED, 0, ""),
            (Happening.ASSIGNED, 1, A),
            (Happening.RELEASED, 1, A),
            (Happening.CANCELLED, 0, ""),
        ]
        assert events_of(process, past)[-1].text == text


@pytest.mark.parametrize(
    "ending",
    [
        Happening.RELEASED,
        Happening.LEASE_LOST,
        Happening.OVERRUN,
        Happening.RUNTIME_DELETED,
    ],
)
def test_an_attempt_that_is_over_has_a_beginning_and_an_end(ending):
    past = [
        PastAttempt(1, A, at(10), at(20), ending),
        PastAttempt(2, B, at(30), at(40), ending),
    ]
    process = replace(RUNNING, attempt=3)
    back = "back in the queue"
    assert events_of(process, past) == [
        SUBMITTED,
        Event(at(10), Happening.ASSIGNED, 1, A),
        Event(at(20), ending, 1, A, back),
        Event(at(30), Happening.ASSIGNED, 2, B),
        Event(at(40), ending, 2, B, back),
        Event(at(50), Happening.ASSIGNED, 3, A),
    ]


def test_an_event_goes_over_the_wire_and_back():
    event = Event(at(20), Happening.LEASE_LOST, 1, A, "text")
    raw = wire.encode(event)
    assert wire.decode(raw, Event) == event
    assert wire.decode(raw, dict) == {
        "time": "2030-01-01T00:00:20Z",
        "event": "lease lost",
        "attempt": 1,
        "runtimeid": A,
        "text": "text",
    }
