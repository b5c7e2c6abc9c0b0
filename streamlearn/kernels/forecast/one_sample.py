"""The steps of `forecaster.learn` and `target.learn` on one sample, see ``stream/one_sample.py``."""

from __future__ import annotations

from ..compiler import kernel
from ..prepared import Prepared, caller, words_at
from ..stream.one_sample import LAST
from . import forecaster, target

FORECAST = Prepared(forecaster.learn, after=LAST)
PREDICT = Prepared(target.learn, after=LAST)

_forecast, _predict = map(caller, (FORECAST, PREDICT))
_END, _X = FORECAST.end, FORECAST.place("x")
_TARGET_END, _TARGET_X, _TARGET_Y = PREDICT.end, PREDICT.place("x"), PREDICT.place("y")


@kernel("i8(i8, i8, i8, i8)")
def forecaster_step(table, addresses, x, y):
    """Learn the sample at ``x``."""
    words_at(addresses, _END)[_X] = x
    return _forecast(table, addresses)


@kernel("i8(i8, i8, i8, i8)")
def target_step(table, addresses, x, y):
    """Learn the sample at ``x`` with the target at ``y``."""
    memory = words_at(addresses, _TARGET_END)
    memory[_TARGET_X], memory[_TARGET_Y] = x, y
    return _predict(table, addresses)
