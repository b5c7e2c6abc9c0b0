"""splitmix64: random numbers whose whole state is one uint64 array, so that a checkpoint holds it.

Steele, Lea & Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_30, _27, _31, _40 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(40)
_2_TO_MINUS_24 = np.float32(2.0**-24)


@device
def next_u64(state):
    """The next 64 random bits; ``state`` is uint64 ``(1,)``."""
    state[0] += _GOLDEN
    z = state[0]
    z = (z ^ (z >> _30)) * _MIX1
    z = (z ^ (z >> _27)) * _MIX2
    return z ^ (z >> _31)


@device
def uniform(state):
    """A float32 in [0, 1), from the upper 24 bits."""
    return np.float32(next_u64(state) >> _40) * _2_TO_MINUS_24


@kernel("void(u8[::1], f4, f4, f4[::1])")
def fill_uniform(state, low, high, out):
    """Fill ``out`` with uniform float32 in [low, high)."""
    for i in range(out.size):
        out[i] = low + (high - low) * uniform(state)
