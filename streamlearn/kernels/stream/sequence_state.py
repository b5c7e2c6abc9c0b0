"""The state of alarms on the order and the pace of the winners, and their events.

R is REGIONS. ``flow`` float32 ``(nodes, nodes)``: transitions from node to node since the last search for
regions, and half of those before. ``regions`` int64 ``(nodes,)``: the region of each node, −1: none.
``table`` float64 ``(R, R)``: transitions from region to region. ``visits`` float64 ``(R, 2)``: DEPARTURES,
ENTRIES. ``places`` int64 ``(R, 3)``: ENTERED, SEEN, UNIT. ``numbers`` int64 ``(NUMBERS,)``. ``levels``
float64 ``(LEVELS,)``. And the state of ``durations.py``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .sizes import NONE

BEGIN, END = 1, 3  # codes of events, as in alarm.py
TRANSITION, DWELL, CYCLE = 1, 2, 3  # causes, and the output

# Entries of ``numbers``
LEARNED, NEXT = 0, 1  # learned samples with a winner; how many at the next search for regions
CHANGES, FOUND, CONFIRM = 2, 3, 4  # transitions; regions; samples that confirm a region
NODE, CURRENT, SINCE = 5, 6, 7  # of the last sample; its region and since when; −1: unknown
CANDIDATE, VOTES, APPEARED = 8, 9, 10  # the region that may come next; its votes; its first sample
ON, WHERE = 11, 12  # cause of the alarm that is on, 0: none; its region
FIRST, FROM, TO = 13, 14, 15  # of the alarm: first sample, −1: not reported; units
LAST = 16  # last sample of any alarm; −1: none
NUMBERS = 17
START = (0, 1024, 0, 0, 2, NONE, NONE, NONE, NONE, 0, 0, 0, 0, NONE, NONE, NONE, NONE)

RARE, RAISED = 0, 1  # weighted numbers: of rare transitions; of alarms of a dwell or a cycle
USUAL, PROBABILITY = 2, 3  # of the alarm that is on: usual duration; of the transition; 0: none
LEVELS = 4

DEPARTURES, ENTRIES = 0, 1
ENTERED, SEEN, UNIT = 0, 1, 2  # first sample of the last visit; last sample; its winner; −1: none

# Settings
RATE, QUIET, AFTER, TRANSITIONS, DWELLS, CYCLES = range(6)
SETTINGS = 6

# Columns of events
E_CODE, E_CAUSE, E_ROW, E_SAMPLE, E_FIRST, E_SAMPLES, E_FROM, E_TO = range(8)
E_NUMBERS = 8
E_USUAL, E_PROBABILITY = range(2)
E_LEVELS = 2
EVENTS_PER_ROW = 4


class Sequences(NamedTuple):
    """The state, see above."""

    settings: Any  # (SETTINGS,)
    flow: Any
    regions: Any
    table: Any
    visits: Any
    places: Any
    numbers: Any
    levels: Any
    durations: Any


class Event(NamedTuple):
    """Where the next events are written."""

    numbers: Any  # (most + 1, E_NUMBERS)
    levels: Any  # (most, E_LEVELS)
