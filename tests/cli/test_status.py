"""Every error means one exit code, and the help says which."""

import pytest

from colonies.cli.status import MEANINGS, Status, status_of
from colonies.core import errors

EXPECTED = {
    errors.ColoniesError: Status.UNREACHABLE,
    errors.Failure: Status.UNREACHABLE,
    errors.Malformed: Status.MISUSED,
    errors.AlreadyExists: Status.CONFLICT,
    errors.TooLarge: Status.MISUSED,
    errors.Forbidden: Status.FORBIDDEN,
    errors.BadSignature: Status.FORBIDDEN,
    errors.UnknownType: Status.FORBIDDEN,
    errors.NotFound: Status.NOT_FOUND,
    errors.NothingToAssign: Status.TIMED_OUT,
    errors.TimedOut: Status.TIMED_OUT,
    errors.Conflict: Status.CONFLICT,
    errors.StaleAttempt: Status.CONFLICT,
    errors.OverQuota: Status.CONFLICT,
    errors.Unavailable: Status.UNREACHABLE,
    errors.ConnectionLost: Status.UNREACHABLE,
    errors.DeadlineExceeded: Status.UNREACHABLE,
    errors.Misconfigured: Status.MISUSED,
}


def every_error(kind=errors.ColoniesError):
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from every_error(child)


@pytest.mark.parametrize("kind", list(every_error()))
def test_every_error_has_its_exit_code(kind):
    assert EXPECTED[kind] == status_of(kind("for the test"))


def test_the_help_explains_every_exit_code_that_an_error_means():
    assert set(EXPECTED.values()) <= MEANINGS.keys()


async def test_every_exit_code_is_that_of_a_command(shell, member, people, keychain):
    keychain.add(people.stranger)
    failed = await member.submit("f", runtime_type="cli")
    await member.assign_process()
    await member.close_failed(failed.id, ["it broke"])
    words = {
        Status.DONE: "process ls",
        Status.PROCESS_FAILED: f"process wait {failed.id}",
        Status.MISUSED: "process ls --state nonsense",
        Status.FORBIDDEN: f"colony ls --serverid {people.stranger.id}",
        Status.NOT_FOUND: "process get nonsense",
        Status.UNREACHABLE: "process ls --port 1",
        Status.CONFLICT: f"process cancel {failed.id}",
        Status.TIMED_OUT: "process run f --type nobody --wait --within 0.1",
    }
    assert words.keys() == MEANINGS.keys()
    for status, asked in words.items():
        await shell(*asked.split(), status=status)
