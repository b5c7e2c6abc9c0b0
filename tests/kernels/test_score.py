"""The score against an exact count, and against the empirical distributions of SciPy and NumPy."""

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

VALUES = st.floats(0, width=32, allow_nan=False)  # infinity included


@nb.njit(error_model="numpy")
def _observe(reference, by_count, values, decay, ranks):
    for i in range(values.size):
        own = score.Score(reference, by_count, 1, decay)
        ranks[i] = score.rank(own, values[i], 1)
        score.observe(own, values[i], 1)


@nb.njit(error_model="numpy")
def _rank(reference, by_count, values, ranks):
    for i in range(values.size):
        ranks[i] = score.rank(score.Score(reference, by_count, 1, 1.0), values[i], 1)


class Ranking:
    def __init__(self, decay: float = 1.0) -> None:
        self.decay = decay
        self.reference, self.by_count = np.zeros(score.SIZE), np.zeros((1, 1), np.float32)
        self.reference[score.NEXT] = 1.0

    def observe(self, values) -> np.ndarray:
        """Observe the values. Return the rank of each value among the earlier ones."""
        values = np.asarray(values, np.float32)
        ranks = np.empty_like(values)
        _observe(self.reference, self.by_count, values, self.decay, ranks)
        return ranks

    def rank(self, values) -> np.ndarray:
        values = np.asarray(values, np.float32)
        ranks = np.empty_like(values)
        _rank(self.reference, self.by_count, values, ranks)
        return ranks


@given(st.lists(VALUES, max_size=60), st.sampled_from([1.0, 0.99, 0.5]))
def test_same_as_counting(values, decay):
    oracle = Score(decay)
    expected = []
    for value in values:
        expected.append(oracle.rank(value))
        oracle.observe(value)
    assert np.allclose(Ranking(decay).observe(values), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("half_life", [0.01, 1.0, 5.0, 100.0, 1e9])
def test_same_as_counting_after_a_long_stream(half_life):
    """With growing weights, the stream is long enough for many rescalings."""
    decay = 2.0 ** (-1 / half_life)
    values = np.random.default_rng(7).lognormal(size=20_000).astype(np.float32)
    ranking, oracle = Ranking(decay), Score(decay)
    ranking.observe(values)
    for value in values.tolist():
        oracle.observe(value)
    queries = np.concatenate([values[:20], np.float32([0, 1e-3, 1, 10, 1e9, np.inf])])
    assert np.allclose(ranking.rank(queries), [oracle.rank(v) for v in queries.tolist()], rtol=0, atol=1e-6)
    assert np.isfinite(ranking.reference).all()


def test_rescaling_does_not_change_the_ranks():
    """With this half-life, the weights grow fast. The ranks are compared at every sample."""
    values = np.random.default_rng(8).lognormal(size=200).astype(np.float32)
    ranking, oracle = Ranking(0.5), Score(0.5)
    for value in values.tolist():
        assert ranking.rank([2.0])[0] == pytest.approx(oracle.rank(2.0), abs=1e-6)
        ranking.observe([value])
        oracle.observe(value)


@pytest.mark.parametrize("shape", ["normal", "exponential", "uniform", "cauchy"])
def test_the_score_of_a_quantile_is_its_level(shape):
    """Compare with the quantiles of NumPy and the ranks of SciPy, to within the resolution of the bins."""
    random = np.random.default_rng(9)
    values = np.abs(getattr(random, {"cauchy": "standard_cauchy"}.get(shape, shape))(size=20_000))
    values = values.astype(np.float32)
    ranking = Ranking()
    ranking.observe(values)
    quantiles = np.linspace(0.01, 0.999, 60)
    queries = np.quantile(values, quantiles).astype(np.float32)
    for value, quantile, rank in zip(
        queries.tolist(), quantiles, ranking.rank(queries).tolist(), strict=True
    ):
        lower, upper = bin_of(value)
        resolution = np.mean((values >= lower) & (values < upper)) + 1 / len(values)
        assert abs(rank - quantile) <= resolution
        assert abs(rank - stats.percentileofscore(values, value) / 100) <= resolution
    assert (
        np.abs(ranking.rank(queries) - quantiles).max() < 0.02
    )  # interpolation is much better than the bins


@given(st.lists(VALUES, min_size=1, max_size=40), st.lists(VALUES, min_size=2, max_size=20))
def test_the_rank_never_falls_with_the_value(values, queries):
    ranking = Ranking(0.9)
    ranking.observe(values)
    ranks = ranking.rank(sorted(queries))
    assert np.all(np.diff(ranks) >= -1e-7)
    assert np.all((ranks >= 0) & (ranks < 1))


def test_the_rank_rises_strictly_where_values_were_observed():
    ranking = Ranking()
    ranking.observe(np.linspace(1, 2, 5000))
    ranks = ranking.rank(np.linspace(1, 2, 4000))
    assert np.all(np.diff(ranks) > 0)


def test_scores_do_not_depend_on_the_unit():
    """A factor of a power of two moves the values by a whole number of bins."""
    values = np.random.default_rng(10).lognormal(size=2000).astype(np.float32)
    assert np.array_equal(
        Ranking(0.999).observe(values), Ranking(0.999).observe(values * np.float32(2.0**20))
    )


def test_uniform_on_a_stationary_stream():
    values = np.abs(np.random.default_rng(11).normal(size=20_000))
    ranks = Ranking(2.0 ** (-1 / 2000)).observe(values)[2000:]
    assert stats.kstest(ranks, "uniform").statistic < 0.03


@pytest.mark.parametrize("value", [0.0, 1e-30, 1.0, 1.12, 1.1249, 1.249, 7e30, np.inf])
def test_a_constant_value_has_rank_one_half(value):
    assert Ranking(0.999).observe(np.full(5000, value))[100:] == pytest.approx(0.5, abs=0.01)


def test_the_rank_of_a_repeated_value_is_its_mean_percentile():
    """As in SciPy, at any position of the value in its bin."""
    values = np.random.default_rng(12).choice(
        [0.3, 0.32, 1.1249, 5.0, 5.01], 4000, p=[0.4, 0.1, 0.4, 0.05, 0.05]
    )
    ranking = Ranking()
    ranking.observe(values)
    for value in (0.3, 0.32, 1.1249):
        expected = stats.percentileofscore(values, value, kind="mean") / 100
        assert ranking.rank([value])[0] == pytest.approx(expected, abs=1e-3)
    low, high = ranking.rank([5.0, 5.01])  # in the same bin
    assert 0.899 < low < high < 1


def test_old_values_are_forgotten():
    """After k half-lives of other values, the first values have 2⁻ᵏ of the weight."""
    ranking = Ranking(2.0 ** (-1 / 100))
    ranking.observe(np.full(2000, 1.0))
    for half_lives in range(1, 8):
        ranking.observe(np.full(100, 1000.0))
        assert ranking.rank([30.0])[0] == pytest.approx(2.0**-half_lives, abs=0.01)


def test_before_the_first_value_and_for_nan():
    ranking = Ranking(0.9)
    assert ranking.rank([0.0, 1.0, np.inf]).tolist() == [0, 0, 0]
    assert math.isnan(ranking.rank([np.nan])[0])
    before = ranking.reference.copy()
    ranking.observe([np.nan, np.nan])
    assert np.array_equal(ranking.reference, before)


def test_edges_of_the_scale():
    """All values below 2⁻⁶⁴ are equal, and so are all from 2⁶⁴."""
    ranking = Ranking()
    ranking.observe([0, 1e-30, 2.0**-64, 1.0, 1e30, np.inf])
    assert ranking.rank([0, 1e-45, 1e-20]) == pytest.approx(1.5 / 7)
    assert ranking.rank([2.0**64, 3e38, np.inf]) == pytest.approx(5 / 7)
    assert ranking.rank([2.0]) == pytest.approx(4 / 7)
    assert ranking.rank([0.5]) == pytest.approx(3 / 7)


def test_the_edges_of_the_bins():
    """With one value at the lower edge of each bin, the rank counts all lower bins and half of its own."""
    edges = np.float32([2.0**octave * (1 + k / 8) for octave in range(-64, 64) for k in range(8)])
    ranking = Ranking()
    ranking.observe(edges)
    assert np.allclose(
        ranking.rank(edges), (np.arange(score.BINS) + 0.5) / (score.BINS + 1), rtol=0, atol=1e-7
    )
