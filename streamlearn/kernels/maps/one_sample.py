"""The steps of `som.learn` and `competitive.learn` on one sample, see ``stream/one_sample.py``."""

from __future__ import annotations

from ..compiler import kernel
from ..prepared import Prepared, caller
from ..stream.one_sample import LAST
from . import competitive, som

SOM = Prepared(som.learn, ["x"], after=LAST)
COMPETITIVE = Prepared(competitive.learn, ["x"], after=LAST)

_som, _competitive = map(caller, (SOM, COMPETITIVE))


@kernel("i8(i8, i8, i8, i8)")
def som_step(table, addresses, x, y):
    """Learn the sample at ``x``."""
    return _som(table, addresses, x)


@kernel("i8(i8, i8, i8, i8)")
def competitive_step(table, addresses, x, y):
    """Learn the sample at ``x``."""
    return _competitive(table, addresses, x)
