"""Regions: units that a stream visits by turns, joined to one state of the machine.

While a machine stays in one state, noise makes its winner jump between several units, there and back. So
units i and j belong to one region if each comes after the other more often than by chance. With N_ij the
samples of j that come right after one of i, n_i the samples of i, and n all samples, the lift of a pair is

    lift_ij = min(N_ij, N_ji)·n/(n_i·n_j)

It is the number of states for two units of one state, and far below 1 for two states with dwell times above
one sample. The pair with the largest lift is joined until no lift is above ½ and there are at most REGIONS
(agglomerative clustering of the transition graph). A unit with fewer than 8 samples joins the one that it
exchanges most samples with. A stream without an order, such as noise or random clusters, becomes one region.

More than ``sizes.NODES`` units are counted in groups of units with neighbouring numbers.
"""

from __future__ import annotations

import numpy as np

from ..compiler import allocating_device, device
from .sizes import NONE

REGIONS = 24

_LIFT = 0.5
_FEWEST = 8.0  # samples of a node


@device
def _join(flow, counts, labels, i, j):
    """Join node ``j`` to node ``i``."""
    nodes = labels.size
    for k in range(nodes):
        flow[i, k] += flow[j, k]
    for k in range(nodes):
        flow[k, i] += flow[k, j]
    for k in range(nodes):
        flow[j, k] = flow[k, j] = 0.0
    counts[i] += counts[j]
    counts[j] = 0.0
    for k in range(nodes):
        if labels[k] == j:
            labels[k] = i


@device
def _rare_pair(flow, counts):
    """A node with few samples, and the one that it exchanges most samples with; −1, −1 if there is none."""
    nodes = counts.size
    for i in range(nodes):
        if 0.0 < counts[i] < _FEWEST:
            partner, most = NONE, -1.0
            for j in range(nodes):
                if j != i and counts[j] > 0.0 and flow[i, j] + flow[j, i] > most:
                    partner, most = j, flow[i, j] + flow[j, i]
            return min(i, partner), max(i, partner)
    return NONE, NONE


@device
def _nearest_pair(flow, counts, total, live):
    """The pair with the largest lift; −1, −1 if it is too small."""
    first, second, most = NONE, NONE, -1.0
    nodes = counts.size
    for i in range(nodes):
        if counts[i] > 0.0:
            for j in range(i + 1, nodes):
                if counts[j] > 0.0:
                    lift = min(flow[i, j], flow[j, i]) * total / (counts[i] * counts[j])
                    if lift > most:
                        first, second, most = i, j, lift
    if most < _LIFT and live <= REGIONS:
        return NONE, NONE
    return first, second


@allocating_device
def find(given):
    """Return the region of each node, −1 for one without samples, for the flow ``given`` ``(nodes, nodes)``.

    Regions are numbered by their first node.
    """
    nodes = given.shape[0]
    flow, counts = np.empty((nodes, nodes)), np.zeros(nodes)
    labels, total, live = np.arange(nodes), 0.0, 0
    for i in range(nodes):
        for j in range(nodes):
            flow[i, j] = np.float64(given[i, j])
            total += flow[i, j]
            counts[i] += 0.5 * flow[i, j]
            counts[j] += 0.5 * flow[i, j]
    for i in range(nodes):
        live += 1 if counts[i] > 0.0 else 0
    while live > 1:
        i, j = _rare_pair(flow, counts)
        if i < 0:
            i, j = _nearest_pair(flow, counts, total, live)
        if i < 0:
            break
        _join(flow, counts, labels, i, j)
        live -= 1
    numbers, found, regions = np.full(nodes, NONE), 0, np.full(nodes, NONE)
    for i in range(nodes):
        if counts[i] > 0.0:
            numbers[i] = found
            found += 1
    for i in range(nodes):
        regions[i] = numbers[labels[i]]
    return regions
