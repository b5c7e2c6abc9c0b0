"""The rank of each unit by its distance to the sample, for learners in which more than one unit learns.

k_j is the number of units that are nearer than unit j. Among equal distances the lower index is nearer.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.lanes import WIDTH, load, select, splat, store, zero
from .winner import dissimilarity

_1, _INF = np.float32(1), np.float32(np.inf)


@device
def dissimilarities(x, channels, count, units, out):
    """Write the dissimilarity of every unit to ``out`` ``(blocks, 16)``; +inf for an unused lane."""
    weights, pad, measure = units
    for b in range(out.shape[0]):
        store(out, b, dissimilarity(x, channels, count, weights, b, load(pad, b), measure))


@device
def ranks(distances, b, index, units):
    """k_j of the 16 units of block ``b``. ``index`` holds their indices, ``units`` is the number of units."""
    own = load(distances, b)
    rank = zero()
    for j in range(units):
        other = distances[j // WIDTH, j % WIDTH]
        # An equal distance counts if j is the lower index
        equal = select(splat(np.float32(j)) < index, own, splat(-_INF))
        rank = rank + select(splat(other) < own, zero() + _1, select(equal == other, zero() + _1, zero()))
    return rank
