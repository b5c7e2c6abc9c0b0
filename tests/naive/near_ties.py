"""Compares a model with its oracle up to the first near-tie.

A near-tie is a sample to which two units are almost equally near: float32 cannot tell which is nearer. From
there on the model and the oracle may differ, and both are right. Only a tie that the rule depends on
counts: if the k nearest units learn alike, their order does not matter.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from tests.naive.units import Units

GAP = 1e-5  # relative: about a hundred units in the last place of float32


def near_tie(oracle: Units, sample: list[float], borders: Collection[int] = ()) -> bool:
    """Whether the two nearest units are a near-tie, or for a k of ``borders`` the k-th and the next unit."""
    squares = sorted(oracle.squared_distances(oracle.scaler.scaled(sample)))
    nearer = [k for k in {1, *borders} if k < len(squares)]
    return any(squares[k] - squares[k - 1] <= GAP * squares[k] for k in nearer)


def assert_same_until_near_tie(
    model, oracle: Units, x: np.ndarray, *, at_least: int, borders: Collection[int] = ()
) -> None:
    """Let both learn ``x`` ``(n, dim)`` up to the first near-tie, and compare outputs and weights.

    ``at_least`` is the number of samples to compare at least, so that the test cannot become empty.
    ``borders`` has a k if the rule treats the k nearest units differently from the others:
    ``range(1, units)`` if the rank of every unit matters.
    """
    expected = []
    for sample in x.tolist():
        if near_tie(oracle, sample, borders):
            break
        expected.append(oracle.learn(sample))
    assert len(expected) >= at_least, f"near-tie at sample {len(expected)}: choose another seed or rate"
    out = model.learn(x[: len(expected)])
    close = {"rtol": 1e-4, "atol": 1e-5, "equal_nan": True}
    assert out.winner.tolist() == [row.winner for row in expected]
    assert out.present.tolist() == [row.channels for row in expected]
    assert np.allclose(out.distance, [row.distance for row in expected], **close)
    assert np.allclose(out.score, [row.score for row in expected], rtol=0, atol=1e-3, equal_nan=True)
    assert np.allclose(model.weights, oracle.weights, **close)
