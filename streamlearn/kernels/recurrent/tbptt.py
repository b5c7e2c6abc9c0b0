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

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import WIDTH, load, store
from ..simd.views import row_of
from ..stream import scaling
from ..stream import score as scores
from ..stream.scaling import Scaling
from ..stream.score import Score
from . import optimizers
from .evaluation import (
    EXPIRED,
    UNMATCHED,
    clear_target,
    count_present,
    error_of,
    fill_missing,
    read_row,
    set_target,
    unscale_forecast,
    update_class_quality,
    update_input_means,
    update_last_values,
    update_quality,
    write_input,
    write_row,
)
from .memory_layout import CLASSES, DIM, FORECAST, OUTPUTS, TARGET_COLUMNS
from .network import backward, clear_rows, forward
from .records import Gradients, Lags, Net, Steps

NEXT, GIVEN, LATER = 0, 1, 2
TARGETS = {"next": NEXT, "given": GIVEN, "later": LATER}

# mode, int64 (2,): 1 for samples, 0 for targets of earlier samples; 1 to learn, 0 to step forward only (for
# targets: to answer only)
SAMPLES, LEARNING = range(2)

# rule, int64 (8,)
TARGET_KIND = 0  # one of TARGETS
METHOD, TARGET_METHOD = 1, 2  # of scaling
K1, K2 = 3, 4
AHEAD = 5  # NEXT: number of samples in a forecast
DELAY = 6  # LATER: number of samples that may wait
OPTIMIZER = 7

# progress, int64 (slots, 3): complete pairs in the window; complete pairs since the last update; steps after
# them, which wait for their target
PAIRS, SINCE, WAITING = range(3)

_HAS_TARGET = -1  # replaces the number of a waiting sample when its target has arrived

_0, _NAN = np.float32(0), np.float32(np.nan)


@device
def copy_slot(source, s, target, t):
    """Copy slot ``s`` of one window to slot ``t`` of another."""
    for row in range(source.shape[1]):
        store(target, t, row, load(source, s, row))


@device
def _clear_slots(slots):
    for t in range(slots.shape[0]):
        clear_rows(row_of(slots, t))


@device
def _reset_stream(window, progress, last_values):
    """Clear a slot for a new key."""
    _clear_slots(window)
    progress[:] = 0
    last_values[:, :] = _NAN


@device
def _find_waiting(progress, waiting_ids, waiting_numbers, sample_id):
    """The newest slot of the window whose sample has that id and waits for its target; −1 if none."""
    for t in range(progress[PAIRS] + progress[WAITING] - 1, progress[PAIRS] - 1, -1):
        if waiting_ids[t] == sample_id and waiting_numbers[t] != _HAS_TARGET:
            return np.int64(t)
    return np.int64(-1)


@device
def _oldest_is_complete(target_kind, progress, ahead, waiting_numbers, delay, counters):
    """Whether the oldest waiting pair is complete, or has waited too long (which is counted)."""
    if target_kind == NEXT:
        return progress[WAITING] == ahead
    if target_kind == LATER and progress[WAITING] > 0 and waiting_numbers[progress[PAIRS]] != _HAS_TARGET:
        expired = progress[WAITING] > delay
        counters[EXPIRED] += 1 if expired else 0
        return expired
    return progress[WAITING] > 0


@device
def _update(
    net, mean, square, clock, counters, window, progress, replay, activations, gradients, optimizer,
    learning_rate, momentum, clip, huber_delta, lags,
):  # fmt: skip
    """Update the parameters once, on the complete pairs of the window."""
    pairs = progress[PAIRS]
    steps = Steps(window if replay.shape[0] == 0 else replay, activations)
    if replay.shape[0] > 0:
        for t in range(pairs):
            copy_slot(window, t, replay, t)
        for t in range(pairs):
            forward(net, steps, t)
    count, squares = backward(net, steps, pairs, huber_delta, gradients, lags)
    if count > _0:
        finite = optimizers.update(
            optimizer, net.parameters, gradients.parameters, squares, mean, square, clock, counters,
            learning_rate, momentum, clip,
        )  # fmt: skip
        if not finite:
            _clear_slots(activations)  # NaN and ∞ must not stay in the state


@device
def _shift_window(progress, kept_pairs, window, waiting_ids, waiting_numbers, predictions):
    """Move the last ``kept_pairs`` complete pairs, and the waiting ones, to the start of the window."""
    shift = progress[PAIRS] - min(progress[PAIRS], kept_pairs)
    for t in range(progress[PAIRS] - shift + progress[WAITING] + 1):
        copy_slot(window, shift + t, window, t)
        if t < predictions.shape[0] - shift:
            for o in range(predictions.shape[1]):
                predictions[t, o] = predictions[shift + t, o]
        if t < waiting_ids.size - shift:
            waiting_ids[t] = waiting_ids[shift + t]
            waiting_numbers[t] = waiting_numbers[shift + t]
    progress[PAIRS] -= shift
    progress[SINCE] = 0


@kernel(
    "void(f4[:,::1], f4[:,::1], i8[::1], b1[::1], i8[::1], i8[::1], f4[::1], i8[::1],"
    " i8[::1], i8[:,::1], f4[:,::1], f4[:,::1], f4[:,::1], f8[::1], i8[::1],"
    " i8[:,::1], f4[:,:,:,::1], f4[:,:,::1], i8[:,::1], i8[:,::1], f4[:,:,::1],"
    " f4[:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1], f4[:,:,::1], f8[:,::1], f8,"
    " f4, f8, f4, f8, f8, f8[:,::1], f8[:,::1], f8[::1], f8[::1], i8[::1], f4[:,:,::1], f8[:,::1],"
    " f8[:,::1], f4[:,::1], f4[::1], f4[::1], i4[::1], i8[::1])"
)
def learn(
    x,  # (n, dim); (0, dim) if targets of earlier samples arrive
    y,  # (n, TARGET_COLUMNS): targets; x itself for NEXT
    slots,  # (n,): slot of each sample's stream; for late targets −1 if the stream is unknown
    new_stream,  # (n,): whether the sample is the first of a new stream
    sample_ids,  # (n,); (0,) unless LATER
    mode,  # (2,)
    learning_rate,  # (n,): ε(t)
    rule,  # (8,)
    layout,  # (16,): see memory_layout.py
    matrices,  # (·, 13): see memory_layout.py
    parameters,  # (PARAMETER_ROWS, 16)
    mean,  # m of the optimizer, as parameters; (0, 16) if it has none
    square,  # v of the optimizer, likewise
    clock,  # (3,): of the optimizer
    counters,  # (4,): of optimizers.py and evaluation.py
    progress,  # (slots, 3)
    window,  # (slots, room, WINDOW_ROWS, 16)
    window_values,  # (slots, room, WINDOW_ROWS·16): a view of the window
    waiting_ids,  # (slots, room): ids of the waiting samples; (slots, 0) unless LATER
    waiting_numbers,  # their numbers, likewise
    predictions,  # (slots, room, outputs): their predictions; (slots, 0, outputs) if never needed again
    activations,  # (k2 or room, ACTIVATION_ROWS, 16): state if there is no replay, else scratch
    replay,  # (k2 + 1, WINDOW_ROWS, 16): scratch; (0, …) if there is no replay
    state_gradient,  # (WINDOW_ROWS, 16): scratch
    gradient,  # as parameters: scratch
    lag_activations,  # (k2, ACTIVATION_ROWS, 16): scratch; (0, …) without lags
    lag_norms,  # (3, k2); (3, 0) without lags
    lag_decay,  # per update
    momentum,
    clip,  # +inf for none
    huber_delta,  # +inf for the squared error
    scale_clip,
    decay,  # per sample
    statistics,  # (3, dim)
    target_statistics,  # (3, TARGET_COLUMNS); ``statistics`` itself for NEXT
    score_tree,  # (3072,)
    score_head,  # (2,)
    samples,  # (1,): number of samples so far
    last_values,  # (slots, ahead, columns of y): NaN at first
    quality,  # (5, TARGET_COLUMNS)
    input_means,  # (2, dim)
    prediction,  # (n, outputs): output
    error,  # (n,): output
    score,  # (n,): output
    present,  # (n,): output
    sample,  # (n,): output; number of the row's sample, −1 for none
):
    """Learn samples in order, or late targets. The outputs are those before the sample was learned."""
    net, gradients = Net(layout, matrices, parameters), Gradients(state_gradient, gradient)
    lags = Lags(lag_activations, lag_norms, lag_decay)
    forecast_column = layout[FORECAST] * WIDTH
    scaled, filled = np.empty(layout[DIM], np.float32), np.empty(layout[DIM], np.float32)
    forecast, earlier = np.empty(layout[OUTPUTS], np.float32), np.empty(layout[OUTPUTS], np.float32)
    for_samples, learning = mode[SAMPLES] == 1, mode[LEARNING] == 1
    target_kind, method, target_method = rule[TARGET_KIND], rule[METHOD], rule[TARGET_METHOD]
    k1, k2, ahead, delay, optimizer = rule[K1], rule[K2], rule[AHEAD], rule[DELAY], rule[OPTIMIZER]
    goal = scaled if target_kind == NEXT else np.empty(layout[TARGET_COLUMNS], np.float32)
    scale = Scaling(method, statistics, scale_clip)
    target_scale = Scaling(target_method, target_statistics, scale_clip)
    histogram = Score(score_tree, score_head)
    # Each sample takes two turns: step forward, and compare with the target. Their order depends on the
    # target. One loop over both, so that each is compiled once.
    for turn in range(2 * y.shape[0]):
        n, first = turn // 2, turn % 2 == 0
        slot = max(slots[n], np.int64(0))
        at, own_window, flat, own_last = (
            row_of(progress, slot), row_of(window, slot), row_of(window_values, slot),
            row_of(last_values, slot),
        )  # fmt: skip
        own_ids, own_numbers, own_predictions = (
            row_of(waiting_ids, slot), row_of(waiting_numbers, slot), row_of(predictions, slot)
        )  # fmt: skip
        if first and for_samples:
            if new_stream[n]:
                _reset_stream(own_window, at, own_last)
            sample[n] = samples[0]
            present[n] = scaling.transform(scale, x, n, scaled)
            newest = at[PAIRS] + at[WAITING] - 1
            has_forecast = target_kind == NEXT and at[WAITING] > 0
            fill_missing(layout, scaled, has_forecast, flat, newest, forecast_column, input_means, filled)
        if first == (target_kind != NEXT):
            if for_samples:
                t = at[PAIRS] + at[WAITING]
                write_input(layout, filled, flat, t)
                clear_target(layout, flat, t)
                forward(net, Steps(own_window, activations), t)
                at[WAITING] += 1
                if target_kind == LATER:
                    own_ids[t] = sample_ids[n]
                    own_numbers[t] = samples[0]
        else:
            t = at[PAIRS] + at[WAITING] - 1
            if not for_samples:
                t = np.int64(-1)
                if slots[n] >= 0:
                    t = _find_waiting(at, own_ids, own_numbers, sample_ids[n])
                counters[UNMATCHED] += 1 if learning and t < 0 else 0
                sample[n] = own_numbers[t] if t >= 0 else -1
            has_forecast = t >= 0 if target_kind != NEXT else at[WAITING] > 0
            unscale_forecast(has_forecast, target_scale, flat, t, forecast_column, forecast)
            if target_kind == LATER and has_forecast and not for_samples:
                read_row(own_predictions, t, forecast)
            elif has_forecast and own_predictions.shape[0] > 0:
                write_row(forecast, own_predictions, t, 0)
            write_row(forecast, prediction, n, 0)
            error[n] = error_of(layout, forecast, y, n) if has_forecast else _NAN
            score[n] = scores.rank(histogram, error[n])
            if target_kind != NEXT:
                scaling.transform(target_scale, y, n, goal)
            if learning and has_forecast:
                scores.observe(histogram, error[n], decay)
                if layout[CLASSES] == 1:
                    update_class_quality(forecast, error[n], y, n, decay, quality)
                else:
                    update_quality(forecast, 0, y, n, decay, own_last, 0, quality)
                for h in range(1, at[WAITING] if target_kind == NEXT else 0):
                    read_row(own_predictions, t - h, earlier)
                    update_quality(earlier, h * layout[DIM], y, n, decay, own_last, h, quality)
            if target_kind == NEXT:
                for h in range(at[WAITING]):
                    if learning:
                        set_target(layout, flat, t - h, h * layout[DIM], goal)
            elif has_forecast and count_present(y, n) > 0:
                if learning:
                    set_target(layout, flat, t, 0, goal)
                if target_kind == LATER and (for_samples or learning):
                    own_numbers[t] = _HAS_TARGET
            if for_samples or (learning and has_forecast):
                update_last_values(y, n, own_last)
            while _oldest_is_complete(target_kind, at, ahead, own_numbers, delay, counters):
                at[WAITING] -= 1
                at[PAIRS] += 1
                at[SINCE] += 1
                if at[SINCE] == k1:
                    if learning:
                        _update(
                            net, mean, square, clock, counters, own_window, at, replay, activations,
                            gradients, optimizer, learning_rate[n], momentum, clip, huber_delta, lags,
                        )  # fmt: skip
                    _shift_window(at, k2 - k1, own_window, own_ids, own_numbers, own_predictions)
            if learning and target_kind != NEXT and has_forecast:
                scaling.update(target_scale, decay, y, n)
        if not first and for_samples:
            if learning:
                scaling.update(scale, decay, x, n)
                update_input_means(method, scaled, decay, input_means)
            samples[0] += 1
