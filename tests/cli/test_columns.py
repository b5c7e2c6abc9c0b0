"""Columns of a CSV by name and by number."""

from __future__ import annotations

import pytest

from streamlearn.cli.columns import choose, needs_names
from streamlearn.cli.errors import BadUsage

HEADER = ["time", "flow", "pressure", "7"]


@pytest.mark.parametrize(
    ("columns", "target", "x", "y"),
    [
        (None, None, (0, 1, 2, 3), ()),
        (None, "flow", (0, 2, 3), (1,)),
        ("flow, pressure", None, (1, 2), ()),
        ("2-4", None, (1, 2, 3), ()),
        ("3,flow", "1", (2, 1), (0,)),
        ("7", None, (3,), ()),  # a name before a number
        ("2,2", None, (1, 1), ()),
    ],
)
def test_columns_are_names_numbers_and_ranges(columns, target, x, y):
    assert choose(columns, target, HEADER, 4) == (x, y)


@pytest.mark.parametrize(
    ("columns", "target", "said"),
    [
        ("speed", None, "no such column; there are: time, flow, pressure, 7"),
        ("5", None, "columns 1 to 4"),
        ("0", None, "columns 1 to 4"),
        ("3-2", None, "columns 1 to 4"),
        (None, "1-4", "no column is left"),
        ("1,,2", None, "no such column"),
    ],
)
def test_what_is_not_there_is_named(columns, target, said):
    with pytest.raises(BadUsage, match=said):
        choose(columns, target, HEADER, 4)


def test_names_need_a_header():
    assert needs_names("flow,2")
    assert not needs_names("1-3,7")
    assert not needs_names(None)
