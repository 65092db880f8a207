"""What commands answer: tables, views, and nothing that steers a terminal."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from colonies.cli import answers
from colonies.core.attribute import Attribute
from colonies.core.colony import Colony
from colonies.core.process import Conditions, Process, ProcessSpec, State
from colonies.core.runtime import Approval, Runtime


def test_a_table_is_aligned_and_headed_by_wire_names():
    runtimes = [Runtime(name="a", state=Approval.APPROVED), Runtime(name="longer")]
    answer = answers.table(runtimes, "name", "state", "last_heard_from_time")
    assert answer.lines == [
        "NAME    STATE     LASTHEARDFROMTIME",
        "a       approved  -",
        "longer  pending   -",
    ]


def test_an_empty_table_still_has_its_heading():
    assert answers.table([], "colony_id", "name").lines == ["COLONYID  NAME"]


def test_a_table_takes_fields_of_fields_and_joins_lists():
    process = Process(spec=ProcessSpec(func="f", args=["1", "two"]))
    assert answers.table([process], "spec.func", "spec.args").lines[1] == "f     1 two"


def test_a_table_cuts_what_is_longer_than_an_id():
    process = Process(process_id="a" * 64, spec=ProcessSpec(func="f" * 65))
    cells = answers.table([process], "process_id", "spec.func", "state").lines[1].split()
    assert cells == ["a" * 64, "f" * 63 + "…", "waiting"]


def test_a_table_leaves_more_room_in_its_last_column():
    process = Process(spec=ProcessSpec(name="n" * 200, func="f" * 201))
    last = [answers.table([process], column).lines[1] for column in ("spec.name", "spec.func")]
    assert last == ["n" * 200, "f" * 199 + "…"]


@pytest.mark.parametrize(
    ("state", "expected"),
    [(State.WAITING, "waiting"), (State.RUNNING, "cancelling"), (State.CANCELLED, "cancelled")],
)
def test_a_process_that_is_being_cancelled_is_shown_as_that(state, expected):
    process = Process(state=state, cancelled_by="somebody")
    assert answers.table([process], "state").lines[1] == expected
    assert ["state", expected] in [line.split() for line in answers.view(process).lines]


def test_a_view_names_fields_by_their_path_and_leaves_out_the_empty_ones():
    spec = ProcessSpec(args=["1", "2"], kwargs={"x": "y"}, conditions=Conditions(runtime_type="t"))
    process = Process(state=State.RUNNING, spec=spec, attributes=[Attribute(key="k", value="v")])
    rows = [line.split(maxsplit=1) for line in answers.view(process).lines]
    assert ["state", "running"] in rows
    assert ["isassigned", "no"] in rows
    assert ["spec.args", "1"] in rows
    assert ["spec.args", "2"] in rows
    assert ["spec.kwargs.x", "y"] in rows
    assert ["spec.conditions.runtimetype", "t"] in rows
    assert ["attributes", "k=v"] in rows
    assert not {"processid", "endtime", "parents"} & {row[0] for row in rows}


def test_times_are_utc_to_the_second():
    moment = datetime(2026, 1, 31, 14, 0, 0, 999, tzinfo=timezone(timedelta(hours=2)))
    expected = "commissiontime     2026-01-31 12:00:00Z"
    lines = answers.view(Runtime(commission_time=moment, last_heard_from_time=moment)).lines
    assert expected in lines
    assert moment.astimezone(UTC).hour == 12


def test_nothing_from_a_hub_steers_the_terminal():
    colony = Colony(name="\x1b[2Jgone\nnew line\x9b")
    (line,) = answers.table([colony], "name").lines[1:]
    assert line == r"\x1b[2Jgone\nnew line\x9b"
    assert answers.sentences(colony, ["\x1b[2Jgone\nnew line\x9b"]).lines == [line]
