"""Patience: a limit doubles with every 8 values outside, so that a change that stays is followed.

The factors are written out. The last bit of a power by libm is not the same on every machine.
"""

from __future__ import annotations

GROWTH = 1.0905077326652577  # 2^(1/8), for a value outside
SHRINKAGE = 0.9170040432046712  # 2^(−1/8)
SLOW_SHRINKAGE = 0.9996616064962437  # 2^(−1/2048)
