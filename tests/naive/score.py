"""The score, the slow way: every value's bin and weight are kept, and the share below is counted.

Bins are eighths of an octave, from 2⁻⁶⁴ to 2⁶⁴. A value's own bin counts by the part of it that lies below
the value, all lower bins count whole; the share is of the total weight and the next value's own. What is
under the lowest bin is in it, and what is above the highest is in that.
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


class Score:
    """``decay`` is what a value keeps of its weight for each value after it."""

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.seen: list[float] = []  # the lower edges of the values' bins

    def bounds(self, value: float) -> tuple[float, float]:
        """The share of values in bins below that of ``value``, and that with its own bin."""
        lower, _ = bin_of(value)
        below = own = total = 0.0
        weight = 1.0
        for other in reversed(self.seen):
            below += weight * (other < lower)
            own += weight * (other == lower)
            total += weight
            weight *= self.decay
        total += 1 / self.decay  # the next value's own weight
        return below / total, (below + own) / total

    def rank(self, value: float) -> float:
        if math.isnan(value):
            return math.nan
        lower, upper = bin_of(value)
        part = min(max((value - lower) / (upper - lower), 0.0), 1.0)
        least, most = self.bounds(value)
        return least + part * (most - least)

    def observe(self, value: float) -> None:
        if not math.isnan(value):
            self.seen.append(bin_of(value)[0])
