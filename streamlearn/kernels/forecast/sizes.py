"""What specs of forecasters need of the kernels: sizes of arrays. This module needs no Numba."""

from __future__ import annotations

# bands.py
RING = 500  # recent errors
LEVELS = 5  # values of ``levels``

# state_net.py
REPLAYED = 64  # windows that may be replayed

# chain.py
SLOWEST = 10_000  # samples: the longest time constant
SCALE_VALUES = 6  # of a raw feature or target

# experts.py
GENERAL = 2  # naive forecasts without a season
PER_SEASON = 3  # naive forecasts
SEASONS = 3  # that the naive forecasts read

# target.py
TARGET_EXPERTS = 3  # forecasts of a target that are mixed
