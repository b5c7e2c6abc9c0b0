"""One sample of a map in one call: schedules, map, and alarms or drift, with prepared arguments."""

from __future__ import annotations

from ..compiler import kernel
from ..prepared import Prepared, caller, word_at
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
_SAMPLES = LEARN.place("samples")
_NUMBERS, _LEVELS = JUDGE.place("event_numbers"), JUDGE.place("event_levels")

# ``memory`` int64: the addresses of all arrays; that of a word that is not 0 while learning is paused; the
# number of the sample; and what models/maps/one_sample.py adds.
JUDGE_PAUSED, DETECT_PAUSED = JUDGE.end, DETECT.end
PAUSED = -1  # result: nothing was learned


@kernel("i8(i8, i8[::1], f4[:,::1], i8[:,::1], f4[:,::1])")
def learn_and_judge(
    table,  # its address
    memory,
    x,  # (1, dim): the sample
    event_numbers,  # see `judge`
    event_levels,  # see `judge`
):
    """Learn a sample, with alarms. Return the number of events, or PAUSED."""
    if word_at(memory[JUDGE_PAUSED]) != 0:
        return PAUSED
    memory[JUDGE_PAUSED + 1] = word_at(memory[_SAMPLES])
    memory[_LEARN_X] = memory[_JUDGE_X] = x.ctypes.data
    memory[_NUMBERS], memory[_LEVELS] = event_numbers.ctypes.data, event_levels.ctypes.data
    _advance(table, memory.ctypes.data)
    _learn(table, memory.ctypes.data)
    return _judge(table, memory.ctypes.data)


@kernel("i8(i8, i8[::1], f4[:,::1])")
def learn_and_detect(
    table,  # its address
    memory,
    x,  # (1, dim): the sample
):
    """Learn a sample, with a drift detector and without alarms. Return 0, the number of events, or PAUSED."""
    if word_at(memory[DETECT_PAUSED]) != 0:
        return PAUSED
    memory[DETECT_PAUSED + 1] = word_at(memory[_SAMPLES])
    memory[_LEARN_X] = x.ctypes.data
    _advance(table, memory.ctypes.data)
    _learn(table, memory.ctypes.data)
    _detect(table, memory.ctypes.data)
    return 0
