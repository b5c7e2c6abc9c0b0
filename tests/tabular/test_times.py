"""Times of CSV rows: the forms that are recognised, and those that are refused because they are ambiguous."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.cli.errors import BadData, BadUsage
from streamlearn.tabular.columns import ColumnOptions
from streamlearn.tabular.reader import TableReader
from streamlearn.tabular.times import TimeColumn

NOON = 1_709_208_000  # 2024-02-29 12:00 UTC


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2024-02-29T12:00:00Z", NOON),
        ("2024-02-29 12:00:00+00:00", NOON),
        ("2024-02-29T13:00+01:00", NOON),
        ("2024-02-29T06:30:00-0530", NOON),
        ("2024-02-29 12:00:00 UTC", NOON),
        ("2024-02-29T12:00:00.5", NOON + 0.5),
        ("2024-02-29T12:00:00,25Z", NOON + 0.25),
        ("2024-02-29 12:00", NOON),
        ("20240229T120000Z", NOON),
        ("2024/02/29 12:00", NOON),
        ("2024-02-29", NOON - 43200),
        ("29.02.2024 12:00:00", NOON),
        ("29/02/2024 12:00", NOON),
        ("2/29/2024 12:00 PM", NOON),
        ("2/29/2024, 12:00:00 AM", NOON - 43200),
        ("29-02-2024 12:00", NOON),
        ("29-Feb-2024 12:00", NOON),
        ("29 February 2024 12:00", NOON),
        ("Feb 29, 2024 12:00 PM", NOON),
        (" 1709208000 ", NOON),
        ("1709208000.125", NOON + 0.125),
        ("1.709208e9", NOON),
        ("1709208000000", NOON),
        ("1709208000000000", NOON),
        ("1709208000000000000", NOON),
        ("1969-12-31T23:59:59Z", -1),
    ],
)
def test_forms_that_are_recognised(text, seconds):
    assert TimeColumn().read(text) == round(seconds * 1000) * 10**6


@pytest.mark.parametrize(
    ("text", "form", "seconds"),
    [
        ("0.5", "seconds", 0.5),
        ("-3", "seconds", -3),
        ("250", "milliseconds", 0.25),
        ("1", "nanoseconds", 1e-9),
        ("20240229", "iso", NOON - 43200),
        ("02/03/2024 12:00", "day-first", NOON + 2 * 86400),
        ("02/03/2024 12:00", "month-first", NOON - 26 * 86400),
        ("29.02.24 12h", "%d.%m.%y %Hh", NOON),
        ("29.02.24 13:00 +0100", "%d.%m.%y %H:%M %z", NOON),
    ],
)
def test_a_form_that_is_set(text, form, seconds):
    assert TimeColumn(form).read(text) == round(seconds * 10**9)


def test_times_without_a_zone_are_in_the_zone_that_is_set():
    column = TimeColumn(utc_offset=1.5)
    assert column.read("2024-02-29T13:30") == NOON * 10**9
    assert column.read("2024-02-29T12:00Z") == NOON * 10**9
    assert TimeColumn("%Y-%m-%d %H:%M", -2).read("2024-02-29 10:00") == NOON * 10**9
    assert TimeColumn(utc_offset=5).read(str(NOON)) == NOON * 10**9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("02/03/2024", "set --time-format day-first or --time-format month-first"),
        ("2-3-2024 10:00", "set --time-format day-first"),
        ("12", "may be seconds, milliseconds, microseconds or nanoseconds since 1970: set --time-format"),
        ("20240229", "may be a date or a number: set --time-format iso"),
        ("yesterday", "set --time-format to one of iso, seconds"),
        ("29.02.24", "or to a pattern such as"),
        ("", "every row needs a time"),
        ("2024-02-30", "day is out of range"),
        ("2024-02-29T25:00", "hour must be in 0..23"),
        ("2/29/2024 13:00 PM", "hours with AM and PM are 1 to 12"),
        ("29-Foo-2024", "Foo is no month"),
        ("1500-01-01", "years 1678 to 2261"),
        ("1e99", "set --time-format"),
    ],
)
def test_others_are_refused_with_what_to_set(text, message):
    with pytest.raises(ValueError, match=message):
        TimeColumn().read(text)


def test_the_first_row_decides():
    column = TimeColumn()
    assert column.read("13/02/2024") < column.read(
        "01/03/2024"
    )  # the day is first, since there is no month 13
    with pytest.raises(ValueError, match="is not in the form 'day-first', which the rows before it"):
        column.read("2024-03-01")
    numbers = TimeColumn()
    numbers.read("1709208000000")
    assert numbers.read("0") == 0  # milliseconds, like the first


@pytest.mark.parametrize("form", ["dayfirst", "Seconds", ""])
def test_unknown_forms_are_refused(form):
    with pytest.raises(BadUsage, match="use one of iso, seconds"):
        TimeColumn(form)


@given(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2200, 1, 1)), st.integers(-23, 23))  # noqa: DTZ001
def test_every_iso_time_equals_that_of_pandas(moment, hours):
    zoned = moment.replace(tzinfo=datetime.timezone(datetime.timedelta(hours=hours)))
    assert TimeColumn().read(zoned.isoformat()) == pd.Timestamp(zoned).value


@given(st.text(max_size=30))
def test_any_text_is_a_time_or_a_refusal(text):
    try:
        time = TimeColumn().read(text)
    except ValueError:
        return
    else:
        assert abs(time) < 2**63


def test_times_of_a_file(tmp_path):
    path = tmp_path / "data.csv"
    path.write_text("when,flow\n2024-02-29T12:00Z,1\n2024-02-29T12:01Z,2\nnoon,3\n")
    with TableReader(str(path), ColumnOptions(time="when")) as rows:
        batches = iter(rows)
        first = next(batches)
        assert first.x is not None
        assert first.x.tolist() == [[1], [2]]
        assert first.times is not None
        assert (first.times // 10**9).tolist() == [NOON, NOON + 60]
        assert first.times.dtype == np.int64
        with pytest.raises(
            BadData, match=r"line 4: the time in column 1 \(when\) 'noon' is not in the form 'iso'"
        ):
            next(batches)
