"""One conversion of arguments: the client and a model in the same process accept and refuse the same."""

from __future__ import annotations

import datetime
import warnings

import numpy as np
import pandas as pd
import pytest

import streamlearn as sl
from streamlearn.errors import BadDtype, BadShape, BadValue, StreamlearnError
from streamlearn_client.protocol import PrecisionWarning, as_batch, as_samples
from streamlearn_client.protocol.precision import CHANGES

NAN = np.nan
MASKED = np.ma.masked_values([[1.0, -9999.0], [3.0, 4.0]], -9999.0)

ACCEPTED = {
    "lists": ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
    "bool": (np.array([[True, False], [False, True]]), [[1, 0], [0, 1]]),
    "list of bool": ([[True, False], [False, True]], [[1, 0], [0, 1]]),
    "None": ([[1, None], [None, 4]], [[1, NAN], [NAN, 4]]),
    "object array": (np.array([[1, None], [2.5, np.float32(4)]], object), [[1, NAN], [2.5, 4]]),
    "object bool": (np.array([[np.True_, None], [False, 4]], object), [[1, NAN], [0, 4]]),
    "masked": (MASKED, [[1, NAN], [3, 4]]),
    "masked float32": (MASKED.astype(np.float32), [[1, NAN], [3, 4]]),
    "masked integers": (MASKED.astype(np.int16), [[1, NAN], [3, 4]]),
    "masked bool": (np.ma.array([[True, True]], mask=[[False, True]]), [[1, NAN]]),
    "masked without a mask": (np.ma.array([[1.0, 2.0]]), [[1, 2]]),
    "rows of masked arrays": ([MASKED[0], MASKED[1]], [[1, NAN], [3, 4]]),
    "masked with NaN": (np.ma.array([[NAN, 5.0]], mask=[[False, True]]), [[NAN, NAN]]),
    "DataFrame": (pd.DataFrame({"a": [1, 2], "b": [0.5, None]}), [[1, 0.5], [2, NAN]]),
    "nullable DataFrame": (
        pd.DataFrame({"a": [1, None], "b": [True, False]}).astype({"a": "Int64", "b": "boolean"}),
        [[1, 1], [NAN, 0]],
    ),
    "Series": (pd.Series([1.5, None], dtype="Float64"), [[1.5, NAN]]),
    "columns of another order": (np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), [[1, 2], [3, 4]]),
    "big endian": (np.array([[1, 2]], ">i4"), [[1, 2]]),
    "long double": (np.array([[1, 2]], np.longdouble), [[1, 2]]),
}

REFUSED = {
    "text": ([["1", "2"]], BadDtype),
    "bytes": ([[b"1", b"2"]], BadDtype),
    "complex": ([[1j, 2]], BadDtype),
    "datetime64": (np.array([["2024-01-01", "2024-01-02"]], "M8[s]"), BadDtype),
    "timedelta64": (np.array([[1, 2]], "m8[s]"), BadDtype),
    "datetimes": (pd.DataFrame({"a": [pd.Timestamp(0)], "b": [1.0]}), BadDtype),
    "objects": ([[object(), 1]], BadDtype),
    "text column": (pd.DataFrame({"a": ["x"], "b": [1.0]}), BadDtype),
    "categories": (pd.DataFrame({"a": pd.Categorical(["x"]), "b": [1.0]}), BadDtype),
    "records": (np.zeros(2, [("a", "f4"), ("b", "f4")]), BadDtype),
    "unequal rows": ([[1, 2], [3]], BadShape),
    "a number beyond float32": ([[1e39, 1]], BadValue),
    "a large integer": ([[10**40, 1]], BadValue),
}


def model(**spec):
    return sl.SOM(dim=2, grid=(2, 2), **spec)


@pytest.mark.parametrize("name", ACCEPTED)
def test_client_and_model_convert_alike(name):
    given, expected = ACCEPTED[name]
    expected = np.array(expected, np.float32)
    for converted in (as_samples(given), as_batch("m", given).x, model().read(given)):
        assert converted.dtype == np.float32
        np.testing.assert_array_equal(converted, expected)
    learned, reference = model(), model()
    learned.learn(given)
    reference.learn(expected)
    assert learned.state_hash() == reference.state_hash()


@pytest.mark.parametrize("name", REFUSED)
def test_client_and_model_refuse_alike(name):
    given, error = REFUSED[name]
    for convert in (as_samples, lambda values: as_batch("m", values), model().read):
        with pytest.raises(error):
            convert(given)


def test_masked_targets_are_missing():
    y = np.ma.masked_values([[0.5], [-1.0], [0.25]], -1.0)
    masked, missing = (sl.RNN(readout="adam", dim=1, hidden=4, target="given", outputs=1) for _ in range(2))
    masked.learn(np.ones(3), y)
    missing.learn(np.ones(3), [[0.5], [NAN], [0.25]])
    assert masked.state_hash() == missing.state_hash()
    np.testing.assert_array_equal(as_batch("m", np.ones((3, 1)), y).y, [[0.5], [NAN], [0.25]])


def test_masked_keys_are_refused():
    keys = np.ma.array([1, 2], mask=[False, True])
    with pytest.raises(BadValue, match="keys has a masked value"):
        as_batch("m", [[1.0], [2.0]], keys=keys)
    with pytest.raises(BadValue, match="keys has a masked value"):
        sl.RNN(readout="adam", dim=1, hidden=4, keys=8).learn([1.0, 2.0], keys=keys)


def test_assigned_weights_use_the_same_conversion():
    som = model()
    for values in (np.full((2, 2, 2), "1"), np.full((2, 2, 2), 1j), np.full((2, 2, 2), object())):
        with pytest.raises(BadDtype):
            som.weights = values
    with pytest.raises(BadValue, match="finite"):
        som.weights = np.ma.array(np.zeros((2, 2, 2)), mask=True)
    som.weights = np.ones((2, 2, 2), bool)
    assert (som.weights == 1).all()


# ------------------------------------------------------------------------------------------------- times

DATES = np.arange("2024-01-01T00:00:00", "2024-01-01T00:00:10", dtype="M8[s]")
SECONDS = DATES.astype(np.int64).astype(float)
BERLIN = datetime.timezone(datetime.timedelta(hours=1))


def clocked():
    return sl.SOM(dim=1, grid=(4,), learning_rate=sl.Decay(0.5, 0.02, half_life=3600, unit="seconds"))


@pytest.mark.parametrize(
    "times",
    [
        *(DATES.astype(f"M8[{unit}]") for unit in ("s", "ms", "us", "ns")),
        DATES.astype("M8[100ms]"),
        pd.DatetimeIndex(DATES),
        pd.DatetimeIndex(DATES).tz_localize("UTC").tz_convert("Asia/Tokyo"),
        pd.Series(DATES),
        [datetime.datetime.fromtimestamp(second, BERLIN) for second in SECONDS],
        DATES.astype("M8[ns]").astype(np.int64),
        DATES.astype("M8[ns]").astype(np.int64).tolist(),
        list(SECONDS),
    ],
    ids=lambda times: str(getattr(times, "dtype", type(times[0]).__name__)),
)
def test_times_mean_the_same_in_every_form(times):
    som, reference = clocked(), clocked()
    som.learn(np.arange(10.0), times=times)
    reference.learn(np.arange(10.0), times=SECONDS)
    assert som.state_hash() == reference.state_hash()
    assert som.schedules["learning_rate"] == pytest.approx(0.02 + 0.48 * 2 ** (-9 / 3600), rel=1e-6)


@pytest.mark.parametrize(
    ("times", "error"),
    [
        (np.array(["2024-01-01", "NaT"], "M8[s]"), BadValue),
        (pd.Series([pd.Timestamp(0), None]), BadValue),
        (np.ma.array([1.0, 2.0], mask=[False, True]), BadValue),
        (np.ma.array(DATES[:2], mask=[False, True]), BadValue),
        ([1.0, None], BadValue),
        ([1.0, NAN], BadValue),
        (["1", "2"], BadDtype),
        ([True, False], BadDtype),
        (np.array([1, 2], "m8[s]"), BadDtype),
        ([datetime.datetime(2024, 1, 1), datetime.datetime(2024, 1, 2)], BadDtype),  # noqa: DTZ001
        ([datetime.datetime(2024, 1, 1, tzinfo=BERLIN), 2.0], BadDtype),
        ([1.0, 2.0, 3.0], BadShape),
        ([[1.0], [2.0, 3.0]], BadShape),
    ],
    ids=str,
)
def test_other_times_are_refused(times, error):
    som = clocked()
    before = som.state_hash()
    with pytest.raises(error):
        som.learn([1.0, 2.0], times=times)
    assert som.state_hash() == before


# --------------------------------------------------------------------------------------------- precision


def rows_with_epoch_seconds(n):
    return np.column_stack([1.7e9 + np.arange(n), np.sin(np.arange(n))])


def for_each(call, parts):
    for part in parts:
        call(part)


def test_a_channel_that_float32_does_not_resolve_is_reported_once():
    som = model()
    parts = np.split(rows_with_epoch_seconds(20 * CHANGES), 100)
    with pytest.warns(PrecisionWarning, match="channel 0 of this som") as caught:
        for_each(som.learn, parts)
    assert len(caught) == 1


def test_single_samples_are_observed_too():
    som = model()
    with pytest.warns(PrecisionWarning, match="channel 0") as caught:
        for_each(som.learn, rows_with_epoch_seconds(40 * CHANGES).tolist())
    assert len(caught) == 1


@pytest.mark.parametrize(
    "channel",
    [
        np.sin(np.arange(50_000) / 100),
        np.full(50_000, 0.1) + np.tile([0, 1.4e-17], 25_000),  # rounding errors of float64
        np.full(50_000, 7.0),
        np.where(np.arange(50_000) % 3 == 0, 1.0, NAN),
        np.arange(50_000.0),
        1e6 + np.arange(50_000.0),
    ],
    ids=["sine", "rounding errors", "constant", "missing", "counter", "offset"],
)
def test_channels_that_float32_resolves_are_not_reported(channel):
    som = sl.SOM(dim=1, grid=(2, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for part in np.split(channel, 250):
            som.learn(part)


def test_float32_samples_are_not_observed():
    som = model()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        som.learn(rows_with_epoch_seconds(20_000).astype(np.float32))


def test_a_refused_argument_changes_nothing():
    som = model()
    before = som.state_hash()
    for given, _ in REFUSED.values():
        with pytest.raises(StreamlearnError):
            som.learn(given)
    assert som.state_hash() == before
