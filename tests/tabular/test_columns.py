"""Columns of a CSV by name and by number."""

from __future__ import annotations

import pytest

from streamlearn.cli.errors import BadUsage
from streamlearn.tabular.columns import ColumnOptions, needs_names, select
from streamlearn.tabular.identifiers import parse_identifier

HEADER = ["time", "flow", "pressure", "7"]


@pytest.mark.parametrize(
    ("columns", "target", "x", "y"),
    [
        (None, None, (0, 1, 2, 3), ()),
        (None, "flow", (0, 2, 3), (1,)),
        ("flow, pressure", None, (1, 2), ()),
        ("2-4", None, (1, 2, 3), ()),
        ("3,flow", "1", (2, 1), (0,)),
        ("7", None, (3,), ()),  # the file has no seventh column, so this is the name
    ],
)
def test_columns_are_names_numbers_and_ranges(columns, target, x, y):
    assert select(ColumnOptions(columns, target), HEADER, 4) == (x, y, None, None, None)


@pytest.mark.parametrize(
    ("columns", "target", "message"),
    [
        ("speed", None, "no such column; its columns are: time, flow, pressure, 7"),
        ("5", None, "columns 1 to 4"),
        ("0", None, "columns 1 to 4"),
        ("3-2", None, "columns 1 to 4"),
        (None, "1-4", "no column is left"),
        ("1,,2", None, "no such column"),
        ("٢", None, "no such column"),  # int() reads other digits than 0 to 9
        ("2,2", None, "column 2 is selected twice"),
        ("flow,1-2", None, "column 2 is selected twice"),
        ("flow", "pressure,pressure", "--target pressure,pressure: column 3 is selected twice"),
    ],
)
def test_an_unknown_column_is_named(columns, target, message):
    with pytest.raises(BadUsage, match=message):
        select(ColumnOptions(columns, target), HEADER, 4)


def test_a_name_of_two_columns_is_refused():
    header = ["temp", "flow", "temp"]
    with pytest.raises(BadUsage, match="columns 1, 3 have this name; select one by its number"):
        select(ColumnOptions("temp,flow"), header, 3)
    assert select(ColumnOptions("3,flow"), header, 3).x == (2, 1)
    assert select(ColumnOptions(), header, 3).x == (0, 1, 2)


def test_a_name_that_is_the_number_of_another_column_is_refused():
    header = ["0", "1", "2"]
    with pytest.raises(BadUsage, match="name of column 2 and the number of another column; write 2-2 or 1-1"):
        select(ColumnOptions("1"), header, 3)
    assert select(ColumnOptions("1-1,3-3"), header, 3).x == (0, 2)
    assert select(ColumnOptions("0"), header, 3).x == (0,)
    assert select(ColumnOptions("2"), ["1", "2"], 2).x == (1,)  # name and number of the same column


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        (ColumnOptions(key="time"), ((1, 2, 3), (), 0, None, None)),
        (ColumnOptions(key="2", id="7", target="flow"), ((0, 2), (1,), 1, 3, None)),
        (ColumnOptions("pressure", key="1", id="1"), ((2,), (), 0, 0, None)),
        (ColumnOptions(time="time", target="7"), ((1, 2), (3,), None, None, 0)),
        (ColumnOptions(id="time", late_targets=True), ((), (1, 2, 3), None, 0, None)),
        (ColumnOptions(id="time", key="7", target="flow", late_targets=True), ((), (1,), 3, 0, None)),
    ],
)
def test_keys_ids_and_late_targets(chosen, found):
    assert select(chosen, HEADER, 4) == found


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (ColumnOptions(key="1-2"), "--key 1-2: select one column"),
        (ColumnOptions(id="speed"), "--id speed: the file has no such column"),
        (ColumnOptions(id="1", key="2", late_targets=True), "no column is left for the targets"),
    ],
)
def test_unknown_keys_and_ids(chosen, message):
    with pytest.raises(BadUsage, match=message):
        select(chosen, HEADER, 2)


def test_names_need_a_header():
    assert ColumnOptions("1", key="machine").need_header
    assert ColumnOptions("1", id="batch", late_targets=True).need_header
    assert not ColumnOptions("1", "2", "3", "4").need_header
    assert needs_names("flow,2")
    assert not needs_names("1-3,7")
    assert not needs_names(None)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-7", -7),
        ("0", 0),
        (str(2**63 - 1), 2**63 - 1),
        (str(2**63), str(2**63)),
        ("007", "007"),
        ("+7", "+7"),
        ("7.0", "7.0"),
        ("1_000", "1_000"),
        ("press 7", "press 7"),
        ("٣", "٣"),
    ],
)
def test_a_key_is_a_number_where_it_is_written_as_one(text, value):
    assert parse_identifier(text) == value
