"""Rollout: run a recurrent net on from a copy of its live state.

``predict``, ``forecast`` and ``sample`` use it.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.elementary import exp, log
from ..simd.lanes import WIDTH, load, store
from ..simd.splitmix import uniform
from ..simd.views import row_of, values_of
from ..stream import relations as related
from ..stream.relations import Own
from ..stream.scaling import Scaling
from ..stream.score import Score
from .evaluation import (
    MIN_PROBABILITY,
    Evaluation,
    Outputs,
    Samples,
    argmax,
    compares_channels,
    copy_values,
    count_input,
    read_forecast,
    read_input,
    write_evaluation,
    write_expected,
    write_input,
    write_next,
)
from .memory_layout import ACTIVATION_ROWS, DIM, FORECAST, OUTPUTS, STATE, SYMBOLS, WINDOW_ROWS
from .network import forward
from .records import DECAY, METHOD, SCALE_CLIP, TARGET_METHOD, Net, Steps
from .tbptt import TARGET_KIND
from .windows import NEXT, PAIRS, WAITING

_0, _NAN = np.float32(0), np.float32(np.nan)


@device
def _draw(probabilities, temperature, random):
    """Draw a class with probability p^(1/T); for T = 0 return the most probable one.

    Takes one random number in either case.
    """
    point = uniform(random)
    top = argmax(probabilities)
    if not temperature > _0:
        return top
    highest = log(max(probabilities[top], MIN_PROBABILITY))
    total = _0
    for k in range(probabilities.size):
        total += exp((log(max(probabilities[k], MIN_PROBABILITY)) - highest) / temperature)
    point *= total
    cumulative = _0
    for k in range(probabilities.size):
        cumulative += exp((log(max(probabilities[k], MIN_PROBABILITY)) - highest) / temperature)
        if cumulative > point:
            return k
    return top


@kernel(
    "void(f4[:,::1], f4[:,::1], i8, i8[::1], f8[::1], i8[::1], i8[:,::1], f4[:,::1], i8[:,::1],"
    " f4[:,:,:,::1], f8[:,::1], f8[:,::1], f8[::1], i8, f8, f8[:,::1], f8[:,::1], f8[::1], f8[::1],"
    " f8[::1], f8[:,:,::1], f4[:,:,::1], f8[:,:,::1], f8[:,:,::1], f8[::1], f4[:,::1], f8[:,::1], i8,"
    " f4, u8[::1], f4[:,::1], f4[::1], f4[::1], i4[::1], f4[:,::1], f4[:,::1], f4[::1])",
    allocates=True,
)
def predict(
    # The rows, the rule, the network and the streams
    x,  # (n, dim)
    y,  # (n, columns): targets to compare, for NEXT the channels of the samples; (0, columns) without them
    slot,  # of the samples' stream; −1 if the stream is new
    rule,  # (9,): see tbptt.py
    constants,  # (6,): see tbptt.py
    layout,  # (17,): see memory_layout.py
    matrices,  # (·, 13): see memory_layout.py
    parameters,  # (PARAMETER_ROWS, 16)
    progress,  # (slots, 3)
    window,  # (slots, room, WINDOW_ROWS, 16)
    # Scaling, score and means
    statistics,  # (rows, dim): see scaling.py
    target_statistics,  # (rows, TARGET_COLUMNS); ``statistics`` itself for NEXT
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    input_means,  # (2, dim)
    error_scale,  # (3, columns): see stream/error_scale.py; (3, 0) if it compares channels
    relation_counts,  # (2,): see stream/relations.py
    relation_means,  # (values,); (0,) unless the net compares channels
    relation_widths,  # (values,)
    relation_covariance,  # (groups, side, side)
    relation_precision,  # (groups, side, side)
    relation_recent,  # (slots, channels, 2)
    relation_usual,  # (slots, channels, 3)
    relation_deviation,  # (values,): scratch
    relation_vectors,  # (2, values): scratch
    relation_inverse,  # (side, side): scratch
    # Running free
    free_running,  # 1: there are no samples; the net's own forecasts are its inputs
    temperature,
    random,  # (1,)
    # Outputs
    prediction,  # (n, outputs); after the sample, or if free running before it
    error,  # (n,)
    score,  # (n,)
    present,  # (n,)
    expected,  # (n, columns): the forecast that is compared; (0, columns) if nobody needs it
    contribution,  # (n, columns); (0, columns) if nobody needs it
    distance,  # (n,); (0,) unless the net compares channels
):
    """Run over ``x`` from the live state, with the scaling going on as well. Changes the outputs only.

    If free running, ``x`` is NaN, so each forecast becomes the next input. Symbols are drawn and written to
    ``x``.
    """
    net = Net(layout, matrices, parameters)
    outputs = Outputs(prediction, error, score, present, contribution)
    forecasts_next = rule[TARGET_KIND] == NEXT
    own_statistics, own_means = statistics.copy(), input_means.copy()
    evaluation = Evaluation(
        Scaling(rule[METHOD], own_statistics, constants[SCALE_CLIP]),
        Scaling(
            rule[TARGET_METHOD],
            own_statistics if forecasts_next else target_statistics,
            constants[SCALE_CLIP],
        ),
        Score(score_reference, score_columns, score_decay),
        own_means,  # in place of the live quality, which does not change
        own_means,
        constants[DECAY],
        error_scale,
    )
    place = max(slot, np.int64(0))
    compared = Samples(
        related.Relations(
            relation_counts,
            relation_means,
            relation_widths,
            relation_covariance,
            relation_precision,
            relation_deviation,
            relation_vectors,
            relation_inverse,
        ),
        Own(row_of(relation_recent, place).copy(), row_of(relation_usual, place).copy()),
        distance,
    )
    if slot < 0:
        related.clear(compared.own)
    ahead = np.zeros((2, window.shape[2], WIDTH), np.float32)  # slot 0: this step; 1: states after it
    steps = Steps(ahead, np.empty((1, layout[ACTIVATION_ROWS], WIDTH), np.float32))
    scaled, filled = np.empty(layout[DIM], np.float32), np.empty(layout[DIM], np.float32)
    forecast = np.empty(layout[OUTPUTS], np.float32)
    has_forecast = slot >= 0 and progress[slot, WAITING] > 0
    now = np.int64(0)  # a variable: with a literal 0 the network would be compiled a second time
    if slot >= 0:
        own_window, live = row_of(window, slot), progress[slot, PAIRS] + progress[slot, WAITING]
        for row in range(layout[STATE], layout[WINDOW_ROWS]):
            store(ahead, now, row, load(own_window, live, row))
        for row in range(layout[FORECAST], layout[STATE] if has_forecast else layout[FORECAST]):
            store(ahead, now, row, load(own_window, live - 1, row))
    read_forecast(layout, evaluation, ahead, now, has_forecast, forecast)
    for n in range(x.shape[0]):
        if free_running == 1 and layout[SYMBOLS] == 1:
            x[n, 0] = np.float32(_draw(forecast, temperature, random))
        fill = has_forecast and forecasts_next
        present[n] = read_input(
            layout, evaluation, x, n, values_of(ahead, now, layout[FORECAST]), fill, scaled, filled
        )
        error[n] = score[n] = _NAN
        if compares_channels(compared):
            distance[n] = _NAN
        if forecasts_next:
            copy_values(forecast, row_of(prediction, n))
            if y.shape[0] > 0:
                write_expected(layout, forecast, expected, n)
                if compares_channels(compared):
                    write_next(layout, evaluation, compared, forecast, y, n, outputs, n)
                    related.advance(compared.own, y, n)
                else:
                    write_evaluation(layout, evaluation, forecast, y, n, outputs, n)
        write_input(layout, filled, ahead, now)
        forward(net, steps, now)
        for row in range(layout[STATE], layout[WINDOW_ROWS]):
            store(ahead, now, row, load(ahead, now + 1, row))
        count_input(evaluation, x, n, scaled)
        has_forecast = True
        read_forecast(layout, evaluation, ahead, now, has_forecast, forecast)
        if not forecasts_next and y.shape[0] > 0:
            write_expected(layout, forecast, expected, n)
            write_evaluation(layout, evaluation, forecast, y, n, outputs, n)
        if free_running == 0:
            copy_values(forecast, row_of(prediction, n))
