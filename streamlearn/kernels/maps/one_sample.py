"""One sample of a map in one call: schedules, map, and alarms or drift, with prepared arguments."""

from __future__ import annotations

from ..compiler import kernel
from ..prepared import Prepared, caller
from ..stream.drift import detect
from ..stream.judge import judge
from ..stream.schedules import advance
from .som import learn

ADVANCE = Prepared(advance)
LEARN = Prepared(learn, after=ADVANCE)
JUDGE = Prepared(judge, after=LEARN)
DETECT = Prepared(detect, after=LEARN)

_advance, _learn, _judge, _detect = map(caller, (ADVANCE, LEARN, JUDGE, DETECT))
_LEARN_X, _JUDGE_X = LEARN.place("x"), JUDGE.place("x")
_NUMBERS, _LEVELS = JUDGE.place("event_numbers"), JUDGE.place("event_levels")


@kernel("i8(i8, i8[::1], f4[:,::1], i8[:,::1], f4[:,::1])")
def learn_and_judge(
    table,  # its address
    addresses,
    x,  # (1, dim): the sample
    event_numbers,  # see `judge`
    event_levels,  # see `judge`
):
    """Learn a sample, with alarms. Return the number of events."""
    addresses[_LEARN_X] = addresses[_JUDGE_X] = x.ctypes.data
    addresses[_NUMBERS], addresses[_LEVELS] = event_numbers.ctypes.data, event_levels.ctypes.data
    _advance(table, addresses.ctypes.data)
    _learn(table, addresses.ctypes.data)
    return _judge(table, addresses.ctypes.data)


@kernel("i8(i8, i8[::1], f4[:,::1])")
def learn_and_detect(
    table,  # its address
    addresses,
    x,  # (1, dim): the sample
):
    """Learn a sample, with a drift detector and without alarms. Return 0: there are no events."""
    addresses[_LEARN_X] = x.ctypes.data
    _advance(table, addresses.ctypes.data)
    _learn(table, addresses.ctypes.data)
    _detect(table, addresses.ctypes.data)
    return 0
