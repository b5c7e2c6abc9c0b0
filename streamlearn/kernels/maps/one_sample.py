"""The steps of `som.learn` and `competitive.learn` on one sample, see ``stream/one_sample.py``."""

from __future__ import annotations

from ..compiler import kernel
from ..prepared import Prepared, caller, words_at
from ..stream.one_sample import LAST
from . import competitive, som

SOM = Prepared(som.learn, after=LAST)
COMPETITIVE = Prepared(competitive.learn, after=LAST)

_som, _competitive = map(caller, (SOM, COMPETITIVE))
_SOM_END, _SOM_X = SOM.end, SOM.place("x")
_COMPETITIVE_END, _COMPETITIVE_X = COMPETITIVE.end, COMPETITIVE.place("x")


@kernel("i8(i8, i8, i8, i8)")
def som_step(table, addresses, x, y):
    """Learn the sample at ``x``."""
    words_at(addresses, _SOM_END)[_SOM_X] = x
    return _som(table, addresses)


@kernel("i8(i8, i8, i8, i8)")
def competitive_step(table, addresses, x, y):
    """Learn the sample at ``x``."""
    words_at(addresses, _COMPETITIVE_END)[_COMPETITIVE_X] = x
    return _competitive(table, addresses)
