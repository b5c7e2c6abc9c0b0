"""Blocks of lanes: how many vectors of 16 lanes an array of units needs."""

from __future__ import annotations

WIDTH = 16  # lanes
COLUMNS = 4  # doubles


def blocks(units: int) -> int:
    """Return the number of blocks of 16 lanes that hold ``units``."""
    return -(-units // WIDTH)
