"""The score against a count of every value, and against SciPy's and NumPy's empirical distributions."""

from __future__ import annotations

import math

import numba as nb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from streamlearn.kernels.stream import score
from tests.naive.score import Score, bin_of

VALUES = st.floats(0, width=32, allow_nan=False)  # to infinity


@nb.njit(error_model="numpy")
def _feed(tree, head, values, decay, ranks):
    for i in range(values.size):
        ranks[i] = score.rank(tree, head, values[i])
        score.observe(tree, head, values[i], decay)


@nb.njit(error_model="numpy")
def _ask(tree, head, values, ranks):
    for i in range(values.size):
        ranks[i] = score.rank(tree, head, values[i])


class Ours:
    def __init__(self, decay: float = 1.0) -> None:
        self.decay = decay
        self.tree, self.head = np.zeros(score.SIZE), np.array([1.0, 0.0])

    def feed(self, values) -> np.ndarray:
        """Each value's rank among those before it."""
        values = np.asarray(values, np.float32)
        ranks = np.empty_like(values)
        _feed(self.tree, self.head, values, self.decay, ranks)
        return ranks

    def ask(self, values) -> np.ndarray:
        values = np.asarray(values, np.float32)
        ranks = np.empty_like(values)
        _ask(self.tree, self.head, values, ranks)
        return ranks


@given(st.lists(VALUES, max_size=60), st.sampled_from([1.0, 0.99, 0.5]))
def test_same_as_counting(values, decay):
    oracle = Score(decay)
    expected = []
    for value in values:
        expected.append(oracle.rank(value))
        oracle.observe(value)
    assert np.allclose(Ours(decay).feed(values), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("half_life", [0.01, 1.0, 5.0, 100.0, 1e9])
def test_same_as_counting_after_a_long_stream(half_life):
    """Long enough to scale the weights down many times, where they grow."""
    decay = 2.0 ** (-1 / half_life)
    values = np.random.default_rng(7).lognormal(size=20_000).astype(np.float32)
    ours, oracle = Ours(decay), Score(decay)
    ours.feed(values)
    for value in values.tolist():
        oracle.observe(value)
    asked = np.concatenate([values[:20], np.float32([0, 1e-3, 1, 10, 1e9, np.inf])])
    assert np.allclose(ours.ask(asked), [oracle.rank(v) for v in asked.tolist()], rtol=0, atol=1e-6)
    assert np.isfinite(ours.tree).all()


def test_scaling_down_leaves_no_trace():
    """A half-life that makes the weights grow fast, around the very sample where they are scaled down."""
    values = np.random.default_rng(8).lognormal(size=200).astype(np.float32)
    ours, oracle = Ours(0.5), Score(0.5)
    for value in values.tolist():
        assert ours.ask([2.0])[0] == pytest.approx(oracle.rank(2.0), abs=1e-6)
        ours.feed([value])
        oracle.observe(value)


@pytest.mark.parametrize("shape", ["normal", "exponential", "uniform", "cauchy"])
def test_quantiles_score_what_they_are(shape):
    """Against NumPy's quantiles and SciPy's ranks, to within what the bins can tell apart."""
    random = np.random.default_rng(9)
    values = np.abs(getattr(random, {"cauchy": "standard_cauchy"}.get(shape, shape))(size=20_000))
    values = values.astype(np.float32)
    ours = Ours()
    ours.feed(values)
    quantiles = np.linspace(0.01, 0.999, 60)
    asked = np.quantile(values, quantiles).astype(np.float32)
    for at, quantile, rank in zip(asked.tolist(), quantiles, ours.ask(asked).tolist(), strict=True):
        lower, upper = bin_of(at)
        resolution = np.mean((values >= lower) & (values < upper)) + 1 / len(values)
        assert abs(rank - quantile) <= resolution
        assert abs(rank - stats.percentileofscore(values, at) / 100) <= resolution
    assert np.abs(ours.ask(asked) - quantiles).max() < 0.02  # interpolation does much better than the bins


@given(st.lists(VALUES, min_size=1, max_size=40), st.lists(VALUES, min_size=2, max_size=20))
def test_never_falls_with_the_value(seen, asked):
    ours = Ours(0.9)
    ours.feed(seen)
    ranks = ours.ask(sorted(asked))
    assert np.all(np.diff(ranks) >= -1e-7)
    assert np.all((ranks >= 0) & (ranks < 1))


def test_rises_strictly_where_there_are_values():
    ours = Ours()
    ours.feed(np.linspace(1, 2, 5000))
    ranks = ours.ask(np.linspace(1, 2, 4000))
    assert np.all(np.diff(ranks) > 0)


def test_comparable_between_streams():
    """The same stream in other units has the same scores (an octave up is eight bins up, exactly)."""
    values = np.random.default_rng(10).lognormal(size=2000).astype(np.float32)
    assert np.array_equal(Ours(0.999).feed(values), Ours(0.999).feed(values * np.float32(2.0**20)))


def test_uniform_on_a_stationary_stream():
    values = np.abs(np.random.default_rng(11).normal(size=20_000))
    ranks = Ours(2.0 ** (-1 / 2000)).feed(values)[2000:]
    assert stats.kstest(ranks, "uniform").statistic < 0.03


@pytest.mark.parametrize("value", [0.0, 1e-30, 1.0, 1.12, 1.1249, 1.249, 7e30, np.inf])
def test_what_always_comes_is_in_the_middle(value):
    assert Ours(0.999).feed(np.full(5000, value))[100:] == pytest.approx(0.5, abs=0.01)


def test_where_values_repeat_the_score_is_the_middle_of_their_share():
    """As SciPy's mean percentile has it, wherever in its bin a value lies."""
    values = np.random.default_rng(12).choice(
        [0.3, 0.32, 1.1249, 5.0, 5.01], 4000, p=[0.4, 0.1, 0.4, 0.05, 0.05]
    )
    ours = Ours()
    ours.feed(values)
    for value in (0.3, 0.32, 1.1249):
        expected = stats.percentileofscore(values, value, kind="mean") / 100
        assert ours.ask([value])[0] == pytest.approx(expected, abs=1e-3)
    low, high = ours.ask([5.0, 5.01])  # both in one bin
    assert 0.899 < low < high < 1


def test_forgets():
    """After k half-lives on another stream, the first one's values are down to 2⁻ᵏ of the weight."""
    ours = Ours(2.0 ** (-1 / 100))
    ours.feed(np.full(2000, 1.0))
    for half_lives in range(1, 8):
        ours.feed(np.full(100, 1000.0))
        assert ours.ask([30.0])[0] == pytest.approx(2.0**-half_lives, abs=0.01)


def test_before_anything_was_seen_and_for_nan():
    ours = Ours(0.9)
    assert ours.ask([0.0, 1.0, np.inf]).tolist() == [0, 0, 0]
    assert math.isnan(ours.ask([np.nan])[0])
    before = ours.tree.copy(), ours.head.copy()
    ours.feed([np.nan, np.nan])
    assert np.array_equal(ours.tree, before[0])
    assert np.array_equal(ours.head, before[1])


def test_edges_of_the_scale():
    """All below 2⁻⁶⁴ is one value, and so is all from 2⁶⁴ on."""
    ours = Ours()
    ours.feed([0, 1e-30, 2.0**-64, 1.0, 1e30, np.inf])
    assert ours.ask([0, 1e-45, 1e-20]) == pytest.approx(1.5 / 7)
    assert ours.ask([2.0**64, 3e38, np.inf]) == pytest.approx(5 / 7)
    assert ours.ask([2.0]) == pytest.approx(4 / 7)
    assert ours.ask([0.5]) == pytest.approx(3 / 7)


def test_every_bin_is_where_float32_says():
    """One value at each bin's lower edge: all bins below it lie below, and half of itself."""
    edges = np.float32([2.0**octave * (1 + k / 8) for octave in range(-64, 64) for k in range(8)])
    ours = Ours()
    ours.feed(edges)
    assert np.allclose(ours.ask(edges), (np.arange(score.BINS) + 0.5) / (score.BINS + 1), rtol=0, atol=1e-7)
