"""Samples from a CSV: every value as written, and every bad row named with nothing before it lost."""

from __future__ import annotations

import io
import os
import re
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from streamlearn.cli.errors import BadData, BadUsage
from streamlearn.tabular.columns import ColumnOptions
from streamlearn.tabular.formats import CsvFormat, Missing
from streamlearn.tabular.reader import TableReader
from streamlearn.tabular.rows import LineNumbers


@pytest.fixture
def rows_of(tmp_path):
    def read(text, **options):
        path = tmp_path / "data.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        chosen = ColumnOptions(
            **{name: options.pop(name) for name in ColumnOptions._fields if name in options}
        )
        names = ("header", "delimiter", "decimal", "skip_lines", "comment", "encoding")
        form = {name: options.pop(name) for name in names if name in options}
        form |= {"missing": Missing.parsed(options.pop("missing", None))}
        with TableReader(str(path), chosen, CsvFormat(**form), **options) as rows:
            batches, problem = [], None
            try:
                batches.extend(rows)
            except BadData as error:
                problem = error
        x = np.concatenate([batch.x for batch in batches if batch.x is not None] or [np.empty((0, 0))])
        return x, batches, rows, problem

    return read


@pytest.mark.parametrize(
    ("text", "header", "expected"),
    [
        ("1,2\n3,4\n", None, [[1, 2], [3, 4]]),
        ("a,b\n3,4\n", ["a", "b"], [[3, 4]]),
        ("\ufeffa,b\r\n3,4\r\n", ["a", "b"], [[3, 4]]),
        ('"the flow",b\n"3",4', ["the flow", "b"], [[3, 4]]),
        ("1,2\n\n\n3,4\n\n", None, [[1, 2], [3, 4]]),
        ("1,\n nan ,4\n", None, [[1, np.nan], [np.nan, 4]]),
        (",\n1,2\n", None, [[np.nan, np.nan], [1, 2]]),  # no field says that this is a header
        ("1\n\n3\n", None, [[1], [np.nan], [3]]),  # one column: a blank line is a missing value
    ],
)
def test_values_and_headers(rows_of, text, header, expected):
    x, _, rows, problem = rows_of(text)
    assert problem is None
    assert rows.header == header
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, np.array(expected, np.float32))


@given(
    table=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=8),
        elements=st.floats(width=32, allow_infinity=False),
    ),
)
def test_what_is_written_is_read_bit_for_bit(tmp_path_factory, table):
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    path.write_text("\n".join(",".join(map(repr, row)) for row in table.tolist()))
    with TableReader(str(path), form=CsvFormat(header=False)) as rows:
        read = np.concatenate([each.x for each in rows])
    np.testing.assert_array_equal(read, table)


def test_columns_and_targets_are_parted(rows_of):
    _, batches, _, _ = rows_of("t,x1,x2,y\n0,1,2,9\n1,3,4,8\n", columns="x1,x2", target="y")
    assert [batch.x.tolist() for batch in batches] == [[[1, 2], [3, 4]]]
    assert [batch.y.tolist() for batch in batches] == [[[9], [8]]]
    assert all(batch.x.flags.c_contiguous and batch.y.flags.c_contiguous for batch in batches)


def test_keys_and_ids_are_numbers_or_names(rows_of):
    text = "machine,batch,flow,level\npress 7,1,0.5,9\n 7 ,b2,1.5,\n"
    _, batches, rows, problem = rows_of(text, key="machine", id="batch", target="level")
    assert problem is None
    assert rows.header == ["machine", "batch", "flow", "level"]
    assert [(batch.keys, batch.ids) for batch in batches] == [(["press 7", 7], [1, "b2"])]
    assert batches[0].x.tolist() == [[0.5], [1.5]]
    np.testing.assert_array_equal(batches[0].y, [[9], [np.nan]])


def test_names_beside_numbers_make_no_header(rows_of):
    _, batches, rows, _ = rows_of("a,1,2\nb,3,4\n", key="1")
    assert rows.header is None
    assert batches[0].keys == ["a", "b"]
    assert batches[0].ids is None


def test_later_targets(rows_of):
    _, batches, _, _ = rows_of("batch,level\n3,1\n9,2\n", id="batch", late_targets=True)
    assert [(batch.x, batch.y.tolist(), batch.ids) for batch in batches] == [(None, [[1], [2]], [3, 9])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,1\n,2\n", r"line 2: has no key in column 1"),
        ("a,1\n  ,2\n", r"line 2: has no key in column 1"),
        (b"a,1\n\xff,2\n", r"line 2: has a key in column 1 that is not UTF-8 text"),
    ],
)
def test_a_row_without_its_key_is_named(rows_of, text, message):
    x, _, _, problem = rows_of(text, key="1")
    assert x.tolist() == [[1]]
    assert re.search(message, problem.message)
    assert problem.detail["column"] == 1


def test_a_label_beside_the_samples_does_not_disturb(rows_of):
    x, _, rows, _ = rows_of("1,2,normal\n3,4,anomaly\n", columns="1-2")
    assert rows.header is None
    assert x.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("1,2\n3,4\n5,x\n7,8\n", 3, 2, r"'x' in column 2 is not a number: correct it, leave the field empty"),
        ("a,b\n3,4\n5,6\n7,12,5\n", 4, None, r"has 3 fields and line 1 has 2"),
        ("a,b\n3,4\n5,6\n7\n", 4, None, r"has 1 fields and line 1 has 2"),
        ("1,2\n3,4\n5,inf\n", 3, 2, r"inf in column 2 is too large .* leave the field empty"),
        ("1,2\n3,4\n-1e39,1\n", 3, 1, r"-1e39 in column 1 is too large"),
        ('1,2\n3,4\n"5\n', 3, None, r"near line 3: this is not CSV"),
        ("a,b\n1,2\n3,4\n1,0x10\n", 4, 2, r"'0x10' in column 2 \(b\) is not a number"),
    ],
)
def test_a_bad_row_is_named_and_earlier_rows_are_kept(rows_of, text, line, column, message):
    x, _, rows, problem = rows_of(text)
    assert len(x) == 2
    assert len(rows.lines) == 2
    assert problem.detail.get("line") == line
    assert problem.detail.get("column") == column
    assert problem.detail["file"] in problem.message
    assert re.search(message, problem.message)


def test_text_in_the_first_line_beside_numbers_is_no_silent_header(rows_of):
    """A first row with a typo must not vanish as if it were a header."""
    x, _, _, problem = rows_of("1.5.0,2\n3,4\n")
    assert not len(x)
    assert problem.detail["line"] == 1
    assert "--skip-header" in problem.message
    x, _, _, problem = rows_of("1.5.0,2\n3,4\n", header=True)
    assert problem is None
    assert x.tolist() == [[3, 4]]


@pytest.mark.parametrize(
    "field", ["NA", "n/a", "null", "'1'", "1%", "0x10", "2024-01-15", "$5", "-", "?", "٣"]
)
def test_a_first_line_that_may_be_a_sample_is_not_dropped(rows_of, field):
    for text in (f"{field}\n", f"{field}\n21.5\n21.75\n", f"flow,{field}\n1,2\n"):
        x, _, _, problem = rows_of(text)
        assert not len(x)
        assert problem.detail["line"] == 1
        assert "--skip-header" in problem.message
        assert "--no-header" in problem.message
    assert rows_of(f"{field}\n21.5\n", header=True)[0].tolist() == [[21.5]]


def test_names_with_digits_are_a_header(rows_of):
    x, _, rows, problem = rows_of("1_1,1_2,x3,4th\n5,6,7,8\n")
    assert problem is None
    assert rows.header == ["1_1", "1_2", "x3", "4th"]
    assert x.tolist() == [[5, 6, 7, 8]]


NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*", re.ASCII)


@given(field=st.text(alphabet="0123456789_.eE+- ٣\u00a0", min_size=1, max_size=6).filter(str.strip))
def test_numbers_follow_a_strict_grammar(tmp_path_factory, field):
    """The regular expression is independent of the reader, which uses `float`."""
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    path.write_text(f"1\n{field}\n", encoding="utf-8")
    with TableReader(str(path)) as rows:
        try:
            read = np.concatenate([each.x for each in rows])
        except BadData:
            read = None
    valid = NUMBER.fullmatch(field) is not None and abs(float(field)) <= float(np.finfo(np.float32).max)
    assert (read is not None) == valid
    if valid:
        assert read[1, 0] == np.float32(float(field))


def test_line_numbers_of_earlier_rows_can_be_discarded():
    lines = LineNumbers()
    for part in ([2, 4], range(5, 9), [], [11]):
        lines.extend(part)
    expected = [2, 4, 5, 6, 7, 8, 11]
    for row, line in enumerate(expected):
        lines.discard_before(row)
        assert [lines[later] for later in range(row, 7)] == expected[row:]
        assert lines[row] == line
    assert len(lines) == 7


def test_a_header_can_be_denied(rows_of):
    _, _, _, problem = rows_of("a,b\n3,4\n", header=False)
    assert problem.detail["line"] == 1
    with pytest.raises(BadUsage, match="named only if the file has a header"):
        rows_of("a,b\n3,4\n", header=False, columns="a")


def test_bytes_that_are_no_text_matter_only_where_a_number_is_wanted(rows_of):
    text = "1,gut,2\n3,schön,4\n5,ok,6ß\n".encode("latin-1")
    x, _, _, problem = rows_of(text, columns="1,3")
    assert x.tolist() == [[1, 2], [3, 4]]
    assert (problem.detail["line"], problem.detail["column"]) == (3, 3)
    problem.message.encode()  # it can be shown


@pytest.mark.parametrize("text", ["", "\n\n", b"\xff\xfd1,2\n"])
def test_no_samples_at_all(rows_of, text):
    x, _, _, problem = rows_of(text)
    assert not len(x)
    assert isinstance(problem, BadData)


def test_a_header_alone_is_no_error(rows_of):
    x, _, _, problem = rows_of("a,b\n")
    assert problem is None
    assert not len(x)


def test_going_on_from_a_line(rows_of):
    x, _, rows, _ = rows_of("a,b\n1,2\n\nx,y\n5,6\n7,8\n", from_line=5)
    assert x.tolist() == [[5, 6], [7, 8]]
    assert [rows.lines[row] for row in range(len(rows.lines))] == [5, 6]


def test_another_delimiter(rows_of):
    assert rows_of("1;2\n3;4\n", delimiter=";")[0].tolist() == [[1, 2], [3, 4]]
    assert "--delimiter" in rows_of("1\n3,4\n")[3].message
    assert "--delimiter ';'" in rows_of("a;b\n1;2\n")[3].message
    assert r"--delimiter '\t'" in rows_of("a\tb\n1\t2\n")[3].message
    assert "--delimiter ';'" in rows_of("1;2\n3;4\n")[3].message
    with pytest.raises(BadUsage, match="one character"):
        rows_of("1,2\n", delimiter="ab")


def test_how_far_it_has_read(rows_of, tmp_path):
    path = tmp_path / "long.csv"
    path.write_text("1,2\n" * 200_000)
    with TableReader(str(path)) as rows:
        assert rows.bytes == 800_000
        places = [rows.bytes_read for _ in rows]
    assert places == sorted(places)
    assert 0 < places[0] < places[-1] == 800_000


def test_standard_input_is_read_row_by_row(monkeypatch):
    """A sensor's row is not kept back until more of them have come."""
    reading, writing = os.pipe()
    with open(reading, "rb") as source, open(writing, "wb", buffering=0) as sink:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(source))
        got, received = [], threading.Semaphore(0)

        def read():
            with TableReader("-") as rows:
                for batch in rows:
                    got.append(batch.x.tolist())
                    received.release()

        thread = threading.Thread(target=read)
        thread.start()
        for row in (b"1,2\n", b"3,4\n"):
            sink.write(row)
            assert received.acquire(timeout=60)
        sink.close()
        thread.join(60)
    assert got == [[[1, 2]], [[3, 4]]]


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("a;b\n1,5;2\n-1e-3;4\n", {"delimiter": ";", "decimal": ","}, [[1.5, 2], [-0.001, 4]]),
        ("1,5\t2\n", {"delimiter": r"\t", "decimal": ","}, [[1.5, 2]]),
        ("1 2\n", {"delimiter": "space"}, [[1, 2]]),
        ("NA,1\n?,2\n-999,-999.0\nnull,9\n", {"missing": "NA,null,?,-999"}, [[np.nan] * 2] * 0 + [
            [np.nan, 1], [np.nan, 2], [np.nan, np.nan], [np.nan, 9]]),
        ("1e99,2\n", {"missing": "1e99"}, [[np.nan, 2]]),
        ("inf,2\n", {"missing": "inf"}, [[np.nan, 2]]),
        ('Logger "7\nsecond "line\na,b\n1,2\n', {"skip_lines": 2}, [[1, 2]]),
        ("a,b\n# it's \"open\n1,2\n#3,4\n5,6\n", {"comment": "#"}, [[1, 2], [5, 6]]),
        ("// 1\na,b\n1,2\n", {"comment": "//"}, [[1, 2]]),
        ("a,b,\n1,2,\n3,4,\n", {}, [[1, 2], [3, 4]]),  # a delimiter at the end of each line
        ("a,b\n1,2,\n3,4\n", {}, [[1, 2], [3, 4]]),
        ("1,2,\n3,4,\n", {"dim": 2}, [[1, 2], [3, 4]]),
        ("1,2,\n3,4,5\n", {"dim": 3}, [[1, 2, np.nan], [3, 4, 5]]),  # a missing value, no further delimiter
        ("größe,b\n1,2\n".encode("latin-1"), {"encoding": "latin-1", "columns": "größe"}, [[1]]),
        ("1\r\n\r\n3\r\n", {}, [[1], [np.nan], [3]]),
    ],
)  # fmt: skip
def test_text_in_other_forms(rows_of, text, options, expected):
    x, _, _, problem = rows_of(text, **options)
    assert problem is None
    np.testing.assert_array_equal(x, np.array(expected, np.float32))


@pytest.mark.parametrize(
    ("text", "options", "line", "message"),
    [
        ("1;2\n3;4.5\n", {"delimiter": ";", "decimal": ","}, 2, "'4.5' in column 2 is not a number"),
        ("a;b\n1,5;2\n", {"delimiter": ";"}, 2, "set --decimal , if this is a decimal comma"),
        ("1,2\nNA,4\n", {}, 2, "set --missing NA if the value is missing"),
        ("x\na,b\n1,2\n3\n", {"skip_lines": 1}, 4, "has 1 fields"),
        ("#\n1,2\n#\n#\n3,x\n", {"comment": "#"}, 5, "'x' in column 2"),
    ],
)
def test_errors_name_the_line_and_the_option(rows_of, text, options, line, message):
    _, _, _, problem = rows_of(text, **options)
    assert problem.detail["line"] == line
    assert message in problem.message


def test_bad_rows_are_passed_over_and_reported(rows_of):
    text = "a,b\n1,2\nx,4\n5\n7,8\n9,1e40\n11,12\n"
    x, _, rows, problem = rows_of(text, skip_bad=3)
    assert problem is None
    assert x.tolist() == [[1, 2], [7, 8], [11, 12]]
    assert [each.detail["line"] for each in rows.skipped] == [3, 4, 6]
    assert [rows.lines[row] for row in range(3)] == [2, 5, 7]
    x, _, rows, problem = rows_of(text, skip_bad=2)
    assert x.tolist() == [[1, 2], [7, 8]]
    assert problem.detail["line"] == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decimal": ","}, "--decimal and --delimiter are both ','"),
        ({"decimal": ";"}, "--decimal must be . or ,"),
        ({"encoding": "utf-16"}, "only encodings that contain ASCII"),
        ({"encoding": "klingon"}, "no encoding has this name"),
        ({"comment": ""}, "--comment must be"),
    ],
)
def test_forms_that_contradict_are_refused(options, message):
    with pytest.raises(BadUsage, match=re.escape(message)):
        CsvFormat(**options)


@given(
    table=hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=6),
        elements=st.one_of(st.floats(width=32, allow_infinity=False), st.just(-999.0)),
    ),
    bad=st.booleans(),
)
def test_columns_and_rows_are_converted_alike(tmp_path_factory, table, bad):
    """A bad last row makes the reader convert the part row by row."""
    path = tmp_path_factory.mktemp("csv") / "data.csv"
    lines = [";".join(repr(float(value)).replace(".", ",") for value in row) for row in table]
    path.write_text("\n".join([*lines, *(["x"] * bad)]) + "\n")
    form = CsvFormat(header=False, delimiter=";", decimal=",", missing=Missing.parsed("-999"))
    with TableReader(str(path), form=form, skip_bad=1) as rows:
        read = np.concatenate([each.x for each in rows])
    np.testing.assert_array_equal(read, np.where(table == -999, np.nan, table))
