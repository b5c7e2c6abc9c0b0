"""The two nearest units against sorting: ties, missing channels, padding, and overflow of squares."""

from __future__ import annotations

import math

import numba as nb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.kernels.maps.winner import MEASURES, Units, nearest_two, present_channels
from streamlearn.models import lane_layout


@nb.njit(error_model="numpy")
def _search(x, weights, pad, measure):
    channels = np.empty(x.size, np.int64)
    count = present_channels(x, channels)
    return count, nearest_two(x, channels, count, Units(weights, pad, measure))


def search(x, weights, measure: str = "euclidean") -> tuple[int, int, float, int]:
    """Return (number of present channels, nearest unit, its dissimilarity, second nearest unit).

    ``x`` is ``(dim,)``, ``weights`` is ``(units, dim)``.
    """
    weights = np.asarray(weights, np.float32)
    count, (first, distance, second) = _search(
        np.asarray(x, np.float32),
        lane_layout.to_groups(weights),
        lane_layout.group_columns(np.zeros((len(weights), 1)))[0],
        MEASURES[measure],
    )
    return count, first, distance, second


FORMULAS = {
    "euclidean": lambda differences: sum(d * d for d in differences),  # squared
    "manhattan": lambda differences: sum(abs(d) for d in differences),
    "chebyshev": lambda differences: max((abs(d) for d in differences), default=0.0),
}


def search_by_sorting(x, weights, measure: str) -> tuple[int, int, float, int]:
    """Return the same as `search`, by sorting by dissimilarity, then by index."""
    present = [d for d, v in enumerate(x) if not math.isnan(v)]
    distances = [FORMULAS[measure]([x[d] - w[d] for d in present]) for w in weights]
    order = sorted(range(len(weights)), key=lambda j: (distances[j], j))
    return len(present), order[0], distances[order[0]], order[1] if len(order) > 1 else -1


@st.composite
def problems(draw):
    """Yield (x, weights) of small integers: float32 is exact, and ties are frequent."""
    dim, units = draw(st.integers(1, 4)), draw(st.integers(1, 70))
    small = st.integers(-2, 2).map(float)
    weights = draw(st.lists(st.lists(small, min_size=dim, max_size=dim), min_size=units, max_size=units))
    x = draw(st.lists(small | st.just(math.nan), min_size=dim, max_size=dim))
    return x, weights


@pytest.mark.parametrize("measure", FORMULAS)
@given(problem=problems())
def test_same_as_sorting(measure, problem):
    x, weights = problem
    assert search(x, weights, measure) == search_by_sorting(x, weights, measure)


def test_cosine():
    random = np.random.default_rng(12)
    weights = random.normal(size=(70, 6)).astype(np.float32)
    weights[5] = 0
    for x in random.normal(size=(50, 6)).astype(np.float32):
        norms = np.maximum(np.linalg.norm(weights, axis=1) * np.linalg.norm(x), 1e-9)
        distances = 1 - (weights @ x) / norms
        count, first, nearest, second = search(x, weights, "cosine")
        assert (count, first, second) == (6, *np.argsort(distances)[:2])
        assert nearest == pytest.approx(distances.min(), abs=1e-6)
    assert search(np.zeros(6), weights, "cosine") == (
        6,
        0,
        1.0,
        1,
    )  # a zero vector has no direction: all distances are 1
    assert search(weights[9] * 1e15, weights, "cosine")[1] == 9


@pytest.mark.parametrize("units", [1, 2, 15, 16, 17, 33, 100])
def test_ties_go_to_the_lowest_index(units):
    assert search([1.0, 2.0], np.zeros((units, 2))) == (2, 0, 5.0, 1 if units > 1 else -1)


@pytest.mark.parametrize("winners", [(3, 19), (19, 35), (16, 32), (5, 21, 37), (31, 32), (0, 47)])
def test_ties_across_blocks(winners):
    weights = np.full((48, 1), 9.0)
    weights[list(winners)] = 1.0
    assert search([1.0], weights) == (1, winners[0], 0.0, winners[1])


@pytest.mark.parametrize("units", [1, 5, 17])
@pytest.mark.parametrize("x", [0.0, 1e6, -1e18])
def test_padding_never_wins(units, x):
    """Padding lanes hold zeros. Here they are nearer than every unit."""
    _, first, _, second = search([x], np.full((units, 1), 3.0 if x == 0 else -x / 2))
    assert (first, second) == (0, 1 if units > 1 else -1)


def test_large_random_problem():
    random = np.random.default_rng(3)
    weights = random.normal(size=(1000, 17)).astype(np.float32)
    for x in random.normal(size=(50, 17)).astype(np.float32):
        squares = ((x.astype(np.float64) - weights) ** 2).sum(axis=1)
        count, first, square, second = search(x, weights)
        assert (count, first, second) == (17, *np.argsort(squares)[:2])
        assert square == pytest.approx(squares.min(), rel=1e-5)


def test_without_present_channels_all_distances_are_0():
    assert search([math.nan, math.nan], [[1, 2], [3, 4], [5, 6]]) == (0, 0, 0.0, 1)


@pytest.mark.parametrize("units", [20, 70])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("large", [1e20, 1e30, 3.4e38, -3.4e38])
def test_without_a_finite_distance_there_is_no_winner(large, measure, units):
    assert search([large], np.ones((units, 1)), measure) == (1, -1, math.inf, -1)
    assert search([1.0], np.full((units, 1), large), measure) == (1, -1, math.inf, -1)


def test_a_near_unit_wins_although_other_distances_overflow():
    weights = np.zeros((20, 1))
    weights[17] = 1e30
    assert search([1e30], weights)[1:] == (17, 0.0, -1)
