"""Times and names of columns, as callers may pass them."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from streamlearn_client.errors import BadDtype, BadShape, BadValue
from streamlearn_client.protocol import as_batch, as_times, check_channels, named_columns

NS = 1_709_208_000_123_456_789  # 2024-02-29 12:00 UTC and a fraction
SECOND = NS // 10**9
BERLIN = datetime.timezone(datetime.timedelta(hours=1))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (NS, NS),
        (np.array([NS]), NS),
        ([NS], NS),
        (np.datetime64(NS, "ns"), NS),
        (np.datetime64(SECOND, "s"), SECOND * 10**9),
        (pd.Timestamp(NS, tz="Asia/Tokyo"), NS),
        (pd.Series([pd.Timestamp(NS, tz="Asia/Tokyo")]), NS),
        (pd.Series([pd.Timestamp(NS)]), NS),
        (pd.DatetimeIndex([pd.Timestamp(NS, tz="UTC")]), NS),
        (datetime.datetime.fromtimestamp(SECOND, BERLIN), SECOND * 10**9),
        ([datetime.datetime(1969, 12, 31, 23, 59, 59, 1, datetime.UTC)], -999_999_000),
        (float(SECOND), SECOND * 10**9),
        (0.25, 250_000_000),
        (-1.5, -1_500_000_000),
        (np.float32(2.0), 2_000_000_000),
        (0, 0),
        (2**63 - 1, 2**63 - 1),
    ],
    ids=str,
)
def test_times_become_nanoseconds(given, expected):
    times = as_times(given, 1)
    assert times.dtype == np.int64
    assert times.tolist() == [expected]


def test_one_time_stands_for_all():
    assert as_times(1.0, 3).tolist() == [10**9] * 3


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([1, 2], BadShape, "one for each of 1 samples"),
        ("2024-01-01", BadDtype, "nanoseconds"),
        (True, BadDtype, "nanoseconds"),
        (np.datetime64("NaT"), BadValue, "missing"),
        (-(2**63), BadValue, "years 1678 to 2261"),
        (2**63, BadValue, "years 1678 to 2261"),
        (np.array([2**63], np.uint64), BadValue, "years 1678 to 2261"),
        (float(NS), BadValue, "A float is a number of seconds"),
        (np.datetime64("3000-01-01"), BadValue, "years 1678 to 2261"),
        (datetime.datetime(3000, 1, 1, tzinfo=datetime.UTC), BadValue, "years 1678 to 2261"),
        (np.nan, BadValue, "missing"),
        (pd.Series([pd.NaT]), BadValue, "missing"),
        (datetime.datetime(2024, 1, 1), BadDtype, "without a time zone"),  # noqa: DTZ001
        (pd.Timestamp(NS), BadDtype, "without a time zone"),
        ([datetime.date(2024, 1, 1)], BadDtype, "not date"),
    ],
    ids=str,
)
def test_other_times_are_refused(given, error, message):
    with pytest.raises(error, match=message):
        as_times(given, 1)


def test_late_targets_have_no_times():
    with pytest.raises(BadShape, match="late targets have no times"):
        as_batch("m", None, [1.0], None, [7], 1.0)


def test_frames_and_dicts_have_names():
    frame = pd.DataFrame({"flow": [1.0, 2.0], "pressure": [3, 4]})
    batch = as_batch("m", frame)
    assert batch.channels == ("flow", "pressure")
    assert batch.x.tolist() == [[1, 3], [2, 4]]
    columns = as_batch("m", {"flow": [1.0, None], "pressure": np.array([3, 4])})
    assert columns.channels == ("flow", "pressure")
    assert columns.x.tolist()[0] == [1, 3]
    assert np.isnan(columns.x[1, 0])
    assert as_batch("m", {"flow": 1, "pressure": 3}).x.tolist() == [[1, 3]]
    for nameless in (frame.to_numpy(), pd.DataFrame([[1.0]]), [1.0], pd.Series([1.0])):
        assert named_columns(nameless)[1] is None
    with pytest.raises(BadShape, match="equal length"):
        named_columns({"a": [1, 2], "b": [1]})
    with pytest.raises(BadShape, match="it is empty"):
        named_columns({})
    with pytest.raises(BadDtype, match=r"x\['a'\] must be numbers"):
        named_columns({"a": ["text"]})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("b", "a"), "in another order: 'b', 'a'; the model has 'a', 'b'"),
        (("a",), "have no channel 'b'"),
        (("a", "b", "c"), "have an unknown channel 'c'"),
        (("A", "b"), "have no channel 'a' and an unknown channel 'A'"),
        (("a", "b", "a"), "have a channel more than once"),
    ],
)
def test_other_names_are_refused(given, message):
    with pytest.raises(BadShape, match=message) as caught:
        check_channels(given, ("a", "b"))
    assert caught.value.detail == {"expected": ["a", "b"], "got": list(given)}


def test_names_are_compared_only_if_both_sides_have_them():
    for given, expected in ((None, ("a",)), (("a",), None), (("a",), ("a",))):
        check_channels(given, expected)
