"""One sample of a model in one call: gate, schedules, slot of its key, learner, and alarms or drift.

All arguments are prepared (``prepared.py``). Each kind of learner has a *step*, an entry point that is called
by its address. It calls the kernel that learns, with the addresses of the sample:

    step(table, addresses, x, y)

``memory`` int64: the words TABLE … WATCHED, the addresses of all arrays, and what models/one_sample.py adds.
A stage whose first array that does not come with the call has no address is left out.

All arguments are integers, since Numba takes longer for an array than `learn` for its other stages.
"""

from __future__ import annotations

import numpy as np
from numba.core import types

from ..compiler import kernel
from ..prepared import Prepared, address_in, arrays_at, call_step, caller, words_at
from . import gate as gates
from .drift import detect
from .judge import judge
from .keys import assign
from .schedules import advance
from .watch_words import COUNT, LEFT, PAUSED
from .watch_words import WORDS as COUNTS_WORDS

TABLE = 0  # address of the table (prepared.py)
STEP = 1  # address of the code of the learner's step
COLUMNS = 2  # of a sample
SAMPLES = 3  # address of the number of samples
NUMBER = 4  # of this sample
GATE, COUNTS = 5, 6  # addresses of the gate (gate.py) and of the counts (watch_words.py)
WATCHED = 7  # address of the output ``watched``
WORDS = 8
INFINITE = -1  # result

ADVANCE = Prepared(advance, first_address=WORDS)
JUDGE = Prepared(judge, ["x"], after=ADVANCE)
DETECT = Prepared(detect, after=JUDGE)  # of a model without alarms
ASSIGN = Prepared(assign, ["keys"], after=DETECT)  # of a model with keys
ASSIGN_ALARMS = Prepared(assign, ["keys"], after=ASSIGN)  # of its alarms
LAST = ASSIGN_ALARMS
END = LAST.end  # of their addresses

_stages = ADVANCE, JUDGE, DETECT, ASSIGN, ASSIGN_ALARMS
_advance, _judge, _detect, _assign, _assign_alarms = map(caller, _stages)
_doubles_at, _singles_at, _flags_at = map(arrays_at, (types.float64, types.float32, types.uint8))
_SCHEDULES, _SETTINGS, _DRIFT = ADVANCE.first_address, JUDGE.first_address, DETECT.first_address
_KEYS, _ALARM_KEYS = ASSIGN.place("table"), ASSIGN_ALARMS.place("table")


@kernel("i8(i8, i8, i8, i8)")
def learn(
    addresses,  # address of ``memory``
    x,  # ``id`` of an array float32 (1, COLUMNS): the sample
    y,  # likewise of its target, (1, columns); 0: it has none, or is the target
    key,  # likewise of its key, (1,); 0: the model has no keys
):
    """Learn a sample, or watch it while learning is paused. Return the number of events.

    INFINITE: a value is infinite, and nothing was done.
    """
    memory, sample = words_at(addresses, END), address_in(x)
    values = _singles_at(sample, memory[COLUMNS])
    for c in range(values.size):
        if abs(values[c]) == np.inf:
            return INFINITE
    table = memory[TABLE]
    gate, counts = _doubles_at(memory[GATE], gates.SIZE), words_at(memory[COUNTS], COUNTS_WORDS)
    paused, mode, events = counts[PAUSED] != 0, gate[gates.MODE], 0
    if paused:
        gate[gates.MODE] = gates.WATCH
    memory[NUMBER] = words_at(memory[SAMPLES], 1)[0]
    if memory[_SCHEDULES] != 0:
        _advance(table, addresses)
    if memory[_KEYS] != 0:
        _assign(table, addresses, address_in(key))
    call_step(memory[STEP], table, addresses, sample, address_in(y) if y != 0 else sample)
    gate[gates.MODE] = mode
    if paused:
        counts[LEFT] = max(0, counts[LEFT] - 1)
    if paused or mode == gates.BELOW:
        counts[COUNT] += _flags_at(memory[WATCHED], 1)[0]
    if memory[_SETTINGS] != 0:
        if memory[_ALARM_KEYS] != 0:
            _assign_alarms(table, addresses, address_in(key))
        events = _judge(table, addresses, sample)
    elif memory[_DRIFT] != 0:
        _detect(table, addresses)
    return events
