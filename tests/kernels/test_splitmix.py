"""splitmix64 against plain Python, published outputs, and statistical tests of uniform numbers."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest
from scipy import stats

from streamlearn.kernels import compiler
from streamlearn.kernels.simd import splitmix

WORD = (1 << 64) - 1


def splitmix64(state: int):
    """Yield the outputs of splitmix64 (Steele, Lea & Flood 2014), in Python integers."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) & WORD
        z = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & WORD
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & WORD
        yield z ^ (z >> 31)


@nb.njit
def words(state, out):
    for i in range(out.size):
        out[i] = splitmix.next_u64(state)


def kernel_outputs(seed: int, n: int) -> list[int]:
    out = np.empty(n, np.uint64)
    words(np.array([seed], np.uint64), out)
    return [int(word) for word in out]


def uniform(seed: int, n: int, low: float = 0.0, high: float = 1.0) -> np.ndarray:
    compiler.ready(splitmix)
    out = np.empty(n, np.float32)
    splitmix.fill_uniform(np.array([seed], np.uint64), np.float32(low), np.float32(high), out)
    return out


def test_published_outputs():
    """The first five outputs for seed 1234567, as published with many implementations."""
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert kernel_outputs(1234567, 5) == published


@pytest.mark.parametrize("seed", [0, 1, 1234567, (1 << 63) - 1, WORD])
def test_same_as_plain_python(seed):
    generator = splitmix64(seed)
    assert kernel_outputs(seed, 1000) == [next(generator) for _ in range(1000)]


def test_uniform_takes_the_upper_24_bits():
    generator = splitmix64(7)
    expected = [(next(generator) >> 40) / 2**24 for _ in range(1000)]
    assert uniform(7, 1000).tolist() == expected


def test_the_state_array_is_the_whole_state():
    """Several short runs on one state equal one long run."""
    compiler.ready(splitmix)
    state = np.array([42], np.uint64)
    parts = [np.empty(n, np.float32) for n in (0, 1, 30, 69)]
    for part in parts:
        splitmix.fill_uniform(state, np.float32(0), np.float32(1), part)
    assert np.array_equal(np.concatenate(parts), uniform(42, 100))


@pytest.mark.parametrize("seed", [0, 1, 99])
def test_uniform_is_uniform(seed):
    x = uniform(seed, 200_000)
    assert x.min() >= 0
    assert x.max() < 1
    assert stats.kstest(x, "uniform").pvalue > 1e-4
    pairs, _, _ = np.histogram2d(x[::2], x[1::2], bins=16, range=[[0, 1], [0, 1]])
    assert stats.chisquare(pairs.ravel()).pvalue > 1e-4
    assert abs(np.corrcoef(x[:-1], x[1:])[0, 1]) < 0.01


def test_consecutive_seeds_are_uncorrelated():
    a, b = uniform(1, 100_000), uniform(2, 100_000)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.015


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (-0.25, 0.25), (2, 3), (0, 0)])
def test_range(low, high):
    x = uniform(5, 100_000, low, high)
    assert x.min() >= low
    assert x.max() < high or low == high
    assert abs(x.mean() - (low + high) / 2) < 0.01
