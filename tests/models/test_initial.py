"""Where units start: the plane of principal components as scikit-learn and MiniSom have it, the range and the
samples themselves, given weights, and what happens until the first samples have come."""

from __future__ import annotations

import json

import numpy as np
import pytest
from minisom import MiniSom
from sklearn.decomposition import PCA

import streamlearn as sl
from streamlearn import models
from streamlearn.errors import BadSpec
from tests.naive.scale import Scaler


def cloud(n: int, dim: int, seed: int = 1, missing: float = 0.0) -> np.ndarray:
    """Samples of a skewed normal distribution around 5: every direction has a variance of its own."""
    random = np.random.default_rng(seed)
    turned, _ = np.linalg.qr(random.normal(size=(dim, dim)))
    x = random.normal(size=(n, dim)) * 0.7 ** np.arange(dim) @ turned + 5
    return np.where(random.random(x.shape) < missing, np.nan, x).astype(np.float32)


def scaled(x: np.ndarray, method: str | None, clip: float = 6.0) -> np.ndarray:
    """``x`` as the statistics of all of it scale it, the slow way."""
    scaler = Scaler(x.shape[1], method, clip, decay=0.5 ** (1 / 50))
    for row in x.tolist():
        scaler.observe(row)
    return np.array([scaler.scaled(row) for row in x.tolist()])


def filled(x: np.ndarray) -> np.ndarray:
    """The channel's mean where a value is missing; 0 where all are."""
    seen = ~np.isnan(x)
    mean = np.where(seen, x, 0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1)
    return np.where(seen, x, mean)


# the plane


def plane(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The middle of a rectangular map, and half its way along columns and along rows."""
    corners = weights[[0, 0, -1, -1], [0, -1, 0, -1]].astype(np.float64)
    return corners.mean(axis=0), (corners[1] - corners[0]) / 2, (corners[2] - corners[0]) / 2


@pytest.mark.parametrize("scale", [None, "standard", "ewma", "minmax"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
@pytest.mark.parametrize("dim", [2, 5, 40])
def test_plane_of_scikit_learn(scale, missing, dim):
    x = cloud(200, dim, missing=missing)
    som = sl.SOM(dim=dim, grid=(4, 7), init="pca", init_samples=200, scale=scale, half_life=50.0)
    som.learn(x)
    samples = filled(scaled(x, scale))
    peer = PCA(2, svd_solver="full").fit(samples)
    middle, right, down = plane(som.weights)
    size = np.linalg.norm(right)
    assert np.abs(middle - samples.mean(axis=0)).max() <= 1e-4 * size
    variances = peer.explained_variance_ * (len(x) - 1) / len(x)  # of the samples, as scaling has it
    for side, variance, component in zip((right, down), variances, peer.components_, strict=True):
        expected = np.sqrt(variance) * component * np.sign(component[np.argmax(np.abs(component).round(6))])
        assert np.abs(side - expected).max() <= 1e-4 * size


def test_plane_of_minisom():
    """MiniSom's goes through 0 and has no spread; the directions are the same."""
    x = cloud(300, 6)
    som = sl.SOM(dim=6, grid=(5, 4), init="pca", init_samples=300)
    som.learn(x)
    peer = MiniSom(5, 4, 6)
    peer.pca_weights_init(x.astype(np.float64))
    theirs = peer.get_weights().reshape(-1, 6)
    ours = som.weights.astype(np.float64).reshape(-1, 6) - x.mean(axis=0, dtype=np.float64)
    within, *_ = np.linalg.lstsq(theirs.T, ours.T, rcond=None)
    assert np.abs(theirs.T @ within - ours.T).max() <= 1e-4 * np.abs(ours).max()


@pytest.mark.parametrize("topology", ["rectangular", "hexagonal"])
@pytest.mark.parametrize("grid", [(4, 7), (7, 4), (5, 5), (1, 6), (6, 1), (9,), (1, 1), (1,)])
def test_units_lie_on_the_plane_as_on_the_grid(topology, grid):
    """In two channels whose variances are 4 and 1 the components are the channels."""
    x = np.array([[-2, 0], [2, 0], [0, -1], [0, 1]] * 2, np.float32) * np.sqrt(2)
    som = sl.SOM(dim=2, grid=grid, topology=topology, init="pca", init_samples=8)
    som.learn(x)
    rows, columns = (1, *grid)[-2:]
    places = np.array(
        [
            (c + r % 2 / 2, r * np.sqrt(3) / 2) if topology == "hexagonal" else (c, r)
            for r in range(rows)
            for c in range(columns)
        ]
    )
    middle = (places.min(axis=0) + places.max(axis=0)) / 2
    half = np.maximum(places.max(axis=0) - middle, 1e-9)
    across, down = ((places - middle) / half).T
    wide = np.ptp(places[:, 0]) > np.ptp(places[:, 1])
    expected = np.stack((across, down) if wide else (down, across), axis=1) * [2, 1]
    assert np.allclose(som.weights.reshape(-1, 2), expected, atol=1e-6)


def test_a_line_and_a_point_are_no_planes_but_will_do():
    line = np.outer(np.arange(10), [1, -2, 2]).astype(np.float32)
    som = sl.SOM(dim=3, grid=(3, 4), init="pca", init_samples=10)
    som.learn(line)
    _, right, down = plane(som.weights)
    assert np.allclose(right, np.sqrt(8.25) * np.array([-1, 2, -2]))  # the first of the largest is positive
    assert np.abs(down).max() < 1e-6
    som = sl.SOM(dim=3, grid=(3, 4), init="pca", init_samples=10)
    som.learn(np.tile(np.float32([1, 2, 3]), (10, 1)))
    assert np.array_equal(som.weights, np.tile([1, 2, 3], (3, 4, 1)))


@pytest.mark.parametrize("size", [1e-42, 1e-20, 1e20, 3e38])
def test_a_plane_of_any_size(size):
    x = cloud(50, 4).astype(np.float64) - 5
    x = (x / np.abs(x).max() * size).astype(np.float32)
    som = sl.SOM(dim=4, grid=(3, 4), init="pca", init_samples=50)
    som.learn(x)
    assert np.isfinite(som.weights).all()
    exact = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    _, right, _ = plane(som.weights.astype(np.float64) / size)
    assert np.linalg.norm(right) == pytest.approx(np.linalg.svd(exact / size)[1][0] / np.sqrt(50), rel=0.05)


def test_an_ordered_start_is_an_ordered_map():
    """What it is for: from the plane on, neighbours on the map are neighbours among the samples."""
    x = cloud(400, 2, seed=3)
    torn = []
    for init in ("random", "pca"):
        som = sl.SOM(dim=2, grid=(6, 6), init=init, learning_rate=0.01, sigma=0.5, scale="standard")
        som.learn(x)
        torn.append(som.quality()["topographic_error"])
    assert torn[1] < 0.2 < torn[0]


# the range, and the samples themselves


@pytest.mark.parametrize("scale", [None, "standard", "ewma", "minmax"])
@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_random_within_the_range(scale, missing):
    x = cloud(40, 3, missing=missing)
    net = sl.Competitive(dim=3, units=500, init="range", init_samples=40, scale=scale, half_life=50.0, seed=4)
    net.learn(x)
    samples = scaled(x, scale)
    low, high = np.nanmin(samples, axis=0), np.nanmax(samples, axis=0)
    shares = (net.weights - low) / (high - low)
    assert shares.min() >= -1e-6
    assert shares.max() <= 1 + 1e-6
    assert np.abs(np.sort(shares, axis=0) - np.linspace(0, 1, 500)[:, None]).max() < 0.08  # uniform
    assert np.abs(np.corrcoef(shares.T) - np.eye(3)).max() < 0.15
    other = sl.Competitive(dim=3, units=500, init="range", init_samples=40, scale=scale, seed=5)
    other.learn(x)
    assert not np.array_equal(net.weights, other.weights)


def test_the_very_samples():
    x = cloud(20, 3)
    som = sl.SOM(dim=3, grid=(4, 5), init="samples")
    som.learn(x)
    assert np.array_equal(som.weights.reshape(20, 3), x)


@pytest.mark.parametrize("scale", ["standard", "ewma", "minmax"])
def test_the_samples_scaled(scale):
    x = cloud(20, 3, missing=0.2)
    som = sl.SOM(dim=3, grid=(4, 5), init="samples", scale=scale, half_life=50.0)
    som.learn(x)
    assert np.allclose(som.weights.reshape(20, 3), filled(scaled(x, scale)), atol=1e-5)


def test_samples_evenly_spread():
    x = cloud(25, 3)
    net = sl.Competitive(dim=3, units=10, init="samples", init_samples=25)
    net.learn(x)
    assert np.array_equal(net.weights, x[np.arange(10) * 25 // 10])


def test_growing_neural_gas_starts_at_two_samples():
    x = cloud(30, 3)
    net = sl.GrowingNeuralGas(dim=3, max_units=5, init="samples")
    net.learn(x[:2])
    assert np.array_equal(net.weights, x[:2])
    net.learn(x[2:])
    net = sl.GrowingNeuralGas(dim=3, max_units=5, init=[[1, 2, 3], [4, 5, 6]])
    assert net.weights.tolist() == [[1, 2, 3], [4, 5, 6]]


@pytest.mark.parametrize("init", ["range", "samples", "pca"])
def test_missing_values(init):
    x = cloud(30, 4)
    x[:, 1] = np.nan
    x[5:8] = np.nan
    som = sl.SOM(dim=4, grid=(3, 4), init=init, init_samples=30, scale="standard")
    som.learn(x)
    assert np.all(som.weights[..., 1] == 0)
    assert np.isfinite(som.weights).all()
    som = sl.SOM(dim=4, grid=(3, 4), init=init, init_samples=30)
    som.learn(np.full((30, 4), np.nan))
    assert not som.weights.any()


# until they have come


@pytest.mark.parametrize("init", ["range", "samples", "pca"])
def test_nobody_wins_until_the_units_stand(init):
    x = cloud(60, 3, missing=0.1)
    som = sl.SOM(dim=3, grid=(4, 5), init=init, init_samples=25, scale="standard")
    same = sl.SOM(dim=3, grid=(4, 5), scale="standard")
    assert not som.weights.any()
    early = [som.learn(x[:10]), som.predict(x[:10])]
    assert not som.weights.any()
    out = som.learn(x[10:40])
    early.append(out[:15])
    for responses in early:
        assert set(responses.winner) == {-1}
        assert set(responses.coords.ravel()) == {-1}
        assert np.isnan(responses.distance).all()
        assert np.isnan(responses.score).all()
    assert early[0].present.tolist() == early[1].present.tolist() == same.learn(x[:10]).present.tolist()
    assert (out.winner[15:] >= 0).all()
    assert som.samples == 40
    assert som.hits.sum() == pytest.approx(15, rel=0.01)
    same.learn(x[10:40])
    assert np.array_equal(som.state["scale.statistics"], same.state["scale.statistics"])


def test_assigned_weights_are_the_start():
    x = cloud(30, 3)
    som = sl.SOM(dim=3, grid=(2, 2), init="range", init_samples=20)
    som.learn(x[:5])
    som.weights = weights = np.arange(12).reshape(2, 2, 3)
    assert np.array_equal(som.weights, weights)
    assert (som.learn(x[5:]).winner >= 0).all()


DEFAULTS = [
    ({"dim": 8, "grid": (10, 10), "init": "pca"}, 100),
    ({"dim": 80, "grid": (10, 10), "init": "range"}, 160),
    ({"dim": 600, "grid": (10, 10), "init": "pca"}, 436),
    ({"dim": 1 << 20, "grid": (2, 2), "init": "pca"}, 2),
    ({"dim": 8, "grid": (3, 4), "init": "samples"}, 12),
    ({"dim": 8, "grid": (3, 4), "init": "samples", "init_samples": 50}, 50),
    ({"dim": 8, "grid": (3, 4)}, 0),
]


@pytest.mark.parametrize(("spec", "held"), DEFAULTS)
def test_how_many_are_held(spec, held):
    assert len(sl.SOM(**spec).state.get("init.samples", ())) == held


# given weights


def test_given_weights_go_round_bit_for_bit():
    weights = np.random.default_rng(1).normal(size=(3, 4, 2)).astype(np.float32)
    weights[0, 0] = -0.0, 1e-45
    weights[0, 1] = np.finfo(np.float32).max, np.float32(0.1)
    som = sl.SOM(dim=2, grid=(3, 4), init=weights)
    assert som.weights.tobytes() == weights.tobytes()
    spec = json.loads(json.dumps(som.spec_dict()))
    again = models.create("som", spec)
    assert again.weights.tobytes() == weights.tobytes()
    assert again.spec == som.spec
    assert hash(again.spec) == hash(som.spec)
    assert np.array_equal(sl.SOM(dim=2, grid=(3, 4), init=weights.tolist()).weights, weights)
    assert np.array_equal(sl.SOM(dim=2, grid=(3, 4), init=weights.astype(np.float64)).weights, weights)
    chain = sl.SOM(dim=1, grid=(3,), init=[[1], [2], [3]])
    assert chain.weights.tolist() == [[1], [2], [3]]
    assert len(repr(sl.SOM(dim=20, grid=(20, 20), init=np.ones((20, 20, 20))))) < 600


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"init": "PCA"}, "'pca'"),
        ({"init": np.zeros((4, 3, 2))}, r"\(4, 3, 2\).*\(3, 4, 2\)"),
        ({"init": np.zeros(24)}, r"\(3, 4, 2\)"),
        ({"init": 1.0}, r"\(3, 4, 2\)"),
        ({"init": []}, r"\(3, 4, 2\)"),
        ({"init": np.full((3, 4, 2), np.nan)}, "finite"),
        ({"init": np.full((3, 4, 2), 1e39)}, "finite"),
        ({"init": np.full((3, 4, 2), "1")}, "numbers"),
        ({"init": [[1.0], [2.0, 3.0]]}, "numbers"),
        ({"init": None}, "numbers"),
        ({"init": {"a": 1}}, "numbers"),
        ({"init_samples": 10}, "first samples"),
        ({"init": np.zeros((3, 4, 2)), "init_samples": 10}, "first samples"),
        ({"init": "samples", "init_samples": 11}, "at least 12"),
        ({"init": "pca", "init_samples": 0}, "init_samples"),
        ({"init": "pca", "init_samples": 1 << 22}, "fewer init_samples"),
        ({"init": "range", "init_samples": 1 << 27}, "fewer init_samples"),
    ],
)
def test_a_wrong_start_is_refused(wrong, reported):
    with pytest.raises(BadSpec, match=reported):
        sl.SOM(dim=2, grid=(3, 4), **wrong)


def test_the_plane_is_for_maps():
    for kind, spec in (("competitive", {"units": 3}), ("gng", {})):
        with pytest.raises(BadSpec, match="'pca' is not for this model"):
            models.create(kind, {"dim": 2, "init": "pca", **spec})
