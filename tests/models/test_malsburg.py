"""Orientation columns against a float64 reference, a sheet settled by hand, and the bars of the paper."""

from __future__ import annotations

import numpy as np
import pytest

from streamlearn.errors import BadSpec, BadValue
from streamlearn.models.classic.malsburg import Malsburg
from tests.naive.malsburg import NaiveMalsburg, hexagon, ring, rows_of

NINE = Malsburg.bars()
ANGLES = (np.arange(9) + 0.5) * np.pi / 9


def activities(n: int, dim: int, seed: int) -> np.ndarray:
    """Four in ten lines active, one in twenty missing."""
    random = np.random.default_rng(seed)
    x = (random.random((n, dim)) < 0.4) * random.uniform(0.5, 1.5, (n, dim))
    return np.where(random.random(x.shape) < 0.05, np.nan, x).astype(np.float32)


# against the reference

RULES = {
    "the paper's": ({"sheet": 3}, hexagon(3)),
    "rows and columns": ({"sheet": (5, 4)}, rows_of(5, 4)),
    "one row": ({"sheet": (1, 20), "q_rings": (2, 3)}, rows_of(1, 20)),
    "small steps, near inhibition": ({"sheet": 2, "q_rings": (0, 2), "delta": 0.5}, hexagon(2)),
    "other strengths": ({"sheet": 2, "p": 0.3, "r": 0.4, "q": 0.2, "theta": 0.8, "s": 0.3}, hexagon(2)),
    "few steps, learning slowly": ({"sheet": 2, "steps": 5, "h": 0.01, "half_life": 50.0}, hexagon(2)),
}


@pytest.mark.parametrize("rule", RULES)
def test_same_as_the_reference(rule):
    spec, points = RULES[rule]
    ours = Malsburg(dim=19, seed=2, **spec)
    naive = NaiveMalsburg(ours.weights, points, **{k: v for k, v in spec.items() if k != "sheet"})
    x = activities(150, 19, seed=1)
    reference = []
    for row in x:  # each from the same weights: the sheet's settling magnifies what rounding has left in them
        naive.s = ours.weights.astype(float).tolist()
        out = ours.learn(row)
        reference.append(naive.learn(row.tolist()))
        check(out, reference[-1:])
        assert np.allclose(ours.weights, naive.s, rtol=0, atol=1e-5)
    active = [np.mean(np.array(each.activity) > 0) for each in reference]
    assert 0.05 < np.mean(active) < 0.9, "the rule is not at work"

    decay = 0.5 ** (1 / spec.get("half_life", 10_000.0))
    ages = decay ** np.arange(len(x))[::-1]
    assert ours.quality()["firing"] == pytest.approx(np.average(active, weights=ages), rel=1e-5)
    unsettled = np.average([each.unsettled for each in reference], weights=ages)
    assert ours.quality()["unsettled"] == pytest.approx(unsettled, rel=1e-3, abs=1e-6)

    naive.s = ours.weights.astype(float).tolist()
    later = activities(30, 19, seed=3)
    check(ours.predict(later), [naive.predict(row) for row in later.tolist()])


def check(out, reference) -> None:
    assert out.winner.tolist() == [each.winner for each in reference]
    assert out.present.tolist() == [each.present for each in reference]
    assert np.allclose(out.activity, [each.activity for each in reference], rtol=1e-3, atol=1e-3)
    assert np.allclose(out.distance, [each.distance for each in reference], rtol=0, atol=1e-4, equal_nan=True)
    assert np.allclose(out.score, [each.score for each in reference], rtol=0, atol=1e-3, equal_nan=True)


# by hand


def test_a_lone_cell_learns_what_it_exceeds_its_threshold_by():
    cell = Malsburg(dim=3, sheet=0, s=1.0, theta=0.5, h=0.5, seed=4)
    s = cell.weights[0].astype(float)
    assert s.sum() == pytest.approx(1.5)
    out = cell.learn([2.0, 0.0, 1.0])
    sent = 2 * s[0] + s[2] - 0.5
    assert out.winner[0] == 0
    assert out.activity[0, 0] == pytest.approx(sent)
    grown = s + 0.5 * sent * np.array([2.0, 0.0, 1.0])
    assert cell.weights[0] == pytest.approx(grown * 1.5 / grown.sum())


def test_connections_reach_the_given_rings():
    """One cell driven far above threshold: its neighbours get p, the I cells r, and ring 2 is inhibited."""
    sheet = Malsburg(dim=1, sheet=4, s=2.0, theta=0.5, p=0.2, r=0.3, q=0.1, steps=2)
    places = [tuple(place) for place in sheet.positions.round(6)]
    rings = np.array([ring((0.0, 0.0), place) for place in places])
    assert [int((rings == k).sum()) for k in range(5)] == [1, 6, 12, 18, 24]
    with_input = sheet.predict([[10.0]]).activity[0]
    # every cell is driven alike; in the second step it gets p times ring 1, less q times what ring 2 sends
    first = 10.0 - 0.5
    e = [sum(1 for other in places if ring(place, other) == 1) for place in places]
    to_i = np.array([0.3 * first * (n + 1) - 0.5 for n in e])
    second_ring = [[j for j, other in enumerate(places) if ring(place, other) == 2] for place in places]
    inhibited = [sum(to_i[around]) for around in second_ring]
    expected = np.maximum(0, 10 + 0.2 * first * np.array(e) - 0.1 * np.array(inhibited) - 0.5)
    assert with_input == pytest.approx(expected, rel=1e-5)
    assert expected.min() < expected.max()


def test_the_afferents_of_a_cell_always_sum_to_the_same():
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
        spread = np.linalg.eigh(on.T @ on)[1][:, 1]  # along which the points lie
        assert abs(spread @ [np.cos(angle), np.sin(angle)]) > 0.98
    assert Malsburg.bars(4, rings=3).shape == (4, 37)


# what the paper shows


def tuning(responses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of ``(cells, 9)``: selectivity, 0 (all bars alike) to 1 (one alone), and preferred angle."""
    z = responses @ np.exp(2j * ANGLES) / np.maximum(responses.sum(axis=1), 1e-9)
    return np.abs(z), np.angle(z) / 2


def peaks(activity: np.ndarray) -> np.ndarray:
    """Of ``(cells, 9)``: to how many separate ranges of angles each cell answers."""
    on = activity > 0
    return (on & ~np.roll(on, 1, axis=1)).sum(axis=1)


def disagreement(angles: np.ndarray, pairs: np.ndarray) -> float:
    """Mean difference in preferred angle, in degrees: 45 where there is no relation."""
    apart = angles[pairs[:, 0]] - angles[pairs[:, 1]]
    return float(np.degrees(np.abs(np.angle(np.exp(2j * apart))) / 2).mean())


@pytest.fixture(scope="module", params=[1, 2, 3])
def columns(request):
    """A sheet before, and after twenty presentations of the nine bars (as in the paper)."""
    sheet = Malsburg(dim=19, seed=request.param)
    before = sheet.weights @ NINE.T, sheet.predict(NINE).activity.T
    sheet.learn(np.tile(NINE, (20, 1)))
    return sheet, before, (sheet.weights @ NINE.T, sheet.predict(NINE).activity.T)


def test_the_papers_sheet(columns):
    sheet, _, _ = columns
    assert sheet.cells == 169
    assert sheet.quality()["unsettled"] < 0.1  # while activities go up to 6


def test_cells_become_selective_for_one_orientation(columns):
    _, (drive, activity), (drive_after, activity_after) = columns
    assert tuning(drive)[0].mean() < 0.12  # what the afferents bring is hardly tuned
    assert tuning(drive_after)[0].mean() > 0.3
    one, several = (peaks(activity) == 1).sum(), (peaks(activity) > 1).sum()
    assert one < 110
    assert several > 45  # many cells answer to orientations that have nothing to do with each other
    assert (peaks(activity_after) == 1).sum() > 135
    assert (peaks(activity_after) > 1).sum() < 15


def test_every_orientation_has_its_cells(columns):
    _, _, (_, activity) = columns
    assert (activity > 0).sum(axis=0).min() >= 30
    preferred = activity.argmax(axis=1)[activity.max(axis=1) > 0]
    assert np.bincount(preferred, minlength=9).min() >= 4


def test_neighbours_prefer_alike(columns):
    """Against the same angles dealt to the cells at random; what the afferents prefer has no lateral help."""
    sheet, (drive, _), (drive_after, activity_after) = columns
    places = [tuple(place) for place in sheet.positions]
    pairs = np.array([(i, j) for i in range(169) for j in range(i) if ring(places[i], places[j]) == 1])
    assert len(pairs) == 462
    random = np.random.default_rng(0)

    def chance(angles: np.ndarray, pairs: np.ndarray) -> float:
        cells = np.unique(pairs)
        dealt = angles.copy()
        lowest = 90.0
        for _ in range(200):
            dealt[cells] = angles[random.permutation(cells)]
            lowest = min(lowest, disagreement(dealt, pairs))
        return lowest

    untrained = tuning(drive)[1]
    assert disagreement(untrained, pairs) > chance(untrained, pairs)
    trained = tuning(drive_after)[1]
    assert disagreement(trained, pairs) < 34 < 40 < chance(trained, pairs)

    firing = activity_after.max(axis=1) > 0
    among = pairs[firing[pairs].all(axis=1)]
    angles = tuning(activity_after)[1]
    assert disagreement(angles, among) < 32 < 40 < chance(angles, among)


def test_strange_stimuli_score_higher_than_familiar_ones(columns):
    sheet, _, _ = columns
    random = np.random.default_rng(5)
    strange = random.permuted(NINE, axis=1)
    assert sheet.predict(strange).score.mean() > sheet.predict(NINE).score.mean() + 0.2


# what it takes


def test_a_missing_line_is_silent():
    sheet = Malsburg(dim=19, sheet=3, seed=1)
    x = activities(100, 19, seed=6)
    silent = np.nan_to_num(x)
    one, other = sheet.predict(x), sheet.predict(silent)
    assert np.array_equal(one.activity, other.activity)
    assert one.present.min() < 19
    assert (other.present == 19).all()


def test_where_nothing_fires_nothing_wins_or_learns():
    sheet = Malsburg(dim=19, sheet=3, seed=1)
    weights = sheet.weights
    out = sheet.learn(np.array([[0.0] * 19, [0.1] * 19, [np.nan] * 19]))
    assert out.winner.tolist() == [-1, -1, -1]
    assert out.distance.tolist()[:2] == [1.0, 1.0]
    assert np.isnan(out.distance[2])
    assert not out.activity.any()
    assert np.array_equal(sheet.weights, weights)
    assert sheet.samples == 3


def test_negative_activities_are_refused():
    sheet = Malsburg(dim=2, sheet=1)
    for refuse in (sheet.learn, sheet.predict, sheet.validate):
        with pytest.raises(BadValue, match=r"x\[1, 0\] is -0.5.*0 or more") as caught:
            refuse([[1.0, 0.0], [-0.5, 1.0]])
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
def test_what_no_spec_is(mistake, field):
    with pytest.raises(BadSpec, match=field):
        Malsburg(**{"dim": 19, **mistake})
