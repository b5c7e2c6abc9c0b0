"""Files other than plain CSV: compressed, lines of JSON, Arrow, Parquet; and files that are refused."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
import pytest

from streamlearn.tabular.bytestreams import zstd
from streamlearn.tabular.columns import ColumnOptions
from streamlearn.tabular.errors import BadData
from streamlearn.tabular.formats import CsvFormat, Missing
from streamlearn.tabular.reader import TableReader
from streamlearn.tabular.rows import Rows
from streamlearn.tabular.times import TimeColumn

X = np.random.default_rng(3).normal(size=(9000, 2)).astype(np.float32)
TEXT = b"flow,level\n" + b"".join(f"{a!r},{b!r}\n".encode() for a, b in X.tolist())


def read(path, *, options=None, problem=False, **more):
    with TableReader(path, options or ColumnOptions(), **more) as rows:
        found: list[Rows] = []
        try:
            found.extend(rows)
        except BadData as error:
            if not problem:
                raise
            return Rows.joined(found) if found else None, error
        return Rows.joined(found)


class Pipe(io.BytesIO):
    """Bytes that arrive in small pieces, and cannot be sought."""

    def seekable(self):
        return False

    def read1(self, size=-1):
        return super().read(min(size, 999) if size > 0 else 999)


def table_of(x, **more):
    return pa.table({"flow": x[:, 0], "level": x[:, 1], **more})


def arrow_stream(table):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("plain", TEXT),
        ("gzip", gzip.compress(TEXT)),
        ("gzip in two members", gzip.compress(TEXT[:5000]) + gzip.compress(TEXT[5000:])),
        ("zstd", zstd.compress(TEXT)),
        ("ndjson", b"".join(b'{"flow": %r, "level": %r}\n' % (a, b) for a, b in X.tolist())),
        ("lists", b"".join(b"[%r, %r]\n" % (a, b) for a, b in X.tolist())),
        ("arrow", arrow_stream(table_of(X))),
        ("compressed arrow", gzip.compress(arrow_stream(table_of(X)))),
    ],
)
def test_the_first_bytes_decide_also_in_a_pipe(tmp_path, name, content):
    path = tmp_path / "data"
    path.write_bytes(content)
    for source in (str(path), Pipe(content)):
        np.testing.assert_array_equal(read(source).x, X, err_msg=name)


def test_parquet_and_arrow_files(tmp_path):
    parquet, feather = tmp_path / "data.parquet", tmp_path / "data.feather"
    pa.parquet.write_table(table_of(X), parquet)
    pa.feather.write_feather(table_of(X), feather, compression="uncompressed")
    for path in (parquet, feather):
        np.testing.assert_array_equal(read(str(path)).x, X)
        with pytest.raises(BadData, match="not from a pipe"):
            read(Pipe(path.read_bytes()))
    parquet.write_bytes(parquet.read_bytes()[:-2000])
    with pytest.raises(BadData, match="is damaged, or no Parquet file"):
        read(str(parquet))
    text = tmp_path / "text.csv"
    text.write_text("PAR1,PAR2\n1,2\n")
    assert read(str(text)).x.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n".encode("utf-16"), "is UTF-16 text.*iconv -f UTF-16 -t UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "iconv -f UTF-16LE"),
        ("a,b\n1,2\n".encode("utf-16-be"), "iconv -f UTF-16BE"),
        (gzip.compress("a,b\n".encode("utf-16")), "is UTF-16 text"),
        (b"PK\x03\x04\x14\0\x06\0" + bytes(40), "Excel workbook .xlsx.*save the sheet as CSV UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(40), "Excel workbook .xls.*save the sheet as CSV"),
        (b"\xfd7zXZ\0" + bytes(20), "compressed by xz: push its text, xz -dc"),
        (b"BZh91AY&SY" + bytes(20), "compressed by bzip2: push its text, bzip2 -dc"),
        (gzip.compress(TEXT)[:-100], "damaged or was cut off.*gzip -t"),
        (zstd.compress(TEXT)[:-100], "damaged or was cut off.*zstd -t"),
    ],
    ids=[
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-16 in gzip",
        "xlsx",
        "xls",
        "xz",
        "bzip2",
        "cut gzip",
        "cut zstd",
    ],
)
def test_other_files_are_refused_by_name_with_what_to_do(tmp_path, content, message):
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    with pytest.raises(BadData, match=message) as caught:
        read(str(path))
    assert str(path) in caught.value.message


def test_rows_before_damaged_bytes_are_kept(tmp_path):
    path = tmp_path / "data.csv.gz"
    path.write_bytes(gzip.compress(TEXT + TEXT[11:] * 7, 0)[:-100_000])
    rows, problem = read(str(path), problem=True)
    assert len(rows) > 4000
    assert "gzip -t" in problem.message


def test_an_object_has_channels_and_what_its_names_say(tmp_path):
    path = tmp_path / "data.ndjson"
    lines = [
        {"time": "2024-02-29T12:00Z", "key": "press 7", "flow": 1.5, "level": None, "y": 3},
        {"level": 2, "flow": -999, "y": [4], "time": "2024-02-29T13:00Z", "key": 8},
    ]
    path.write_text("\n".join(json.dumps(line) for line in [lines[0], {**lines[1], "y": 4}]))
    rows = read(str(path), form=CsvFormat(missing=Missing.parsed("-999")))
    np.testing.assert_array_equal(rows.x, [[1.5, np.nan], [np.nan, 2]])
    assert rows.keys == ["press 7", 8]
    assert rows.y.tolist() == [[3], [4]]
    assert (np.diff(rows.times) == 3_600_000_000_000).all()
    rows = read(str(path), accepts=["time"])  # of a model without keys and targets
    assert rows.x.shape == (2, 2)
    assert rows.keys is None
    assert rows.y is None
    assert rows.times is not None
    rows = read(str(path), options=ColumnOptions(columns="level", target="flow", id="y"))
    assert rows.ids == [3, 4]
    np.testing.assert_array_equal(rows.x, [[np.nan], [2]])


def test_members_of_an_object_have_no_order(tmp_path):
    path = tmp_path / "data.ndjson"
    path.write_text('{"level": 2, "flow": 1, "time": 5}\n{"flow": 3, "time": 6, "level": 4}\n')
    rows = read(str(path), channels=["flow", "level"])
    assert rows.x.tolist() == [[1, 2], [3, 4]]
    rows = read(str(path), channels=["flow", "level"], options=ColumnOptions(columns="level,flow"))
    assert rows.x.tolist() == [[2, 1], [4, 3]]  # as selected: the names are then compared
    assert read(str(path), channels=["flow", "depth"]).x.tolist() == [[2, 1], [4, 3]]


@pytest.mark.parametrize(
    ("times", "form", "expected"),
    [
        ([1_709_208_000, 1_709_208_060], None, 1_709_208_000 * 10**9),
        ([1_709_208_000.5, 1_709_208_060], None, 1_709_208_000_500_000_000),
        ([1_709_208_000_000, 1_709_208_060_000], None, 1_709_208_000 * 10**9),
        ([17, 18], "seconds", 17 * 10**9),
    ],
)
def test_numbers_as_times(tmp_path, times, form, expected):
    path = tmp_path / "data.ndjson"
    path.write_text("".join(f'{{"time": {time}, "flow": 1}}\n' for time in times))
    assert read(str(path), times=TimeColumn(form)).times[0] == expected


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('{"a": 1}\n{"a": "x"}\n', 2, "\"x\" in 'a' is not a number"),
        ('{"a": 1}\n{"b": 1}\n', 2, "does not have the same names"),
        ("[1, 2]\n[1]\n", 2, "a list of 1 values"),
        ("[1]\n{oops\n", 2, "this is not JSON"),
        ("[1]\n7\n", 2, "a list of values or an object was expected"),
        ("[1]\n[1e60]\n", 2, "too large for float32"),
        ("[1]\n[true]\n", 2, "true in column 1 is not a number"),
    ],
)
def test_a_bad_line_of_json_is_named(tmp_path, text, line, message):
    path = tmp_path / "data.ndjson"
    path.write_text(text)
    rows, problem = read(str(path), problem=True)
    assert len(rows) == 1
    assert problem.detail["line"] == line
    assert message in problem.message
    with TableReader(str(path), skip_bad=1) as reader:
        assert sum(map(len, reader)) == 1
        assert len(reader.skipped) == 1


def test_columns_of_arrow_have_types(tmp_path):
    path = tmp_path / "data.parquet"
    at = pa.array([0, 1], pa.timestamp("us", tz="Europe/Berlin"))
    table = table_of(X[:2], at=at, count=[1, None], name=["a", "b"], label=["ok", "worn"])
    pa.parquet.write_table(table, path)
    options = ColumnOptions(columns="flow,count", time="at", id="name", target="label")
    rows = read(str(path), options=options, labels=["ok", "worn"])
    np.testing.assert_array_equal(rows.x, np.column_stack([X[:2, 0], [1, np.nan]]))
    assert rows.times.tolist() == [0, 1000]
    assert rows.ids == ["a", "b"]
    assert rows.y.tolist() == [[0], [1]]
    with pytest.raises(BadData, match=r"column 3 \(at\) holds timestamp.*select it with --time"):
        read(str(path))
    with pytest.raises(BadData, match=r"column 5 \(name\) holds string.*leave it out of --columns"):
        read(str(path), options=ColumnOptions(columns="flow,name"))
    wide = table_of(np.array([[1, 1e300], [1, 2]]))
    pa.parquet.write_table(wide, path)
    rows, problem = read(str(path), problem=True)
    assert rows is None
    assert "row 1: 1e+300 in column 2 (level) is too large" in problem.message
    assert read(str(path), skip_bad=1).x.tolist() == [[1, 2]]
