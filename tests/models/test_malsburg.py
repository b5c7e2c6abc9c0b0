"""Orientation columns: a float64 reference, a sheet calculated by hand, and the nine bars of the paper."""

from __future__ import annotations

import numpy as np
import pytest

from streamlearn.errors import BadSpec, BadValue
from streamlearn.models.classic.malsburg import Malsburg
from tests.naive.malsburg import NaiveMalsburg, hexagon, rectangle, ring

NINE = Malsburg.bars()
ANGLES = (np.arange(9) + 0.5) * np.pi / 9


def activities(n: int, dim: int, seed: int) -> np.ndarray:
    """Return ``(n, dim)`` activities: 40 % of the lines are active, 5 % are missing."""
    random = np.random.default_rng(seed)
    x = (random.random((n, dim)) < 0.4) * random.uniform(0.5, 1.5, (n, dim))
    return np.where(random.random(x.shape) < 0.05, np.nan, x).astype(np.float32)


# against the reference

RULES = {
    "paper": ({"sheet": 3}, hexagon(3)),
    "rows and columns": ({"sheet": (5, 4)}, rectangle(5, 4)),
    "one row": ({"sheet": (1, 20), "q_rings": (2, 3)}, rectangle(1, 20)),
    "small steps, near inhibition": ({"sheet": 2, "q_rings": (0, 2), "delta": 0.5}, hexagon(2)),
    "other strengths": ({"sheet": 2, "p": 0.3, "r": 0.4, "q": 0.2, "theta": 0.8, "s": 0.3}, hexagon(2)),
    "few steps, learning slowly": ({"sheet": 2, "steps": 5, "h": 0.01, "half_life": 50.0}, hexagon(2)),
}


@pytest.mark.parametrize("rule", RULES)
def test_same_as_the_reference(rule):
    spec, points = RULES[rule]
    sheet = Malsburg(dim=19, seed=2, **spec)
    naive = NaiveMalsburg(
        sheet.weights, points, **{k: v for k, v in spec.items() if k not in ("sheet", "half_life")}
    )
    x = activities(150, 19, seed=1)
    reference = []
    for row in x:  # start each sample from equal weights: the dynamics amplify rounding errors of the weights
        naive.s = sheet.weights.astype(float).tolist()
        out = sheet.learn(row)
        reference.append(naive.learn(row.tolist()))
        check(out, reference[-1:])
        assert np.allclose(sheet.weights, naive.s, rtol=0, atol=1e-5)
    active = [np.mean(np.array(r.activity) > 0) for r in reference]
    assert 0.05 < np.mean(active) < 0.9, "the stream does not exercise the rule"

    decay = 0.5 ** (1 / spec.get("half_life", 10_000.0))
    ages = decay ** np.arange(len(x))[::-1]
    assert sheet.quality()["firing"] == pytest.approx(np.average(active, weights=ages), rel=1e-5)
    unsettled = np.average([r.unsettled for r in reference], weights=ages)
    assert sheet.quality()["unsettled"] == pytest.approx(unsettled, rel=1e-3, abs=1e-6)

    naive.s = sheet.weights.astype(float).tolist()
    later = activities(30, 19, seed=3)
    check(sheet.predict(later), [naive.predict(row) for row in later.tolist()])


def check(out, reference) -> None:
    assert out.winner.tolist() == [r.winner for r in reference]
    assert out.present.tolist() == [r.present for r in reference]
    assert np.allclose(out.activity, [r.activity for r in reference], rtol=1e-3, atol=1e-3)
    assert np.allclose(out.distance, [r.distance for r in reference], rtol=0, atol=1e-4, equal_nan=True)
    assert np.allclose(out.score, [r.score for r in reference], rtol=0, atol=1e-3, equal_nan=True)


# by hand


def test_a_single_cell_calculated_by_hand():
    cell = Malsburg(dim=3, sheet=0, s=1.0, theta=0.5, h=0.5, seed=4)
    s = cell.weights[0].astype(float)
    assert s.sum() == pytest.approx(1.5)
    out = cell.learn([2.0, 0.0, 1.0])
    H_star = 2 * s[0] + s[2] - 0.5
    assert out.winner[0] == 0
    assert out.activity[0, 0] == pytest.approx(H_star)
    grown = s + 0.5 * H_star * np.array([2.0, 0.0, 1.0])
    assert cell.weights[0] == pytest.approx(grown * 1.5 / grown.sum())


def test_connections_reach_the_given_rings():
    """Two steps by hand. p reaches ring 1, r rings 0 and 1, q ring 2."""
    sheet = Malsburg(dim=1, sheet=4, s=2.0, theta=0.5, p=0.2, r=0.3, q=0.1, steps=2)
    places = [tuple(place) for place in sheet.positions.round(6)]
    rings = np.array([ring((0.0, 0.0), place) for place in places])
    assert [int((rings == k).sum()) for k in range(5)] == [1, 6, 12, 18, 24]
    activity = sheet.predict([[10.0]]).activity[0]
    # All cells have the same input. The second step adds p·(E of ring 1) and subtracts q·(I of ring 2).
    first = 10.0 - 0.5  # H* of all E cells after the first step
    e = [sum(1 for other in places if ring(place, other) == 1) for place in places]
    I_star = np.array([0.3 * first * (n + 1) - 0.5 for n in e])
    second_ring = [[j for j, other in enumerate(places) if ring(place, other) == 2] for place in places]
    inhibited = [sum(I_star[cells]) for cells in second_ring]
    expected = np.maximum(0, 10 + 0.2 * first * np.array(e) - 0.1 * np.array(inhibited) - 0.5)
    assert activity == pytest.approx(expected, rel=1e-5)
    assert expected.min() < expected.max()


def test_the_sum_of_the_weights_of_a_cell_is_constant():
    sheet = Malsburg(dim=19, sheet=3, h=0.5, seed=1)
    for _ in range(5):
        assert np.allclose(sheet.weights.sum(axis=1), 19 * 0.125, rtol=1e-6)
        assert (sheet.weights >= 0).all()
        sheet.learn(np.tile(NINE, (200, 1)))
    assert sheet.quality()["firing"] > 0.1


def test_the_nine_bars():
    assert NINE.shape == (9, 19)
    assert (NINE.sum(axis=1) == 7).all()
    assert (NINE[:, ::-1] == NINE).all()  # through the middle
    points = np.array(hexagon(2))
    for bar, angle in zip(NINE, ANGLES, strict=True):
        on = points[bar == 1]
        spread = np.linalg.eigh(on.T @ on)[1][:, 1]  # direction of the largest extent
        assert abs(spread @ [np.cos(angle), np.sin(angle)]) > 0.98
    assert Malsburg.bars(4, rings=3).shape == (4, 37)


# results of the paper


def tuning(responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the selectivity and the preferred angle of each cell from responses ``(cells, 9)``.

    The selectivity is 0 if all bars cause the same response, and 1 if only one bar causes a response.
    """
    z = responses @ np.exp(2j * ANGLES) / np.maximum(responses.sum(axis=1), 1e-9)
    return np.abs(z), np.angle(z) / 2


def peaks(activity: np.ndarray) -> np.ndarray:
    """Return the number of separate angle ranges in which each cell of ``(cells, 9)`` is active."""
    on = activity > 0
    return (on & ~np.roll(on, 1, axis=1)).sum(axis=1)


def angle_difference(angles: np.ndarray, pairs: np.ndarray) -> float:
    """Return the mean difference in preferred angle of the pairs, in degrees; 45 if unrelated."""
    differences = angles[pairs[:, 0]] - angles[pairs[:, 1]]
    return float(np.degrees(np.abs(np.angle(np.exp(2j * differences))) / 2).mean())


@pytest.fixture(scope="module", params=[1, 2, 3])
def columns(request):
    """Return a sheet, and its (afferent input, activity) before and after 20 rounds of the nine bars."""
    sheet = Malsburg(dim=19, seed=request.param)
    before = sheet.weights @ NINE.T, sheet.predict(NINE).activity.T
    sheet.learn(np.tile(NINE, (20, 1)))
    return sheet, before, (sheet.weights @ NINE.T, sheet.predict(NINE).activity.T)


def test_the_sheet_of_the_paper(columns):
    sheet, _, _ = columns
    assert sheet.cells == 169
    assert sheet.quality()["unsettled"] < 0.1  # activities reach 6


def test_cells_become_selective_for_one_orientation(columns):
    _, (afferent, activity), (afferent_after, activity_after) = columns
    assert tuning(afferent)[0].mean() < 0.12  # the initial weights are hardly selective
    assert tuning(afferent_after)[0].mean() > 0.3
    one, several = (peaks(activity) == 1).sum(), (peaks(activity) > 1).sum()
    assert one < 110
    assert several > 45  # many cells respond to unrelated orientations
    assert (peaks(activity_after) == 1).sum() > 135
    assert (peaks(activity_after) > 1).sum() < 15


def test_every_orientation_has_cells(columns):
    _, _, (_, activity) = columns
    assert (activity > 0).sum(axis=0).min() >= 30
    preferred = activity.argmax(axis=1)[activity.max(axis=1) > 0]
    assert np.bincount(preferred, minlength=9).min() >= 4


def test_neighbours_prefer_similar_orientations(columns):
    """Compare with random permutations of the angles, for the afferent input alone and for the activity."""
    sheet, (afferent, _), (afferent_after, activity_after) = columns
    places = [tuple(place) for place in sheet.positions]
    pairs = np.array([(i, j) for i in range(169) for j in range(i) if ring(places[i], places[j]) == 1])
    assert len(pairs) == 462
    random = np.random.default_rng(0)

    def lowest_by_chance(angles: np.ndarray, pairs: np.ndarray) -> float:
        cells = np.unique(pairs)
        permuted = angles.copy()
        lowest = 90.0
        for _ in range(200):
            permuted[cells] = angles[random.permutation(cells)]
            lowest = min(lowest, angle_difference(permuted, pairs))
        return lowest

    untrained = tuning(afferent)[1]
    assert angle_difference(untrained, pairs) > lowest_by_chance(untrained, pairs)
    trained = tuning(afferent_after)[1]
    assert angle_difference(trained, pairs) < 34 < 40 < lowest_by_chance(trained, pairs)

    firing = activity_after.max(axis=1) > 0
    firing_pairs = pairs[firing[pairs].all(axis=1)]
    angles = tuning(activity_after)[1]
    assert angle_difference(angles, firing_pairs) < 32 < 40 < lowest_by_chance(angles, firing_pairs)


def test_unknown_stimuli_have_higher_scores(columns):
    sheet, _, _ = columns
    random = np.random.default_rng(5)
    unknown = random.permuted(NINE, axis=1)
    assert sheet.predict(unknown).score.mean() > sheet.predict(NINE).score.mean() + 0.2


# valid input and specs


def test_a_missing_line_counts_as_0():
    sheet = Malsburg(dim=19, sheet=3, seed=1)
    x = activities(100, 19, seed=6)
    missing, zero = sheet.predict(x), sheet.predict(np.nan_to_num(x))
    assert np.array_equal(missing.activity, zero.activity)
    assert missing.present.min() < 19
    assert (zero.present == 19).all()


def test_without_activity_there_is_no_winner_and_no_learning():
    sheet = Malsburg(dim=19, sheet=3, seed=1)
    weights = sheet.weights
    out = sheet.learn(np.array([[0.0] * 19, [0.1] * 19, [np.nan] * 19]))
    assert out.winner.tolist() == [-1, -1, -1]
    assert out.distance.tolist()[:2] == [1.0, 1.0]
    assert np.isnan(out.distance[2])
    assert not out.activity.any()
    assert np.array_equal(sheet.weights, weights)
    assert sheet.samples == 3


def test_negative_activities_raise():
    sheet = Malsburg(dim=2, sheet=1)
    for function in (sheet.learn, sheet.predict, sheet.validate):
        with pytest.raises(BadValue, match=r"x\[1, 0\] is -0.5.*0 or more") as caught:
            function([[1.0, 0.0], [-0.5, 1.0]])
        assert caught.value.detail == {"row": 1, "column": 0}
    assert sheet.samples == 0


@pytest.mark.parametrize(
    ("mistake", "field"),
    [
        ({"scale": "standard"}, "scale"),
        ({"sheet": -1}, "sheet"),
        ({"sheet": (0, 3)}, "sheet"),
        ({"p": -0.1}, "p"),
        ({"s": 0}, "s"),
        ({"h": 2}, "h"),
        ({"delta": 0}, "delta"),
        ({"steps": 0}, "steps"),
        ({"q_rings": (3, 2)}, "q_rings"),
        ({"sheet": 500, "dim": 5000}, "smaller sheet"),
    ],
)
def test_an_invalid_spec_raises(mistake, field):
    with pytest.raises(BadSpec, match=field):
        Malsburg(**{"dim": 19, **mistake})
