"""The error tree, on the wire and back."""

import pytest

from colonies.core import errors
from colonies.core.errors import ColoniesError, Failure, FailureMessage, failure_from

FAILURES = [
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Failure)
]


@pytest.mark.parametrize("kind", FAILURES)
def test_every_failure_crosses_the_wire_as_its_own_class(kind):
    back = failure_from(kind("why", field="spec.args").to_message())
    assert type(back) is kind
    assert (back.message, back.field) == ("why", "spec.args")


def test_codes_are_unique_snake_case_and_statuses_are_http_errors():
    codes = [kind.code for kind in FAILURES]
    assert len(set(codes)) == len(codes)
    assert all(code.replace("_", "").isalpha() and code == code.lower() for code in codes)
    assert all(400 <= kind.status <= 503 for kind in FAILURES)


def test_an_unknown_code_is_told_by_its_status_and_an_unknown_status_is_a_failure():
    assert type(failure_from(FailureMessage(status=409, code="later_invented"))) is errors.Conflict
    assert type(failure_from(FailureMessage(status=418))) is Failure
    assert type(failure_from(FailureMessage())) is Failure


def test_what_is_no_failure_can_still_be_caught_as_ours_and_as_pythons():
    assert issubclass(errors.ConnectionLost, ColoniesError)
    assert issubclass(errors.ConnectionLost, OSError)
    assert issubclass(errors.DeadlineExceeded, TimeoutError)


def test_every_class_stands_in_the_drawing():
    assert all(f" {kind.__name__} " in errors.__doc__ for kind in FAILURES)
