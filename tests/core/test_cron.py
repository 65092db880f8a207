"""A cron: what it may say about its times, and what becomes of those that were missed."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from colonies.core.cron import LATE, Catchup, Cron, graph_id_of
from colonies.core.errors import Malformed
from colonies.core.schedule import Calendar, Every

TICK = datetime(2030, 1, 1, tzinfo=UTC)


class TestSchedule:
    def test_an_expression(self):
        assert isinstance(Cron(cron_expression="0 * * * * *").schedule, Calendar)
        assert Cron(cron_expression="@every 90s").schedule == Every(90)

    def test_an_interval(self):
        assert Cron(interval=7).schedule == Every(7)
        assert Cron(interval=7, random=True).schedule == Every(7, random=True)

    @pytest.mark.parametrize(
        ("cron", "field", "message"),
        [
            (Cron(interval=0), "cron.interval", "expected seconds, or -1 for none"),
            (Cron(interval=-2), "cron.interval", "expected seconds, or -1 for none"),
            (
                Cron(interval=5, cron_expression="@daily"),
                "cron.cronexpression",
                "expected none beside an interval",
            ),
            (
                Cron(cron_expression="@daily", random=True),
                "cron.random",
                "expected an interval with it, not an expression",
            ),
            (
                Cron(cron_expression="61 * * * * *"),
                "cron.cronexpression",
                "second: expected 0 to 59, not '61'",
            ),
        ],
    )
    def test_what_makes_no_sense_is_refused(self, cron, field, message):
        with pytest.raises(Malformed) as caught:
            _ = cron.schedule
        assert (caught.value.field, caught.value.message) == (field, f"{field}: {message}")


class TestMissed:
    def test_a_missed_tick_is_made_up_for_unless_it_is_said_otherwise(self):
        cron = Cron(next_run=TICK)
        assert not cron.skips(TICK + timedelta(days=1))
        assert replace(cron, catchup=Catchup.NONE).skips(TICK + timedelta(days=1))

    def test_a_tick_that_is_a_little_late_is_in_time(self):
        cron = Cron(next_run=TICK, catchup=Catchup.NONE)
        assert not cron.skips(TICK + LATE)
        assert cron.skips(TICK + LATE + timedelta.resolution)


class TestGraphs:
    def test_a_tick_has_one_graph(self):
        assert graph_id_of("a", TICK) == graph_id_of("a", TICK)
        assert len(graph_id_of("a", TICK)) == 64

    def test_another_tick_or_cron_has_another(self):
        later = TICK + timedelta.resolution
        ids = {graph_id_of("a", TICK), graph_id_of("b", TICK), graph_id_of("a", later)}
        assert len(ids) == 3
