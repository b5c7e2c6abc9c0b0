"""Data frames, Arrow tables and other objects with columns as samples."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from streamlearn_client.errors import BadDtype, BadShape, BadValue
from streamlearn_client.protocol import as_batch

DAY = 1_704_067_200_000_000_000  # 2024-01-01 UTC
FLOW, COUNT = [1.5, np.nan, 3.25], [1, 0, 5]


class Capsules:
    """An object with nothing but Arrow's PyCapsule interface."""

    def __init__(self, table):
        self.table = table

    def __arrow_c_stream__(self, requested_schema=None):
        return self.table.__arrow_c_stream__(requested_schema)


TABLE = pa.table({"flow": pa.array([1.5, None, 3.25], pa.float32()), "count": pa.array(COUNT, pa.int64())})
SAMPLES = {
    "float64 and int64": pd.DataFrame({"flow": FLOW, "count": COUNT}),
    "one type": pd.DataFrame({"flow": FLOW, "count": COUNT}, dtype=np.float32),
    "nullable": pd.DataFrame(
        {"flow": pd.array([1.5, None, 3.25], "Float32"), "count": pd.array(COUNT, "Int8")}
    ),
    "objects": pd.DataFrame({"flow": np.array([1.5, None, 3.25], object), "count": COUNT}),
    "pandas with Arrow": pd.DataFrame(
        {"flow": pd.array([1.5, None, 3.25], "double[pyarrow]"), "count": pd.array(COUNT, "int32[pyarrow]")}
    ),
    "table": TABLE,
    "chunks": pa.concat_tables([TABLE[:1], TABLE[1:]]),
    "record batch": TABLE.to_batches()[0],
    "capsules": Capsules(TABLE),
    "decimals": TABLE.set_column(1, "count", pa.array(COUNT, pa.int64()).cast(pa.decimal128(21, 2))),
    "dict of Arrow": {"flow": TABLE["flow"], "count": TABLE["count"]},
}


@pytest.mark.parametrize("name", SAMPLES)
def test_columns_are_samples_with_names(name):
    batch = as_batch("m", SAMPLES[name])
    assert batch.channels == ("flow", "count")
    assert batch.x.dtype == np.float32
    np.testing.assert_array_equal(batch.x, np.column_stack([FLOW, COUNT]).astype(np.float32))
    assert batch.times is None


def test_missing_integers_and_booleans():
    table = pa.table({"n": [1, None], "on": [True, None], "none": pa.nulls(2)})
    frame = pd.DataFrame(
        {"n": pd.array([1, None], "Int64"), "on": pd.array([True, None], "boolean"), "none": [np.nan] * 2}
    )
    for samples in (table, frame):
        np.testing.assert_array_equal(as_batch("m", samples).x, [[1, 1, np.nan], [np.nan] * 3])


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
def test_an_index_of_dates_is_the_times(zone):
    index = pd.date_range("2024-01-01", periods=3, freq="h", tz=zone)
    expected = DAY + 3_600_000_000_000 * (np.arange(3) - (zone == "Europe/Berlin"))
    frame = pd.DataFrame({"flow": FLOW}, index=index)
    assert as_batch("m", frame).times.tolist() == expected.tolist()
    assert as_batch("m", frame, times=[1, 2, 3]).times.tolist() == [1, 2, 3]
    assert as_batch("m", frame.reset_index(names="when"), times="when").times.tolist() == expected.tolist()
    table = pa.table({"when": pa.array(index), "flow": FLOW})
    batch = as_batch("m", table, times="when")
    assert batch.times.tolist() == expected.tolist()
    assert batch.channels == ("flow",)
    with pytest.raises(BadValue, match="missing"):
        as_batch("m", frame.set_index(index.where([True, False, True])))


def test_times_of_columns_in_other_forms():
    assert as_batch("m", {"t": [1.5, 2.0], "a": [1, 2]}, times="t").times.tolist() == [
        1_500_000_000,
        2 * 10**9,
    ]
    table = pa.table({"t": pa.array([0, 1], pa.date32()), "a": [1, 2]})
    assert as_batch("m", table, times="t").times.tolist() == [0, 86_400 * 10**9]
    with pytest.raises(BadShape, match=r"no column 'when', named by times; it has 't', 'a'"):
        as_batch("m", table, times="when")
    with pytest.raises(BadDtype, match="text names a column of a data frame"):
        as_batch("m", [[1.0]], times="when")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (pd.DataFrame({"a": [1.0], "name": ["x"]}), r"x\['name'\] must be numbers or None"),
        (pa.table({"a": [1.0], "name": ["x"]}), r"x\['name'\] holds string, and numbers were expected"),
        (
            pa.table({"at": pa.array([1], pa.timestamp("s"))}),
            r"x\['at'\] holds times \(timestamp\[s\]\).* as times",
        ),
        (
            pd.DataFrame({"at": pd.to_datetime(["2024-01-01"])}),
            r"x\['at'\] holds times \(datetime64.* as times",
        ),
        (pa.table({"a": [[1.0]]}), r"x\['a'\] holds list"),
        (pd.DataFrame({"a": pd.Categorical(["u"])}), r"x\['a'\] must be numbers"),
    ],
)
def test_a_wrong_type_names_its_column(samples, message):
    with pytest.raises(BadDtype, match=message):
        as_batch("m", samples)


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(BadShape, match="several columns have the same name"):
        as_batch("m", pd.DataFrame([[1.0, 2.0]], columns=["a", "a"]))
    with pytest.raises(BadShape, match="several columns have the same name"):
        as_batch("m", pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]))


def test_without_pyarrow_capsules_are_refused_with_what_to_do(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(BadDtype, match="pip install pyarrow, or pass a dict"):
        as_batch("m", Capsules(TABLE))
