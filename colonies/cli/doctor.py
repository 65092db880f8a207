"""``colonies doctor``: what may be wrong between here and the hub, and what to do about it."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Literal, get_args

import click
import msgspec

from colonies import settings as all_settings
from colonies.cli import output
from colonies.cli.answers import Answer
from colonies.cli.command import Command, Session
from colonies.cli.session import Role
from colonies.cli.status import Status, status_of
from colonies.complaints import printable
from colonies.core.errors import ColoniesError, ConnectionLost, Forbidden, Misconfigured, NotFound
from colonies.core.runtime import Approval
from colonies.core.wire import Wire
from colonies.settings import SETTINGS, flag_of
from colonies.version import __version__

Verdict = Literal["ok", "warning", "problem", "skipped"]

PATIENCE = 5.0
"""Seconds that a hub has for each answer."""

CLOCK_NOTICED, CLOCK_WRONG = 5.0, 30.0
"""Seconds between two clocks: what is worth a word, and what is wrong."""

ALIVE = timedelta(minutes=2)
"""Time since the last sign of life of a runtime that counts as there."""


class Check(Wire):
    """One thing that was looked at, what was found, and what to do about it if anything."""

    check: str
    verdict: Verdict
    found: str
    advice: str = ""


class _Found(msgspec.Struct, frozen=True):
    check: Check
    status: Status = Status.DONE


@click.command("doctor", cls=Command)
async def doctor(session: Session) -> Answer[list[Check]]:
    """Look for what is wrong, and say what to do about it. For anyone.

    Looks at settings, keys, connection, versions, database, clock, and at what the hub takes us
    for. The exit code is that of the first problem.
    """
    session.settings = msgspec.structs.replace(
        session.settings, timeout=PATIENCE, try_timeout=PATIENCE
    )
    found = [*_settings(session), *_keys(session)]
    found += [one async for one in _hub(session)]
    status = next((one.status for one in found if one.check.verdict == "problem"), Status.DONE)
    checks = [one.check for one in found]
    return Answer(checks, list(_lines(checks)), status=status)


def _lines(checks: list[Check]) -> Iterator[str]:
    width = max(len(one.check) for one in checks)
    for one in checks:
        yield f"{output.painted(f'{one.verdict:<7}')}  {one.check:<{width}}  {one.found}"
        if one.advice:
            yield f"{'':<7}  {'':<{width}}  -> {one.advice}"


def _ok(name: str, found: str) -> _Found:
    return _Found(Check(check=name, verdict="ok", found=printable(found)))


def _skipped(name: str, found: str) -> _Found:
    return _Found(Check(check=name, verdict="skipped", found=found))


def _amiss(
    name: str, found: str, advice: str, *, verdict: Verdict = "problem", status: Status
) -> _Found:
    check = Check(check=name, verdict=verdict, found=printable(found), advice=advice)
    return _Found(check, status)


def _settings(session: Session) -> Iterator[_Found]:
    path = all_settings.config_path()
    named = f"{path}{'' if path.exists() else ', which is not there'}"
    count = len(session.sources)
    yield _ok("settings", f"{count} set by flags, environment, or {named}")
    known = [one.env for one in SETTINGS.values()]
    for variable in sorted(os.environ):
        if variable.startswith("COLONIES_") and variable not in known:
            near = get_close_matches(variable, known, 1, cutoff=0.9)
            if near:
                advice = f"did you mean {near[0]}?"
                yield _amiss("settings", f"{variable} means nothing", advice, verdict="warning",
                             status=Status.MISUSED)  # fmt: skip


def _keys(session: Session) -> Iterator[_Found]:
    try:
        count = len(session.keychain.list())
        yield _ok("keychain", f"{session.keychain.folder}, {count} keys")
    except Misconfigured as error:
        advice = "make it a folder that only you can read, or give --keychain"
        yield _amiss("keychain", str(error), advice, status=Status.MISUSED)
    for role in get_args(Role):
        settings = session.settings
        if not (getattr(settings, f"{role}_id") or getattr(settings, f"{role}_prvkey")):
            ways = f"{flag_of(f'{role}_id')} or {SETTINGS[f'{role}_id'].env}"
            yield _skipped(f"{role} key", f"none named by {ways}")
            continue
        try:
            key = session.key_of(role)
            yield _ok(f"{role} key", f"<{key.id}>, {session.origin(role)}")
        except Misconfigured as error:
            yield _missing_key(role, error)


def _missing_key(role: Role, error: Misconfigured) -> _Found:
    """Say that a key is not here: of an owner, who seldom is, that is no problem."""
    said = "; ".join([str(error), *getattr(error, "__notes__", ())])
    advice = "put it there with `colonies key import`, or name another identity"
    verdict: Verdict = "problem" if role == "runtime" else "warning"
    return _amiss(f"{role} key", said, advice, verdict=verdict, status=Status.MISUSED)


async def _hub(session: Session) -> AsyncIterator[_Found]:
    since = time.monotonic()
    try:
        version = (await session.hub.version()).build_version
    except ColoniesError as error:
        advice = await _about_connection(session)
        yield _amiss("connection", str(error), advice, status=status_of(error))
        return
    took = (time.monotonic() - since) * 1000
    where = f"{session.settings.server_host} port {session.settings.server_port}"
    yield _ok("connection", f"{where} answers, in {took:.0f} ms")
    if version == __version__:
        yield _ok("versions", f"{version} on both sides")
    else:
        advice = "what only the newer one knows is refused; bring the older one up to date"
        yield _amiss("versions", f"the hub has {version}, we have {__version__}", advice,
                     verdict="warning", status=Status.CONFLICT)  # fmt: skip
    async for one in _readiness(session):
        yield one
    for role in get_args(Role):
        async for one in _membership(session, role):
            yield one
    async for one in _workforce(session):
        yield one


async def _about_connection(session: Session) -> str:
    """Say what to do where no hub answers; it may only speak the other scheme."""
    from colonies.client import connect  # noqa: PLC0415 - as everywhere, by the first question

    other = msgspec.structs.replace(
        session.settings, tls=not session.settings.tls, tls_verify=False
    )
    try:
        async with connect(other) as hub:
            await hub.version()
    except ColoniesError:
        return "is a hub running there? Check --host and --port, or see `colonies server start`"
    way, value = ("with", "true") if other.tls else ("without", "false")
    return f"it answers {way} TLS: set {SETTINGS['tls'].env}={value}"


async def _readiness(session: Session) -> AsyncIterator[_Found]:
    from colonies.client.http import ask_whether_ready  # noqa: PLC0415 - see above

    try:
        before = datetime.now(UTC)
        ready = await ask_whether_ready(session.settings)
    except (ConnectionLost, Misconfigured) as error:
        yield _skipped("database", f"{error}")
        return
    if ready.status == 200:  # noqa: PLR2004 - HTTP's OK
        yield _ok("database", "the hub is ready")
    else:
        advice = "the hub tries again by itself; its log says more, and so does PostgreSQL's"
        yield _amiss("database", ready.text or f"GET /ready gives {ready.status}", advice,
                     status=Status.UNREACHABLE)  # fmt: skip
    yield judge_clock(before + (datetime.now(UTC) - before) / 2, ready.time)


def judge_clock(ours: datetime, theirs: datetime | None) -> _Found:
    """Compare our clock with what the hub said at that moment, which is cut to the second."""
    if theirs is None:
        return _skipped("clock", "the hub does not tell its time")
    ahead = (ours - theirs).total_seconds() - 0.5
    if abs(ahead) < CLOCK_NOTICED:
        return _ok("clock", f"within {CLOCK_NOTICED:.0f} s of the hub's")
    found = f"ours is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the hub's"
    verdict: Verdict = "problem" if abs(ahead) > CLOCK_WRONG else "warning"
    advice = "let both set their clocks by NTP"
    return _amiss("clock", found, advice, verdict=verdict, status=Status.MISUSED)


async def _membership(session: Session, role: Role) -> AsyncIterator[_Found]:
    """Say what the hub takes a key for, if there is one."""
    try:
        key = session.key_of(role)
    except Misconfigured:
        return
    try:
        caller = await session.hub.acting_as(key).get_caller()
    except ColoniesError as error:
        yield _amiss(role, str(error), "see what is said above", status=status_of(error))
        return
    colony_id = session.settings.colony_id
    mine = {one.colony_id: one for one in caller.memberships}
    if role == "server":
        advice = "the hub was started with another --serverid"
        yield _standing(role, caller.is_server_owner, "the hub's owner", advice)
    elif role == "colony":
        is_owner = key.id in mine and mine[key.id].is_owner
        advice = "the hub's owner adds one: colonies colony add"
        yield _standing(role, is_owner, "the owner of a colony", advice)
    elif colony_id not in mine:
        advice = f"its owner adds it: colonies runtime add --runtimeid {key.id}"
        yield _standing(role, colony_id in mine, f"a member of colony <{colony_id}>", advice)
    else:
        state = mine[colony_id].state
        what = f"approved in colony <{colony_id}>"
        advice = f"it is {state.name.lower()}; its owner says: colonies runtime approve {key.id}"
        yield _standing(role, state is Approval.APPROVED, what, advice)


def _standing(role: Role, is_so: bool, what: str, advice: str) -> _Found:  # noqa: FBT001
    if is_so:
        return _ok(role, f"is {what}")
    return _amiss(role, f"is not {what}", advice, status=Status.FORBIDDEN)


async def _workforce(session: Session) -> AsyncIterator[_Found]:
    try:
        runtimes = await session.read(lambda hub: hub.get_runtimes(session.colony_id))
    except (Forbidden, Misconfigured, NotFound):
        return
    approved = [one for one in runtimes if one.is_approved]
    alive = [one for one in approved if datetime.now(UTC) - one.last_heard_from_time < ALIVE]
    found = f"{len(alive)} of {len(approved)} approved were heard from in the last 2 minutes"
    if alive:
        yield _ok("runtimes", found)
    else:
        advice = "nothing will run until there is one: colonies-run shell"
        yield _amiss("runtimes", found, advice, verdict="warning", status=Status.DONE)
