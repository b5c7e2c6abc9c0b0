"""The steps of `forecaster.learn` and `target.learn` on one sample, see ``stream/one_sample.py``."""

from __future__ import annotations

from ..compiler import kernel
from ..prepared import Prepared, caller
from ..stream.one_sample import LAST
from . import forecaster, target

FORECAST = Prepared(forecaster.learn, ["x"], after=LAST)
PREDICT = Prepared(target.learn, ["x", "y"], after=LAST)

_forecast, _predict = map(caller, (FORECAST, PREDICT))


@kernel("i8(i8, i8, i8, i8)")
def forecaster_step(table, addresses, x, y):
    """Learn the sample at ``x``."""
    return _forecast(table, addresses, x)


@kernel("i8(i8, i8, i8, i8)")
def target_step(table, addresses, x, y):
    """Learn the sample at ``x`` with the target at ``y``."""
    return _predict(table, addresses, x, y)
