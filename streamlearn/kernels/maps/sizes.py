"""What specs of maps need of the kernels. This module needs no Numba."""

from __future__ import annotations

# initial_weights.py
ROUNDS = 200  # of the power iteration, at most
