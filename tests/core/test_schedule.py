"""When something recurs: the syntax, the times, and the clocks that are put forward and back."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from colonies.core.errors import Malformed
from colonies.core.schedule import DESCRIPTORS, PARTS, Calendar, Every, parse

NOW = datetime(2030, 5, 15, 10, 30, 30, 500_000, tzinfo=UTC)  # a Wednesday


def half() -> float:
    return 0.5


def times(expression: str, count: int = 3, now: datetime = NOW) -> list[str]:
    """Give the next times, in UTC, as text that is short to compare."""
    schedule = parse(expression)
    found = [schedule.first(now, half)]
    while len(found) < count and found[-1]:
        found.append(schedule.following(found[-1], found[-1], half))
    return [f"{one:%Y-%m-%d %H:%M:%S}" for one in found if one]


class TestTimes:
    @pytest.mark.parametrize(
        ("expression", "expected"),
        [
            ("* * * * * *", ["2030-05-15 10:30:31", "2030-05-15 10:30:32"]),
            ("0 * * * * *", ["2030-05-15 10:31:00", "2030-05-15 10:32:00"]),
            ("? ? ? ? ? ?", ["2030-05-15 10:30:31", "2030-05-15 10:30:32"]),
            ("*/20 * * * * *", ["2030-05-15 10:30:40", "2030-05-15 10:31:00"]),
            ("50/5 * * * * *", ["2030-05-15 10:30:50", "2030-05-15 10:30:55"]),
            ("10-20/10 * * * * *", ["2030-05-15 10:31:10", "2030-05-15 10:31:20"]),
            ("5,1-2 * * * * *", ["2030-05-15 10:31:01", "2030-05-15 10:31:02"]),
            ("0 0 0 1 JAN *", ["2031-01-01 00:00:00", "2032-01-01 00:00:00"]),
            ("0 0 0 ? feb-Mar mon", ["2031-02-03 00:00:00", "2031-02-10 00:00:00"]),
            ("0 0 12 * * 0", ["2030-05-19 12:00:00", "2030-05-26 12:00:00"]),
            ("0 0 12 * * SUN", ["2030-05-19 12:00:00", "2030-05-26 12:00:00"]),
            ("0 0 0 29 2 *", ["2032-02-29 00:00:00", "2036-02-29 00:00:00"]),
            ("0 0 0 31 * *", ["2030-05-31 00:00:00", "2030-07-31 00:00:00"]),
            ("5-5/2 * * * * *", ["2030-05-15 10:31:05", "2030-05-15 10:32:05"]),
            ("*/100 * * * * *", ["2030-05-15 10:31:00", "2030-05-15 10:32:00"]),
            ("  007  *  *  *  *  *  ", ["2030-05-15 10:31:07", "2030-05-15 10:32:07"]),
            ("@hourly", ["2030-05-15 11:00:00", "2030-05-15 12:00:00"]),
            ("@daily", ["2030-05-16 00:00:00", "2030-05-17 00:00:00"]),
            ("@midnight", ["2030-05-16 00:00:00", "2030-05-17 00:00:00"]),
            ("@weekly", ["2030-05-19 00:00:00", "2030-05-26 00:00:00"]),
            ("@monthly", ["2030-06-01 00:00:00", "2030-07-01 00:00:00"]),
            ("@yearly", ["2031-01-01 00:00:00", "2032-01-01 00:00:00"]),
            ("@annually", ["2031-01-01 00:00:00", "2032-01-01 00:00:00"]),
            ("@every 1h30m", ["2030-05-15 12:00:30", "2030-05-15 13:30:30"]),
            ("@every 1.5s", ["2030-05-15 10:30:31", "2030-05-15 10:30:32"]),
            ("@every 10ms", ["2030-05-15 10:30:31", "2030-05-15 10:30:32"]),
            ("TZ=Asia/Tokyo 0 0 9 * * *", ["2030-05-16 00:00:00", "2030-05-17 00:00:00"]),
            ("CRON_TZ=Asia/Tokyo @daily", ["2030-05-15 15:00:00", "2030-05-16 15:00:00"]),
            ("TZ=Asia/Tokyo @every 1m", ["2030-05-15 10:31:30", "2030-05-15 10:32:30"]),
            ("0 0 0 30 2 *", []),
        ],
    )
    def test_what_an_expression_means(self, expression, expected):
        assert times(expression, 2) == expected

    @pytest.mark.parametrize(
        ("days", "expected"),
        [
            ("* * 5", ["05-17", "05-24"]),
            ("13 * *", ["06-13", "07-13"]),
            ("13 * ?", ["06-13", "07-13"]),
            ("*/1 * 5", ["05-17", "05-24"]),
            ("13 * 5", ["05-17", "05-24"]),  # either
            ("13 * 1-5", ["05-16", "05-17"]),
            ("1-31 * 5", ["05-16", "05-17"]),  # as written: restricted, even if to all
            ("*/2 * 5", ["05-17", "05-19"]),  # a step restricts
            ("13 * 5,*", ["06-13", "07-13"]),
        ],
    )
    def test_days_of_month_and_of_week(self, days, expected):
        found = times(f"0 0 0 {days}", 2)
        assert [one[5:10] for one in found] == expected

    def test_a_century_without_a_leap_day_is_looked_over(self):
        after = datetime(2096, 3, 1, tzinfo=UTC)
        assert times("0 0 0 29 2 *", 1, now=after) == ["2104-02-29 00:00:00"]


SIX = "expected six fields (second, minute, hour, day of month, month, day of week), not"
FORMS = "expected a, a-b, a/s, a-b/s or */s, not"
STEP = "expected a step of 1 or more, not"
MINUTES = "expected 0 to 59, not"
WEEKDAYS = "expected 0 to 6 or SUN to SAT, not"
BACKWARDS = "expected a range that does not end before it begins, not"
DURATION = "expected a duration such as 90s or 1h30m, not"
ZONE = "expected the name of a zone such as Europe/Stockholm, not"


class TestRefused:
    @pytest.mark.parametrize(
        ("expression", "message"),
        [
            ("", f"{SIX} 0: ''"),
            ("* * * * *", f"{SIX} 5: '* * * * *'"),
            ("60 * * * * *", f"second: {MINUTES} '60'"),
            ("* 1-60 * * * *", f"minute: {MINUTES} '1-60'"),
            ("* * 24 * * *", "hour: expected 0 to 23, not '24'"),
            ("* * * 0 * *", "day of month: expected 1 to 31, not '0'"),
            ("* * * L * *", "day of month: expected 1 to 31, not 'L'"),
            ("* * * 15W * *", "day of month: expected 1 to 31, not '15W'"),
            ("* * * * 13 *", "month: expected 1 to 12 or JAN to DEC, not '13'"),
            ("* * * * * 7", f"day of week: {WEEKDAYS} '7'"),
            ("* * * * * MONDAY", f"day of week: {WEEKDAYS} 'MONDAY'"),
            ("* * * * * MON#2", f"day of week: {WEEKDAYS} 'MON#2'"),
            ("5-3 * * * * *", f"second: {BACKWARDS} '5-3'"),
            ("1-2-3 * * * * *", f"second: {FORMS} '1-2-3'"),
            ("*-5 * * * * *", f"second: {FORMS} '*-5'"),
            ("1/2/3 * * * * *", f"second: {FORMS} '1/2/3'"),
            ("*/0 * * * * *", f"second: {STEP} '*/0'"),
            ("*/x * * * * *", f"second: {STEP} '*/x'"),
            ("1,,2 * * * * *", f"second: {MINUTES} ''"),
            ("-1 * * * * *", f"second: {MINUTES} '-1'"),
            ("+1 * * * * *", f"second: {MINUTES} '+1'"),
            ("٣ * * * * *", f"second: {MINUTES} '٣'"),
            ("9999999999 * * * * *", f"second: {MINUTES} '9999999999'"),
            ("@foo", f"expected {', '.join(DESCRIPTORS)} or @every with a duration, not '@foo'"),
            ("@every", f"@every: {DURATION} ''"),
            ("@every 5", f"@every: {DURATION} '5'"),
            ("@every -5s", f"@every: {DURATION} '-5s'"),
            ("@every Xm", f"@every: {DURATION} 'Xm'"),
            ("@every 0s", "@every: expected more than 0 and at most 2147483647 s"),
            ("@every 9999999h", "@every: expected more than 0 and at most 2147483647 s"),
            ("TZ=Mars/Olympus 0 0 0 * * *", f"TZ: {ZONE} 'Mars/Olympus'"),
            ("TZ=../secret 0 0 0 * * *", f"TZ: {ZONE} '../secret'"),
            ("TZ=Europe 0 0 0 * * *", f"TZ: {ZONE} 'Europe'"),
            ("TZ= 0 0 0 * * *", f"TZ: {ZONE} ''"),
            ("TZ=UTC", f"{SIX} 0: ''"),
        ],
    )
    def test_what_is_no_expression(self, expression, message):
        with pytest.raises(Malformed) as caught:
            parse(expression, "cron.cronexpression")
        assert caught.value.message == f"cron.cronexpression: {message}"
        assert caught.value.field == "cron.cronexpression"

    @given(st.text(max_size=40))
    def test_any_text_is_understood_or_refused(self, text):
        try:
            schedule = parse(text)
        except Malformed:
            return
        assert schedule.first(NOW, half) is None or schedule.first(NOW, half) > NOW


class TestClocksThatAreChanged:
    """In Stockholm, to summer time on 2030-03-31 at 02:00, back on 2030-10-27 at 03:00."""

    def test_a_time_that_is_skipped_does_not_come_that_day(self):
        now = datetime(2030, 3, 30, tzinfo=UTC)
        assert times("TZ=Europe/Stockholm 0 30 2 * * *", now=now) == [
            "2030-03-30 01:30:00",
            "2030-04-01 00:30:00",
            "2030-04-02 00:30:00",
        ]

    def test_a_time_that_is_repeated_comes_twice(self):
        now = datetime(2030, 10, 26, 12, tzinfo=UTC)
        assert times("TZ=Europe/Stockholm 0 30 2 * * *", now=now) == [
            "2030-10-27 00:30:00",
            "2030-10-27 01:30:00",
            "2030-10-28 01:30:00",
        ]

    def test_every_hour_is_every_hour(self):
        now = datetime(2030, 10, 26, 23, 30, tzinfo=UTC)
        assert times("TZ=Europe/Stockholm @hourly", now=now) == [
            "2030-10-27 00:00:00",
            "2030-10-27 01:00:00",
            "2030-10-27 02:00:00",
        ]

    def test_clocks_that_are_changed_by_half_an_hour(self):
        now = datetime(2030, 4, 6, 14, tzinfo=UTC)  # 01:00 there; at 02:00 it is 01:30 again
        assert times("TZ=Australia/Lord_Howe 0 45 1 * * *", now=now) == [
            "2030-04-06 14:45:00",
            "2030-04-06 15:15:00",
            "2030-04-07 15:15:00",
        ]

    def test_a_day_whose_midnight_is_skipped(self):
        now = datetime(2030, 9, 6, 12, tzinfo=UTC)  # in Santiago it is 01:00 after 23:59:59
        assert times("TZ=America/Santiago 0 0 0 * * *", now=now, count=2) == [
            "2030-09-07 04:00:00",
            "2030-09-09 03:00:00",
        ]


def fields(part) -> st.SearchStrategy[str]:
    """Give texts of one field, in all its forms."""
    number = st.integers(part.least, part.most)
    named = {number: name for name, number in part.names.items()}
    shown = number.flatmap(
        lambda one: st.sampled_from([str(one), *([named[one]] if one in named else [])])
    )
    # CronSim takes 5-5/2 for 5/2.
    pairs = st.lists(number, min_size=2, max_size=2, unique=True).map(
        lambda two: f"{min(two)}-{max(two)}"
    )
    step = st.integers(1, 70)
    stars = st.sampled_from("*?")
    item = st.one_of(
        shown,
        pairs,
        stars,
        st.builds("{}/{}".format, st.one_of(shown, pairs, stars), step),
    )
    return st.one_of(stars, st.lists(item, min_size=1, max_size=3).map(",".join))


expressions = st.tuples(*(fields(part) for part in PARTS)).map(" ".join)
first, last = map(datetime.fromisoformat, ("2020-01-01", "2080-01-01"))
instants = st.datetimes(first, last, timezones=st.just(UTC))
ZONES = ["Europe/Stockholm", "America/New_York", "Australia/Lord_Howe", "America/Santiago"]


def changes(zone: str) -> list[datetime]:
    """Give the days of some years in which the clocks of a zone are changed."""
    days = [datetime(2029, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(3 * 365)]
    offsets = [day.astimezone(ZoneInfo(zone)).utcoffset() for day in days]
    return [day for day, a, b in zip(days, offsets, offsets[1:], strict=False) if a != b]


around = st.sampled_from(
    [(zone, change) for zone in ZONES for change in changes(zone)]
    + [(zone, datetime(2029, 1, 1, tzinfo=UTC)) for zone in ZONES]
)


def as_cronsim(calendar: Calendar) -> str:
    """Write out what was read, so that nothing hangs on how CronSim would read it."""
    lists = [
        ",".join(map(str, numbers))
        for numbers in (
            calendar.seconds,
            calendar.minutes,
            calendar.hours,
            calendar.days,
            calendar.months,
            calendar.weekdays,
        )
    ]
    return " ".join(lists)


class TestAgainstOthers:
    """CronSim is somebody else's; it knows no ``?``, and takes ``*/2`` for ``*``."""

    @given(expressions, instants)
    def test_the_next_time_is_that_of_cronsim(self, expression, now):
        calendar = parse(expression)
        simulated = CronSim(as_cronsim(calendar), now)
        simulated.day_and = calendar.needs_both_days
        found = calendar.first(now, half)
        if found is not None:
            assert found == next(simulated)

    @given(st.tuples(*(fields(part) for part in PARTS)))
    def test_each_field_is_read_as_cronsim_reads_it(self, texts):
        plain = [text.replace("?", "*") for text in texts]
        theirs = CronSim(" ".join([*plain[:3], "*", plain[4], "*"]), NOW)
        ours = parse(" ".join([*texts[:3], "*", texts[4], "*"]))
        assert set(ours.seconds) == theirs.seconds
        assert set(ours.minutes) == theirs.minutes
        assert set(ours.hours) == theirs.hours
        assert set(ours.months) == theirs.months

    @given(
        fields(PARTS[0]),
        fields(PARTS[1]),
        fields(PARTS[2]),
        around,
        st.timedeltas(-timedelta(hours=12), timedelta(hours=27)),
    )
    def test_the_next_time_is_the_first_that_the_clocks_show(
        self, second, minute, hour, change, apart
    ):
        """Found by looking at the clocks again and again, mostly when they are changed."""
        zone, now = change[0], change[1] + apart
        calendar = parse(f"TZ={zone} {second} {minute} {hour} * * *")
        found = calendar.first(now, half)
        assert found == next(seconds_shown(calendar, now))


def seconds_shown(calendar: Calendar, now: datetime) -> Iterator[datetime]:
    """Give all times after now at which the clocks of a zone show one that is allowed."""
    step = timedelta(seconds=1)
    at = now.replace(microsecond=0) + step
    while True:
        shown = at.astimezone(calendar.zone)
        if shown.hour not in calendar.hours:
            at += timedelta(minutes=30) - timedelta(minutes=shown.minute % 30, seconds=shown.second)
        elif shown.minute not in calendar.minutes:
            at += timedelta(seconds=60 - shown.second)
        elif shown.second not in calendar.seconds:
            at += step
        else:
            yield at
            at += step


class TestEvery:
    def test_the_steps_are_even_however_late_they_are_taken(self):
        every = Every(10)
        last = datetime(2030, 1, 1, 0, 0, 10, tzinfo=UTC)
        late = [last + timedelta(seconds=seconds) for seconds in (0, 3.7, 9.9, 10, 25)]
        assert [every.following(last, now, half).second for now in late] == [20, 20, 20, 30, 40]

    def test_a_time_at_random_is_drawn_from_the_interval(self):
        every = Every(60, random=True)
        assert every.first(NOW, half) == NOW + timedelta(seconds=30)
        assert every.following(NOW, NOW, lambda: 0.0) == NOW + timedelta(seconds=60)
        assert NOW < every.following(NOW, NOW, lambda: 1 - 2**-53)

    def test_a_time_at_random_is_drawn_from_now_when_the_last_was_long_ago(self):
        long_ago = NOW - timedelta(days=9)
        assert Every(60, random=True).following(long_ago, NOW, half) == NOW + timedelta(seconds=30)

    @given(st.integers(1, 2**31 - 1), instants, st.timedeltas(timedelta(), timedelta(days=9999)))
    def test_the_next_is_the_first_step_after_now(self, seconds, last, later):
        now = last + later
        following = Every(seconds).following(last, now, half)
        assert now < following <= max(now, last) + timedelta(seconds=seconds)
        assert (following - last) % timedelta(seconds=seconds) == timedelta()


def test_times_are_given_in_utc_whatever_the_zone_of_now():
    east = NOW.astimezone(timezone(timedelta(hours=9)))
    assert parse("0 0 * * * *").first(east, half) == datetime(2030, 5, 15, 11, tzinfo=UTC)
    assert parse("0 0 * * * *").first(east, half).tzinfo is UTC
