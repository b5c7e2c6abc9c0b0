"""Alarms of the order and the pace of the winners: a rare transition, a long stay, a long cycle.

``regions.py`` joins units to regions: after 1024, 2048, 4096 and 8192 samples, and then every 8192 samples.
The stream changes its region when another one has won CONFIRM more samples than the present one since the
first of them: a sixth of the mean stay, 2 to 12; 1 if stays are shorter than 4 samples.

A *transition* a → b is rare if it never came, though the stream left a and entered b at least 20 times. One
that raised an alarm counts with 0.1 from then on, so it is usual after five alarms. A healthy stream has rare
transitions, too. They become rarer like 1/t. So each counts with the weight s/t, where s is its own sample:
the weighted number stays the same on average. The alarm begins only if the number is below 0.3, and after 50
visits of both. A rare transition without an alarm adds 1, and one with an alarm 0.1/rate. If the stream
passed another region between a and b in fewer than CONFIRM samples, by usual transitions, it took these, and
not a → b.

A *dwell* is long if the stream stays longer in a region than the limit of ``durations.py``; a *cycle*, if a
region has not been entered for longer than that. Each alarm of these raises the limits that come later: by
⅕ of their distance from u, with the weight s/t.

At most one alarm is on. One that would begin within ``quiet`` samples of another has the same reason, and is
not reported. An alarm of a transition ends with the next one or when the stay is too long, one of a dwell
with the next transition, and one of a cycle when the region is entered, or after four times the limit. Then
the region is no longer part of the cycle, until it is entered.

Times are numbers of samples. ``sequence_state.py`` defines the state.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import log
from ..simd.views import row_of
from . import durations as times
from .region_search import search_regions
from .regions import REGIONS
from .sequence_state import (
    AFTER,
    APPEARED,
    BEGIN,
    CANDIDATE,
    CHANGES,
    CONFIRM,
    CURRENT,
    CYCLE,
    CYCLES,
    DEPARTURES,
    DWELL,
    DWELLS,
    E_CAUSE,
    E_CODE,
    E_FIRST,
    E_FROM,
    E_LEVELS,
    E_ROW,
    E_SAMPLE,
    E_SAMPLES,
    E_TO,
    END,
    ENTERED,
    ENTRIES,
    EVENTS_PER_ROW,
    FIRST,
    FOUND,
    FROM,
    LAST,
    LEARNED,
    NEXT,
    NODE,
    ON,
    PROBABILITY,
    QUIET,
    RAISED,
    RARE,
    RATE,
    SEEN,
    SINCE,
    TO,
    TRANSITION,
    TRANSITIONS,
    UNIT,
    USUAL,
    VOTES,
    WHERE,
    Event,
    Sequences,
)  # fmt: skip
from .sizes import NONE

_FEWEST_VISITS, _VISITS = 20.0, 50.0
_NEVER = 0.5  # transitions
_SELDOM = 0.05  # share of departures below which a passed region is looked for
_MOST_RARE, _WEIGHT, _ALARMED = 0.3, 0.1, 0.1
_RAISE = 0.2
_BUDGET = 3.0  # causes that share the false alarms
_SAMPLES = 100_000.0  # that the rate is for
_MOST_DEPARTURES = 4096.0  # then all counts of a region are halved
_PATIENCE = 4.0  # limits of a cycle


@device
def _factor(sequences):
    """log(⅕·V/rate), V transitions of 100,000 samples, and a third of the rate; larger after alarms."""
    numbers, levels = sequences.numbers, sequences.levels
    n = np.float64(numbers[LEARNED])
    expected = 0.2 * _BUDGET * _SAMPLES * np.float64(numbers[CHANGES]) / (n * sequences.settings[RATE])
    return (1.0 + _RAISE * levels[RAISED] / n) * np.float64(log(np.float32(max(expected, 2.0))))


@device
def _passed(sequences, a, b):
    """The region that was passed between a and b; −1 if there is none."""
    numbers, table, places = sequences.numbers, sequences.table, sequences.places
    earliest = max(numbers[APPEARED] - 2 * numbers[CONFIRM], numbers[SINCE] + 1)
    passed = NONE
    for q in range(numbers[FOUND]):
        usual = table[a, q] >= _NEVER and table[q, b] >= _NEVER
        if usual and q not in (a, b) and places[q, SEEN] >= earliest:
            passed = q
    return passed


@device
def _count(sequences, a, b, weight):
    """Add a transition."""
    table, visits = sequences.table, sequences.visits
    table[a, b] += weight
    visits[a, DEPARTURES] += weight
    visits[b, ENTRIES] += weight
    if visits[a, DEPARTURES] > _MOST_DEPARTURES:
        visits[a, DEPARTURES] *= 0.5
        for q in range(REGIONS):
            table[a, q] *= 0.5


@device
def _is_rare(sequences, a, b, learning):
    """Whether the transition is rare, and such ones are rare in the stream. Count it among them."""
    table, visits, levels = sequences.table, sequences.visits, sequences.levels
    known = min(visits[a, DEPARTURES], visits[b, ENTRIES])
    if known < _FEWEST_VISITS or table[a, b] >= _NEVER:
        return False
    n, rate = np.float64(sequences.numbers[LEARNED]), sequences.settings[RATE]
    settled = known >= _VISITS and n > sequences.settings[AFTER]
    alarms = settled and levels[RARE] < _MOST_RARE * n
    if learning:
        levels[RARE] += min(_WEIGHT / rate, 1.0) * n if alarms else n
    return alarms


@device
def _learn_durations(sequences, a, b):
    """Learn the stay that ends, in a, and the cycle that ends, of b."""
    numbers, places, factor = sequences.numbers, sequences.places, _factor(sequences)
    if numbers[SINCE] >= 0:
        stay = np.float64(numbers[APPEARED] - numbers[SINCE])
        times.observe(sequences.durations, times.DWELL, a, stay, factor)
    if places[b, ENTERED] >= 0:
        cycle = np.float64(numbers[APPEARED] - places[b, ENTERED])
        times.observe(sequences.durations, times.CYCLE, b, cycle, factor)


@device
def _write(sequences, code, n, number, event, k):
    """Write event ``k`` of the alarm that is on. Return the next k."""
    numbers, levels = sequences.numbers, sequences.levels
    if numbers[FIRST] < 0:
        return k
    row = row_of(event.numbers, k)
    row[E_CODE], row[E_CAUSE], row[E_ROW], row[E_SAMPLE] = code, numbers[ON], n, number
    row[E_FIRST], row[E_FROM], row[E_TO] = numbers[FIRST], numbers[FROM], numbers[TO]
    began = numbers[FIRST]
    if numbers[ON] == DWELL and numbers[SINCE] >= 0:
        began = numbers[SINCE]
    elif numbers[ON] == CYCLE:
        began = sequences.places[numbers[WHERE], ENTERED]
    row[E_SAMPLES] = number - began + (0 if code == END else 1)
    for i in range(E_LEVELS):
        event.levels[k, i] = np.float32(levels[USUAL + i])
    return k + 1


@device
def _begin(sequences, cause, region, units, n, number, event, k):
    """Begin an alarm, which is reported unless another one was on less than ``quiet`` samples ago."""
    numbers, levels = sequences.numbers, sequences.levels
    quiet = np.int64(sequences.settings[QUIET])
    numbers[ON], numbers[WHERE] = cause, region
    numbers[FROM], numbers[TO] = units
    numbers[FIRST] = number if numbers[LAST] < 0 or number - numbers[LAST] > quiet else NONE
    numbers[LAST] = number
    if cause != TRANSITION:
        kind = times.DWELL if cause == DWELL else times.CYCLE
        levels[USUAL], levels[PROBABILITY] = sequences.durations.limits[kind, region, times.USUAL], 0.0
        if numbers[FIRST] >= 0:
            levels[RAISED] += np.float64(numbers[LEARNED])
    return _write(sequences, BEGIN, n, number, event, k)


@device
def _end(sequences, n, number, event, k):
    """End the alarm that is on."""
    k = _write(sequences, END, n, number, event, k)
    sequences.numbers[ON] = 0
    return k


@device
def _change(sequences, unit, b, learning, n, number, event, k):
    """The stream leaves its region for region b. Write the events. Return the next k."""
    numbers, places, table = sequences.numbers, sequences.places, sequences.table
    a, at = numbers[CURRENT], numbers[APPEARED]
    if a >= 0:
        if numbers[ON] in (TRANSITION, DWELL) or (numbers[ON] == CYCLE and numbers[WHERE] == b):
            k = _end(sequences, n, number, event, k)
        departures, rare, passed = sequences.visits[a, DEPARTURES], False, NONE
        known = table[a, b]
        if known < max(_SELDOM * departures, _NEVER):
            passed = _passed(sequences, a, b)
            rare = passed < 0 and _is_rare(sequences, a, b, learning)
        if rare and numbers[ON] == 0 and sequences.settings[TRANSITIONS] > 0.0:
            sequences.levels[USUAL], sequences.levels[PROBABILITY] = 0.0, known / departures
            k = _begin(sequences, TRANSITION, b, (places[a, UNIT], unit), n, number, event, k)
        if learning:
            numbers[CHANGES] += 1
            if passed >= 0:
                _count(sequences, a, passed, 1.0)
                _count(sequences, passed, b, 1.0)
            else:
                _count(sequences, a, b, _ALARMED if rare else 1.0)
            _learn_durations(sequences, a, b)
        if passed >= 0:
            places[passed, ENTERED] = at
    numbers[SINCE] = at if a >= 0 else NONE
    numbers[CURRENT], numbers[CANDIDATE], numbers[VOTES] = b, NONE, 0
    places[b, ENTERED] = at
    return k


@device
def _vote(numbers, region, number):
    """Count a sample for or against a change of region. Return whether the region changes."""
    if numbers[CURRENT] < 0:
        numbers[APPEARED] = number
        return True
    if region == numbers[CANDIDATE]:
        numbers[VOTES] += 1
    elif numbers[VOTES] > 1:
        numbers[VOTES] -= 1
        return False
    elif region == numbers[CURRENT]:
        numbers[CANDIDATE], numbers[VOTES] = NONE, 0
    else:
        numbers[CANDIDATE], numbers[VOTES], numbers[APPEARED] = region, 1, number
    return numbers[CANDIDATE] >= 0 and numbers[VOTES] >= numbers[CONFIRM]


@device
def _check_durations(sequences, n, number, event, k):
    """Begin or end the alarm of a stay or a cycle that is too long. Write the events. Return the next k."""
    numbers, places, durations = sequences.numbers, sequences.places, sequences.durations
    current = numbers[CURRENT]
    settled = np.float64(numbers[LEARNED]) > sequences.settings[AFTER]
    if numbers[ON] == CYCLE:
        where = numbers[WHERE]
        waited = np.float64(number - places[where, ENTERED])
        if waited > _PATIENCE * durations.limits[times.CYCLE, where, times.LIMIT]:
            k = _end(sequences, n, number, event, k)
            places[where, ENTERED] = NONE
        return k
    if not settled or numbers[ON] == DWELL:
        return k
    stay = np.float64(number - numbers[SINCE])
    is_long = numbers[SINCE] >= 0 and times.is_beyond(durations, times.DWELL, current, stay)
    if is_long and sequences.settings[DWELLS] > 0.0:
        if numbers[ON] == TRANSITION:
            k = _end(sequences, n, number, event, k)
        unit = places[current, UNIT]
        return _begin(sequences, DWELL, current, (unit, unit), n, number, event, k)
    if numbers[ON] == 0 and sequences.settings[CYCLES] > 0.0:
        for q in range(numbers[FOUND]):
            waited = np.float64(number - places[q, ENTERED])
            awaited = q != current and places[q, ENTERED] >= 0
            if awaited and times.is_beyond(durations, times.CYCLE, q, waited):
                units = places[current, UNIT], places[q, UNIT]
                return _begin(sequences, CYCLE, q, units, n, number, event, k)
    return k


@device
def _observe(sequences, units, unit, learning, n, number, event, k):
    """Add the winner of sample ``number``. Write the events. Return the next k."""
    numbers, regions, places = sequences.numbers, sequences.regions, sequences.places
    node = unit * regions.size // units
    if learning:
        if numbers[NODE] >= 0:
            sequences.flow[numbers[NODE], node] += np.float32(1)
        numbers[LEARNED] += 1
    numbers[NODE] = node if learning else NONE
    region = regions[node]
    if region >= 0:
        if region == numbers[CURRENT]:
            places[region, UNIT] = unit
        if _vote(numbers, region, number):
            k = _change(sequences, unit, region, learning, n, number, event, k)
            places[region, UNIT] = unit
        places[region, SEEN] = number
    if numbers[CURRENT] >= 0:
        k = _check_durations(sequences, n, number, event, k)
    if numbers[ON] > 0:
        numbers[LAST] = number
        if _is_due(numbers):
            k = _end(sequences, n, number, event, k)
    return k


@device
def _is_due(numbers):
    """Whether to search for regions."""
    return numbers[LEARNED] >= numbers[NEXT]


_STATE = (
    "f4[:,::1], i8[::1], f8[:,::1], f8[:,::1], i8[:,::1], i8[::1], f8[::1], f4[:,:,::1], i8[:,::1],"
    " f8[:,:,::1]"
)


@kernel(f"i8(f8[::1], {_STATE}, i8, i8, i4[::1], b1[::1], i8, i1[::1], i8[:,::1], f4[:,::1])", allocates=True)
def process(
    settings,  # (SETTINGS,)
    flow,  # (nodes, nodes)
    regions,  # (nodes,)
    table,  # (REGIONS, REGIONS)
    visits,  # (REGIONS, 2)
    places,  # (REGIONS, 3)
    numbers,  # (NUMBERS,)
    levels,  # (LEVELS,)
    recent,  # (2, REGIONS, RECENT): see durations.py
    kept,  # (2, REGIONS)
    limits,  # (2, REGIONS, COLUMNS)
    units,  # of the model
    # Samples
    begin,  # row to begin with
    winner,  # (n,): −1: none
    watched,  # (n,): samples that are not learned; (0,): all are
    first,  # number of the first sample
    # Outputs
    sequence,  # (n,): cause of the alarm that is on; 0: none
    event_numbers,  # (most + 1, E_NUMBERS); the last row begins with the next row to process
    event_levels,  # (most, E_LEVELS)
):
    """Process winners from row ``begin`` on. Return the number of events.

    Stop when the events do not fit, and when `search` is due: call it before the next row.
    """
    durations = times.Durations(recent, kept, limits, np.empty(times.RECENT))
    state = Sequences(settings, flow, regions, table, visits, places, numbers, levels, durations)
    event, most, k = Event(event_numbers, event_levels), event_levels.shape[0], 0
    n = begin
    while n < winner.size and k + EVENTS_PER_ROW <= most:
        if winner[n] >= 0:
            learning = not (watched.size > n and watched[n])
            k = _observe(state, units, np.int64(winner[n]), learning, n, first + n, event, k)
        sequence[n] = numbers[ON] if numbers[FIRST] >= 0 else 0
        n += 1
        if _is_due(numbers):
            break
    event_numbers[most, 0] = n
    return k


@kernel(f"void(f8[::1], {_STATE})", allocates=True)
def search(
    settings,  # (SETTINGS,)
    flow,  # (nodes, nodes)
    regions,  # (nodes,)
    table,  # (REGIONS, REGIONS)
    visits,  # (REGIONS, 2)
    places,  # (REGIONS, 3)
    numbers,  # (NUMBERS,)
    levels,  # (LEVELS,)
    recent,  # (2, REGIONS, RECENT): see durations.py
    kept,  # (2, REGIONS)
    limits,  # (2, REGIONS, COLUMNS)
):
    """Search for the regions if it is due."""
    durations = times.Durations(recent, kept, limits, np.empty(times.RECENT))
    if _is_due(numbers):
        search_regions(Sequences(settings, flow, regions, table, visits, places, numbers, levels, durations))
