"""Hamming net and MaxNet against exact fractions, counted distances, and recurrences worked out by hand."""

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


def garbled(given: np.ndarray, n: int, seed: int, flip: float = 0.2, missing: float = 0.0) -> np.ndarray:
    random = np.random.default_rng(seed)
    x = given[random.integers(0, len(given), n)] * np.where(random.random((n, given.shape[1])) < flip, -1, 1)
    return np.where(random.random(x.shape) < missing, np.nan, x).astype(np.float32)


def same(out, reference, names=("winner", "iterations", "tie", "capped")) -> None:
    for name in names:
        assert out.arrays[name].tolist() == [getattr(each, name) for each in reference], name
    assert np.allclose(
        out.distance, [each.distance for each in reference], rtol=1e-5, atol=1e-5, equal_nan=True
    )


@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize(("count", "dim"), [(1, 4), (2, 6), (5, 9), (17, 12), (40, 21)])
def test_same_as_exact_fractions(count, dim, missing):
    """ε a power of two below 1/count, so that it is the same number in both."""
    epsilon = 2.0 ** -(int(count).bit_length())
    known = patterns(count, dim, seed=1)
    net = HammingNet(dim=dim, patterns=known, inhibition=epsilon)
    x = garbled(known, 40, seed=2, missing=missing)
    x[5] = np.nan
    out = net.predict(x)
    same(out, [naive.respond(row, known, epsilon, most=400) for row in x])
    assert out.present.tolist() == (~np.isnan(x)).sum(axis=1).tolist()


@pytest.mark.parametrize("count", [3, 16, 100, 333])
def test_finds_the_nearest_pattern(count):
    """By counting differing lines; an equal distance goes to the lowest index and is called a tie."""
    known = patterns(count, 24, seed=3)
    net = HammingNet(dim=24, patterns=known)
    x = garbled(known, 500, seed=4, flip=0.3)
    apart = (x[:, None] != known).sum(axis=2)
    out = net.predict(x)
    assert out.winner.tolist() == apart.argmin(axis=1).tolist()
    assert out.distance.tolist() == apart.min(axis=1).tolist()
    assert out.tie.tolist() == ((apart == apart.min(axis=1, keepdims=True)).sum(axis=1) > 1).tolist()
    assert out.tie.any()
    assert not out.capped.any()


def test_the_contest_by_hand():
    """y = 4, 2, 1 with ε = 1/4: → 3¼, ¾, 0 → 3 1/16, 0, 0."""
    net = HammingNet(dim=4, patterns=[[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, -1]], inhibition=0.25)
    out = net.predict([1, 1, 1, 1])
    assert (out.winner[0], out.iterations[0], out.tie[0], out.capped[0]) == (0, 2, False, False)
    out = net.predict([1, 1, 1, -1])  # y = 3, 3, 2 → 1¾, 1¾, ½ → 1 3/16, 1 3/16, 0: equal for ever
    assert (out.winner[0], out.iterations[0], out.tie[0], out.capped[0]) == (0, 2, True, False)
    out = net.predict(
        [-1, -1, -1, -1]
    )  # y = 0, 2, 3 → 0, 1¼, 2½ → 0, ⅝, 2 3/16 → 0, 5/64, 2 1/32 → 0, 0, 2 1/64
    assert (out.winner[0], out.iterations[0], out.distance[0]) == (2, 4, 1)


def test_a_cap_is_reported():
    known = [[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, -1, -1]]
    for most in (1, 2, 3, 4, 5):
        net = HammingNet(dim=4, patterns=known, inhibition=0.25, max_iterations=most)
        out = net.predict([-1, -1, -1, -1])
        assert (out.winner[0], out.iterations[0], out.capped[0]) == (2, min(most, 4), most < 4)
    slow = HammingNet(dim=4, patterns=known, inhibition=1e-6, max_iterations=100)
    out = slow.learn([[-1, -1, -1, -1], [1, 1, 1, -1]])
    assert out.winner.tolist() == [2, 0]  # the largest after so many iterations
    assert out.iterations.tolist() == [100, 100]
    assert out.capped.tolist() == [True, True]
    assert out.tie.tolist() == [False, True]
    assert slow.quality()["capped"] == 1


def test_nothing_matches():
    """Every line differs from every pattern: nobody is positive, and that is a tie too."""
    both = HammingNet(dim=3, patterns=[[1, 1, 1], [1, 1, 1]])
    out = both.predict([-1, -1, -1])
    assert (out.winner[0], out.distance[0], out.iterations[0], out.tie[0]) == (0, 3, 0, True)
    alone = HammingNet(dim=3, patterns=[[1, 1, 1]])
    out = alone.predict([[-1, -1, -1], [1, 1, 1]])
    assert (out.winner.tolist(), out.distance.tolist(), out.tie.tolist()) == ([0, 0], [3, 0], [False, False])


def test_missing_lines_take_no_part():
    known = patterns(9, 10, seed=5)
    net = HammingNet(dim=10, patterns=known)
    x = garbled(known, 60, seed=6)
    x[:, [2, 7]] = np.nan
    short = HammingNet(dim=8, patterns=np.delete(known, [2, 7], axis=1))
    out, expected = net.predict(x), short.predict(np.delete(x, [2, 7], axis=1))
    for name in ("winner", "iterations", "tie", "capped", "present"):
        assert np.array_equal(out.arrays[name], expected.arrays[name]), name
    assert np.allclose(out.distance, expected.distance * 10 / 8)
    none = net.learn(np.full((2, 10), np.nan))
    assert (none.winner.tolist(), none.iterations.tolist()) == ([-1, -1], [0, 0])
    assert np.isnan(none.score).all()


@given(st.data())
def test_whoever_leads_wins(data):
    """The recurrence never changes the order, whatever the weights: the best match wins, or is tied."""
    count, dim = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 6))
    fine = st.floats(-1, 1, width=32)
    net = HammingNet(dim=dim, units=count)
    row = st.lists(fine, min_size=dim, max_size=dim)
    net.weights = data.draw(st.lists(row, min_size=count, max_size=count))
    x = data.draw(st.lists(st.sampled_from([-1.0, 1.0]), min_size=dim, max_size=dim))
    out = net.predict(x)
    sums = (net.weights.astype(np.float64) * x).sum(axis=1)
    assert sums[out.winner[0]] >= sums.max() - 1e-5
    assert not out.capped[0]
    assert out.iterations[0] <= 40 * count


# learning


def test_learns_as_the_slow_one():
    x = garbled(patterns(3, 8, seed=7), 120, seed=8, flip=0.1, missing=0.1)
    net = HammingNet(dim=8, units=5, learning_rate=0.25, inhibition=0.125, seed=9)
    slow = net.weights.tolist()
    out = net.learn(x)
    reference = [naive.learn(row, slow, 0.125, 0.25) for row in x]
    same(out, reference, ("winner", "tie", "capped"))
    assert np.abs(out.iterations - np.array([each.iterations for each in reference])).max() <= 1
    assert np.allclose(net.weights, slow, atol=1e-5)


def test_finds_patterns_in_their_garbled_versions():
    known = patterns(4, 40, seed=10)
    net = HammingNet(dim=40, units=4, seed=1)
    net.learn(garbled(known, 6000, seed=11, flip=0.1))
    learned = np.sign(net.weights)
    nearest = (learned[:, None] != known).sum(axis=2)
    assert sorted(nearest.argmin(axis=1).tolist()) == [0, 1, 2, 3]
    assert (nearest.min(axis=1) == 0).all()
    assert (np.abs(net.weights) <= 1).all()


def test_given_patterns_stay_without_a_learning_rate():
    known = patterns(3, 6, seed=12)
    x = garbled(known, 50, seed=13)
    fixed, moving = HammingNet(dim=6, patterns=known), HammingNet(dim=6, patterns=known, learning_rate=0.5)
    assert np.array_equal(fixed.weights, known)
    fixed.learn(x)
    first = moving.learn(x[:1]).winner[0]
    assert np.array_equal(fixed.weights, known)
    assert np.allclose(moving.weights[first], (known[first] + x[0]) / 2)
    assert np.array_equal(np.delete(moving.weights, first, axis=0), np.delete(known, first, axis=0))


def test_the_score_ranks_the_distance():
    known = patterns(4, 32, seed=14)
    net = HammingNet(dim=32, patterns=known)
    net.learn(garbled(known, 3000, seed=15, flip=0.05))
    strange = garbled(known, 200, seed=16, flip=0.5)
    assert net.predict(strange).score.min() > 0.99
    assert net.predict(known).score.max() < 0.3


def test_quality_is_of_recent_samples():
    known = patterns(6, 5, seed=17)
    net = HammingNet(dim=5, patterns=known, half_life=30.0)
    assert all(np.isnan(value) for name, value in net.quality().items() if name != "schedules")
    out = net.learn(garbled(known, 300, seed=18, flip=0.3))
    weights = 0.5 ** (np.arange(300)[::-1] / 30)
    quality = net.quality()
    for name, values in (("distance", out.distance), ("iterations", out.iterations), ("ties", out.tie)):
        assert quality[name] == pytest.approx(np.average(values, weights=weights), rel=1e-6)


# what it takes


@pytest.mark.parametrize("value", [0.0, 0.5, -2.0, 1.5])
def test_only_plus_and_minus_one_are_taken(value):
    """0 too is refused: it may mean off or unknown, and the user has to say."""
    net = HammingNet(dim=3, units=2)
    x = np.ones((2, 3))
    x[1, 2] = value
    for refuse in (net.learn, net.predict, net.validate):
        with pytest.raises(BadValue, match=r"x\[1, 2\].*-1 and 1.*threshold"):
            refuse(x)
    assert net.samples == 0


def test_a_threshold_takes_zeros_and_ones():
    known = patterns(5, 7, seed=19)
    x = garbled(known, 50, seed=20, missing=0.1)
    signs, bits = HammingNet(dim=7, patterns=known), HammingNet(dim=7, patterns=known, threshold=0.5)
    out, same_out = signs.learn(x), bits.learn((x + 1) / 2)
    for name, array in out.arrays.items():
        assert np.array_equal(array, same_out.arrays[name], equal_nan=True), name
    assert signs.state_hash() == bits.state_hash()


def test_a_spec_that_makes_no_net_is_refused():
    good = [[1, -1, 1], [1, 1, 1]]
    for wrong, message in (
        ({}, "patterns, or units"),
        ({"patterns": good, "units": 2}, "patterns, or units"),
        ({"patterns": []}, "patterns"),
        ({"patterns": [[1, -1]]}, r"patterns\[0\] has 2 lines"),
        ({"patterns": [[1, -1, 1], [1, 0, 1]]}, r"patterns\[1\] must consist"),
        ({"patterns": good, "inhibition": 0.5}, "below 1/2"),
        ({"patterns": good, "inhibition": 0}, "inhibition"),
        ({"units": 2, "max_iterations": 0}, "max_iterations"),
        ({"units": 2, "scale": "minmax"}, "leave it out"),
        ({"units": 1 << 20, "dim": 1 << 20}, "weights"),
    ):
        with pytest.raises(BadSpec, match=message):
            HammingNet(**{"dim": 3, **wrong})
    assert HammingNet(dim=3, patterns=np.array(good)).spec == HammingNet(dim=3, patterns=good).spec


def test_weights_can_be_set_and_not_by_accident():
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
