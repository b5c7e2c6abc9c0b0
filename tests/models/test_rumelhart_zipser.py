"""The experiments of Rumelhart & Zipser (1985): dipoles, words and letters, and a teacher that is only there.

Each is run from several random beginnings, as in the paper; what is asserted is how often it comes out.
"""

from __future__ import annotations

import numpy as np
import pytest

from docs.figures.rumelhart_zipser import dipoles, lattice, taught
from docs.figures.words import ALONE, TAUGHT, WORDS, reader, winners
from streamlearn.models.classic.grossberg import Grossberg

RUNS = range(20)

# dipoles on a lattice


def pieces(region: np.ndarray) -> int:
    """How many pieces a set of points falls into, neighbours being up, down, left and right."""
    left = {(int(row), int(column)) for row, column in np.argwhere(region)}
    count = 0
    while left:
        count += 1
        reached = [left.pop()]
        while reached:
            row, column = reached.pop()
            near = {(row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)} & left
            left -= near
            reached += near
    return count


def regions(net: Grossberg, units: int, side: int) -> list[np.ndarray]:
    owner = lattice(net, side)
    return [owner == unit for unit in range(units)]


def spread(region: np.ndarray) -> float:
    """Mean city-block distance between its points."""
    points = np.argwhere(region)
    return float(np.abs(points[:, None] - points).sum(axis=2).mean())


def quadrants(found: list[np.ndarray]) -> bool:
    half = len(found[0]) // 2
    corners = [region[rows, columns] for region in found for rows in (slice(half), slice(half, None))
               for columns in (slice(half), slice(half, None))]  # fmt: skip
    return sum(bool(corner.all()) for corner in corners) == 4


def test_there_are_24_dipoles_on_a_lattice_of_16_points():
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


def test_two_units_cut_the_lattice_into_two_halves():
    sizes = []
    for seed in RUNS:
        net = taught(2, 4, 8000, seed, learning_rate=0.02)
        found = regions(net, 2, 4)
        assert [pieces(region) for region in found] == [1, 1], seed
        sizes.append(found[0].sum())
        assert min(spread(region) for region in found) < 2.0  # of any 8 points it is 2.5 on average
        # A unit wins every dipole that lies in its half.
        winners = net.predict(dipoles(4)).winner[:, 0]
        for unit, region in enumerate(found):
            inside = (dipoles(4) * region.ravel()).sum(axis=1) == 2
            assert (winners[inside] == unit).all()
    assert all(6 <= size <= 10 for size in sizes)
    assert np.mean(np.array(sizes) == 8) >= 0.5


def test_without_learning_there_are_no_halves():
    """The check sees: random weights fall into many pieces."""
    torn = [sum(map(pieces, regions(taught(2, 4, 10, seed, learning_rate=0.0), 2, 4))) for seed in RUNS]
    assert np.mean(torn) > 4


def test_four_units_cut_it_into_four_regions():
    whole, square, sizes = [], [], []
    for seed in RUNS:
        found = regions(taught(4, 4, 20_000, seed, learning_rate=0.05), 4, 4)
        whole.append(max(map(pieces, found)) == 1)
        square.append(quadrants(found))
        sizes += [int(region.sum()) for region in found]
    assert sum(whole) >= 18
    assert sum(square) >= 12  # exactly the four quadrants, up to which unit has which
    assert min(sizes) >= 2
    assert max(sizes) <= 6


def test_a_larger_lattice_is_cut_too():
    for seed in range(5):
        found = regions(taught(2, 6, 10_000, seed, learning_rate=0.02), 2, 6)
        assert [pieces(region) for region in found] == [1, 1]
        assert 14 <= found[0].sum() <= 22


# words of two letters


def groups(net: Grossberg, *words: str, cluster: int = 0) -> str:
    """Which words share a winner: a letter for each, the first word's winner being a."""
    found = winners(net, words, cluster)
    order = list(dict.fromkeys(found))
    return "".join("abcd"[order.index(winner)] for winner in found)


def test_two_units_become_letter_detectors_for_one_position():
    found = []
    for seed in RUNS:
        net = reader(WORDS, [[2]], seed, leak=0.005)
        found.append(groups(net, *WORDS))
        apart = np.abs(net.weights[0][0] - net.weights[0][1])
        position = 0 if found[-1] == "aabb" else 1
        assert np.split(apart, 2)[position].sum() > 0.7 * apart.sum()
    assert set(found) == {
        "aabb",
        "abab",
    }  # by the first letter or by the second, never AA and BB against the rest


def test_without_the_leak_some_units_die_and_the_others_do_the_same():
    found = [groups(reader(WORDS, [[2]], seed), *WORDS) for seed in RUNS]
    assert set(found) == {"aaaa", "aabb", "abab"}


def test_four_units_become_word_detectors():
    found = [groups(reader(WORDS, [[4]], seed, sensitivity=0.002), *WORDS) for seed in RUNS]
    assert found.count("abcd") >= 19


def test_words_are_read_off_letter_detectors():
    """Eight clusters of two find letters in positions; four units on top of them find the words."""
    read, letters = 0, set()
    for seed in RUNS:
        net = reader(WORDS, [[2] * 8, [4]], seed, sensitivity=0.002)
        below = [groups(net, *WORDS, cluster=c) for c in range(8)]
        letters |= set(below)
        if {"aabb", "abab"} <= set(below):
            read += groups(net, *WORDS, cluster=8) == "abcd"
    assert {"aabb", "abab"} <= letters
    assert read >= 14


@pytest.mark.parametrize("teacher", [False, True])
def test_correlated_letters_teach(teacher):
    """By their looks A stands alone and B goes with S and E. A second letter that goes with the first, A
    after A and B, B after S and E, brings A and B together, and they stay so when it is gone."""
    shown = TAUGHT if teacher else ALONE
    found = [groups(reader(shown, [[2]], seed, leak=0.005), *ALONE) for seed in RUNS]
    if teacher:
        assert found.count("aabb") >= 10
    else:
        assert found.count("abbb") == len(RUNS)


def test_correlated_letters_are_grouped_by_the_teacher():
    found = [groups(reader(TAUGHT, [[2]], seed, leak=0.005), *TAUGHT) for seed in RUNS]
    assert found.count("aabb") == len(RUNS)
