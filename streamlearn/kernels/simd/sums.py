"""The sum of sixteen lanes, in one order on every CPU."""

from __future__ import annotations

from ..compiler import device
from .lanes import lane


@device
def add_up(v):
    """Neighbours are added, then pairs, and so on: four steps, where one after another would be fifteen."""
    a = (lane(v, 0) + lane(v, 1)) + (lane(v, 2) + lane(v, 3))
    b = (lane(v, 4) + lane(v, 5)) + (lane(v, 6) + lane(v, 7))
    c = (lane(v, 8) + lane(v, 9)) + (lane(v, 10) + lane(v, 11))
    d = (lane(v, 12) + lane(v, 13)) + (lane(v, 14) + lane(v, 15))
    return (a + b) + (c + d)
