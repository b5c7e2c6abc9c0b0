"""The self-organizing map against a slow one in float64, MiniSom, and counts made by hand."""

from __future__ import annotations

import numpy as np
import pytest
from minisom import MiniSom

import streamlearn as sl
from streamlearn.errors import BadDtype, BadShape, BadSpec, BadValue
from tests.naive.som import NaiveSOM


def blobs(n: int, dim: int, seed: int, missing: float = 0.0) -> np.ndarray:
    """Samples of five clusters, float32, some values missing."""
    random = np.random.default_rng(seed)
    centres = random.uniform(-2, 2, (5, dim))
    x = centres[random.integers(0, 5, n)] + 0.3 * random.normal(size=(n, dim))
    return np.where(random.random(x.shape) < missing, np.nan, x).astype(np.float32)


def as_tuple(schedule) -> tuple[float, float, float]:
    if isinstance(schedule, sl.Decay):
        return schedule.start, schedule.end, schedule.tau
    return schedule, schedule, 1.0


RULES = {
    "default metric": {"sigma": 1.5, "learning_rate": 0.3},
    "euclidean": {"sigma": 2.0, "learning_rate": 0.2, "grid_distance": "euclidean"},
    "chebyshev": {"sigma": 1.2, "learning_rate": 0.2, "grid_distance": "chebyshev"},
    "bubble": {"sigma": 1.0, "learning_rate": 0.1, "neighbourhood": "bubble"},
    "wide bubble": {
        "sigma": 2.0,
        "learning_rate": 0.1,
        "neighbourhood": "bubble",
        "grid_distance": "euclidean",
    },
    "decay": {"sigma": sl.Decay(3, 0.5, 100), "learning_rate": sl.Decay(0.9, 0.05, 80)},
    "sigma fades to nothing": {"sigma": sl.Decay(2, 0, 20), "learning_rate": sl.Decay(0.5, 0, 200)},
    "cut-off": {"sigma": 0.5, "learning_rate": 0.5},
    "standard": {"sigma": 1.5, "learning_rate": 0.3, "scale": "standard"},
    "ewma": {"sigma": 1.5, "learning_rate": 0.3, "scale": "ewma", "half_life": 50.0},
    "minmax": {"sigma": 1.5, "learning_rate": 0.3, "scale": "minmax", "scale_clip": 0.8},
}


@pytest.mark.parametrize("missing", [0.0, 0.25])
@pytest.mark.parametrize("rule", RULES)
def test_same_as_the_slow_one(rule, missing):
    spec = {"half_life": 200.0, **RULES[rule]}
    x = blobs(400, 3, seed=1, missing=missing)
    ours = sl.SOM(dim=3, grid=(4, 6), seed=3, **spec)
    naive = NaiveSOM(
        ours.weights.tolist(),
        sigma=as_tuple(spec["sigma"]),
        learning_rate=as_tuple(spec["learning_rate"]),
        grid_distance=spec.get("grid_distance", "manhattan"),
        neighbourhood=spec.get("neighbourhood", "gaussian"),
        scale=spec.get("scale"),
        clip=spec.get("scale_clip", 6.0),
        half_life=spec["half_life"],
    )
    out = ours.learn(x)
    responses = [naive.learn(row) for row in x.tolist()]

    assert out.winner.tolist() == [each.winner for each in responses]
    assert out.present.tolist() == [each.channels for each in responses]
    distances = np.array([each.distance for each in responses])
    assert np.allclose(out.distance, distances, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert np.allclose(out.score, [each.score for each in responses], rtol=0, atol=1e-3, equal_nan=True)
    assert np.allclose(ours.weights, np.reshape(naive.weights, (4, 6, 3)), rtol=1e-4, atol=1e-5)
    assert np.allclose(ours.u_matrix(), naive.u_matrix(), rtol=1e-4, atol=1e-5)
    quality = ours.quality()
    reported = quality["quantization_error"], quality["topographic_error"]
    assert reported == pytest.approx(naive.quality(), rel=1e-4)

    later = blobs(50, 3, seed=2, missing=missing)
    out, responses = ours.predict(later), [naive.predict(row) for row in later.tolist()]
    assert out.winner.tolist() == [each.winner for each in responses]
    assert np.allclose(out.score, [each.score for each in responses], rtol=0, atol=1e-3, equal_nan=True)


@pytest.mark.parametrize(
    "size", [(10, 10, 8, 2.0), (7, 3, 5, 1.0), (1, 20, 2, 3.0), (5, 23, 3, 1.0), (4, 70, 4, 4.0)]
)
def test_same_as_minisom(size):
    """After 1,000 updates at constant rates; MiniSom's neighbourhood is the Euclidean gaussian, uncut."""
    rows, columns, dim, sigma = size
    x = blobs(1000, dim, seed=4)
    ours = sl.SOM(
        dim=dim, grid=(rows, columns), sigma=sigma, learning_rate=0.3, grid_distance="euclidean", seed=5
    )
    peer = MiniSom(rows, columns, dim, sigma=sigma, learning_rate=0.3)
    peer._sigma_decay_function = peer._learning_rate_decay_function = lambda value, t, limit: value
    peer._weights = ours.weights.astype(np.float64)

    winners = []
    for t, sample in enumerate(x.astype(np.float64)):
        winners.append(peer.winner(sample))
        peer.update(sample, winners[-1], t, len(x))
    out = ours.learn(x)

    assert out.coords.tolist() == [list(map(int, winner)) for winner in winners]
    scale = np.abs(peer.get_weights()).max()
    assert np.abs(ours.weights - peer.get_weights()).max() <= 1e-4 * scale
    ours_quantization = float(ours.predict(x).distance.mean())
    assert ours_quantization == pytest.approx(peer.quantization_error(x.astype(np.float64)), rel=1e-4)


def test_topographic_error_is_minisoms():
    """Ours is live and forgets; with no learning and no forgetting it is the share over the same samples."""
    x = blobs(500, 4, seed=6)
    ours = sl.SOM(dim=4, grid=(6, 6), sigma=1.0, learning_rate=0, half_life=1e12, seed=7)
    peer = MiniSom(6, 6, 4)
    peer._weights = ours.weights.astype(np.float64)
    ours.learn(x)
    assert ours.quality()["topographic_error"] == pytest.approx(peer.topographic_error(x.astype(np.float64)))
    assert ours.quality()["quantization_error"] == pytest.approx(peer.quantization_error(x), rel=1e-5)


def test_u_matrix_is_minisoms():
    ours = sl.SOM(dim=3, grid=(5, 7), sigma=1.0, learning_rate=0.5, seed=8)
    ours.learn(blobs(200, 3, seed=9))
    peer = MiniSom(5, 7, 3)
    peer._weights = ours.weights.astype(np.float64)
    theirs = peer.distance_map(scaling="mean")  # divided by its largest
    assert np.allclose(ours.u_matrix() / ours.u_matrix().max(), theirs, rtol=1e-5)


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (4, 1), (2, 2)])
def test_u_matrix_on_small_grids(grid):
    som = sl.SOM(dim=2, grid=grid, seed=1)
    naive = NaiveSOM(som.weights.tolist(), (1, 1, 1), (0, 0, 1))
    assert np.allclose(som.u_matrix(), naive.u_matrix(), rtol=1e-5)


def test_a_line_unfolds():
    """Kohonen's own test: a chain of units learns the order of samples on a line."""
    x = np.random.default_rng(10).uniform(0, 1, (20_000, 1))
    som = sl.SOM(
        dim=1,
        grid=(1, 12),
        sigma=sl.Decay(4, 0.5, 3000),
        learning_rate=sl.Decay(0.5, 0.02, 3000),
        half_life=1000.0,
        seed=11,
    )
    som.learn(x)
    steps = np.diff(som.weights[0, :, 0])
    assert np.all(steps > 0) or np.all(steps < 0)
    assert np.allclose(np.sort(som.weights[0, :, 0]), (np.arange(12) + 0.5) / 12, atol=0.06)
    assert som.quality()["topographic_error"] < 0.01


def test_one_sample_by_hand():
    """The winner moves by ε, its four neighbours at distance 1 by ε·e^(−1/2σ²)."""
    som = sl.SOM(dim=1, grid=(3, 3), sigma=1.0, learning_rate=0.5)
    weights = np.full((3, 3, 1), 10.0)
    weights[1, 1] = 1.0
    som.weights = weights
    out = som.learn([0.0])
    assert (out.winner[0], out.coords[0].tolist(), out.distance[0]) == (4, [1, 1], 1.0)
    moved = 10 - 5 * np.exp(-0.5)
    corner = 10 - 5 * np.exp(-2)
    expected = [[corner, moved, corner], [moved, 0.5, moved], [corner, moved, corner]]
    assert np.allclose(som.weights[:, :, 0], expected, rtol=1e-6)


def test_units_beyond_reach_keep_their_bits():
    som = sl.SOM(dim=1, grid=(1, 40), sigma=1.0, learning_rate=0.5)
    weights = np.full((1, 40, 1), 9.0, np.float32)
    weights[0, 0] = 1.0
    som.weights = weights
    som.learn([0.0])
    changed = np.flatnonzero(som.weights[0, :, 0] != weights[0, :, 0])
    assert changed.tolist() == list(range(6))  # 5.25σ


def test_coordinates_are_row_major():
    som = sl.SOM(dim=2, grid=(3, 5))
    som.weights = np.stack(np.meshgrid(np.arange(3), np.arange(5), indexing="ij"), axis=2)
    out = som.predict([[r, c] for r in range(3) for c in range(5)])
    assert out.winner.tolist() == list(range(15))
    assert out.coords.tolist() == [[r, c] for r in range(3) for c in range(5)]
    assert out.coords.dtype == np.int32
    assert som.predict([np.nan, np.nan]).coords.tolist() == [[-1, -1]]


def test_default_radius_covers_half_the_map_and_shrinks():
    som = sl.SOM(dim=1, grid=(20, 8))
    assert (som.spec.radius.start, som.spec.radius.end) == (10, 1.5)
    assert sl.SOM(dim=1, grid=(1, 1)).spec.radius.start == 1


def test_weights_can_be_set_and_not_by_accident():
    som = sl.SOM(dim=3, grid=(2, 4))
    wanted = np.random.default_rng(12).normal(size=(2, 4, 3))
    som.weights = wanted
    assert som.weights.shape == (2, 4, 3)
    assert som.weights.dtype == np.float32
    assert np.array_equal(som.weights, wanted.astype(np.float32))
    with pytest.raises(ValueError, match="read-only"):
        som.weights[0, 0] = 1
    before = som.state_hash()
    som.weights = som.weights
    assert som.state_hash() == before


WRONG_WEIGHTS = {
    "flat": (np.zeros((8, 3)), BadShape),
    "one unit": (np.zeros(3), BadShape),
    "infinite": (np.full((2, 4, 3), np.inf), BadValue),
    "missing": (np.full((2, 4, 3), np.nan), BadValue),
    "too large for float32": (np.full((2, 4, 3), 1e39), BadValue),
    "words": ("no numbers", BadDtype),
    "ragged": ([[1], [2, 3]], BadShape),
    "complex words": ([["a"] * 3], BadDtype),
}


@pytest.mark.parametrize("mistake", WRONG_WEIGHTS)
def test_wrong_weights_are_refused_and_change_nothing(mistake):
    som = sl.SOM(dim=3, grid=(2, 4))
    before = som.state_hash()
    values, error = WRONG_WEIGHTS[mistake]
    with pytest.raises(error):
        som.weights = values
    assert som.state_hash() == before


def test_every_mistake_in_a_spec_is_told_at_once():
    with pytest.raises(BadSpec) as caught:
        sl.SOM(
            dim=0,
            grid="wide",
            learning_rate=2,
            sigma=sl.Decay(1, -1),
            neighbourhood="square",
            grid_distance="far",
            scale="big",
            half_life=0,
            colour="red",
        )
    reported = {each["field"]: each["message"] for each in caught.value.detail["errors"]}
    wrong = "dim grid learning_rate sigma neighbourhood grid_distance scale half_life colour"
    assert {field.split(".")[0] for field in reported} == set(wrong.split())
    assert all(field in str(caught.value) for field in reported)


@pytest.mark.parametrize(
    "wrong",
    [
        {"learning_rate": -0.1},
        {"learning_rate": sl.Decay(0.5, 1.1)},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"sigma": -1},
        {"sigma": 1e20},
        {"sigma": "wide"},
        {"grid": ()},
        {"grid": (0, 3)},
        {"grid": (3, 3, 3)},
        {"grid": (5000, 1)},
        {"grid": (4096, 4096), "dim": 100},
        {"seed": -1},
        {"self": 1},
    ],
)
def test_a_wrong_parameter_is_refused(wrong):
    with pytest.raises(BadSpec) as caught:
        sl.SOM(**{"dim": 2, "grid": (3, 3), **wrong})
    assert caught.value.detail["errors"]


@pytest.mark.parametrize("sigma", [0, 1e-30, 1e6])
@pytest.mark.parametrize("neighbourhood", ["gaussian", "bubble"])
def test_extreme_radii(sigma, neighbourhood):
    """The winner alone, or all alike; never a NaN, and never a unit that is not there."""
    som = sl.SOM(dim=1, grid=(3, 6), sigma=sigma, learning_rate=0.5, neighbourhood=neighbourhood)
    som.weights = np.full((3, 6, 1), 2.0)
    som.learn([0.0])
    moved = (som.weights == 1).sum()
    assert moved == (18 if sigma > 1 else 1)
    assert not som.state["weights"][0, :, 18:].any()


@pytest.mark.parametrize("x", [np.full((20_000, 2), 0.3), np.random.default_rng(14).normal(size=(20_000, 2))])
def test_a_mexican_hat_pushes_no_unit_to_infinity(x):
    """Units in its brim are pushed away by a share of their distance, again and again."""
    som = sl.SOM(dim=2, grid=(6, 6), sigma=2.0, learning_rate=0.5, neighbourhood="mexican_hat", seed=13)
    som.learn(x)
    assert np.isfinite(som.state["weights"]).all()
    som.learn(np.zeros((1000, 2)))
    assert np.isfinite(som.state["weights"]).all()


def test_decay():
    assert sl.Decay(1, 0.5) == sl.Decay(start=1, end=0.5, tau=5000)
    for mistake in ({"tau": 0}, {"tau": -1}, {"start": float("nan")}, {"half": 3}):
        with pytest.raises((ValueError, TypeError)):
            sl.Decay(**{"start": 1, "end": 0, **mistake})


def test_decay_is_the_formula():
    """With one unit and samples 1 on weight 0, what is left is Π (1 − ε(t))."""
    som = sl.SOM(dim=1, grid=(1, 1), learning_rate=sl.Decay(0.2, 0.1, 30))
    som.weights = [[[0.0]]]
    left = 1.0
    for t in range(200):
        som.learn([1.0])
        left *= 1 - (0.1 + 0.1 * np.exp(-t / 30))
        assert float(som.weights[0, 0, 0]) == pytest.approx(1 - left, abs=1e-5)
    assert som.samples == 200
