"""How an answer is shown, and what went wrong."""

import pytest

from colonies import complaints
from colonies.cli import answers, output
from colonies.cli.status import Status
from colonies.core.colony import Colony
from colonies.core.errors import Forbidden


def test_an_answer_goes_to_stdout_and_complaints_to_stderr(capsys):
    answer = answers.Answer(Colony(), ["line"], ["complaint"], Status.PROCESS_FAILED)
    assert output.show(answer) == Status.PROCESS_FAILED
    assert capsys.readouterr() == ("line\n", "complaint\n")


def test_json_has_wire_names_and_is_one_document(capsys):
    output.show(answers.view(Colony(colony_id="c", name="n")), as_json=True)
    assert capsys.readouterr().out == '{\n  "colonyid": "c",\n  "name": "n"\n}\n'


def test_no_answer_is_silence(capsys):
    assert output.show(None) == Status.DONE
    assert output.show(answers.Answer([])) == Status.DONE
    assert capsys.readouterr() == ("", "")


def test_an_error_is_one_line_with_its_notes(capsys):
    error = Forbidden("not\nyou")
    error.add_note("signed as somebody")
    complaints.complain(error)
    assert capsys.readouterr() == ("", "error: not\\nyou; signed as somebody\n")


@pytest.mark.parametrize("columns", [("process_id",), ("state",)])
def test_a_value_of_no_lines_is_still_json(capsys, columns):
    output.show(answers.Answer(["é"], []), as_json=True)
    assert capsys.readouterr().out == '[\n  "é"\n]\n'
