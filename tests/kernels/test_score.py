"""The calibrated score against the naive oracle, and against its promises: P(score > 1 − p) = p."""

from __future__ import annotations

import math

import numba as nb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from streamlearn.kernels.stream import score
from tests.naive.score import Score

VALUES = st.floats(0, width=32, allow_nan=False)  # infinity included
DECAY = 2.0 ** (-1 / 10_000)


@nb.njit(error_model="numpy")
def _observe(reference, columns, decay, values, present, ranks):
    own = score.Score(reference, columns, decay)
    for i in range(values.size):
        ranks[i] = score.rank(own, values[i], present[i])
        score.observe(own, values[i], present[i])


@nb.njit(error_model="numpy")
def _rank(reference, columns, values, present, ranks):
    for i in range(values.size):
        ranks[i] = score.rank(score.Score(reference, columns, 1.0), values[i], present[i])


class Ranking:
    def __init__(self, columns: int = 1, decay: float = DECAY) -> None:
        self.columns, self.decay = columns, decay
        self.reference = np.empty(score.size(columns))
        score.restart(self.reference)

    def observe(self, values, present=None) -> np.ndarray:
        """Observe the values. Return the score of each value among the earlier ones."""
        return self._call(_observe, values, present, self.decay)

    def rank(self, values, present=None) -> np.ndarray:
        return self._call(_rank, values, present)

    def _call(self, function, values, present, *decay) -> np.ndarray:
        values = np.asarray(values, np.float32)
        present = np.full(values.size, self.columns) if present is None else np.asarray(present)
        ranks = np.empty_like(values)
        function(self.reference, self.columns, *decay, values, present, ranks)
        return ranks


def chi(random: np.random.Generator, n: int, k: int = 4) -> np.ndarray:
    """Distances of Gaussian samples with ``k`` channels from their mean."""
    return np.sqrt(random.chisquare(k, n))


def share(scores: np.ndarray, above: float) -> float:
    """The percentage of scores above a limit."""
    return 100 * float((scores > above).mean())


# -- the oracle ----------------------------------------------------------------------------------------------


def changing(n: int, seed: int) -> np.ndarray:
    """Distances with spikes, a change of noise, a constant stretch, and zeros."""
    values = chi(np.random.default_rng(seed), n)
    values[n // 3 :] *= 2.5
    values[n // 2 : n // 2 + n // 10] = 1.0
    values[:: n // 20] = 0
    values[7 :: n // 15] *= 40
    return values.astype(np.float32)


@pytest.mark.parametrize("half_life", [10.0, 300.0, 10_000.0, 1e9])
@pytest.mark.parametrize("columns", [1, 3, 11, 70])
def test_same_as_the_oracle(columns, half_life):
    values = changing(3000, seed=7)
    present = np.random.default_rng(8).integers(-columns, columns + 1, values.size)
    present[:600] = columns  # without missing values at first
    present = np.where(present < 0, columns, present)
    oracle = Score(columns, half_life)
    expected = []
    for value, k in zip(values.tolist(), present.tolist(), strict=True):
        expected.append(oracle.rank(value, k))
        oracle.observe(value, k)
    ranking = Ranking(columns, 0.5 ** (1 / half_life))
    ranks = ranking.observe(values, present)
    assert np.allclose(ranks, expected, rtol=0, atol=1e-5, equal_nan=True)
    assert np.isnan(ranks).sum() == (present == 0).sum()
    assert np.isfinite(ranking.reference).all()


def test_rescaling_does_not_change_the_scores():
    """With this half-life, the weights grow fast and are divided often."""
    ranking, oracle = Ranking(1, 2.0 ** (-1 / 5)), Score(1, 5.0)
    for value in changing(800, seed=9).tolist():
        assert ranking.rank([2.0])[0] == pytest.approx(oracle.rank(2.0), abs=1e-6)
        ranking.observe([value])
        oracle.observe(value)


@given(st.lists(VALUES, max_size=60), st.lists(VALUES, min_size=2, max_size=20), st.integers(1, 3))
def test_the_score_never_falls_with_the_value(values, queries, present):
    ranking = Ranking(3, 0.9)
    ranking.observe(values, np.arange(len(values)) % 3 + 1)
    ranks = ranking.rank(sorted(queries), np.full(len(queries), present))
    assert np.all(np.diff(ranks) >= 0)
    assert np.all((ranks >= 0) & (ranks < 1))
    assert np.isfinite(ranking.reference).all()


def test_the_score_rises_strictly_where_values_were_observed():
    ranking = Ranking()
    ranking.observe(np.random.default_rng(3).uniform(1, 2, 5000))
    assert np.all(np.diff(ranking.rank(np.linspace(1.05, 1.95, 4000))) > 0)


# -- calibration ---------------------------------------------------------------------------------------------

STATIONARY = {
    "Gaussian, 4 channels": chi,
    "Gaussian, 1 channel": lambda random, n: chi(random, n, 1),
    "Gaussian, 64 channels": lambda random, n: chi(random, n, 64),
    "heavy tails": lambda random, n: np.abs(random.standard_t(3, n)),
    "log-normal": lambda random, n: random.lognormal(size=n),
    "uniform, blurred": lambda random, n: random.random(n) + 0.05 * random.normal(size=n) ** 2,
    "1 % large": lambda random, n: chi(random, n) * np.where(random.random(n) < 0.01, 50.0, 0.5),
    "two levels": lambda random, n: random.gamma(9, 1, n) + 60.0 * (random.random(n) < 0.3),
    "a slow cycle": lambda random, n: chi(random, n) * (1.5 + np.sin(np.arange(n) / 2000)),
}


@pytest.mark.parametrize("stream", STATIONARY)
def test_calibrated_on_stationary_streams(stream):
    values = STATIONARY[stream](np.random.default_rng(11), 120_000)
    scores = Ranking().observe(values)[20_000:]
    assert share(scores, 0.99) == pytest.approx(1, abs=0.2)
    assert share(scores, 0.999) == pytest.approx(0.1, abs=0.05)
    assert share(scores, 0.5) == pytest.approx(50, abs=2)


def test_a_sharp_upper_end_of_the_distances():
    """Within one bin, the end is known from the mean and the mean deviation only."""
    scores = Ranking().observe(np.random.default_rng(11).random(120_000))[20_000:]
    assert share(scores, 0.99) == pytest.approx(1, abs=0.2)
    assert 0.03 <= share(scores, 0.999) <= 0.3


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("k", [1, 4, 16])
def test_calibrated_again_after_a_change_of_noise(factor, k):
    """And outliers of four times the noise are found as often as before the change."""
    n, change = 60_000, 30_000
    random = np.random.default_rng(12)
    outlier = random.random(n) < 0.002
    values = chi(random, n, k) * np.where(outlier, 4.0, 1.0)
    values[change:] *= factor
    scores = Ranking().observe(values)
    for start in range(change + 2000, n - 7000, 7000):
        assert 0.5 <= share(scores[start : start + 7000][~outlier[start : start + 7000]], 0.99) <= 2
    found = [share(part[out], 0.99) for part, out in _parts(scores, outlier, change)]
    assert found[1] >= found[0] - 12  # about 50 outliers on each side


def _parts(scores, outlier, change):
    before, after = slice(10_000, change), slice(change + 2000, None)
    return (scores[before], outlier[before]), (scores[after], outlier[after])


@pytest.mark.parametrize("missing", [0.2, 0.5])
def test_calibrated_for_every_number_of_present_values(missing):
    """Distances of Gaussian samples, scaled by the number of present channels as all kinds do."""
    n = 100_000
    random = np.random.default_rng(13)
    squares, here = random.normal(size=(n, 4)) ** 2, random.random((n, 4)) >= missing
    present = here.sum(axis=1)
    values = np.sqrt((squares * here).sum(axis=1) * 4 / np.maximum(present, 1))
    scores = Ranking(4).observe(values, present)[20_000:]
    for k in range(1, 5):
        assert 0.5 <= share(scores[present[20_000:] == k], 0.99) <= 2
        assert 45 <= share(scores[present[20_000:] == k], 0.5) <= 55


def test_a_sharp_upper_end_for_each_number_of_present_values():
    """The largest values of a class may be usual ones of another class, also while few samples are known."""
    shares, some = np.zeros(4), 8
    for seed in range(some):
        random = np.random.default_rng([17, seed])
        here = random.random((40_000, 4)) < 0.5
        present = here.sum(axis=1)
        squares = (random.random(here.shape) ** 2 * here).sum(axis=1)
        scores = Ranking(4).observe(np.sqrt(squares * 4 / np.maximum(present, 1)), present)[10_000:]
        shares += [share(scores[present[10_000:] == k], 0.99) / some for k in range(1, 5)]
    assert shares == pytest.approx(1, abs=0.35)


def test_far_values_move_neither_level_nor_spread():
    """Of a stream with 15 % of far values, scores rank the samples as their distances do."""
    random = np.random.default_rng(19)
    far = random.random(40_000) < 0.15
    values = chi(random, far.size) * np.where(far, random.uniform(5, 500, far.size), 1.0)
    scores = Ranking().observe(values)[5000:]
    assert stats.spearmanr(scores, values[5000:]).statistic > 0.98


def test_scores_do_not_depend_on_the_unit():
    values = np.random.default_rng(10).lognormal(size=2000).astype(np.float32)
    assert np.allclose(Ranking().observe(values), Ranking().observe(values * 2.0**30), rtol=0, atol=1e-5)


# -- ties ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0.0, 1e-30, 1.0, 1.12, 1.1249, 1.249, 7e30, np.inf])
def test_a_constant_value_has_score_one_half(value):
    assert Ranking().observe(np.full(5000, value))[300:] == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "probabilities", [[0.5, 0.3, 0.15, 0.05], [0.1, 0.8, 0.08, 0.02], [0.25, 0.25, 0.25, 0.25]]
)
def test_equal_values_share_the_middle_of_their_ranks(probabilities):
    """As in SciPy, with ``kind="mean"``. The transform is renewed now and then, which moves some of them."""
    errors = []
    for seed in range(12, 20):
        values = np.random.default_rng(seed).choice([0.0, 1.0, 2.0, 3.0], 60_000, p=probabilities)
        scores = Ranking().observe(values)
        for value in np.unique(values):
            expected = stats.percentileofscore(values, value, kind="mean") / 100
            found = scores[30_000:][values[30_000:] == value]
            errors.append(found.mean() - expected)
            assert found.std() < 0.15
    assert np.mean(np.abs(errors)) < 0.004
    assert np.max(np.abs(errors)) < 0.05


def test_minus_zero_is_zero():
    """A cross-entropy may be −0."""
    random = np.random.default_rng(18)
    values, present = random.choice([0.0, 1.0, 2.0], 3000), random.integers(1, 4, 3000)
    plus, minus = Ranking(3), Ranking(3)
    assert np.array_equal(
        plus.observe(values, present), minus.observe(np.where(values, values, -0.0), present)
    )
    assert np.array_equal(plus.reference, minus.reference)
    assert np.isfinite(minus.reference).all()


def test_the_first_other_value_after_a_constant_stretch():
    for value in (0.0, 1.0):
        ranking = Ranking()
        ranking.observe(np.full(5000, value))
        assert ranking.rank([value + 1.0])[0] > 0.999


def test_huge_values_among_the_first():
    """A model without experience may have errors of any size."""
    random = np.random.default_rng(16)
    values, present = chi(random, 20_000), random.integers(1, 4, 20_000)
    values[3:8] = 1e14
    scores = Ranking(3).observe(values, present)[4000:]
    for k in range(1, 4):
        assert share(scores[present[4000:] == k], 0.99) == pytest.approx(1, abs=0.4)


# -- memory and state ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("half_life", [300.0, 1e6])
def test_a_change_of_the_shape_is_followed(half_life):
    """The upper half of the values becomes narrow. The check of the ranks finds it, whatever the memory."""
    random = np.random.default_rng(14)
    before, after = random.exponential(size=20_000), random.uniform(0.5, 1.5, 20_000)
    ranking = Ranking(1, 0.5 ** (1 / half_life))
    ranking.observe(before)
    assert stats.kstest(ranking.observe(after)[4000:8000], "uniform").statistic < 0.03


def test_a_short_memory_forgets_outliers_sooner():
    """Outliers of 3 % of the samples end. They are the highest scores until they are forgotten."""
    random = np.random.default_rng(14)
    before = chi(random, 20_000) * np.where(random.random(20_000) < 0.03, 3.0, 1.0)
    after, shares = chi(random, 8000), {}
    for half_life in (300.0, 1e6):
        ranking = Ranking(1, 0.5 ** (1 / half_life))
        ranking.observe(before)
        shares[half_life] = share(ranking.observe(after)[2000:], 0.99)
    assert shares[300.0] == pytest.approx(1, abs=0.5)
    assert shares[1e6] < 0.5


def test_the_first_scores_and_nan():
    ranking = Ranking(2)
    assert ranking.rank([0.0, 1.0, np.inf]).tolist() == [0.5, 0.5, 0.5]
    assert np.isnan(ranking.rank([np.nan, 1.0], [2, 0])).all()
    before = ranking.reference.copy()
    assert np.isnan(ranking.observe([np.nan, 1.0], [2, 0])).all()
    assert np.array_equal(ranking.reference, before)
    assert ranking.observe(np.arange(16.0)).tolist() == [0.5] * 16


def test_a_restart_forgets_everything():
    ranking, fresh = Ranking(3), Ranking(3)
    ranking.observe(changing(2000, seed=15), np.arange(2000) % 3 + 1)
    score.restart(ranking.reference)
    assert np.array_equal(ranking.reference, fresh.reference)


def test_the_reference_is_small():
    assert 8 * score.size(8) <= 5 * 1024
    assert score.size(100_000) == score.size(32)


def test_damaged_numbers_stay_inside_the_arrays():
    """A loaded state has finite numbers, but any: no place in an array may depend on them unchecked."""
    random = np.random.default_rng(16)
    for _ in range(200):
        ranking = Ranking(5, 0.9)
        scale = 10.0 ** random.integers(-300, 300, ranking.reference.size)
        ranking.reference[:] = scale * random.choice([-1, 0, 1], ranking.reference.size)
        guard = ranking.reference.copy()
        padded = np.concatenate([np.full(50, math.pi), guard, np.full(50, math.pi)])
        ranking.reference = padded[50:-50]
        ranking.observe(chi(random, 300), random.integers(1, 6, 300))
        assert (padded[:50] == math.pi).all()
        assert (padded[-50:] == math.pi).all()
