"""Operations on doubles and on float64 against NumPy: one formula for four columns, and for a single one."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
from numba.core.errors import TypingError

from streamlearn.kernels.simd.columns import count_of, four_columns, load_columns, store_columns
from streamlearn.kernels.simd.lanes import COLUMNS, absolute, anywhere, select, splat, sqrt, zero
from streamlearn.kernels.simd.sums import add_columns

SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 5e-324, 1.7e308, 0.1, -7.25]
S = 0.3


def operands() -> tuple[np.ndarray, np.ndarray]:
    """Return two rows: pairs of special values, then random ones of any magnitude, 3 more than fours."""
    random = np.random.default_rng(2)
    a, b = (grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL))
    extra = -len(a) % COLUMNS + 64 * COLUMNS + 3
    wide = [random.normal(size=extra) * 2.0 ** random.integers(-1000, 1000, extra) for _ in range(2)]
    return np.concatenate([a, wide[0]]), np.concatenate([b, wide[1]])


A, B = operands()


@nb.njit(error_model="numpy")
def _operations(c, x, b, s, out):
    """Write the results for ``x``, doubles or a float64, at the columns from ``c`` on."""
    y = load_columns(b, 0, c, x)
    store_columns(out, 0, c, x + y)
    store_columns(out, 1, c, x - y)
    store_columns(out, 2, c, x * y)
    store_columns(out, 3, c, x / y)
    store_columns(out, 4, c, -x)
    store_columns(out, 5, c, absolute(x))
    store_columns(out, 6, c, sqrt(x))
    store_columns(out, 7, c, select(x < y, 1.0, x - x + 2.0))
    store_columns(out, 8, c, select((x <= y) & (y > s), x, y))
    store_columns(out, 9, c, select(x >= s, s, x))
    store_columns(out, 10, c, select(x == y, s / x, x - s))
    store_columns(out, 11, c, select(s < 1.0, x, y))
    return count_of(x < y), anywhere(x == y)


@nb.njit(error_model="numpy")
def _run(a, b, s, out, counts):
    whole = a.shape[1] // COLUMNS * COLUMNS
    for c in range(0, whole, COLUMNS):
        counts[0, c], counts[1, c] = _operations(c, four_columns(a, 0, c), b, s, out)
    for c in range(whole, a.shape[1]):
        counts[0, c], counts[1, c] = _operations(c, np.float64(a[0, c]), b, s, out)


EXPECTED = {
    0: lambda a: a + B,
    1: lambda a: a - B,
    2: lambda a: a * B,
    3: lambda a: a / B,
    4: lambda a: -a,
    5: np.abs,
    6: np.sqrt,
    7: lambda a: np.where(a < B, 1.0, a - a + 2.0),
    8: lambda a: np.where((a <= B) & (B > S), a, B),
    9: lambda a: np.where(a >= S, S, a),
    10: lambda a: np.where(a == B, S / a, a - S),
    11: lambda a: a,
}


def run(a: np.ndarray, kind: type = np.float64) -> tuple[np.ndarray, np.ndarray]:
    """Return the results ``(operations, columns)``, and counts and truths ``(2, columns)``."""
    out, counts = np.zeros((len(EXPECTED), a.size), kind), np.zeros((2, a.size), np.int64)
    _run(a[None], B[None], S, out, counts)
    return out, counts


@pytest.fixture(scope="module")
def results() -> np.ndarray:
    return run(A)[0]


@pytest.mark.parametrize("operation", EXPECTED)
def test_same_as_numpy(results, operation):
    with np.errstate(all="ignore"):
        expected = EXPECTED[operation](A)
    nan = np.isnan(expected)
    assert np.array_equal(np.isnan(results[operation]), nan)
    assert np.array_equal(results[operation][~nan].view(np.int64), expected[~nan].view(np.int64))


def test_conditions_are_counted():
    _, counts = run(A)
    whole = A.size // COLUMNS * COLUMNS
    less, equal = (A < B), (A == B)
    assert np.array_equal(counts[0, :whole:COLUMNS], less[:whole].reshape(-1, COLUMNS).sum(1))
    assert np.array_equal(counts[1, :whole:COLUMNS], equal[:whole].reshape(-1, COLUMNS).any(1))
    assert np.array_equal(counts[0, whole:], less[whole:])
    assert np.array_equal(counts[1, whole:], equal[whole:])


def test_float32_is_widened_and_rounded():
    single = np.where(np.abs(A) < 1e30, A, 0.1).astype(np.float32)
    out, _ = run(single, np.float32)
    with np.errstate(all="ignore"):
        expected = (single.astype(np.float64) * B).astype(np.float32)
    np.testing.assert_array_equal(out[2], expected)


@nb.njit
def _store_row(out, values):
    store_columns(out, 1, 2, four_columns(values, 0, 1))


def test_only_the_columns_of_one_row_are_written():
    out, values = np.zeros((3, 7)), np.arange(6.0)
    _store_row(out, values)
    assert out[1].tolist() == [0, 0, 1, 2, 3, 4, 0]
    assert not out[[0, 2]].any()


WRONG = {
    "doubles and float32": lambda a: four_columns(a, 0, 0) + np.float32(1),
    "doubles and lanes": lambda a: select(four_columns(a, 0, 0) < 0.0, zero(), zero()),
    "a mask of lanes": lambda a: count_of(splat(np.float32(1)) == zero()),
    "integers": lambda a: four_columns(a.view(np.int64), 0, 0),
    "a column of a matrix": lambda a: four_columns(a[::2], 0, 0),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_invalid_operations_do_not_compile(mistake):
    with pytest.raises(TypingError):
        nb.njit(WRONG[mistake])(np.zeros(16))


def test_the_sum_of_four_columns_begins_with_pairs():
    """Rounding shows the order: 1 is lost beside 2⁶⁰."""

    @nb.njit
    def add(row):
        return add_columns(four_columns(row, 0, 0)), add_columns(row[0])

    assert add(np.array([2.0**60, 1.0, 1.0, -(2.0**60)])) == (0.0, 2.0**60)
    assert add(np.array([1.0, 2.0, 2.0**60, -(2.0**60)])) == (3.0, 1.0)
