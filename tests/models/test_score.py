"""The score of models on streams that change or have missing values. See benchmarks/quality/score.py, too."""

from __future__ import annotations

import numpy as np
import pytest

import streamlearn as sl
from streamlearn.models.classic.hamming import HammingNet

MODELS = {
    "som": lambda: sl.SOM(dim=4, grid=(8, 8)),
    "hard": lambda: sl.Competitive(dim=4, units=16),
    "gas": lambda: sl.Competitive(dim=4, units=16, mode="gas"),
    "gng": lambda: sl.GrowingNeuralGas(dim=4, max_units=32),
    "lstm": lambda: sl.RNN(dim=4, hidden=8, readout="adam"),
}


def share(scores: np.ndarray, above: float = 0.99) -> float:
    """The percentage of scores above a limit."""
    return 100 * float((scores[~np.isnan(scores)] > above).mean())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "scale", [{"scale": "standard"}, {"scale": "ewma", "half_life": 1000}, {"scale": "minmax"}]
)
def test_a_flat_channel_is_usual(scale, seed):
    """A sensor goes flat. While the model approaches the value, its distances differ by less than 1/1000 of a
    width."""
    model, random = sl.SOM(dim=1, grid=(6, 6), **scale), np.random.default_rng(seed)
    model.learn(1013.25 + random.normal(size=(5000, 1)))
    scores = model.learn(np.full((5000, 1), 1013.25)).score
    assert (scores > 0.99).sum() == 0


@pytest.mark.parametrize("factor", [0.5, 2.0])
@pytest.mark.parametrize("kind", ["som", "hard", "lstm"])
def test_calibrated_again_after_a_change_of_noise(kind, factor):
    random = np.random.default_rng(1)
    x = random.normal(size=(36_000, 4))
    outlier = random.random(len(x)) < 0.003
    x[outlier] *= 4
    x[22_000:] *= factor
    scores = MODELS[kind]().learn(x).score
    assert 0.5 <= share(scores[24_000:][~outlier[24_000:]]) <= 2
    before, after = (
        share(scores[part][outlier[part]]) for part in (slice(8000, 22_000), slice(24_000, None))
    )
    assert after >= before - 15  # some 40 outliers on each side


@pytest.mark.parametrize("missing", [0.2, 0.5])
@pytest.mark.parametrize("kind", MODELS)
def test_calibrated_for_every_number_of_present_channels(kind, missing):
    random = np.random.default_rng(2)
    x = 3 * random.normal(size=(8, 4))[random.integers(8, size=40_000)] + 0.5 * random.normal(
        size=(40_000, 4)
    )
    x[random.random(x.shape) < missing] = np.nan
    present = (~np.isnan(x)).sum(axis=1)[10_000:]
    scores = MODELS[kind]().learn(x).score[10_000:]
    for k in range(1, 5):
        few = 1.3 if (present == k).sum() < 1500 else 0  # of so few samples the share is known to ±1 %
        assert 0.5 - few <= share(scores[present == k]) <= 2 + few
        assert 40 <= share(scores[present == k], 0.5) <= 60


def test_equal_distances_share_the_middle_of_their_ranks():
    """A Hamming net with fixed patterns has few different distances."""
    random = np.random.default_rng(3)
    pattern = random.choice([-1.0, 1.0], 12)
    x = np.where(random.random((30_000, 12)) < 0.1, -pattern, pattern)
    out = HammingNet(dim=12, patterns=[pattern], learning_rate=0).learn(x)
    distance, score = out.distance[10_000:], out.score[10_000:]
    for value in np.unique(distance):
        chosen = distance == value
        if chosen.sum() > 200:
            expected = (distance < value).mean() + 0.5 * chosen.mean()
            assert score[chosen].mean() == pytest.approx(expected, abs=0.02)
