"""The step of `tbptt.learn` on one sample, see ``stream/one_sample.py``."""

from __future__ import annotations

from ..compiler import kernel
from ..prepared import Prepared, caller, words_at
from ..stream.one_sample import LAST
from .tbptt import learn

LEARN = Prepared(learn, after=LAST)

_learn = caller(LEARN)
_X, _Y, _END = LEARN.place("x"), LEARN.place("y"), LEARN.end


@kernel("i8(i8, i8, i8, i8)")
def step(table, addresses, x, y):
    """Learn the sample at ``x`` with the target at ``y``."""
    memory = words_at(addresses, _END)
    memory[_X], memory[_Y] = x, y
    return _learn(table, addresses)
