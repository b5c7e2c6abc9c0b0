"""Hamming net and MaxNet: exact fractions, Hamming distances, and examples calculated by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.errors import BadDtype, BadShape, BadSpec, BadValue
from streamlearn.models.classic.hamming import HammingNet
from tests.naive import hamming as naive


def patterns(count: int, dim: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice([-1.0, 1.0], (count, dim))


def distorted(stored: np.ndarray, n: int, seed: int, flip: float = 0.2, missing: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = stored[random.integers(0, len(stored), n)] * np.where(
        random.random((n, stored.shape[1])) < flip, -1, 1
    )
    return np.where(random.random(x.shape) < missing, np.nan, x).astype(np.float32)


def check(out, reference, names=("winner", "iterations", "tie", "capped")) -> None:
    for name in names:
        assert out.arrays[name].tolist() == [getattr(r, name) for r in reference], name
    assert np.allclose(out.distance, [r.distance for r in reference], rtol=1e-5, atol=1e-5, equal_nan=True)


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize(("count", "dim"), [(1, 4), (2, 6), (5, 9), (17, 12), (40, 21)])
def test_same_as_exact_fractions(count, dim, missing):
    """ε is a power of two below 1/count: exact in float32 and as a fraction."""
    epsilon = 2.0 ** -(int(count).bit_length())
    stored = patterns(count, dim, seed=1)
    net = HammingNet(dim=dim, patterns=stored, inhibition=epsilon)
    x = distorted(stored, 40, seed=2, missing=missing)
    x[5] = np.nan
    out = net.predict(x)
    check(out, [naive.respond(row, stored, epsilon, max_iterations=400) for row in x])
    assert out.present.tolist() == (~np.isnan(x)).sum(axis=1).tolist()


@pytest.mark.parametrize("count", [3, 16, 100, 333])
def test_finds_the_nearest_pattern(count):
    """Compare with the number of differing lines. Equal distances are a tie; the lowest index wins."""
    stored = patterns(count, 24, seed=3)
    net = HammingNet(dim=24, patterns=stored)
    x = distorted(stored, 500, seed=4, flip=0.3)
    distances = (x[:, None] != stored).sum(axis=2)
    out = net.predict(x)
    assert out.winner.tolist() == distances.argmin(axis=1).tolist()
    assert out.distance.tolist() == distances.min(axis=1).tolist()
    assert out.tie.tolist() == ((distances == distances.min(axis=1, keepdims=True)).sum(axis=1) > 1).tolist()
    assert out.tie.any()
    assert not out.capped.any()


def test_maxnet_calculated_by_hand():
    """y = 4, 2, 1 with ε = 1/4: → 3¼, ¾, 0 → 3 1/16, 0, 0."""
    net = HammingNet(dim=4, patterns=[[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, -1]], inhibition=0.25)
    out = net.predict([1, 1, 1, 1])
    assert (out.winner[0], out.iterations[0], out.tie[0], out.capped[0]) == (0, 2, False, False)
    # y = 3, 3, 2 → 1¾, 1¾, ½ → 1 3/16, 1 3/16, 0: they stay equal
    out = net.predict([1, 1, 1, -1])
    assert (out.winner[0], out.iterations[0], out.tie[0], out.capped[0]) == (0, 2, True, False)
    # y = 0, 2, 3 → 0, 1¼, 2½ → 0, ⅝, 2 3/16 → 0, 5/64, 2 1/32 → 0, 0, 2 1/64
    out = net.predict([-1, -1, -1, -1])
    assert (out.winner[0], out.iterations[0], out.distance[0]) == (2, 4, 1)


def test_reaching_the_iteration_limit_is_reported():
    stored = [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, -1]]
    for limit in (1, 2, 3, 4, 5):
        net = HammingNet(dim=4, patterns=stored, inhibition=0.25, max_iterations=limit)
        out = net.predict([-1, -1, -1, -1])
        assert (out.winner[0], out.iterations[0], out.capped[0]) == (2, min(limit, 4), limit < 4)
    weak = HammingNet(dim=4, patterns=stored, inhibition=1e-6, max_iterations=100)
    out = weak.learn([[-1, -1, -1, -1], [1, 1, 1, -1]])
    assert out.winner.tolist() == [2, 0]  # the largest activity at the limit
    assert out.iterations.tolist() == [100, 100]
    assert out.capped.tolist() == [True, True]
    assert out.tie.tolist() == [False, True]
    assert weak.quality()["capped"] == 1


def test_no_line_matches():
    """If every line differs from every pattern, all activities are 0, which is a tie."""
    two = HammingNet(dim=3, patterns=[[1, 1, 1], [1, 1, 1]])
    out = two.predict([-1, -1, -1])
    assert (out.winner[0], out.distance[0], out.iterations[0], out.tie[0]) == (0, 3, 0, True)
    one = HammingNet(dim=3, patterns=[[1, 1, 1]])
    out = one.predict([[-1, -1, -1], [1, 1, 1]])
    assert (out.winner.tolist(), out.distance.tolist(), out.tie.tolist()) == ([0, 0], [3, 0], [False, False])


def test_missing_lines_are_ignored():
    stored = patterns(9, 10, seed=5)
    net = HammingNet(dim=10, patterns=stored)
    x = distorted(stored, 60, seed=6)
    x[:, [2, 7]] = np.nan
    short = HammingNet(dim=8, patterns=np.delete(stored, [2, 7], axis=1))
    out, expected = net.predict(x), short.predict(np.delete(x, [2, 7], axis=1))
    for name in ("winner", "iterations", "tie", "capped", "present"):
        assert np.array_equal(out.arrays[name], expected.arrays[name]), name
    assert np.allclose(out.distance, expected.distance * 10 / 8)
    missing = net.learn(np.full((2, 10), np.nan))
    assert (missing.winner.tolist(), missing.iterations.tolist()) == ([-1, -1], [0, 0])
    assert np.isnan(missing.score).all()


@given(st.data())
def test_maxnet_finds_the_largest_matching_score(data):
    """For any weights, the iteration keeps the order: the unit with the largest score wins, or is tied."""
    count, dim = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 6))
    weight = st.floats(-1, 1, width=32)
    net = HammingNet(dim=dim, units=count)
    row = st.lists(weight, min_size=dim, max_size=dim)
    net.weights = data.draw(st.lists(row, min_size=count, max_size=count))
    x = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=dim, max_size=dim))
    out = net.predict(x)
    sums = (net.weights.astype(np.float64) * x).sum(axis=1)
    assert sums[out.winner[0]] >= sums.max() - 1e-5
    assert not out.capped[0]
    assert out.iterations[0] <= 40 * count


# learning


def test_learning_equals_the_reference():
    x = distorted(patterns(3, 8, seed=7), 120, seed=8, flip=0.1, missing=0.1)
    net = HammingNet(dim=8, units=5, learning_rate=0.25, inhibition=0.125, seed=9)
    expected = net.weights.tolist()
    out = net.learn(x)
    reference = [naive.learn(row, expected, 0.125, 0.25) for row in x]
    check(out, reference, ("winner", "tie", "capped"))
    assert np.abs(out.iterations - np.array([r.iterations for r in reference])).max() <= 1
    assert np.allclose(net.weights, expected, atol=1e-5)


def test_finds_patterns_in_distorted_samples():
    stored = patterns(4, 40, seed=10)
    net = HammingNet(dim=40, units=4, seed=1)
    net.learn(distorted(stored, 6000, seed=11, flip=0.1))
    learned = np.sign(net.weights)
    distances = (learned[:, None] != stored).sum(axis=2)
    assert sorted(distances.argmin(axis=1).tolist()) == [0, 1, 2, 3]
    assert (distances.min(axis=1) == 0).all()
    assert (np.abs(net.weights) <= 1).all()


def test_stored_patterns_are_fixed_without_a_learning_rate():
    stored = patterns(3, 6, seed=12)
    x = distorted(stored, 50, seed=13)
    fixed, learning = (
        HammingNet(dim=6, patterns=stored),
        HammingNet(dim=6, patterns=stored, learning_rate=0.5),
    )
    assert np.array_equal(fixed.weights, stored)
    fixed.learn(x)
    first = learning.learn(x[:1]).winner[0]
    assert np.array_equal(fixed.weights, stored)
    assert np.allclose(learning.weights[first], (stored[first] + x[0]) / 2)
    assert np.array_equal(np.delete(learning.weights, first, axis=0), np.delete(stored, first, axis=0))


def test_a_large_distance_has_a_high_score():
    stored = patterns(4, 32, seed=14)
    net = HammingNet(dim=32, patterns=stored)
    net.learn(distorted(stored, 3000, seed=15, flip=0.05))
    unknown = distorted(stored, 200, seed=16, flip=0.5)
    assert net.predict(unknown).score.min() > 0.99
    assert net.predict(stored).score.max() < 0.3


def test_quality_weights_recent_samples():
    stored = patterns(6, 5, seed=17)
    net = HammingNet(dim=5, patterns=stored, half_life=30.0)
    assert all(np.isnan(net.quality()[name]) for name in ("distance", "iterations", "ties"))
    out = net.learn(distorted(stored, 300, seed=18, flip=0.3))
    weights = 0.5 ** (np.arange(300)[::-1] / 30)
    quality = net.quality()
    for name, values in (("distance", out.distance), ("iterations", out.iterations), ("ties", out.tie)):
        assert quality[name] == pytest.approx(np.average(values, weights=weights), rel=1e-6)


# valid input and specs


@pytest.mark.parametrize("value", [0.0, 0.5, -2.0, 1.5])
def test_only_plus_and_minus_one_are_valid(value):
    """0 is invalid, because it could mean off or unknown."""
    net = HammingNet(dim=3, units=2)
    x = np.ones((2, 3))
    x[1, 2] = value
    for function in (net.learn, net.predict, net.validate):
        with pytest.raises(BadValue, match=r"x\[1, 2\].*-1 and 1.*threshold"):
            function(x)
    assert net.samples == 0


def test_a_threshold_converts_zeros_and_ones():
    stored = patterns(5, 7, seed=19)
    x = distorted(stored, 50, seed=20, missing=0.1)
    signs, bits = HammingNet(dim=7, patterns=stored), HammingNet(dim=7, patterns=stored, threshold=0.5)
    out, expected = signs.learn(x), bits.learn((x + 1) / 2)
    for name, array in out.arrays.items():
        assert np.array_equal(array, expected.arrays[name], equal_nan=True), name
    assert signs.state_hash() == bits.state_hash()


def test_an_invalid_spec_raises():
    valid = [[1, -1, 1], [1, 1, 1]]
    for wrong, message in (
        ({}, "patterns, or units"),
        ({"patterns": valid, "units": 2}, "patterns, or units"),
        ({"patterns": []}, "patterns"),
        ({"patterns": [[1, -1]]}, r"patterns\[0\] has 2 lines"),
        ({"patterns": [[1, -1, 1], [1, 0, 1]]}, r"patterns\[1\] must consist"),
        ({"patterns": valid, "inhibition": 0.5}, "below 1/2"),
        ({"patterns": valid, "inhibition": 0}, "inhibition"),
        ({"units": 2, "max_iterations": 0}, "max_iterations"),
        ({"units": 2, "scale": "minmax"}, "leave it out"),
        ({"units": 1 << 20, "dim": 1 << 20}, "weights"),
    ):
        with pytest.raises(BadSpec, match=message):
            HammingNet(**{"dim": 3, **wrong})
    assert HammingNet(dim=3, patterns=np.array(valid)).spec == HammingNet(dim=3, patterns=valid).spec


def test_weights_can_be_set_and_are_validated():
    net = HammingNet(dim=2, units=3)
    net.weights = [[1, -1], [0.5, 0], [0, 0]]
    for wrong, error in (
        ([[1, 1]], BadShape),
        ([["a", "b"]] * 3, BadDtype),
        ([[1, 1], [1, 1.5], [0, 0]], BadValue),
        ([[1, 1], [1, np.nan], [0, 0]], BadValue),
    ):
        with pytest.raises(error, match="weights"):
            net.weights = wrong
    assert net.weights.tolist() == [[1, -1], [0.5, 0], [0, 0]]
