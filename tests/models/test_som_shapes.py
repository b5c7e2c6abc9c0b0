"""Maps of every shape, distance and neighbourhood, against walks over the grid and the plain formulas."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from scipy.spatial import distance as measures

import streamlearn as sl
from streamlearn.errors import BadSpec
from tests.naive.lattice import Lattice

SHAPES = [
    ("rectangular", False, (4, 5)),
    ("rectangular", True, (4, 5)),
    ("rectangular", True, (3, 7)),
    ("rectangular", False, (9,)),
    ("rectangular", True, (9,)),
    ("hexagonal", False, (5, 4)),
    ("hexagonal", True, (4, 5)),
    ("hexagonal", True, (6, 3)),
    ("hexagonal", True, (9,)),
    ("hexagonal", True, (1, 8)),
]
TINY = [
    ("rectangular", True, (2, 2)),
    ("rectangular", True, (1,)),
    ("hexagonal", True, (2, 3)),
    ("hexagonal", True, (1,)),
    ("hexagonal", True, (2,)),
]
GRID_DISTANCES = {
    "rectangular": ["manhattan", "euclidean", "chebyshev"],
    "hexagonal": ["hexagonal", "euclidean"],
}
CASES = [
    (topology, torus, grid, metric) for topology, torus, grid in SHAPES for metric in GRID_DISTANCES[topology]
]


def units_of(grid: tuple[int, ...]) -> list[tuple[int, int]]:
    rows, columns = (1, grid[0]) if len(grid) == 1 else grid
    return list(product(range(rows), range(columns)))


def lattice_of(topology: str, torus: bool, grid: tuple[int, ...]) -> Lattice:
    rows, columns = (1, grid[0]) if len(grid) == 1 else grid
    return Lattice(rows, columns, topology, torus)


def cooperation(d: float, sigma: float, neighbourhood: str) -> float:
    """h of a unit at distance d, from the books."""
    share = d * d / (sigma * sigma)
    reach = 5.25 * sigma if neighbourhood in ("gaussian", "mexican_hat") else sigma
    if d > reach + 1e-6:
        return 0.0
    return {
        "gaussian": math.exp(-share / 2),
        "bubble": 1.0,
        "triangle": 1 - d / sigma,
        "mexican_hat": (1 - share) * math.exp(-share / 2),
    }[neighbourhood]


def moved(som: sl.SOM, winner: int) -> np.ndarray:
    """How far each unit goes towards a sample that ``winner`` wins, as a share of the way: ε·h."""
    weights = np.zeros((som.units, 2), np.float32)
    weights[winner] = [0.0, 0.25]  # the nearest to (0, 1)
    som.weights = weights.reshape(som.weights.shape)
    out = som.learn([[0.0, 1.0]])
    assert out.winner[0] == winner
    after = som.weights.reshape(-1, 2)[:, 1]
    return (after - weights[:, 1]) / (1 - weights[:, 1])


@pytest.mark.parametrize(("topology", "torus", "grid", "metric"), CASES)
@pytest.mark.parametrize("neighbourhood", ["gaussian", "bubble", "triangle", "mexican_hat"])
def test_neighbours_learn_by_their_distance_on_the_grid(topology, torus, grid, metric, neighbourhood):
    sigma = 1.5
    lattice, units = lattice_of(topology, torus, grid), units_of(grid)
    for winner in range(0, len(units), 3):
        som = sl.SOM(
            dim=2, grid=grid, topology=topology, torus=torus, grid_distance=metric,
            neighbourhood=neighbourhood, sigma=sigma, learning_rate=0.5,
        )  # fmt: skip
        expected = [
            0.5 * cooperation(lattice.distance(units[winner], unit, metric), sigma, neighbourhood)
            for unit in units
        ]
        np.testing.assert_allclose(moved(som, winner), expected, atol=2e-6)


@pytest.mark.parametrize(("topology", "torus", "grid"), SHAPES)
def test_the_default_grid_distance_counts_steps_along_edges(topology, torus, grid):
    lattice, units = lattice_of(topology, torus, grid), units_of(grid)
    som = sl.SOM(dim=2, grid=grid, topology=topology, torus=torus, sigma=2.0, learning_rate=0.5)
    steps = lattice.steps(units[1])
    expected = [0.5 * cooperation(steps[unit], 2.0, "gaussian") for unit in units]
    np.testing.assert_allclose(moved(som, 1), expected, atol=2e-6)


@pytest.mark.parametrize(("topology", "torus", "grid"), SHAPES + TINY)
@pytest.mark.parametrize("distance", ["euclidean", "manhattan", "chebyshev", "cosine"])
def test_u_matrix(topology, torus, grid, distance):
    som = sl.SOM(dim=3, grid=grid, topology=topology, torus=torus, distance=distance, seed=4)
    lattice, units = lattice_of(topology, torus, grid), units_of(grid)
    weights = dict(zip(units, som.weights.reshape(-1, 3).astype(float), strict=True))
    between = {"manhattan": measures.cityblock}.get(distance) or getattr(measures, distance)
    expected = []
    for unit in units:
        beside = lattice.around(unit, corners=True)
        expected.append(np.mean([between(weights[unit], weights[other]) for other in beside] or [0.0]))
    np.testing.assert_allclose(som.u_matrix().ravel(), expected, rtol=1e-5)


@pytest.mark.parametrize(("topology", "torus", "grid"), SHAPES)
def test_topographic_error_counts_winners_that_do_not_touch(topology, torus, grid):
    rng = np.random.default_rng(6)
    som = sl.SOM(dim=2, grid=grid, topology=topology, torus=torus, learning_rate=0.0, half_life=1e12, seed=2)
    samples = rng.uniform(-1, 1, (200, 2)).astype(np.float32)
    lattice, units = lattice_of(topology, torus, grid), units_of(grid)
    weights = som.weights.reshape(-1, 2)
    torn = 0
    for x in samples:
        first, second = np.argsort(((x - weights) ** 2).sum(axis=1), kind="stable")[:2]
        torn += units[second] not in lattice.around(units[first], corners=True)
    som.learn(samples)
    assert 0 < torn < 200
    assert som.quality()["topographic_error"] == pytest.approx(torn / 200, rel=1e-6)


@pytest.mark.parametrize("distance", ["euclidean", "manhattan", "chebyshev", "cosine"])
@pytest.mark.parametrize("units", [1, 15, 16, 17, 70, 200])
def test_winner_and_distance_by_every_measure(distance, units):
    rng = np.random.default_rng(units)
    som = sl.SOM(dim=5, grid=(units,), distance=distance, seed=units)
    samples = rng.normal(size=(50, 5)).astype(np.float32)
    weights = som.weights.astype(float)
    table = measures.cdist(samples, weights, {"manhattan": "cityblock"}.get(distance, distance))
    out = som.predict(samples)
    np.testing.assert_array_equal(out.winner, table.argmin(axis=1))
    np.testing.assert_allclose(out.distance, table.min(axis=1), rtol=1e-5, atol=1e-6)


def test_cosine_of_a_zero_vector_is_the_largest_uncertainty():
    som = sl.SOM(dim=2, grid=(2,), distance="cosine")
    som.weights = [[0, 0], [1, 0]]
    np.testing.assert_allclose(
        som.predict([[0, 0], [0, 3], [-2, 0], [5, 0]]).distance, [1, 1, 1, 0], atol=1e-7
    )


@pytest.mark.parametrize("missing", [0.0, 0.25])
@pytest.mark.parametrize("distance", ["manhattan", "chebyshev", "cosine"])
def test_learns_and_is_judged_by_its_own_measure(distance, missing):
    """Sample by sample in float64: who wins, who comes second, what is learned, and how good that is."""
    rng = np.random.default_rng(8)
    x = rng.normal(size=(400, 5)).astype(np.float32)
    x[rng.random(x.shape) < missing] = np.nan
    x = x[(~np.isnan(x)).sum(axis=1) > 1]  # along one channel cosine knows no more than two directions
    som = sl.SOM(dim=5, grid=(4, 5), distance=distance, learning_rate=0.2, sigma=1.2, half_life=1e12, seed=3)
    lattice, units = lattice_of("rectangular", False, (4, 5)), units_of((4, 5))
    weights = som.weights.reshape(-1, 5).astype(float)
    winners, distances, torn = [], [], 0
    for row in x.astype(float):
        there = ~np.isnan(row)
        measure = {"manhattan": "cityblock"}.get(distance, distance)
        away = measures.cdist(row[None, there], weights[:, there], measure)[0]
        first, second = np.argsort(away, kind="stable")[:2]
        winners.append(first)
        distances.append(away[first] * (5 / there.sum() if distance == "manhattan" else 1))
        torn += units[second] not in lattice.around(units[first], corners=True)
        steps = [lattice.distance(units[first], unit, "manhattan") for unit in units]
        rate = 0.2 * np.array([cooperation(d, 1.2, "gaussian") for d in steps])
        weights[:, there] += rate[:, None] * (row - weights)[:, there]
    out = som.learn(x)
    np.testing.assert_array_equal(out.winner, winners)
    np.testing.assert_allclose(out.distance, distances, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(som.weights.reshape(-1, 5), weights, atol=1e-5)
    quality = som.quality()
    assert quality["quantization_error"] == pytest.approx(np.mean(distances), rel=1e-4)
    assert 0 < torn < len(x)
    assert quality["topographic_error"] == pytest.approx(torn / len(x), rel=1e-6)


def test_missing_channels_by_every_measure():
    x = np.array([[0.5, np.nan, -0.25, np.nan]], np.float32)
    for distance, expected in {
        "euclidean": math.sqrt((0.5**2 + 0.25**2) * 2),
        "manhattan": 0.75 * 2,
        "chebyshev": 0.5,
        "cosine": 1 - 0.5 / math.hypot(0.5, 0.25),
    }.items():
        som = sl.SOM(dim=4, grid=(1,), distance=distance)
        som.weights = [[1, 9, 0, -9]]
        out = som.predict(x)
        assert out.distance[0] == pytest.approx(expected)
        assert out.present[0] == 2


def test_a_chain_has_one_coordinate():
    som = sl.SOM(dim=2, grid=(7,), seed=1)
    assert som.weights.shape == (7, 2)
    out = som.predict([[0.1, 0.2]])
    assert out.coords.shape == (1, 1)
    assert out.coords[0, 0] == out.winner[0]
    assert som.u_matrix().shape == (7,)


def test_hits_and_dead_units():
    som = sl.SOM(dim=1, grid=(4,), sigma=0.0, learning_rate=0.0, half_life=10.0)
    som.weights = [[0], [1], [2], [3]]
    som.learn(np.full((5, 1), 1.0))
    som.learn(np.full((20, 1), 3.0))
    decay = 0.5 ** (1 / 10)
    # A win counts 1 for the next sample's eyes, and loses a factor with every win that follows.
    first = sum(decay ** (25 - n) for n in range(5))
    last = sum(decay ** (25 - n) for n in range(5, 25))
    np.testing.assert_allclose(som.hits, [0, first, 0, last], rtol=1e-9)
    assert som.dead_units.tolist() == [0, 2]
    assert som.quality()["dead_units"] == 2


@pytest.mark.parametrize(
    ("model", "units"),
    [
        (sl.SOM(dim=1, grid=(4,)), 4),
        (sl.Competitive(dim=1, units=3), 3),
        (sl.GrowingNeuralGas(dim=1), 2),
        (sl.Grossberg(dim=2, layers=[[3]]), 3),
    ],
    ids=["som", "competitive", "gng", "grossberg"],
)
def test_units_are_dead_until_one_wins(model, units):
    assert model.quality()["dead_units"] == units
    model.learn([[1.0] * model.dim])
    assert model.quality()["dead_units"] == units - 1


def test_shapes_that_make_no_map_are_refused():
    with pytest.raises(BadSpec, match="even number of rows"):
        sl.SOM(dim=2, grid=(3, 4), topology="hexagonal", torus=True)
    with pytest.raises(BadSpec, match="grid_distance 'manhattan' is not for a hexagonal grid"):
        sl.SOM(dim=2, grid=(3, 4), topology="hexagonal", grid_distance="manhattan")
    with pytest.raises(BadSpec, match="grid_distance 'hexagonal' is not for a rectangular grid"):
        sl.SOM(dim=2, grid=(3, 4), grid_distance="hexagonal")
