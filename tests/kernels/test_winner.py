"""The two nearest units against a sort: ties, missing channels, padding, values too large to square."""

from __future__ import annotations

import math

import numba as nb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.kernels.maps.winner import MEASURES, nearest_two, present_channels
from streamlearn.models import lane_layout


@nb.njit(error_model="numpy")
def _search(x, weights, pad, measure):
    used = np.empty(x.size, np.int64)
    count = present_channels(x, used)
    return count, nearest_two(x, used, count, weights, pad, measure)


def search(x, weights, measure: str = "euclidean") -> tuple[int, int, float, int]:
    """(channels present, nearest, its dissimilarity, second nearest) of ``weights`` ``(units, dim)``."""
    weights = np.asarray(weights, np.float32)
    count, (first, apart, second) = _search(
        np.asarray(x, np.float32),
        lane_layout.to_lanes(weights),
        lane_layout.pad(len(weights)),
        MEASURES[measure],
    )
    return count, first, apart, second


FORMULAS = {
    "euclidean": lambda differences: sum(d * d for d in differences),  # squared
    "manhattan": lambda differences: sum(abs(d) for d in differences),
    "chebyshev": lambda differences: max((abs(d) for d in differences), default=0.0),
}


def sort(x, weights, measure: str) -> tuple[int, int, float, int]:
    """The same by sorting: by dissimilarity, then by index."""
    present = [d for d, v in enumerate(x) if not math.isnan(v)]
    apart = [FORMULAS[measure]([x[d] - w[d] for d in present]) for w in weights]
    order = sorted(range(len(weights)), key=lambda j: (apart[j], j))
    return len(present), order[0], apart[order[0]], order[1] if len(order) > 1 else -1


@st.composite
def problems(draw):
    """Few small integers, so that float32 is exact and ties are everywhere."""
    dim, units = draw(st.integers(1, 4)), draw(st.integers(1, 70))
    small = st.integers(-2, 2).map(float)
    weights = draw(st.lists(st.lists(small, min_size=dim, max_size=dim), min_size=units, max_size=units))
    x = draw(st.lists(small | st.just(math.nan), min_size=dim, max_size=dim))
    return x, weights


@pytest.mark.parametrize("measure", FORMULAS)
@given(problem=problems())
def test_same_as_a_sort(measure, problem):
    x, weights = problem
    assert search(x, weights, measure) == sort(x, weights, measure)


def test_cosine():
    random = np.random.default_rng(12)
    weights = random.normal(size=(70, 6)).astype(np.float32)
    weights[5] = 0
    for x in random.normal(size=(50, 6)).astype(np.float32):
        lengths = np.maximum(np.linalg.norm(weights, axis=1) * np.linalg.norm(x), 1e-9)
        apart = 1 - (weights @ x) / lengths
        count, first, nearest, second = search(x, weights, "cosine")
        assert (count, first, second) == (6, *np.argsort(apart)[:2])
        assert nearest == pytest.approx(apart.min(), abs=1e-6)
    assert search(np.zeros(6), weights, "cosine") == (6, 0, 1.0, 1)  # without a direction all are alike
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
    """Padding lanes hold zeros, and here every unit is farther away than those."""
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


def test_all_channels_missing_leaves_everybody_at_distance_0():
    assert search([math.nan, math.nan], [[1, 2], [3, 4], [5, 6]]) == (0, 0, 0.0, 1)


@pytest.mark.parametrize("units", [20, 70])
@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("huge", [1e20, 1e30, 3.4e38, -3.4e38])
def test_nobody_wins_at_a_distance_that_float32_cannot_square(huge, measure, units):
    assert search([huge], np.ones((units, 1)), measure) == (1, -1, math.inf, -1)
    assert search([1.0], np.full((units, 1), huge), measure) == (1, -1, math.inf, -1)


def test_a_unit_that_is_near_wins_among_some_that_are_too_far():
    weights = np.zeros((20, 1))
    weights[17] = 1e30
    assert search([1e30], weights)[1:] == (17, 0.0, -1)
