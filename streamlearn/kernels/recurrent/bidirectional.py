"""Bidirectional recurrent networks on a stream, learned in chunks.

This is the latency-controlled scheme of Zhang et al., ICASSP 2016.

A chunk is N_c samples; its right context is the N_r samples after it. When the last of these has arrived, the
chunk is run:

- The forward cells start from their states at the end of the previous chunk. The reverse cells start from 0
  at the end of the right context.
- Layer l at time t reads h of both directions of layer l − 1 at time t. The read-out reads h of the last
  layer.
- The N_c samples get predictions, whose errors are counted one by one, and there is one update on

      L = the mean loss of the N_c predictions (missing targets are not in the mean)

  Its gradient flows through the whole chunk and its context. The initial states are constants.

Then the states of the forward cells after N_c samples are stored, and the N_r samples begin the next chunk.
With N_r = 0 this is PyTorch's training of a bidirectional net on windows of N_c with detached forward states.

Late targets are compared with the prediction that their sample got. A chunk is learned when it has all its
targets and the chunks before it are learned, or when more than ``delay`` predicted samples wait. If the
parameters have changed since its prediction, it is run again with the current ones from the stored states, so
that the gradient is that of one function.

Samples are scaled when they arrive. Targets are scaled when they are compared, by the targets compared
before. Each key has a slot for its waiting samples and states. ``memory_layout.py`` defines the network's
arrays.
"""

from __future__ import annotations

import numpy as np

from ..compiler import allocating_device, device, kernel
from ..simd.lanes import WIDTH, load, store
from ..simd.views import row_of
from ..stream import scaling
from ..stream import score as scores
from ..stream.scaling import Scaling
from ..stream.score import Score
from . import bidirectional_network, evaluation, optimizers
from .memory_layout import CLASSES, DIM, FORECAST, OUTPUTS, SOURCE, TARGET, TARGET_COLUMNS
from .network import clear_rows
from .records import Gradients, Net, Steps

_0, _NAN = np.float32(0), np.float32(np.nan)


@device
def _write_inputs(layout, x, first, reverse_row, steps, window, flat, filled):
    """Write ``steps`` rows of ``x``, from ``first`` on, as inputs of both cells of the first layer.

    Those of the reverse cell start at row ``reverse_row`` of the slots.
    """
    for t in range(steps):
        evaluation.read_row(x, first + t, filled)
        evaluation.write_input(layout, filled, flat, t)
        for row in range(layout[TARGET]):
            store(window, steps - 1 - t, reverse_row + row, load(window, t, row))


@device
def _find_waiting(waiting, ids, has_target, sample_id):
    """The newest waiting sample with that id and without a target; −1 if none."""
    for i in range(waiting - 1, -1, -1):
        if ids[i] == sample_id and has_target[i] == 0:
            return np.int64(i)
    return np.int64(-1)


@device
def _oldest_is_complete(predicted, chunk, accepts_late_targets, delay, has_target):
    """Whether the oldest waiting chunk is predicted and has all its targets, or has waited too long."""
    missing = 0
    for t in range(chunk if accepts_late_targets else 0):
        missing += has_target[t] == 0
    return predicted > delay or (predicted > 0 and missing == 0)


@allocating_device
def _drop_chunk(chunk, left, xs, ys, numbers, present, counted, ids, has_target, predictions, states):
    """Remove the first ``chunk`` waiting samples; move the ``left`` others to the front."""
    for i in range(left):
        xs[i], ys[i] = xs[i + chunk], ys[i + chunk]
        numbers[i], present[i], counted[i] = numbers[i + chunk], present[i + chunk], counted[i + chunk]
        if ids.size > 0:
            ids[i], has_target[i], predictions[i] = (
                ids[i + chunk],
                has_target[i + chunk],
                predictions[i + chunk],
            )
    for k in range(states.shape[0] - 1):
        states[k] = states[k + 1]


@kernel(
    "i8(f4[:,::1], f4[:,::1], i8[::1], b1[::1], i8[::1], b1, b1, b1, f4[::1], i8, i8, b1, i8,"
    " i8[::1], i8[:,::1], f4[:,::1], f4[:,::1], f4[:,::1], f8[::1],"
    " i8[::1], i8[::1], f4[:,:,::1], f4[:,:,::1], i8[:,::1], i4[:,::1], u1[:,::1], f4[:,:,:,::1],"
    " f4[:,:,::1], i8[:,::1], u1[:,::1], f4[:,:,::1],"
    " f4[:,:,::1], f4[:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1],"
    " i8, f4, f8, f4, i8, i8, f8, f8,"
    " f8[:,::1], f8[:,::1], f8[::1], f8[::1], i8[::1], f8[:,::1], i8[::1], f8[:,::1],"
    " i8[::1], f4[:,::1], f4[::1], f4[::1], i4[::1], b1[::1])"
)
def run(
    x,  # (n, dim); (0, dim) if targets of earlier samples arrive
    y,  # (n, TARGET_COLUMNS)
    slots,  # (n,): slot of each sample's stream; for late targets −1 if the stream is unknown
    new_stream,  # (n,): whether the sample is the first of a new stream
    sample_ids,  # (n,); (0,) without late targets
    for_samples,  # whether samples arrive; else targets
    counting,  # whether the samples count: they update the scaling, their targets are learned
    learning,  # whether the parameters are updated
    learning_rate,  # (n,): ε(t)
    chunk,  # N_c
    context,  # N_r; steps = N_c + N_r
    accepts_late_targets,
    delay,  # number of predicted samples that may wait, 0 without late targets; room = steps + delay
    layout,  # (16,): see memory_layout.py
    matrices,  # (·, 13): see memory_layout.py
    parameters,  # (PARAMETER_ROWS, 16)
    mean,  # m of the optimizer, as parameters; (0, 16) if it has none
    square,  # v of the optimizer, likewise
    clock,  # (3,): of the optimizer
    waiting,  # (slots,): number of waiting samples
    predicted,  # (slots,): how many of them, in whole chunks, are predicted
    waiting_x,  # (slots, room, dim): scaled and filled
    waiting_y,  # (slots, room, TARGET_COLUMNS): as they arrived; scaled once they are compared
    waiting_sample,  # (slots, room): sample numbers
    waiting_present,  # (slots, room): number of values that were present
    waiting_counted,  # (slots, room): 1 if the sample counts
    states,  # (slots, chunks + 1, forward state rows, 16): before each waiting chunk and the next one
    last_values,  # (slots, 1, TARGET_COLUMNS): the last target; NaN at first
    waiting_ids,  # (slots, room); (slots, 0) without late targets
    waiting_has_target,  # likewise: 1 if the target has arrived
    predictions,  # (slots, room, outputs); (slots, 0, outputs) without late targets
    window,  # (steps + 1, WINDOW_ROWS, 16): scratch
    activations,  # (steps, ACTIVATION_ROWS, 16): scratch
    input_gradient,  # (steps, WINDOW_ROWS, 16): scratch; ∂L/∂(inputs), slot by slot
    state_gradient,  # (WINDOW_ROWS, 16): scratch
    gradient,  # as parameters: scratch
    optimizer,
    momentum,
    clip,  # +inf for none
    huber_delta,  # +inf for the squared error
    method,  # of scaling
    target_method,
    scale_clip,
    decay,  # per sample
    statistics,  # (3, dim)
    target_statistics,  # (3, TARGET_COLUMNS)
    score_tree,  # (3072,)
    score_head,  # (2,)
    samples,  # (1,): number of samples so far
    quality,  # (5, TARGET_COLUMNS)
    counters,  # (4,): of optimizers.py and evaluation.py
    input_means,  # (2, dim)
    sample,  # (m,): output, as all below; m: as many as the samples may complete
    prediction,  # (m, outputs)
    error,  # (m,)
    score,  # (m,)
    present,  # (m,)
    frozen,  # (m,): whether the sample does not count
):
    """Add samples in order and run each chunk that is complete, or learn late targets. Return the number of
    output rows."""
    net, own_steps = Net(layout, matrices, parameters), Steps(window, activations)
    gradients = Gradients(state_gradient, gradient)
    flat = window.reshape(window.shape[0], -1)
    scaled, filled = np.empty(layout[DIM], np.float32), np.empty(layout[DIM], np.float32)
    goal = np.empty(layout[TARGET_COLUMNS], np.float32)
    forecast = np.empty(layout[OUTPUTS], np.float32)
    target = np.empty((1, layout[TARGET_COLUMNS]), np.float32)
    steps = chunk + context
    reverse_row = matrices[2, SOURCE]
    scale = Scaling(method, statistics, scale_clip)
    target_scale = Scaling(target_method, target_statistics, scale_clip)
    histogram = Score(score_tree, score_head)
    row = 0
    for n in range(y.shape[0]):
        slot = max(slots[n], np.int64(0))
        xs, ys, numbers = row_of(waiting_x, slot), row_of(waiting_y, slot), row_of(waiting_sample, slot)
        own_present, own_counted = row_of(waiting_present, slot), row_of(waiting_counted, slot)
        own_states, own_last = row_of(states, slot), row_of(last_values, slot)
        own_ids, has_target = row_of(waiting_ids, slot), row_of(waiting_has_target, slot)
        own_predictions = row_of(predictions, slot)
        if for_samples:
            if new_stream[n]:
                waiting[slot] = predicted[slot] = 0
                clear_rows(row_of(own_states, 0))
                own_last[0, :] = _NAN
            i = waiting[slot]
            own_present[i] = scaling.transform(scale, x, n, scaled)
            evaluation.fill_missing(layout, scaled, False, flat, 0, 0, input_means, filled)
            evaluation.write_row(filled, xs, i, 0)
            if counting:
                scaling.update(scale, decay, x, n)
                evaluation.update_input_means(method, scaled, decay, input_means)
            evaluation.write_row(row_of(y, n), ys, i, 0)
            numbers[i], own_counted[i] = samples[0], 1 if counting else 0
            if accepts_late_targets:
                own_ids[i] = sample_ids[n]
                has_target[i] = 1 if evaluation.count_present(y, n) > 0 else 0
            waiting[slot] += 1
            samples[0] += 1
            first = predicted[slot]
            end = first + chunk if waiting[slot] - first == steps else first
            if first < end:
                _write_inputs(layout, xs, first, reverse_row, steps, window, flat, filled)
                bidirectional_network.load_states(net, window, row_of(own_states, first // chunk))
                bidirectional_network.forward(net, own_steps, steps, chunk)
                bidirectional_network.save_states(net, window, chunk, row_of(own_states, first // chunk + 1))
        else:
            first = np.int64(-1)
            if slots[n] >= 0:
                first = _find_waiting(waiting[slot], own_ids, has_target, sample_ids[n])
            end = first + 1
            if learning and first < 0:
                counters[evaluation.UNMATCHED] += 1
            elif learning and evaluation.count_present(y, n) > 0:
                has_target[first] = 1
                if first >= predicted[slot]:  # compared when its chunk is predicted
                    evaluation.write_row(row_of(y, n), ys, first, 0)
        for i in range(first, end):
            found, has_forecast = i >= 0, for_samples or 0 <= i < predicted[slot]
            counts = has_forecast and counting and own_counted[i] == 1
            if for_samples:
                evaluation.unscale_forecast(
                    True, target_scale, flat, i - first, layout[FORECAST] * WIDTH, forecast
                )
                if accepts_late_targets:
                    evaluation.write_row(forecast, own_predictions, i, 0)
                evaluation.write_row(row_of(ys, i), target, 0, 0)
            else:
                forecast[:] = _NAN
                if has_forecast:
                    evaluation.read_row(own_predictions, i, forecast)
                evaluation.write_row(row_of(y, n), target, 0, 0)
            evaluation.write_row(forecast, prediction, row, 0)
            sample[row] = numbers[i] if found else -1
            present[row] = own_present[i] if found else 0
            frozen[row] = found and own_counted[i] == 0
            error[row] = evaluation.error_of(layout, forecast, target, 0)
            score[row] = scores.rank(histogram, error[row])
            scaling.transform(target_scale, target, 0, goal)
            if counts:
                scores.observe(histogram, error[row], decay)
                if layout[CLASSES] == 1:
                    evaluation.update_class_quality(forecast, error[row], target, 0, decay, quality)
                else:
                    evaluation.update_quality(forecast, 0, target, 0, decay, own_last, 0, quality)
                scaling.update(target_scale, decay, target, 0)
            if has_forecast and (for_samples or learning):
                if not counts:
                    goal[:] = _NAN
                evaluation.write_row(goal, ys, i, 0)
                evaluation.update_last_values(target, 0, own_last)
            row += 1
        if for_samples:
            predicted[slot] = end
        while (for_samples or learning) and _oldest_is_complete(
            predicted[slot], chunk, accepts_late_targets, delay, has_target
        ):
            if learning:
                if not for_samples or first > 0 or first == end:  # else this chunk has just been run
                    _write_inputs(layout, xs, 0, reverse_row, steps, window, flat, filled)
                    bidirectional_network.load_states(net, window, row_of(own_states, 0))
                    bidirectional_network.forward(net, own_steps, steps, chunk)
                for t in range(chunk):
                    evaluation.read_row(ys, t, goal)
                    evaluation.set_target(layout, flat, t, 0, goal)
                count, squares = bidirectional_network.backward(
                    net, own_steps, steps, chunk, huber_delta, gradients, input_gradient
                )
                if count > _0:
                    optimizers.update(
                        optimizer, parameters, gradient, squares, mean, square, clock, counters,
                        learning_rate[n], momentum, clip,
                    )  # fmt: skip
            for t in range(chunk if accepts_late_targets else 0):
                counters[evaluation.EXPIRED] += has_target[t] == 0
            predicted[slot] -= chunk
            waiting[slot] -= chunk
            _drop_chunk(
                chunk, waiting[slot], xs, ys, numbers, own_present, own_counted, own_ids, has_target,
                own_predictions, own_states,
            )  # fmt: skip
    return row
