"""Memory layout of layers of inhibitory clusters, and the explanation of a sample by the first layer.

For the winners of the first layer's clusters, over the lines present, with n the number of active lines and W
the sum of a unit's weights:

    share of line i     Σ_clusters |x_i/n − w_i/W| over the sum of these, x_i 0 or 1
    expected line i     mean over the clusters of min(1, n·w_i/W): the probability that the line is active

The distance also has the misfits of higher layers, whose lines are units.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import WIDTH
from ..simd.views import row_of
from ..stream.contribution import fill_unknown, size_of, to_shares

# layers[k]: number of input lines; first block, number of blocks; first row of weights; first cluster, number
# of clusters
LINES, FIRST_BLOCK, BLOCKS, FIRST_ROW, FIRST_CLUSTER, CLUSTERS = range(6)
START, STOP = 0, 1  # clusters[c]: units START … STOP − 1


@device
def _active_lines(x, n, threshold):
    count = 0
    for d in range(x.shape[1]):
        count += np.float64(x[n, d]) > threshold
    return count


@device
def _weight(weights, layers, unit, d):
    """Weight of line ``d`` of a unit of the first layer."""
    row = layers[0, FIRST_ROW] + (unit // WIDTH - layers[0, FIRST_BLOCK]) * layers[0, LINES]
    return np.float64(weights[row + d, unit % WIDTH])


@device
def _weight_sum(x, n, weights, layers, unit):
    total = 0.0
    for d in range(x.shape[1]):
        total += _weight(weights, layers, unit, d) if x[n, d] == x[n, d] else 0.0
    return total


@device
def write_explanation(x, n, threshold, weights, layers, clusters, winner, expected, contribution):
    """Write what the first layer's winners expect of sample ``n``, and the share of each line.

    ``expected``, ``contribution``: ``(dim,)``; NaN without winners.
    """
    if winner[n, 0] < 0:
        fill_unknown(expected)
        fill_unknown(contribution)
        return
    active = _active_lines(x, n, threshold)
    for d in range(x.shape[1]):
        expected[d] = contribution[d] = 0
    for c in range(layers[0, CLUSTERS]):
        unit = clusters[c, START] + winner[n, c]
        weight_sum = _weight_sum(x, n, weights, layers, unit)
        for d in range(x.shape[1]):
            goal = 1.0 / active if np.float64(x[n, d]) > threshold else 0.0
            share = _weight(weights, layers, unit, d) / weight_sum if weight_sum > 0.0 else 0.0
            contribution[d] += size_of(goal - share if x[n, d] == x[n, d] else np.nan)
            expected[d] += np.float32(min(1.0, active * share) / layers[0, CLUSTERS])
    to_shares(contribution, False)


@kernel("void(f4[:,::1], i4[:,::1], f4[:,::1], i8[:,::1], i8[:,::1], f8, f4[:,::1], f4[:,::1])")
def explain(
    x,  # (n, dim)
    winner,  # (n, clusters)
    weights,  # (rows, 16)
    layers,  # (layers, 6)
    clusters,  # (clusters, 2)
    threshold,  # a line is active if its value is above this
    # the outputs
    expected,  # (n, dim)
    contribution,  # (n, dim)
):
    """Write what the first layer's winners expect, and the share of each line. Does not change the net."""
    for n in range(x.shape[0]):
        rows = row_of(expected, n), row_of(contribution, n)
        write_explanation(x, n, threshold, weights, layers, clusters, winner, *rows)
