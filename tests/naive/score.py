"""The score, the slow way: every value's bin and weight are kept, and the share below is counted.

Bins are eighths of an octave, from 2⁻⁶⁴ to 2⁶⁴. Lower bins count whole. Of its own bin half lies below the
(weighted) mean place of what is in it, and between there and the edges as much as a straight line says. The
share is of the total weight and the next value's own. What is under the lowest bin is at its lower edge, and
what is above the highest at the upper edge of that.
"""

from __future__ import annotations

import math

LOWEST, HIGHEST = -64, 64  # powers of two
PER_OCTAVE = 8


def bin_of(value: float) -> tuple[float, float]:
    """Lower and upper edge of the bin of ``value`` ≥ 0."""
    value = min(max(value, 2.0**LOWEST), math.nextafter(2.0**HIGHEST, 0))
    octave = 2.0 ** (math.frexp(value)[1] - 1)
    width = octave / PER_OCTAVE
    lower = octave + width * math.floor((value - octave) / width)
    return lower, lower + width


def place_of(value: float) -> tuple[float, float]:
    """The lower edge of the bin of ``value``, and how far into the bin it lies, 0 … 1."""
    lower, upper = bin_of(value)
    return lower, min(max((value - lower) / (upper - lower), 0.0), 1.0)


class Score:
    """``decay`` is what a value keeps of its weight for each value after it."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.seen: list[tuple[float, float]] = []  # the lower edges of the values' bins, and their places

    def bounds(self, value: float) -> tuple[float, float]:
        """The share of values in bins below that of ``value``, and that with its own bin."""
        lower, _ = bin_of(value)
        below = own = total = 0.0
        weight = 1.0
        for other, _ in reversed(self.seen):
            below += weight * (other < lower)
            own += weight * (other == lower)
            total += weight
            weight *= self.decay
        total += 1 / self.decay  # the next value's own weight
        return below / total, (below + own) / total

    def rank(self, value: float) -> float:
        if math.isnan(value):
            return math.nan
        lower, part = place_of(value)
        own = [(n, at) for n, (other, at) in enumerate(reversed(self.seen)) if other == lower]
        weights = [self.decay**n for n, _ in own]
        least, most = self.bounds(value)
        if not sum(weights) > 0:  # none, or all forgotten
            return least
        middle = sum(w * at for w, (_, at) in zip(weights, own, strict=True)) / sum(weights)
        if math.isclose(part, middle, rel_tol=1e-12):
            below = 0.5
        elif part < middle:
            below = 0.5 * part / middle
        else:
            below = 1 - 0.5 * (1 - part) / (1 - middle)
        return least + below * (most - least)

    def observe(self, value: float) -> None:
        if not math.isnan(value):
            self.seen.append(place_of(value))
