"""One sample of a model in one call: the gate, the schedules, the learner, and alarms or drift.

All arguments are prepared (``prepared.py``). Each kind of learner has a *step*, an entry point that is called
by its address. It sets the addresses of the sample, and calls the kernel that learns:

    step(table, addresses, x, y)

``memory`` int64: the words STEP … WATCHED, the addresses of all arrays, and what models/one_sample.py adds. A
stage whose first array has no address is left out.
"""

from __future__ import annotations

from numba.core import types

from ..compiler import kernel
from ..prepared import Prepared, arrays_at, call_step, caller, words_at
from . import gate as gates
from .drift import detect
from .judge import judge
from .schedules import advance
from .watch_words import COUNT, LEFT, PAUSED
from .watch_words import WORDS as COUNTS_WORDS

STEP = 0  # address of the code of the learner's step
SAMPLES = 1  # address of the number of samples
NUMBER = 2  # of this sample
GATE, COUNTS = 3, 4  # addresses of the gate (gate.py) and of the counts (watch_words.py)
WATCHED = 5  # address of the output ``watched``
WORDS = 6

ADVANCE = Prepared(advance, first_address=WORDS)
JUDGE = Prepared(judge, after=ADVANCE)
DETECT = Prepared(detect, after=JUDGE)  # of a model without alarms
END = DETECT.end  # of their addresses

_advance, _judge, _detect = map(caller, (ADVANCE, JUDGE, DETECT))
_doubles_at, _flags_at = arrays_at(types.float64), arrays_at(types.uint8)
_SCHEDULES, _SETTINGS, _DRIFT = ADVANCE.first_address, JUDGE.first_address, DETECT.first_address
_JUDGE_X = JUDGE.place("x")
_NUMBERS, _LEVELS = JUDGE.place("event_numbers"), JUDGE.place("event_levels")


@kernel("i8(i8, i8, f4[:,::1], f4[:,::1], i8[:,::1], f4[:,::1])")
def learn(
    table,  # address
    addresses,  # address of ``memory``
    x,  # (1, dim): the sample
    y,  # (1, columns): its target, if the model takes one
    event_numbers,  # see `judge`
    event_levels,  # see `judge`
):
    """Learn a sample, or watch it while learning is paused. Return the number of events."""
    memory = words_at(addresses, END)
    gate, counts = _doubles_at(memory[GATE], gates.SIZE), words_at(memory[COUNTS], COUNTS_WORDS)
    paused, mode, events = counts[PAUSED] != 0, gate[gates.MODE], 0
    if paused:
        gate[gates.MODE] = gates.WATCH
    memory[NUMBER] = words_at(memory[SAMPLES], 1)[0]
    if memory[_SCHEDULES] != 0:
        _advance(table, addresses)
    call_step(memory[STEP], table, addresses, x.ctypes.data, y.ctypes.data)
    gate[gates.MODE] = mode
    if paused:
        counts[LEFT] = max(0, counts[LEFT] - 1)
    if paused or mode == gates.BELOW:
        counts[COUNT] += _flags_at(memory[WATCHED], 1)[0]
    if memory[_SETTINGS] != 0:
        memory[_JUDGE_X] = x.ctypes.data
        memory[_NUMBERS], memory[_LEVELS] = event_numbers.ctypes.data, event_levels.ctypes.data
        events = _judge(table, addresses)
    elif memory[_DRIFT] != 0:
        _detect(table, addresses)
    return events
