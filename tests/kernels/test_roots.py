"""The cube root: its error against NumPy's, exact cubes, and the ends of the range."""

from __future__ import annotations

import numba as nb
import numpy as np

from streamlearn.kernels.simd.roots import cube_root


@nb.njit(error_model="numpy")
def roots(x):
    found = np.empty(x.size)
    for n in range(x.size):
        found[n] = cube_root(x[n])
    return found


def test_the_error_is_below_the_stated_bound():
    random = np.random.default_rng(1)
    x = np.exp(random.uniform(-700, 700, 200_000))
    x = np.concatenate([x, random.uniform(1, 8, 200_000), np.arange(1, 1000.0) ** 3])
    x = np.append(x, [np.finfo(float).tiny, 1e307])
    assert (np.abs(roots(x) / np.cbrt(x) - 1) < 1e-14).all()


def test_zero():
    assert roots(np.zeros(1)).tolist() == [0.0]


def test_the_root_of_a_square_is_monotonic_for_float32():
    d = np.sort(np.random.default_rng(2).uniform(0.5, 4, 100_000).astype(np.float32)).astype(float)
    assert (np.diff(roots(np.unique(d) ** 2)) > 0).all()
