"""The experiments of Rumelhart & Zipser (1985): dipoles, words, and correlated teaching inputs.

As in the paper, each experiment runs with several seeds. The tests assert how often the result occurs.
"""

from __future__ import annotations

import numpy as np
import pytest

from docs.figures.rumelhart_zipser import dipoles, lattice, taught
from docs.figures.words import ALONE, TAUGHT, WORDS, reader, winners
from streamlearn.models.classic.grossberg import Grossberg

RUNS = range(20)

# dipoles on a lattice


def count_components(region: np.ndarray) -> int:
    """Return the number of connected components of a set of points with four neighbours each."""
    remaining = {(int(row), int(column)) for row, column in np.argwhere(region)}
    count = 0
    while remaining:
        count += 1
        reached = [remaining.pop()]
        while reached:
            row, column = reached.pop()
            near = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)} & remaining
            remaining -= near
            reached += near
    return count


def regions(net: Grossberg, units: int, side: int) -> list[np.ndarray]:
    owner = lattice(net, side)
    return [owner == unit for unit in range(units)]


def spread(region: np.ndarray) -> float:
    """Return the mean city-block distance between the points of a region."""
    points = np.argwhere(region)
    return float(np.abs(points[:, None] - points).sum(axis=2).mean())


def are_quadrants(found: list[np.ndarray]) -> bool:
    half = len(found[0]) // 2
    corners = [region[rows, columns] for region in found for rows in (slice(half), slice(half, None))
               for columns in (slice(half), slice(half, None))]  # fmt: skip
    return sum(bool(corner.all()) for corner in corners) == 4


def test_a_lattice_of_16_points_has_24_dipoles():
    stimuli = dipoles(4)
    assert stimuli.shape == (24, 16)
    for stimulus in stimuli.reshape(-1, 4, 4):
        ends = np.argwhere(stimulus)
        assert np.abs(ends[0] - ends[1]).sum() == 1
    assert stimuli.sum(axis=0).reshape(4, 4).tolist() == [
        [2, 3, 3, 2],
        [3, 4, 4, 3],
        [3, 4, 4, 3],
        [2, 3, 3, 2],
    ]


def test_two_units_divide_the_lattice_into_two_halves():
    sizes = []
    for seed in RUNS:
        net = taught(2, 4, 8000, seed, learning_rate=0.02)
        found = regions(net, 2, 4)
        assert [count_components(region) for region in found] == [1, 1], seed
        sizes.append(found[0].sum())
        assert min(spread(region) for region in found) < 2.0  # 8 random points have 2.5 on average
        # A unit wins every dipole that lies in its half.
        winners = net.predict(dipoles(4)).winner[:, 0]
        for unit, region in enumerate(found):
            inside = (dipoles(4) * region.ravel()).sum(axis=1) == 2
            assert (winners[inside] == unit).all()
    assert all(6 <= size <= 10 for size in sizes)
    assert np.mean(np.array(sizes) == 8) >= 0.5


def test_without_learning_there_are_no_halves():
    """Random weights form many components, so the test above is sensitive."""
    components = [
        sum(map(count_components, regions(taught(2, 4, 10, seed, learning_rate=0.0), 2, 4))) for seed in RUNS
    ]
    assert np.mean(components) > 4


def test_four_units_divide_the_lattice_into_four_regions():
    connected, square, sizes = [], [], []
    for seed in RUNS:
        found = regions(taught(4, 4, 20_000, seed, learning_rate=0.05), 4, 4)
        connected.append(max(map(count_components, found)) == 1)
        square.append(are_quadrants(found))
        sizes += [int(region.sum()) for region in found]
    assert sum(connected) >= 18
    assert sum(square) >= 12  # the four quadrants, in any order of the units
    assert min(sizes) >= 2
    assert max(sizes) <= 6


def test_a_larger_lattice_is_divided_too():
    for seed in range(5):
        found = regions(taught(2, 6, 10_000, seed, learning_rate=0.02), 2, 6)
        assert [count_components(region) for region in found] == [1, 1]
        assert 14 <= found[0].sum() <= 22


# words of two letters


def groups(net: Grossberg, *words: str, cluster: int = 0) -> str:
    """Return a letter per word. Words with the same letter have the same winner; the first letter is a."""
    found = winners(net, words, cluster)
    order = list(dict.fromkeys(found))
    return "".join("abcd"[order.index(winner)] for winner in found)


def test_two_units_become_letter_detectors_for_one_position():
    found = []
    for seed in RUNS:
        net = reader(WORDS, [[2]], seed, leak=0.005)
        found.append(groups(net, *WORDS))
        difference = np.abs(net.weights[0][0] - net.weights[0][1])
        position = 0 if found[-1] == "aabb" else 1
        assert np.split(difference, 2)[position].sum() > 0.7 * difference.sum()
    # The groups are words with the same first letter, or with the same second letter.
    assert set(found) == {"aabb", "abab"}


def test_without_the_leak_some_units_are_dead():
    found = [groups(reader(WORDS, [[2]], seed), *WORDS) for seed in RUNS]
    assert set(found) == {"aaaa", "aabb", "abab"}


def test_four_units_become_word_detectors():
    found = [groups(reader(WORDS, [[4]], seed, sensitivity=0.002), *WORDS) for seed in RUNS]
    assert found.count("abcd") >= 19


def test_word_detectors_above_letter_detectors():
    """Eight clusters of two units detect letters; the four units above them detect words."""
    correct, letters = 0, set()
    for seed in RUNS:
        net = reader(WORDS, [[2] * 8, [4]], seed, sensitivity=0.002)
        below = [groups(net, *WORDS, cluster=c) for c in range(8)]
        letters |= set(below)
        if {"aabb", "abab"} <= set(below):
            correct += groups(net, *WORDS, cluster=8) == "abcd"
    assert {"aabb", "abab"} <= letters
    assert correct >= 14


@pytest.mark.parametrize("teacher", [False, True])
def test_a_correlated_teaching_input_changes_the_groups(teacher):
    """A second letter is the teaching input: A after A and B, B after S and E.

    Without it, B is grouped with the similar letters S and E. After learning with it, A and B are grouped,
    even if the single letters are shown without it.
    """
    shown = TAUGHT if teacher else ALONE
    found = [groups(reader(shown, [[2]], seed, leak=0.005), *ALONE) for seed in RUNS]
    if teacher:
        assert found.count("aabb") >= 10
    else:
        assert found.count("abbb") == len(RUNS)


def test_the_teaching_input_determines_the_groups():
    found = [groups(reader(TAUGHT, [[2]], seed, leak=0.005), *TAUGHT) for seed in RUNS]
    assert found.count("aabb") == len(RUNS)
