"""The cognitron: a float64 reference, three cells calculated by hand, and the five digits of the paper."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from streamlearn.errors import BadSpec, BadValue
from streamlearn.models.classic.cognitron import Cognitron
from tests.naive.cognitron import NaiveCognitron


def patterns(n: int, dim: int, seed: int) -> np.ndarray:
    """Return ``n`` samples of four patterns in random order and strength; 5 % of the values are missing."""
    random = np.random.default_rng(seed)
    four = random.random((4, dim)) * (random.random((4, dim)) < 0.5)
    x = four[random.integers(0, 4, n)] * random.uniform(0.5, 1.0, (n, 1))
    return np.where(random.random(x.shape) < 0.05, np.nan, x).astype(np.float32)


# against the reference

RULES = {
    "defaults": {"rows": 4, "columns": 5, "layers": 2},
    "a row": {"rows": 1, "columns": 20, "layers": 3, "area": 1, "vicinity": 3, "falloff": 0.5},
    "a column of blocks": {"rows": 7, "columns": 3, "layers": 2, "q": 4.0, "q_prime": 1.0, "falloff": 1.0},
    "wide": {"rows": 3, "columns": 19, "layers": 1, "area": 3, "vicinity": 1, "half_life": 50.0},
}


@pytest.mark.parametrize("rule", RULES)
def test_same_as_the_reference(rule):
    spec = dict(RULES[rule])
    naive = NaiveCognitron(**{name: value for name, value in spec.items() if name != "half_life"})
    shape = spec.pop("rows"), spec.pop("columns")
    dim = shape[0] * shape[1]
    net = Cognitron(dim=dim, shape=shape, **spec)
    x = patterns(150, dim, seed=1)
    out, reference = net.learn(x), [naive.learn(row) for row in x.tolist()]
    check(out, reference)
    assert np.allclose(net.b, naive.b, rtol=1e-4)
    for layer in range(spec["layers"]):
        for cell, a in enumerate(net.a[layer]):
            assert a.sum() == pytest.approx(sum(naive.a[layer][cell]), rel=1e-4)
    assert min(naive.reinforced, naive.recruited) > 20, "the stream does not exercise both cases"

    later = patterns(30, dim, seed=2)
    check(net.predict(later), [naive.predict(row) for row in later.tolist()])


def check(out, reference) -> None:
    assert out.winner.tolist() == [r.winner for r in reference]
    assert out.present.tolist() == [r.present for r in reference]
    assert np.allclose(out.activity, [r.activity for r in reference], rtol=1e-4, atol=1e-5)
    assert np.allclose(out.distance, [r.distance for r in reference], rtol=0, atol=1e-5, equal_nan=True)
    assert np.allclose(out.score, [r.score for r in reference], rtol=0, atol=1e-3, equal_nan=True)


# by hand


def test_three_cells_calculated_by_hand():
    """One layer of three cells. Areas and vicinities have radius 1; c and g are uniform: ½, ⅓, ½."""
    net = Cognitron(dim=3, layers=1, area=1, vicinity=1, falloff=1.0, q=16.0, q_prime=2.0)
    x = [1.0, 0.0, 0.0]

    first = net.learn(x)  # a = b = 0, so no cell fires: every cell with input learns by q′
    assert first.winner[0] == -1
    assert first.distance[0] == 1
    assert net.a[0] == pytest.approx(np.array([[0, 1, 0], [2 / 3, 0, 0], [0, 0, 0]]))
    assert net.b[0] == pytest.approx(np.array([1, 2 / 3, 0]))
    assert net.quality() | {"firing": 0.0, "reinforced": 0.0, "recruited": 2.0} == net.quality()

    # e = 1, ⅔, 0 and h = ½, 2/9, 0, so w = ⅓, 4/11, 0; after the lateral stage only cell 1 fires
    w = np.array([1 / 3, 4 / 11, 0])
    z = (1 + w[1]) / (1 + w.mean()) - 1
    second = net.learn(x)
    assert second.activity[0] == pytest.approx([0, z, 0])
    assert second.winner[0] == 1
    assert second.distance[0] == pytest.approx(1 / (1 + z))
    # only cell 1 learns, by q: Δa = 16·⅓·1 and Δb = 16·⅓·1²/(2·⅓) = 8
    assert net.a[0] == pytest.approx(np.array([[0, 1, 0], [2 / 3 + 16 / 3, 0, 0], [0, 0, 0]]))
    assert net.b[0] == pytest.approx(np.array([1, 2 / 3 + 8, 0]))


def test_without_input_nothing_is_learned():
    net = Cognitron(dim=20, shape=(4, 5))
    net.learn(patterns(50, 20, seed=3))
    a, b = net.a, net.b
    out = net.learn(np.array([[0.0] * 20, [np.nan] * 20]))
    assert out.winner.tolist() == [-1, -1]
    assert out.distance[0] == 1
    assert np.isnan(out.distance[1])
    assert np.array_equal(net.a, a)
    assert np.array_equal(net.b, b)
    assert net.samples == 52


def test_a_uniform_pattern_activates_no_cell():
    """e = h for every cell, up to rounding. Rounding must not count as activity."""
    net = Cognitron(dim=144, shape=(12, 12))
    for brightness in (1.0, 0.3, 7.7):
        assert not net.learn(np.full((50, 144), brightness)).activity.any()
    assert net.quality()["reinforced"] == 0


def test_excitation_converges_to_twice_the_inhibition():
    """Then a learned pattern drives a cell to an output near 1, and half of the pattern to 0."""
    net = Cognitron(dim=25, shape=(5, 5), layers=1, falloff=1.0)
    x = np.nan_to_num(patterns(1, 25, seed=4))
    net.learn(np.repeat(x, 300, axis=0))
    winner = int(net.predict(x).winner[0])
    row, column = divmod(winner, 5)
    inputs = np.pad(x.reshape(5, 5), 2)[row : row + 5, column : column + 5].reshape(-1)
    area_size = np.pad(np.ones((5, 5)), 2)[row : row + 5, column : column + 5].sum()
    e, h = net.a[0, winner] @ inputs, net.b[0, winner] * inputs.sum() / area_size
    assert e / h == pytest.approx(2, rel=0.02)


# results of the paper

DIGITS = """
............ ............ ............ ............ ............
....####.... .....#...... ...#####.... ..#######... ......##....
...#....#... ....##...... ..#.....#... .......#.... .....#.#....
..#......#.. ...#.#...... ........#... ......#..... ....#..#....
..#......#.. .....#...... .......#.... .....###.... ...#...#....
..#......#.. .....#...... ......#..... ........#... ..#....#....
..#......#.. .....#...... .....#...... ........#... ..########..
..#......#.. .....#...... ....#....... ..#.....#... .......#....
...#....#... .....#...... ...#........ ...#####.... .......#....
....####.... ...#####.... ..#######... ............ .......#....
............ ............ ............ ............ ............
............ ............ ............ ............ ............
"""
FIVE = np.array([[[ch == "#" for ch in part] for part in line.split()] for line in DIGITS.split("\n")[1:-1]])
FIVE = FIVE.transpose(1, 0, 2).reshape(5, 144).astype(np.float32)


def selectivity(activity: np.ndarray) -> float:
    """Return the mean over all active cells of (largest − mean of the others)/largest.

    ``activity`` is ``(patterns, cells)``.
    """
    activity = activity[:, activity.max(axis=0) > 0]
    largest = activity.max(axis=0)
    others = (activity.sum(axis=0) - largest) / (len(activity) - 1)
    return float(((largest - others) / largest).mean()) if activity.size else 0.0


def exclusive(activity: np.ndarray) -> float:
    """Return the share of cells with activity for exactly one pattern, among all active cells."""
    count = (activity > 0).sum(axis=0)
    return float((count == 1).sum() / max((count > 0).sum(), 1))


def similarity(activity: np.ndarray) -> float:
    """Return the mean cosine between the activities for different patterns."""
    norms = np.linalg.norm(activity, axis=1)
    cosines = activity @ activity.T / np.outer(norms, norms)
    return float(cosines[np.triu_indices(len(activity), 1)].mean())


@pytest.fixture(scope="module")
def nets():
    """Return (net, activities) for nets of one, two and three layers.

    The activities are those of the last layer for the five digits, before learning, after 3 and after 20
    rounds. The lower layers of a deeper net equal the shallower net, so these are layers 1, 2 and 3 of one
    net.
    """
    found = []
    for layers in (1, 2, 3):
        net = Cognitron(dim=144, shape=(12, 12), layers=layers)
        activities = [net.predict(FIVE).activity]
        for rounds in (3, 17):
            net.learn(np.tile(FIVE, (rounds, 1)))
            activities.append(net.predict(FIVE).activity)
        found.append((net, activities))
    return found


def test_the_lower_layers_of_a_deeper_net_are_the_same(nets):
    for (lower, _), (net, _) in pairwise(nets):
        assert np.array_equal(net.a[:-1], lower.a)
        assert np.array_equal(net.b[:-1], lower.b)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_layers_become_selective(nets, layer):
    _, (before, _, after) = nets[layer - 1]
    assert not before.any()  # a = b = 0: no cell responds
    assert (after.max(axis=1) > 0.5).all()  # every digit activates a cell strongly
    assert selectivity(after) > 0.85
    assert exclusive(after) > 0.35
    assert similarity(after) < similarity(FIVE) - 0.05


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_responses_become_less_similar(nets, layer):
    """The higher the layer, the more the similarity between different digits falls."""
    _, (_, early, late) = nets[layer - 1]
    assert similarity(late) < similarity(early) - {1: 0.03, 2: 0.08, 3: 0.25}[layer]
    assert late.max(axis=1).min() > early.max(axis=1).min()


def test_deeper_layers_have_more_cells_for_a_single_digit(nets):
    assert exclusive(nets[2][1][2]) > exclusive(nets[0][1][2]) + 0.1


def test_every_digit_has_its_own_winner(nets):
    net, _ = nets[2]
    winners = net.predict(FIVE).winner
    assert winners.min() >= 0
    assert len(set(winners.tolist())) == 5


def test_both_learning_cases_occur(nets):
    for net, _ in nets:
        assert net.quality()["reinforced"] > 1
        assert net.quality()["recruited"] > 1


def test_unknown_patterns_cause_less_activity(nets):
    """The unknown patterns have the same number of points as the digits, at random places.

    The net has learned 100 samples, while its distances fell. So the score is still young.
    """
    net, _ = nets[2]
    unknown = np.random.default_rng(6).permuted(np.tile(FIVE, (10, 1)), axis=1)
    known, other = net.predict(FIVE), net.predict(unknown)
    assert other.activity.sum(axis=1).mean() < 0.4 * known.activity.sum(axis=1).mean()
    assert other.distance.mean() > 1.2 * known.distance.mean()
    assert other.score.mean() > known.score.mean() + 0.1


# valid input and specs


def test_a_missing_line_counts_as_0():
    net = Cognitron(dim=20, shape=(4, 5))
    x = patterns(80, 20, seed=7)
    net.learn(x)
    missing, zero = net.predict(x), net.predict(np.nan_to_num(x))
    assert missing.activity.any()
    assert np.array_equal(missing.activity, zero.activity)
    assert missing.present.min() < 20


def test_negative_activities_raise():
    net = Cognitron(dim=3)
    with pytest.raises(BadValue, match=r"x\[0, 2\] is -1; this cognitron takes activities"):
        net.learn([0.0, 1.0, -1.0])
    assert net.samples == 0


@pytest.mark.parametrize(
    ("mistake", "field"),
    [
        ({"scale": "minmax"}, "scale"),
        ({"shape": (3, 4)}, "3 × 4"),
        ({"q_prime": 16.0}, "q_prime must be less"),
        ({"area": 0}, "area"),
        ({"vicinity": 0}, "vicinity"),
        ({"falloff": 0}, "falloff"),
        ({"layers": 0}, "layers"),
        ({"dim": 1 << 20, "layers": 64}, "fewer layers"),
    ],
)
def test_an_invalid_spec_raises(mistake, field):
    with pytest.raises(BadSpec, match=field):
        Cognitron(**{"dim": 20, **mistake})
