"""What specs need of the kernels: sizes of arrays, and codes. This module needs no Numba."""

from __future__ import annotations

from ..simd.blocks import WIDTH

# features.py
VALUE = -1  # in place of ``older``

# regions.py
NONE = -1  # no region
NODES = 128  # units, or groups of units, whose transitions are counted

# relations.py
VALUES = 3  # of a channel
GROUP = 16  # channels


def side(channels: int) -> int:
    """Return the number of values of a group of channels, rounded up to whole vectors."""
    return -(-VALUES * min(channels, GROUP) // WIDTH) * WIDTH


def groups(channels: int) -> int:
    """Return the number of groups of channels."""
    return -(-channels // GROUP)
