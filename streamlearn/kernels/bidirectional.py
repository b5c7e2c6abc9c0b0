"""Recurrent networks in both directions on a stream, chunk by chunk: latency-controlled (Zhang et al. 2016).

A chunk is N_c samples and N_r more, its right context. When the last of these has come, the chunk is run:

- the forward cells go on from the states that they had at the end of the chunk before (its N_c samples); the
  reverse cells start from 0 at the far end of the right context
- layer l takes at t what both directions of layer l − 1 made of t; the read-out, both of the last layer
- forecasts are made for the first N_c samples and judged, one by one, and there is one update on

      L = the mean loss of the N_c forecasts (missing targets are not in the mean)

  whose gradient goes back through the whole chunk; the states that came in are constants

Then the forward cells' states after N_c samples are kept, and the N_r samples are the beginning of the next
chunk. With N_r = 0 that is PyTorch's training of a bidirectional net on windows of N_c, its forward states
carried, detached.

Samples are scaled when they come; targets when they are judged, by those judged before. Every key has a slot:
the samples that wait, and the states. ``plan.py`` says how the network is laid out.
"""

from __future__ import annotations

import numpy as np

from . import judge, optim, scale
from . import score as scores
from .compiler import device, kernel
from .lanes import WIDTH, load, store, zero
from .network import clear, compare, pull, read_out, step, step_back, sum_up, transpose
from .plan import (
    CLASSES,
    DIM,
    FORECAST,
    GOALS,
    LAYERS,
    OUTPUTS,
    SOURCE,
    STATE,
    TARGET,
    TRANSPOSED,
    UNITS,
)
from .views import row_of

_0, _NAN = np.float32(0), np.float32(np.nan)


@device
def _time(cell, slot, steps):
    """The time that a cell's slot stands for, or the slot of a time: forward cells are even."""
    return slot if cell % 2 == 0 else steps - 1 - slot


@device
def _readers(net, cell):
    """The first cell that reads what ``cell`` makes, and how many do: both of the layer above, or the
    read-out, which stands where the first cell of one more layer would."""
    return cell - cell % 2 + 2, 1 if cell // 2 == net[LAYERS] - 1 else 2


@device
def _enter(net, x, first, steps, window, flat, filled):
    """Samples ``x`` (steps, dim) as inputs of both cells of the first layer, the reverse one's from row
    ``first`` on."""
    for t in range(steps):
        for c in range(filled.size):
            filled[c] = x[t, c]
        judge.fill(net, filled, False, flat, t, 0, filled)
        judge.put_sample(net, filled, flat, t)
        for row in range(net[TARGET]):
            store(window, steps - 1 - t, first + row, load(window, t, row))


@device
def _hand_up(net, matrices, cell, steps, flat):
    """h of every step to those that read it."""
    units = matrices[2 * cell, UNITS]
    h = matrices[2 * cell + 1, SOURCE] * WIDTH
    above, readers = _readers(net, cell)
    for reader in range(above, above + readers):
        column = matrices[2 * reader, SOURCE] * WIDTH + cell % 2 * units
        for s in range(steps):
            slot = _time(reader, _time(cell, s, steps), steps)
            for k in range(units):
                flat[slot, column + k] = flat[s + 1, h + k]


@device
def _gather(net, matrices, cell, s, steps, errors, flow):
    """∂L/∂h of step ``s``: what those that read it sent back joins what came from the step after."""
    units = matrices[2 * cell, UNITS]
    h = matrices[2 * cell + 1, SOURCE] * WIDTH
    above, readers = _readers(net, cell)
    for reader in range(above, above + readers):
        column = matrices[2 * reader, SOURCE] * WIDTH + cell % 2 * units
        slot = _time(reader, _time(cell, s, steps), steps)
        for k in range(units):
            flow[(h + k) // WIDTH, (h + k) % WIDTH] += errors[slot, column + k]


@device
def _forward(net, matrices, parameters, window, flat, steps, chunk, trace):
    """All cells through the whole window, layer after layer; forecasts of its first ``chunk`` slots."""
    for cell in range(2 * net[LAYERS]):
        for s in range(steps):
            step(net, matrices, parameters, cell, window, flat, s, trace)
        _hand_up(net, matrices, cell, steps, flat)
    for t in range(chunk):
        read_out(net, matrices, parameters, window, flat, t)


@device
def _backward(
    net, matrices, parameters, window, flat, steps, chunk, trace, transposed, back, flow, gradient, huber
):
    """The gradient of the mean loss over the first ``chunk`` slots, laid out as the parameters; returns over
    how many values the mean runs, and where that is none there is no gradient."""
    head = matrices.shape[0] - 1
    count = compare(net, matrices, window, flat, chunk, trace, huber)
    if count > _0:
        deltas, errors = trace.reshape(trace.shape[0], -1), back.reshape(back.shape[0], -1)
        for m in range(head + 1):
            if matrices[m, TRANSPOSED] >= 0:
                transpose(parameters, matrices, m, transposed)
        for t in range(steps):
            clear(row_of(back, t))
        clear(flow)
        for t in range(chunk):
            pull(matrices, head, deltas, t, transposed, row_of(back, t))
        for cell in range(2 * net[LAYERS] - 1, -1, -1):
            for s in range(steps - 1, -1, -1):
                _gather(net, matrices, cell, s, steps, errors, flow)
                step_back(net, matrices, cell, window, s, trace, flow)
                pull(matrices, 2 * cell + 1, deltas, s, transposed, flow)
                if matrices[2 * cell, TRANSPOSED] >= 0:
                    pull(matrices, 2 * cell, deltas, s, transposed, row_of(back, s))
        for m in range(head + 1):
            sum_up(matrices, m, chunk if m == head else steps, trace, flat, gradient)
    return count


@device
def _take(y, n, number, counts, place, scaled, xs, ys, numbers, counted):
    """Sample ``n``, scaled, and its target join those that wait, at ``place``."""
    judge.put(scaled, xs, place, 0)
    for o in range(y.shape[1]):
        ys[place, o] = y[n, o]
    numbers[place] = number
    counted[place] = 1 if counts else 0


@device
def _let_go(chunk, left, xs, ys, numbers, counted):
    """The first ``chunk`` that wait are done; ``left`` go on waiting."""
    for i in range(left):
        xs[i], ys[i] = xs[i + chunk], ys[i + chunk]
        numbers[i], counted[i] = numbers[i + chunk], counted[i + chunk]


@device
def _put_states(net, window, states):
    """The states before the window's first step: of forward cells those that were kept, else 0."""
    carried = states.shape[0]
    first = np.int64(0)
    for row in range(carried):
        store(window, first, net[STATE] + row, load(states, row))
        store(window, first, net[STATE] + carried + row, zero())


@device
def _keep_states(net, window, chunk, states):
    """The states of forward cells before step ``chunk``."""
    for row in range(states.shape[0]):
        store(states, row, load(window, chunk, net[STATE] + row))


@kernel(
    "i8(f4[:,::1], f4[:,::1], i8[::1], b1[::1], b1, b1, f4[::1], i8, i8, i8[::1], i8[:,::1],"
    " f4[:,::1], f4[:,::1], f4[:,::1], f8[::1], i8[::1],"
    " i8[::1], f4[:,:,::1], f4[:,:,::1], i8[:,::1], u1[:,::1], f4[:,:,::1], f4[:,:,::1],"
    " f4[:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1],"
    " i8, f4, f8, f4, i8, i8, f8, f8,"
    " f8[:,::1], f8[:,::1], f8[::1], f8[::1], i8[::1], f8[:,::1],"
    " i8[::1], f4[:,::1], f4[::1], f4[::1], i4[::1], b1[::1])"
)
def run(
    x,  # (n, dim)
    y,  # (n, GOALS)
    place,  # (n,): the slot of each sample
    fresh,  # (n,): whether the slot begins anew with it
    following,  # whether these samples count: they join the scaler, their targets all that is learned of them
    learning,  # whether there are updates
    rate,  # (n,): of the optimizer
    chunk,  # N_c
    context,  # N_r; steps = N_c + N_r
    net,  # see plan.py
    matrices,
    parameters,  # (PARAMETER_ROWS, 16)
    mean,  # as parameters, or empty where the optimizer has none
    square,  # as mean
    clock,  # (3,)
    counters,  # (2,): see optim.py
    waiting,  # (slots,): how many samples wait
    waiting_x,  # (slots, steps, dim): scaled, NaN where missing
    waiting_y,  # (slots, steps, GOALS): as they came
    waiting_sample,  # (slots, steps): their numbers
    counted,  # (slots, steps): 1 if they count
    states,  # (slots, rows of the forward cells' states, 16)
    last,  # (slots, 1, GOALS): the last target, NaN before there is one
    window,  # (steps + 1, WINDOW_ROWS, 16): scratch, as all of the following
    trace,  # (steps, TRACE_ROWS, 16)
    transposed,  # (TRANSPOSED_ROWS, 16), 0 where a block of senders has no unit
    back,  # (steps, WINDOW_ROWS, 16): ∂L/∂(inputs), slot by slot
    flow,  # (WINDOW_ROWS, 16)
    gradient,  # as parameters
    optimizer,
    momentum,
    clip,  # +inf for none
    huber,  # +inf for the squared error
    method,
    method_y,
    scale_clip,
    decay,
    statistics,  # (3, dim)
    statistics_y,  # (3, GOALS)
    tree,  # (2048,)
    head,  # (2,)
    samples,  # (1,)
    quality,  # (5, GOALS)
    sample,  # (m,): of the outputs, with room for as many as the samples may complete
    prediction,  # (m, outputs)
    error,  # (m,)
    score,  # (m,)
    channels,  # (m,)
    frozen,  # (m,): whether it does not count
):
    """Take the samples in order and run each chunk that is complete; returns how many outputs there are."""
    flat = window.reshape(window.shape[0], -1)
    scaled, goal = np.empty(net[DIM], np.float32), np.empty(net[GOALS], np.float32)
    told = np.empty(net[OUTPUTS], np.float32)
    steps = chunk + context
    mirrored = matrices[2, SOURCE]
    said = 0
    for n in range(x.shape[0]):
        slot = place[n]
        xs, ys, numbers = row_of(waiting_x, slot), row_of(waiting_y, slot), row_of(waiting_sample, slot)
        counting, kept, before = row_of(counted, slot), row_of(states, slot), row_of(last, slot)
        if fresh[n]:
            waiting[slot] = 0
            clear(kept)
            before[0, :] = _NAN
        scale.transform(method, statistics, scale_clip, x, n, scaled)
        if following:
            scale.update(method, statistics, decay, x, n)
        _take(y, n, samples[0], following, waiting[slot], scaled, xs, ys, numbers, counting)
        waiting[slot] += 1
        if waiting[slot] == steps:
            _enter(net, xs, mirrored, steps, window, flat, scaled)
            _put_states(net, window, kept)
            _forward(net, matrices, parameters, window, flat, steps, chunk, trace)
            _keep_states(net, window, chunk, kept)
            for t in range(chunk):
                counts = following and counting[t] == 1
                scale.transform(method_y, statistics_y, scale_clip, ys, t, goal)
                judge.want(net, flat, t)
                if counts:
                    judge.aim(net, flat, t, 0, goal)
                judge.tell(True, method_y, statistics_y, flat, t, net[FORECAST] * WIDTH, told)
                judge.put(told, prediction, said, 0)
                sample[said] = numbers[t]
                channels[said], frozen[said] = judge.count_present(xs, t), counting[t] == 0
                error[said] = judge.misses(net, told, ys, t)
                score[said] = scores.rank(tree, head, error[said])
                if counts:
                    scores.observe(tree, head, error[said], decay)
                    if net[CLASSES] == 1:
                        judge.follow_class(told, error[said], ys, t, decay, quality)
                    else:
                        judge.follow(told, 0, True, ys, t, decay, before, 0, quality)
                    scale.update(method_y, statistics_y, decay, ys, t)
                judge.remember(ys, t, before)
                said += 1
            if learning:
                count = _backward(
                    net, matrices, parameters, window, flat, steps, chunk, trace, transposed, back, flow,
                    gradient, huber,
                )  # fmt: skip
                if count > _0:
                    if optim.update(
                        optimizer, parameters, gradient, mean, square, clock, rate[n], momentum, clip
                    ):
                        counters[optim.UPDATES] += 1
                    else:
                        counters[optim.SKIPPED] += 1
            waiting[slot] -= chunk
            _let_go(chunk, waiting[slot], xs, ys, numbers, counting)
        samples[0] += 1
    return said
