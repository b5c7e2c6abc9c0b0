"""The step of `tbptt.learn` on one sample, see ``stream/one_sample.py``."""

from __future__ import annotations

from ..compiler import kernel
from ..prepared import Prepared, caller
from ..stream.one_sample import LAST
from .tbptt import learn

LEARN = Prepared(learn, ["x", "y"], after=LAST)

_learn = caller(LEARN)


@kernel("i8(i8, i8, i8, i8)")
def step(table, addresses, x, y):
    """Learn the sample at ``x`` with the target at ``y``."""
    return _learn(table, addresses, x, y)
