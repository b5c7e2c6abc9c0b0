"""What every learner with units says of a sample: its winner, the distance to it, and how unusual that is.

Units are lanes: ``weights`` float32 ``(blocks, dim, 16)``, unit 16b + l being lane l of block b. ``pad``
``(blocks, 16)`` is 0 for a unit and +inf where the last block has none, so that those never win.
"""

from __future__ import annotations

import math

import numpy as np

from . import scale
from . import score as scores
from .compiler import device, kernel
from .winner import nearest_two, present_channels


@device
def locate(
    x, n, weights, pad, statistics, tree, head, method, clip, scaled, used, winner, distance, score, channels
):
    """Scale sample ``n`` into ``scaled``, list its present channels in ``used``, write what is said of it.

    Returns the winner's squared distance over the channels present, and the second nearest unit. There is no
    winner (−1) where every channel is missing (distance NaN) or the distance is too large for float32 (inf).
    """
    scale.transform(method, statistics, clip, x, n, scaled)
    present = present_channels(scaled, used)
    i, d2, second = nearest_two(scaled, used, present, weights, pad)
    if present == 0:
        i, d2 = -1, np.float32(np.nan)
    channels[n] = present
    winner[n] = i
    # Missing channels count as if they were as far as the others are on average.
    distance[n] = np.float32(math.sqrt(np.float64(d2) * scaled.size / max(present, 1)))
    score[n] = scores.rank(tree, head, distance[n])
    return d2, second


@kernel(
    "void(f4[:,::1], f4[:,:,::1], f4[:,::1], f8[:,::1], f8[::1], f8[::1], i8, f8,"
    " i4[::1], f4[::1], f4[::1], i4[::1])"
)
def predict(
    x,  # (n, dim)
    weights,  # (blocks, dim, 16)
    pad,  # (blocks, 16)
    statistics,  # (3, dim)
    tree,  # (2048,)
    head,  # (2,)
    method,
    clip,
    winner,  # (n,)
    distance,  # (n,)
    score,  # (n,)
    channels,  # (n,)
):
    """What the model, as it stands, says of each sample."""
    scaled = np.empty(x.shape[1], np.float32)
    used = np.empty(x.shape[1], np.uint64)
    for n in range(x.shape[0]):
        locate(
            x,
            n,
            weights,
            pad,
            statistics,
            tree,
            head,
            method,
            clip,
            scaled,
            used,
            winner,
            distance,
            score,
            channels,
        )
