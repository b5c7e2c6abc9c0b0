"""Calls of entry points with prepared arguments do what calls from Python do."""

from __future__ import annotations

import inspect
import tracemalloc

import numba as nb
import numpy as np
import pytest

from streamlearn.kernels import compiler
from streamlearn.kernels.prepared import Prepared, address_of, caller
from streamlearn.kernels.stream import drift, one_sample, schedules

compiler.ready(schedules, drift)
ADVANCE = Prepared(schedules.advance)
_advance = caller(ADVANCE)


@nb.njit
def advance(table, addresses):
    _advance(table, addresses)


def arguments():
    table = np.array([[0.5, 0.02, 200.0, 0, 0], [5.0, 1.5, 90.0, 0, 1]])
    given = table, np.array([7.0, 0.0, 0.0, 0.25]), np.empty(0), 3600.0, np.empty((2, 3), np.float32)
    return dict(zip(inspect.signature(schedules.advance.py_func).parameters, given, strict=True))


def test_a_prepared_call_computes_the_same():
    ours, theirs = arguments(), arguments()
    key, row = ADVANCE.convert(ours)
    table, addresses = np.array(ADVANCE.table(key), np.int64), np.array(row, np.int64)
    for _ in range(3):
        advance(table.ctypes.data, addresses.ctypes.data)
        schedules.advance(*theirs.values())
        for name in ("clock", "values"):
            np.testing.assert_array_equal(ours[name], theirs[name])
    assert ours["clock"][0] == 16.0


def test_calls_share_a_table():
    first, second = Prepared(schedules.advance), Prepared(schedules.advance, after=ADVANCE)
    key, addresses = first.convert(arguments())
    assert first.convert(arguments())[0] == key, "equal for models with equal specs"
    table = first.table(key)
    assert (first.words, first.arrays) == (len(table), len(addresses))
    assert (second.first_word, second.first_address) == (len(table), len(addresses))
    assert second.place("values") == len(addresses) + 3


@pytest.mark.parametrize(
    "wrong", [np.zeros(4, np.float32), np.zeros((4, 1)), np.zeros(8)[::2]], ids=["dtype", "axes", "strides"]
)
def test_an_array_of_another_type_is_refused(wrong):
    with pytest.raises(TypeError, match="clock"):
        ADVANCE.convert(arguments() | {"clock": wrong})


def test_a_place_is_that_of_the_named_array():
    names = list(inspect.signature(drift.detect.py_func).parameters)
    arrays = [name for name in names if name != "first"]
    begin = one_sample.DETECT.first_address
    assert [one_sample.DETECT.place(name) - begin for name in arrays] == list(range(len(arrays)))


def test_the_address_is_that_of_the_values():
    read_only = np.zeros(3)
    read_only.flags.writeable = False
    for array in (np.zeros(3), np.zeros((2, 4), np.int64)[1:], read_only):
        assert address_of(array) == array.__array_interface__["data"][0]
    assert address_of(np.zeros((0, 2))) == 0


def test_the_address_of_an_array_takes_no_memory():
    arrays = [np.zeros(3) for _ in range(1000)]
    tracemalloc.start()
    try:
        for array in arrays:
            address_of(array)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 8 * len(arrays)
