"""Operations on lanes, and on lanes with scalars, against NumPy; fma against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numba as nb
import numpy as np
import pytest
from numba.core.errors import TypingError

from streamlearn.kernels.simd.groups import GROUP, load_block, look_up, prefetch_block, store_block
from streamlearn.kernels.simd.lanes import (
    WIDTH,
    absolute,
    anywhere,
    copysign,
    exponent,
    fma,
    iota,
    lane,
    larger,
    load,
    load_from,
    pow2,
    select,
    smaller,
    splat,
    sqrt,
    store,
    store_from,
    zero,
)

SPECIAL = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    np.inf,
    -np.inf,
    np.nan,
    2.0**-149,
    -(2.0**-130),
    3.4e38,
    -3.4e38,
    0.1,
    -7.25,
]


def operands() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return three arrays ``(blocks, 16)``: pairs of special values, then random ones of any magnitude."""
    random = np.random.default_rng(1)
    a, b = (grid.ravel() for grid in np.meshgrid(SPECIAL, SPECIAL))
    extra = -len(a) % WIDTH + 64 * WIDTH
    wide = [random.normal(size=extra) * 2.0 ** random.integers(-100, 100, extra) for _ in range(3)]
    a, b = np.concatenate([a, wide[0]]), np.concatenate([b, wide[1]])
    c = np.resize(np.concatenate([wide[2], SPECIAL]), a.size)
    return tuple(v.astype(np.float32).reshape(-1, WIDTH) for v in (a, b, c))


A, B, C = operands()
S = np.float32(0.3)


@nb.njit(error_model="numpy")
def _run_operations(a, b, c, s, out):
    """Write the results to ``out`` ``(operations, blocks, 16)``. EXPECTED has the operations."""
    one, null = splat(np.float32(1)), zero()
    for i in range(a.shape[0]):
        x, y, z = load(a, i), load(b, i), load(c, i)
        store(out, 0, i, x + y)
        store(out, 1, i, x - y)
        store(out, 2, i, x * y)
        store(out, 3, i, x / y)
        store(out, 4, i, -x)
        store(out, 5, i, absolute(x))
        store(out, 6, i, copysign(x, y))
        store(out, 7, i, sqrt(x))
        store(out, 8, i, select(x < y, one, null))
        store(out, 9, i, select(x <= y, one, null))
        store(out, 10, i, select(x > y, one, null))
        store(out, 11, i, select(x >= y, one, null))
        store(out, 12, i, select(x == y, one, null))
        store(out, 13, i, select(x < y, x, y))
        store(out, 14, i, s - x)
        store(out, 15, i, x - s)
        store(out, 16, i, s * x + s)
        store(out, 17, i, x / s)
        store(out, 18, i, select(x < s, s, x))
        store(out, 19, i, splat(s) + iota())
        store(out, 20, i, fma(x, y, z))
        store(out, 21, i, fma(s, x, y))
        store(out, 22, i, splat(lane(x, i % WIDTH)))
        store(out, 23, i, select(s < lane(y, 3), x, y))
        store(out, 24, i, (one if anywhere(x < y) else null))
        store(out, 25, i, larger(x, y))
        store(out, 26, i, smaller(x, s))


EXPECTED = {
    0: lambda: A + B,
    1: lambda: A - B,
    2: lambda: A * B,
    3: lambda: A / B,
    4: lambda: -A,
    5: lambda: np.abs(A),
    6: lambda: np.copysign(A, B),
    7: lambda: np.sqrt(A),
    8: lambda: A < B,
    9: lambda: A <= B,
    10: lambda: A > B,
    11: lambda: A >= B,
    12: lambda: A == B,
    13: lambda: np.where(A < B, A, B),
    14: lambda: S - A,
    15: lambda: A - S,
    16: lambda: S * A + S,
    17: lambda: A / S,
    18: lambda: np.where(A < S, S, A),
    19: lambda: S + np.tile(np.arange(WIDTH, dtype=np.float32), (len(A), 1)),
    22: lambda: np.stack([np.full(WIDTH, row[i % WIDTH]) for i, row in enumerate(A)]),
    23: lambda: np.where(B[:, 3:4] > S, A, B),
    24: lambda: np.repeat((A < B).any(axis=1)[:, None], WIDTH, axis=1),
    25: lambda: np.where(B > A, B, A),
    26: lambda: np.where(S < A, S, A),
}


@pytest.fixture(scope="module")
def results() -> np.ndarray:
    out = np.empty((27, *A.shape), np.float32)
    _run_operations(A, B, C, S, out)
    return out


def same(result: np.ndarray, expected: np.ndarray) -> bool:
    """Return whether the arrays are equal bit for bit. The bits of NaNs may differ."""
    expected = expected.astype(np.float32)
    number = ~np.isnan(expected)
    return np.array_equal(np.isnan(result), ~number) and np.array_equal(
        result[number].view(np.uint32), expected[number].view(np.uint32)
    )


@pytest.mark.parametrize("operation", EXPECTED)
def test_same_as_numpy(results, operation):
    with np.errstate(all="ignore"):
        assert same(results[operation], EXPECTED[operation]())


@pytest.mark.parametrize("shift", [0, 1, 7, 15, 16])
def test_look_up(shift):
    """All places in all lanes, and places beyond the table, which start again."""
    table, index = A[3:4], (np.arange(WIDTH, dtype=np.float32)[None] + shift).copy()

    @nb.njit
    def run(table, index, out):
        store(out, 0, look_up(load(table, 0), load(index, 0)))

    out = np.empty_like(table)
    run(table, index, out)
    assert same(out, table[:, index[0].astype(int) % WIDTH])


def exact(a: float, b: float, c: float) -> np.float32:
    """Return a·b + c in rational arithmetic, rounded once to float32, ties to even."""
    value = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    near = np.float32(float(value))
    candidates = [np.nextafter(near, np.float32(side)) for side in (-np.inf, np.inf)] + [near]
    return min(
        (number for number in candidates if np.isfinite(number)),
        key=lambda number: (abs(Fraction(float(number)) - value), int(number.view(np.uint32)) & 1),
    )


@pytest.mark.parametrize(("operation", "a", "b", "c"), [(20, A, B, C), (21, np.full_like(A, S), A, B)])
def test_fma_rounds_once(results, operation, a, b, c):
    checked = 0
    for result, x, y, z in zip(results[operation].flat, a.flat, b.flat, c.flat, strict=True):
        finite = np.isfinite([x, y, z]).all()
        if finite and abs(float(x) * float(y) + float(z)) < 3e38:
            assert result == exact(x, y, z), (x, y, z)
            checked += 1
        elif not finite:
            with np.errstate(all="ignore"):
                assert same(np.array([result]), np.array([x * y + z])), (x, y, z)
    assert checked > 1000


def test_fma_does_not_round_the_product():
    """(1 + 2⁻¹²)² − 1 − 2⁻¹¹ is 2⁻²⁴. If the product were rounded, it would be 0."""
    x = np.float32(1 + 2.0**-12)

    @nb.njit
    def run(x, c):
        return fma(x, x, c)

    assert run(x, np.float32(-(1 + 2.0**-11))) == 2.0**-24


def test_powers_and_exponents():
    @nb.njit
    def run(n, x, powers, exponents):
        for b in range(n.shape[0]):
            store(powers, b, pow2(load(n, b)))
            store(exponents, b, exponent(load(x, b)))

    n = np.resize(np.arange(-126, 128), (16, WIDTH)).astype(np.float32)
    x = np.exp(np.random.default_rng(2).uniform(-87, 88, (16, WIDTH))).astype(np.float32)
    powers, exponents = np.empty_like(n), np.empty_like(n)
    run(n, x, powers, exponents)
    assert np.array_equal(powers, np.exp2(n.astype(np.float64)))
    fraction = x / np.exp2(exponents.astype(np.float64))
    assert np.array_equal(exponents, np.rint(exponents))
    assert np.all((fraction >= 0.5**0.5 * (1 - 1e-7)) & (fraction < 2**0.5 * (1 + 1e-7)))


def test_load_and_store_access_one_block():
    """In arrays ``(blocks, 16)`` and ``(blocks, dim, 16)``, and no other element changes."""

    @nb.njit
    def run(flat, deep):
        store(flat, 1, load(deep, 2, 1) + load(flat, 0))
        store(deep, 0, 2, load(flat, 2))

    flat = np.arange(3 * WIDTH, dtype=np.float32).reshape(3, WIDTH)
    deep = np.arange(100, 100 + 9 * WIDTH, dtype=np.float32).reshape(3, 3, WIDTH)
    expected_flat, expected_deep = flat.copy(), deep.copy()
    expected_flat[1] = expected_deep[2, 1] + expected_flat[0]
    expected_deep[0, 2] = expected_flat[2]
    run(flat, deep)
    assert np.array_equal(flat, expected_flat)
    assert np.array_equal(deep, expected_deep)


def test_load_from_and_store_from_access_any_16_elements():
    @nb.njit
    def run(array, first, target):
        store_from(array, target, load_from(array, first) + iota())

    array = np.arange(4 * WIDTH, dtype=np.float32).reshape(4, WIDTH)
    expected = array.copy().ravel()
    expected[21 : 21 + WIDTH] = expected[7 : 7 + WIDTH] + np.arange(WIDTH)
    run(array, 7, 21)
    assert np.array_equal(array.ravel(), expected)


def test_prefetch_outside_of_an_array_has_no_effect():
    """Passes prefetch rows beyond the last group. A load from these addresses would end the process."""

    @nb.njit
    def run(weights, block, row, far):
        prefetch_block(weights, block, row + far)
        store_block(weights, block, row, load_block(weights, block, row) + np.float32(1))

    weights = np.arange(6 * GROUP, dtype=np.float32).reshape(2, 3, GROUP)
    expected = weights.copy()
    expected[1, 2, WIDTH : 2 * WIDTH] += 3
    for far in (8, -(1 << 40), 1 << 40):
        run(weights, 5, 2, far)
    assert np.array_equal(weights, expected)


WRONG = {
    "double constants": lambda: nb.njit(lambda a: load(a, 0) + 0.5),
    "strided arrays": lambda: nb.njit(lambda a: lane(load(a[:, ::2], 0), 0)),
    "strided arrays, from": lambda: nb.njit(lambda a: lane(load_from(a[:, ::2], 0), 0)),
    "too few indices": lambda: nb.njit(lambda a: lane(load(a, 0, 0), 0)),
    "a number that is no index": lambda: nb.njit(lambda a: lane(load_from(a, 0.5), 0)),
    "integers": lambda: nb.njit(lambda a: lane(fma(load(a, 0), 1, 2), 0)),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_invalid_operations_do_not_compile(mistake):
    with pytest.raises(TypingError):
        WRONG[mistake]()(A)


def test_load_and_store_raise_outside_of_kernels():
    with pytest.raises(NotImplementedError, match="not usable in pure-python"):
        load(A, 0)
    with pytest.raises(NotImplementedError, match="not usable in pure-python"):
        store(A, 0, 1.0)
