"""Truncated backpropagation through time on a stream, TBPTT(k1, k2).

Williams & Peng, Neural Computation 2, 1990. A *pair* is an input x_t and its target. With ``NEXT`` the target
is the next sample, or the ``ahead`` next samples; the pair is complete when the last of them arrives. With
``GIVEN`` the target y arrives with x_t and the pair is complete at once. With ``LATER`` y arrives later.
After every k1 complete pairs there is one update on the loss

    L = mean of (forecast − target)² over the last min(k2, pairs so far) pairs and their outputs

L is PyTorch's ``mse_loss`` over that window (or ``huber_loss``, or ``cross_entropy``). Missing targets are
not in the mean; a window without targets is not learned. The hidden state is carried from sample to sample
and never reset. In L, the state before the first step of the window is a constant.

If all steps of a window ran with the current parameters (k1 = k2, one step ahead, one stream), their stored
activations serve the backward pass. Otherwise the window is run again with the current parameters, from the
stored state before its first step, because L is a function of the parameters and the update uses its exact
gradient. This replay does not touch the live state.

Order within a sample. ``NEXT``: compare the forecast of this sample with it, complete the pair, update if it
is time, step forward with the new parameters. ``GIVEN`` and ``LATER``: step forward, compare, complete,
update. The scaling statistics are updated last, so a sample is scaled by the samples before it.

``LATER``: pairs are completed in the order of their samples. A pair with a target waits for the pairs before
it. If more than ``delay`` samples wait, the oldest is completed without a target.

Many streams share one net: each stream has a slot with its own window, waiting pairs and hidden state (see
``keys.py``). The parameters and everything else are shared.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..compiler import device, kernel
from ..simd.views import row_of, rows_of, slots_of, values_of
from ..stream import gate as gates
from ..stream import relations as related
from ..stream import scaling
from ..stream.interrupt import requested
from ..stream.relations import Own
from ..stream.scaling import Scaling
from ..stream.score import Score
from .evaluation import (
    BUFFERS,
    UNMATCHED,
    Evaluation,
    Outputs,
    Samples,
    buffers_of,
    clear_target,
    compares_channels,
    copy_values,
    count_errors,
    count_evaluation,
    count_input,
    count_present,
    observe_error,
    read_forecast,
    read_input,
    set_target,
    update_last_values,
    write_evaluation,
    write_input,
    write_next,
)
from .memory_layout import ACTIVATION_ROWS, CHANNELS, FORECAST, PARAMETER_ROWS, WINDOW_ROWS
from .network import forward
from .optimizers import Optimizer
from .records import (
    CLIP,
    DECAY,
    HUBER_DELTA,
    METHOD,
    MOMENTUM,
    OPTIMIZER,
    SCALE_CLIP,
    TARGET_METHOD,
    Gradients,
    Lags,
    Net,
    Steps,
)
from .windows import (
    HAS_TARGET,
    LATER,
    NEXT,
    PAIRS,
    WAITING,
    Rule,
    Stream,
    Training,
    complete_pairs,
    find_waiting,
    reset_stream,
    stream_of,
)

# mode, int64 (2,): 1 for samples, 0 for targets of earlier samples; 1 to learn, 0 to step forward only (for
# targets: to answer only)
SAMPLES, LEARNING = range(2)

# rule, int64 (9,), after the entries of records.py
TARGET_KIND = 3  # one of TARGETS
K1, K2 = 4, 5
AHEAD, DELAY = 6, 7  # see Rule
REPLAY = 8  # 1 if windows are run again before their update

# constants, float64 (6,), after the entries of records.py: factor of the weight of the past per update
LAG_DECAY = 5


class Mode(NamedTuple):
    """What to do with a row."""

    for_samples: Any  # whether rows are samples; else targets of earlier samples
    learning: Any


def scratch_rows(layout, k2: int, replay: bool, lags: bool) -> int:
    """Return the number of rows of ``scratch``."""
    slots = (k2 + 1) * int(layout[WINDOW_ROWS]) * replay + k2 * int(layout[ACTIVATION_ROWS]) * lags
    return int(layout[PARAMETER_ROWS]) + (1 + BUFFERS) * int(layout[WINDOW_ROWS]) + slots


@kernel(
    "i8(f4[:,::1], f4[:,::1], i8[::1], b1[::1], i8[::1], f4[::1], i8[::1], i8[::1], f8[::1], i8[::1],"
    " i8[:,::1], f4[:,::1], f4[:,::1], f4[:,::1], f8[::1], i8[::1], i8[:,::1], f4[:,:,:,::1], i8[:,::1],"
    " i8[:,::1], f4[:,:,::1], f4[:,:,::1], f4[:,:,::1], f8[:,::1], i8[::1], f8[:,::1], f8[:,::1],"
    " f8[::1], i8, f8, f8[:,::1], f8[:,::1], f8[:,::1], f8[::1], f8[::1], f8[::1], f8[:,:,::1],"
    " f4[:,:,::1], f8[:,:,::1], f8[:,:,::1], f8[::1], f4[:,::1], f8[:,::1], f4[:,::1], u1[::1], f8[::1],"
    " f4[:,::1], f4[::1], f4[::1], i4[::1], i8[::1], b1[::1], f4[:,::1], f4[::1])"
)
def learn(
    # The rows
    x,  # (n, dim); (0, dim) if targets of earlier samples arrive
    y,  # (n, TARGET_COLUMNS): targets; x itself for NEXT
    slots,  # (n,): slot of each sample's stream; for late targets −1 if the stream is unknown
    new_stream,  # (n,): whether the sample is the first of a new stream
    sample_ids,  # (n,); (0,) unless LATER
    learning_rate,  # (n,): ε(t)
    mode,  # (2,)
    # The rule, the network and its optimizer
    rule,  # (9,)
    constants,  # (6,)
    layout,  # (17,): see memory_layout.py
    matrices,  # (·, 13): see memory_layout.py
    parameters,  # (PARAMETER_ROWS, 16)
    mean,  # m of the optimizer, as parameters; (0, 16) if it has none
    square,  # v of the optimizer, likewise
    clock,  # (3,): of the optimizer
    counters,  # (4,): of optimizers.py and evaluation.py
    # The streams: see windows.py
    progress,  # (slots, 3)
    window,  # (slots, room, WINDOW_ROWS, 16)
    waiting_ids,  # (slots, room)
    waiting_numbers,  # (slots, room)
    predictions,  # (slots, room, outputs)
    last_values,  # (slots, ahead, columns of y)
    activations,  # (k2 or room, ACTIVATION_ROWS, 16): state if there is no replay, else scratch
    lag_norms,  # (3, k2); (3, 0) without lags
    samples,  # (1,): number of samples so far
    # Scaling, score and live quality
    statistics,  # (rows, dim): see scaling.py
    target_statistics,  # (rows, TARGET_COLUMNS); ``statistics`` itself for NEXT
    score_reference,  # see stream/score.py
    score_columns,
    score_decay,
    quality,  # (5, TARGET_COLUMNS)
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
    # Scratch, interrupt and outputs
    scratch,  # (scratch_rows, 16)
    interrupt,  # see interrupt.py
    gate,  # see stream/gate.py
    prediction,  # (n, outputs)
    error,  # (n,)
    score,  # (n,)
    present,  # (n,)
    sample,  # (n,): number of the row's sample, −1 for none
    watched,  # (n,)
    contribution,  # (n, columns); (0, columns) if nobody needs it
    distance,  # (n,); (0,) unless the net compares channels
):
    """Learn samples in order, or late targets. The outputs are those before the sample was learned.

    Return the number of rows done: all, or fewer if ``interrupt`` is set.
    """
    net = Net(layout, matrices, parameters)
    own_rule = Rule(rule[TARGET_KIND], rule[K1], rule[K2], rule[AHEAD], rule[DELAY])
    row_mode = Mode(mode[SAMPLES] == 1, mode[LEARNING] == 1)
    streams = Stream(progress, window, waiting_ids, waiting_numbers, predictions, last_values)
    outputs = Outputs(prediction, error, score, present, contribution)
    evaluation = Evaluation(
        Scaling(rule[METHOD], statistics, constants[SCALE_CLIP]),
        Scaling(rule[TARGET_METHOD], target_statistics, constants[SCALE_CLIP]),
        Score(score_reference, score_columns, score_decay),
        quality,
        input_means,
        constants[DECAY],
        error_scale,
    )
    relations = related.Relations(
        relation_counts,
        relation_means,
        relation_widths,
        relation_covariance,
        relation_precision,
        relation_deviation,
        relation_vectors,
        relation_inverse,
    )
    window_rows, end = layout[WINDOW_ROWS], layout[PARAMETER_ROWS]
    gradients = Gradients(rows_of(scratch, end, window_rows), rows_of(scratch, 0, end))
    buffers = buffers_of(layout, scratch, end + window_rows)
    end += (1 + BUFFERS) * window_rows
    replay = slots_of(scratch, end, (own_rule.k2 + 1) * rule[REPLAY], window_rows)
    end += replay.shape[0] * window_rows
    lags = Lags(
        slots_of(scratch, end, lag_norms.shape[1], layout[ACTIVATION_ROWS]), lag_norms, constants[LAG_DECAY]
    )
    momentum, clip = np.float32(constants[MOMENTUM]), constants[CLIP]
    optimizer = Optimizer(rule[OPTIMIZER], mean, square, clock, counters, momentum, clip)
    training = Training(optimizer, np.float32(constants[HUBER_DELTA]), gradients, lags, activations, replay)
    learned = False
    for n in range(y.shape[0]):
        slot = max(slots[n], np.int64(0))
        stream = stream_of(streams, slot)
        own = Own(row_of(relation_recent, slot), row_of(relation_usual, slot))
        compared = Samples(relations, own, distance)
        if row_mode.for_samples:
            if new_stream[n]:
                reset_stream(stream)
                related.clear(own)
            sample[n] = samples[0]
            _read_sample(layout, evaluation, own_rule, stream, x, n, buffers, outputs)
        # Step forward and compare: in this order, or NEXT in the other. A loop, so that each is compiled once
        for turn in range(2):
            if (turn == 0) == (own_rule.target_kind != NEXT):
                if row_mode.for_samples:
                    t = _step(net, stream, buffers.filled, activations)
                    if own_rule.target_kind == LATER:
                        stream.waiting_ids[t], stream.waiting_numbers[t] = sample_ids[n], samples[0]
            else:
                if row_mode.for_samples:
                    t = stream.progress[PAIRS] + stream.progress[WAITING] - 1
                else:
                    t = _find_sample(stream, slots[n], sample_ids[n], sample, n)
                    counters[UNMATCHED] += 1 if row_mode.learning and t < 0 else 0
                learned = _compare(
                    layout, evaluation, own_rule, row_mode, gate, stream, compared, t, y, n, buffers, outputs
                )
                watched[n] = not learned
                complete_pairs(net, own_rule, stream, training, learned, learning_rate[n])
                if learned and own_rule.target_kind != NEXT and t >= 0:
                    scaling.update(evaluation.target_scale, evaluation.decay, y, n)
        if row_mode.for_samples:
            if learned:
                count_input(evaluation, x, n, buffers.scaled)
                if compares_channels(compared):
                    related.observe(relations, own, y, n, constants[DECAY])
            related.advance(own, y, n)
            samples[0] += 1
        if requested(interrupt):
            return n + 1
    return y.shape[0]


@device
def _read_sample(layout, evaluation, rule, stream, x, n, buffers, outputs):
    """Scale sample ``n``. A forecast of it fills its missing values."""
    newest = stream.progress[PAIRS] + stream.progress[WAITING] - 1
    has_forecast = rule.target_kind == NEXT and stream.progress[WAITING] > 0
    forecast = values_of(stream.window, newest, layout[FORECAST])
    outputs.present[n] = read_input(
        layout, evaluation, x, n, forecast, has_forecast, buffers.scaled, buffers.filled
    )


@device
def _step(net, stream, filled, activations):
    """Run one step on a sample, which then waits for its target. Return its slot."""
    t = stream.progress[PAIRS] + stream.progress[WAITING]
    write_input(net.layout, filled, stream.window, t)
    clear_target(net.layout, stream.window, t)
    forward(net, Steps(stream.window, activations), t)
    stream.progress[WAITING] += 1
    return t


@device
def _find_sample(stream, slot, sample_id, sample, n):
    """Find the slot of a late target's sample. Write the sample's number; −1 if it does not wait."""
    t = find_waiting(stream, sample_id) if slot >= 0 else np.int64(-1)
    sample[n] = stream.waiting_numbers[t] if t >= 0 else -1
    return t


@device
def _compare(layout, evaluation, rule, mode, gate, stream, samples, t, y, n, buffers, outputs):
    """Compare row ``n`` of ``y`` with its forecast, of slot ``t``, and set the targets that it is.

    Return whether the row is learned. A row that is only watched counts as a missing target.
    """
    waiting, predictions, forecast = stream.progress[WAITING], stream.predictions, buffers.forecast
    forecasts_next = rule.target_kind == NEXT
    goal = buffers.scaled[: layout[CHANNELS]] if forecasts_next else buffers.goal
    has_forecast = waiting > 0 if forecasts_next else t >= 0
    read_forecast(layout, evaluation, stream.window, t, has_forecast, forecast)
    if has_forecast and not mode.for_samples:
        copy_values(row_of(predictions, t), forecast)  # as it was when its sample arrived
    elif has_forecast and predictions.shape[0] > 0:
        copy_values(forecast, row_of(predictions, t))
    if compares_channels(samples):
        write_next(layout, evaluation, samples, forecast, y, n, outputs, n)
        scored = samples.distance[n]
    else:
        write_evaluation(layout, evaluation, forecast, y, n, outputs, n)
        scored = outputs.error[n]
    learned = mode.learning and gates.admits(gate, outputs.score[n])
    if not forecasts_next:
        scaling.transform(evaluation.target_scale, y, n, goal)
    if mode.learning and has_forecast:
        observe_error(layout, evaluation, gate, forecast, scored, y, n, learned)
        count_evaluation(layout, evaluation, forecast, outputs.error[n], y, n, stream.last_values)
        for h in range(1, waiting if forecasts_next else 0):  # forecasts made earlier
            copy_values(row_of(predictions, t - h), buffers.earlier)
            count_errors(evaluation, buffers.earlier, h * layout[CHANNELS], y, n, stream.last_values, h)
    if forecasts_next:
        for h in range(waiting if learned else 0):
            set_target(layout, stream.window, t - h, h * layout[CHANNELS], goal)
    elif has_forecast and count_present(y, n) > 0:
        if learned:
            set_target(layout, stream.window, t, 0, goal)
        if rule.target_kind == LATER and (mode.for_samples or mode.learning):
            stream.waiting_numbers[t] = HAS_TARGET
    if mode.for_samples or (mode.learning and has_forecast):
        update_last_values(y, n, stream.last_values)
    return learned
