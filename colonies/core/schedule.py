"""When something recurs: by a cron expression of six fields, or every so many seconds.

::

    second  minute  hour  day of month  month  day of week
    0-59    0-59    0-23  1-31          1-12   0-6           numbers, or JAN-DEC and SUN-SAT

Each field is a list, by commas, of ``*``, ``?`` (the same), ``a``, ``a-b``, ``a/s`` (from ``a`` to
the end in steps of ``s``), ``a-b/s`` or ``*/s``. If either field of days is ``*``, a day must be in
both; if both are restricted, it must be in one of them. In place of the fields may stand
``@yearly`` or ``@annually``, ``@monthly``, ``@weekly``, ``@daily`` or ``@midnight``, ``@hourly``,
or ``@every 1h30m``. ``TZ=Europe/Stockholm`` (or ``CRON_TZ=``) before all that names the zone, which
is otherwise UTC.

A time that a zone skips, when its clocks are put forward, does not come that day; one that it
repeats, when they are put back, comes twice.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from colonies.core.errors import Malformed

HORIZON = timedelta(days=366 * 9)
"""How far ahead is looked: the 29ths of February around 2100 are eight years apart."""

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)

Chance = Callable[[], float]
"""Gives a number drawn evenly from 0 to 1, without 1."""


class Calendar(msgspec.Struct, frozen=True):
    """The times that the six fields of an expression allow, by the clocks of one zone."""

    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    needs_both_days: bool
    zone: tzinfo = UTC

    def first(self, now: datetime, _chance: Chance) -> datetime | None:
        """Give the first time after now; None if there is none for many years."""
        return self._next(now)

    def following(self, _last: datetime, now: datetime, _chance: Chance) -> datetime | None:
        """Give the first time after now, however many there were since the last."""
        return self._next(now)

    def _next(self, now: datetime) -> datetime | None:
        """Look through stretches in which the zone's clocks go evenly, one after the other."""
        since = now.astimezone(UTC).replace(microsecond=0) + SECOND
        horizon = since + HORIZON
        while True:
            offset = self._offset(since)
            found = self._first_by_clock((since + offset).replace(tzinfo=None))
            until = found.replace(tzinfo=UTC) - offset if found else horizon
            change = self._next_change(since, until)
            if change is None:
                return until if found else None
            since = change

    def _offset(self, instant: datetime) -> timedelta:
        return instant.astimezone(self.zone).utcoffset() or timedelta()

    def _next_change(self, since: datetime, until: datetime) -> datetime | None:
        """Give when the clocks are changed next, up to a time; no zone does it twice a day."""
        offset = self._offset(since)
        while since < until:
            day_later = min(since + DAY, until)
            if self._offset(day_later) != offset:
                return self._bisect(since, day_later)
            since = day_later
        return None

    def _bisect(self, before: datetime, behind: datetime) -> datetime:
        """Give the first second of the new offset between two times."""
        offset = self._offset(before)
        while behind - before > SECOND:
            middle = before + (behind - before) // SECOND // 2 * SECOND
            if self._offset(middle) == offset:
                before = middle
            else:
                behind = middle
        return behind

    def _first_by_clock(self, since: datetime) -> datetime | None:
        """Give the first time since one, both as a clock shows them that is never changed."""
        for day in self._days_from(since.date(), (since + HORIZON).date()):
            start = since.time() if day == since.date() else time()
            if found := self._first_of_day(start):
                return datetime.combine(day, found)
        return None

    def _days_from(self, day: date, last: date) -> Iterator[date]:
        while day <= last:
            if day.month not in self.months:
                day = (day.replace(day=1) + 31 * DAY).replace(day=1)
                continue
            in_month = day.day in self.days
            in_week = day.isoweekday() % 7 in self.weekdays
            if (in_month and in_week) if self.needs_both_days else (in_month or in_week):
                yield day
            day += DAY

    def _first_of_day(self, since: time) -> time | None:
        for hour in self.hours:
            if hour < since.hour:
                continue
            for minute in self.minutes:
                if (hour, minute) < (since.hour, since.minute):
                    continue
                for second in self.seconds:
                    found = time(hour, minute, second)
                    if found >= since:
                        return found
        return None


class Every(msgspec.Struct, frozen=True):
    """A time every so many seconds or, at random, one drawn from so many after the last."""

    seconds: int
    random: bool = False

    def first(self, now: datetime, chance: Chance) -> datetime:
        """Give the first time, seen from now."""
        if self.random:
            return self._drawn(now, chance)
        return now.replace(microsecond=0) + timedelta(seconds=self.seconds)

    def following(self, last: datetime, now: datetime, chance: Chance) -> datetime:
        """Give the first time after now: in even steps from the last, however long ago it was."""
        if self.random:
            return self._drawn(now, chance)
        step = timedelta(seconds=self.seconds)
        return last + max(1, (now - last) // step + 1) * step

    def _drawn(self, now: datetime, chance: Chance) -> datetime:
        return now + max(timedelta(seconds=self.seconds) * (1 - chance()), timedelta.resolution)


Schedule = Calendar | Every


def parse(expression: str, field: str = "cronexpression") -> Schedule:
    """Read an expression; raise Malformed that names ``field``, the part and what was expected."""
    try:
        return _parse(expression)
    except _Unreadable as error:
        raise Malformed(f"{field}: {error}", field=field) from None


class _Unreadable(Exception):
    """What is wrong with an expression."""


class _Part(msgspec.Struct, frozen=True):
    """One of the six fields: its name, its range, and the numbers that have names."""

    name: str
    least: int
    most: int
    names: Mapping[str, int] = {}

    @property
    def expected(self) -> str:
        """What may stand in it, in words."""
        names = f" or {next(iter(self.names))} to {list(self.names)[-1]}" if self.names else ""
        return f"{self.least} to {self.most}{names}"


def _numbered(names: str, first: int) -> dict[str, int]:
    return {name: number for number, name in enumerate(names.split(), first)}


PARTS = (
    _Part("second", 0, 59),
    _Part("minute", 0, 59),
    _Part("hour", 0, 23),
    _Part("day of month", 1, 31),
    _Part("month", 1, 12, _numbered("JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC", 1)),
    _Part("day of week", 0, 6, _numbered("SUN MON TUE WED THU FRI SAT", 0)),
)

DESCRIPTORS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}

ANY = ("*", "?")
MOST_DIGITS = 9
"""Of a number in an expression: more is none that could be meant."""

MOST_SECONDS = 2**31 - 1

_ZONE = re.compile(r"(?:CRON_)?TZ=(\S*)\s*")
_DURATION = re.compile(r"(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+")
_DURATION_PART = re.compile(r"([\d.]+)(\D+)")
_UNITS = {
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "μs": 1e-6,
    "ns": 1e-9,
}


def _parse(expression: str) -> Schedule:
    text = expression.strip()
    zone: tzinfo = UTC
    if prefix := _ZONE.match(text):
        zone = _zone(prefix[1])
        text = text[prefix.end() :]
    if text.startswith("@every"):
        return Every(_seconds(text.removeprefix("@every").strip()))
    if text.startswith("@"):
        if text not in DESCRIPTORS:
            raise _Unreadable(
                f"expected {', '.join(DESCRIPTORS)} or @every with a duration, not {text!r}"
            )
        text = DESCRIPTORS[text]
    fields = text.split()
    if len(fields) != len(PARTS):
        names = ", ".join(part.name for part in PARTS)
        raise _Unreadable(f"expected six fields ({names}), not {len(fields)}: {text!r}")
    (seconds, minutes, hours, days, months, weekdays), stars = zip(
        *(_numbers(field, part) for field, part in zip(fields, PARTS, strict=True)), strict=True
    )
    return Calendar(
        seconds,
        minutes,
        hours,
        days,
        months,
        weekdays,
        needs_both_days=stars[3] or stars[5],
        zone=zone,
    )


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise _Unreadable(
            f"TZ: expected the name of a zone such as Europe/Stockholm, not {name!r}"
        ) from None


def _seconds(duration: str) -> int:
    """Read a duration as Go writes it, in whole seconds; less than one is made one."""
    if not _DURATION.fullmatch(duration):
        raise _Unreadable(f"@every: expected a duration such as 90s or 1h30m, not {duration!r}")
    parts = _DURATION_PART.findall(duration)
    seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if not 0 < seconds <= MOST_SECONDS:
        raise _Unreadable(f"@every: expected more than 0 and at most {MOST_SECONDS} s")
    return max(1, int(seconds))


def _numbers(field: str, part: _Part) -> tuple[tuple[int, ...], bool]:
    """Give the numbers that a field allows, and whether it was written as all of them."""
    items = [_item(item, part) for item in field.split(",")]
    numbers = sorted({number for chosen, _ in items for number in chosen})
    return tuple(numbers), any(is_star for _, is_star in items)


def _item(text: str, part: _Part) -> tuple[range, bool]:
    chosen, *steps = text.split("/")
    low, *high = chosen.split("-")
    if len(steps) > 1 or len(high) > 1 or (low in ANY and high):
        raise _Unreadable(f"{part.name}: expected a, a-b, a/s, a-b/s or */s, not {text!r}")
    step = _step(steps[0], part, text) if steps else 1
    if low in ANY:
        return range(part.least, part.most + 1, step), step == 1
    start = _number(low, part, text)
    end = _number(high[0], part, text) if high else part.most if steps else start
    if end < start:
        raise _Unreadable(
            f"{part.name}: expected a range that does not end before it begins, not {text!r}"
        )
    return range(start, end + 1, step), False


def _number(text: str, part: _Part, whole: str) -> int:
    number = part.names.get(text.upper())
    if number is None and _is_number(text):
        number = int(text)
    if number is None or not part.least <= number <= part.most:
        raise _Unreadable(f"{part.name}: expected {part.expected}, not {whole!r}")
    return number


def _step(text: str, part: _Part, whole: str) -> int:
    step = int(text) if _is_number(text) else 0
    if not step:
        raise _Unreadable(f"{part.name}: expected a step of 1 or more, not {whole!r}")
    return step


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
