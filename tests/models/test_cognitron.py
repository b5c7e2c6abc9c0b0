"""Cognitron against a float64 reference, three cells calculated by hand, and five digits."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from streamlearn.errors import BadSpec, BadValue
from streamlearn.models.classic.cognitron import Cognitron
from tests.naive.cognitron import NaiveCognitron


def patterns(n: int, dim: int, seed: int) -> np.ndarray:
    """Four patterns in random order and strength, one value in twenty missing."""
    random = np.random.default_rng(seed)
    each = random.random((4, dim)) * (random.random((4, dim)) < 0.5)
    x = each[random.integers(0, 4, n)] * random.uniform(0.5, 1.0, (n, 1))
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
    naive = NaiveCognitron(**spec)
    shape = spec.pop("rows"), spec.pop("columns")
    dim = shape[0] * shape[1]
    ours = Cognitron(dim=dim, shape=shape, **spec)
    x = patterns(150, dim, seed=1)
    out, reference = ours.learn(x), [naive.learn(row) for row in x.tolist()]
    check(out, reference)
    assert np.allclose(ours.b, naive.b, rtol=1e-4)
    for layer in range(spec["layers"]):
        for cell, a in enumerate(ours.a[layer]):
            assert a.sum() == pytest.approx(sum(naive.a[layer][cell]), rel=1e-4)
    assert min(naive.won, naive.recruited) > 20, "one of the two cases is not at work"

    later = patterns(30, dim, seed=2)
    check(ours.predict(later), [naive.predict(row) for row in later.tolist()])


def check(out, reference) -> None:
    assert out.winner.tolist() == [each.winner for each in reference]
    assert out.present.tolist() == [each.present for each in reference]
    assert np.allclose(out.activity, [each.activity for each in reference], rtol=1e-4, atol=1e-5)
    assert np.allclose(out.distance, [each.distance for each in reference], rtol=0, atol=1e-5, equal_nan=True)
    assert np.allclose(out.score, [each.score for each in reference], rtol=0, atol=1e-3, equal_nan=True)


# by hand


def test_three_cells_and_both_cases():
    """One layer of three, areas and vicinities of one to each side, c and g even: c = ½, ⅓, ½."""
    net = Cognitron(dim=3, layers=1, area=1, vicinity=1, falloff=1.0, q=16.0, q_prime=2.0)
    x = [1.0, 0.0, 0.0]

    first = net.learn(x)  # no cell can fire: every cell with an input learns by q′
    assert first.winner[0] == -1
    assert first.distance[0] == 1
    assert net.a[0] == pytest.approx(np.array([[0, 1, 0], [2 / 3, 0, 0], [0, 0, 0]]))
    assert net.b[0] == pytest.approx(np.array([1, 2 / 3, 0]))
    assert net.quality() == {"firing": 0.0, "reinforced": 0.0, "recruited": 2.0}

    # now e = 1, ⅔, 0 and h = ½, 2/9, 0: w = ⅓, 4/11, 0, and the neighbours leave the middle one to fire
    w = np.array([1 / 3, 4 / 11, 0])
    z = (1 + w[1]) / (1 + w.mean()) - 1
    second = net.learn(x)
    assert second.activity[0] == pytest.approx([0, z, 0])
    assert second.winner[0] == 1
    assert second.distance[0] == pytest.approx(1 / (1 + z))
    # by q, and it alone: Δa = 16·⅓·1, and Δb = 16·⅓·1²/(2·⅓) = 8
    assert net.a[0] == pytest.approx(np.array([[0, 1, 0], [2 / 3 + 16 / 3, 0, 0], [0, 0, 0]]))
    assert net.b[0] == pytest.approx(np.array([1, 2 / 3 + 8, 0]))


def test_where_there_is_no_input_nothing_is_learned():
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


def test_an_even_picture_fires_nobody():
    """e = h for every cell but for rounding, which must not count as firing."""
    net = Cognitron(dim=144, shape=(12, 12))
    for brightness in (1.0, 0.3, 7.7):
        assert not net.learn(np.full((50, 144), brightness)).activity.any()
    assert net.quality()["reinforced"] == 0


def test_excitation_comes_to_twice_the_inhibition():
    """So a familiar pattern drives a cell towards 1, and half of it not at all."""
    net = Cognitron(dim=25, shape=(5, 5), layers=1, falloff=1.0)
    x = np.nan_to_num(patterns(1, 25, seed=4))
    net.learn(np.repeat(x, 300, axis=0))
    winner = int(net.predict(x).winner[0])
    row, column = divmod(winner, 5)
    seen = np.pad(x.reshape(5, 5), 2)[row : row + 5, column : column + 5].reshape(-1)
    there = np.pad(np.ones((5, 5)), 2)[row : row + 5, column : column + 5].sum()
    e, h = net.a[0, winner] @ seen, net.b[0, winner] * seen.sum() / there
    assert e / h == pytest.approx(2, rel=0.02)


# what the paper shows

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
    """Of ``(patterns, cells)``: (strongest − mean of the others)/strongest, averaged over the cells that
    answer."""
    activity = activity[:, activity.max(axis=0) > 0]
    most = activity.max(axis=0)
    others = (activity.sum(axis=0) - most) / (len(activity) - 1)
    return float(((most - others) / most).mean()) if activity.size else 0.0


def exclusive(activity: np.ndarray) -> float:
    """The share of the cells that answer which answer to one pattern alone."""
    answers = (activity > 0).sum(axis=0)
    return float((answers == 1).sum() / max((answers > 0).sum(), 1))


def likeness(activity: np.ndarray) -> float:
    """Mean cosine between what different patterns evoke; 1 where they evoke the same."""
    lengths = np.linalg.norm(activity, axis=1)
    cosines = activity @ activity.T / np.outer(lengths, lengths)
    return float(cosines[np.triu_indices(len(activity), 1)].mean())


@pytest.fixture(scope="module")
def nets():
    """Nets of one, two and three layers (whose last is layer 1, 2, 3 of one and the same net), and what the
    last layer answered to the five digits before, after three and after twenty rounds of them."""
    found = []
    for layers in (1, 2, 3):
        net = Cognitron(dim=144, shape=(12, 12), layers=layers)
        answers = [net.predict(FIVE).activity]
        for rounds in (3, 17):
            net.learn(np.tile(FIVE, (rounds, 1)))
            answers.append(net.predict(FIVE).activity)
        found.append((net, answers))
    return found


def test_deeper_nets_have_the_same_lower_layers(nets):
    for (lower, _), (net, _) in pairwise(nets):
        assert np.array_equal(net.a[:-1], lower.a)
        assert np.array_equal(net.b[:-1], lower.b)


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_layers_become_selective(nets, layer):
    _, (before, _, after) = nets[layer - 1]
    assert not before.any()  # a = b = 0: no cell responds
    assert (after.max(axis=1) > 0.5).all()  # every digit is answered, and nearly by 1
    assert selectivity(after) > 0.85
    assert exclusive(after) > 0.35
    assert likeness(after) < likeness(FIVE) - 0.05


@pytest.mark.parametrize("layer", [1, 2, 3])
def test_digits_grow_apart(nets, layer):
    """What different digits evoke is less and less alike, the more so the less sure a layer was at first."""
    _, (_, early, late) = nets[layer - 1]
    assert likeness(late) < likeness(early) - {1: 0.03, 2: 0.08, 3: 0.25}[layer]
    assert late.max(axis=1).min() > early.max(axis=1).min()


def test_deeper_layers_have_more_cells_of_one_digit_alone(nets):
    assert exclusive(nets[2][1][2]) > exclusive(nets[0][1][2]) + 0.1


def test_every_digit_has_its_own_strongest_cell(nets):
    net, _ = nets[2]
    winners = net.predict(FIVE).winner
    assert winners.min() >= 0
    assert len(set(winners.tolist())) == 5


def test_both_cases_had_their_part(nets):
    for net, _ in nets:
        assert net.quality()["reinforced"] > 1
        assert net.quality()["recruited"] > 1


def test_strange_pictures_evoke_less(nets):
    """The same number of bright points, anywhere."""
    net, _ = nets[2]
    strange = np.random.default_rng(6).permuted(np.tile(FIVE, (10, 1)), axis=1)
    familiar, other = net.predict(FIVE), net.predict(strange)
    assert other.activity.sum(axis=1).mean() < 0.4 * familiar.activity.sum(axis=1).mean()
    assert other.score.mean() > familiar.score.mean() + 0.2


# what it takes


def test_a_missing_line_is_silent():
    net = Cognitron(dim=20, shape=(4, 5))
    x = patterns(80, 20, seed=7)
    net.learn(x)
    one, other = net.predict(x), net.predict(np.nan_to_num(x))
    assert one.activity.any()
    assert np.array_equal(one.activity, other.activity)
    assert one.present.min() < 20


def test_negative_activities_are_refused():
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
def test_what_no_spec_is(mistake, field):
    with pytest.raises(BadSpec, match=field):
        Cognitron(**{"dim": 20, **mistake})
