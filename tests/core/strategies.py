"""What hypothesis draws: our Structs, and JSON of every shape."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import strategies as st

from colonies.core.attribute import Attribute
from colonies.core.envelope import MAX_ID_LENGTH, Envelope, Reply
from colonies.core.process import MAX_LEASE, Conditions, Process, ProcessSpec, State
from colonies.core.runtime import Approval, Location, Runtime

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
leases = st.integers(0, MAX_LEASE)
int32 = st.integers(-(2**31), 2**31 - 1)
names = st.lists(texts, max_size=3)
tables = st.dictionaries(texts, texts, max_size=3)
zones = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
first, last = map(datetime.fromisoformat, ("0002-01-01", "9998-01-01"))
times = st.datetimes(first, last, timezones=st.just(UTC) | zones)
floats = st.floats(allow_nan=False, allow_infinity=False)

attributes = st.builds(Attribute, texts, texts, texts, texts, int32, texts, texts)
conditions = st.builds(Conditions, texts, names, texts, names, int32, int32, int32)
specs = st.builds(
    ProcessSpec, texts, texts, names, tables, int32, int32, int32, int32, leases, conditions, tables
)
processes = st.builds(
    Process, texts, texts, st.booleans(), st.sampled_from(State),
    times, times, times, times, times, int32, st.lists(attributes, max_size=2), specs,
    st.booleans(), names, names, texts, names, names, names, int32, texts, times,
)  # fmt: skip
runtimes = st.builds(
    Runtime, texts, texts, texts, texts, texts, int32, int32, texts, int32,
    st.sampled_from(Approval), times, times, st.builds(Location, floats, floats),
)  # fmt: skip
envelopes = st.builds(Envelope, texts, texts, texts) | st.builds(
    Envelope, texts, texts, texts, texts.map(lambda text: text[:MAX_ID_LENGTH])
)
replies = st.builds(Reply, texts, texts, st.booleans()) | st.builds(
    Reply, texts, texts, st.booleans(), texts, texts
)

plain = st.none() | st.booleans() | st.integers() | floats | texts
json = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4)
)
