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

Targets that come ``later`` are judged when they come, by what was said then. The chunk is learned when it has
them all, after the chunks before it, or when more than ``delay`` samples have been told of and still wait. If
parameters moved since it was told of, it is run again with today's, from the states that stood before it, so
that the gradient is that of one function.

Samples are scaled when they come; targets when they are judged, by those judged before. Every key has a slot:
the samples that wait, and the states. ``memory_layout.py`` says how the network is laid out.
"""

from __future__ import annotations

import numpy as np

from ..compiler import device, kernel
from ..simd.lanes import WIDTH, load, store, zero
from ..simd.views import row_of
from ..stream import scaling
from ..stream import score as scores
from . import evaluation, optimizers
from .memory_layout import (
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
from .network import clear, compare, pull, read_out, step, step_back, sum_up, transpose

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
def _enter(net, x, first, mirrored, steps, window, flat, filled):
    """``steps`` samples of ``x``, from ``first`` on, as inputs of both cells of the first layer, the reverse
    one's from row ``mirrored`` on."""
    for t in range(steps):
        evaluation.take(x, first + t, filled)
        evaluation.put_sample(net, filled, flat, t)
        for row in range(net[TARGET]):
            store(window, steps - 1 - t, mirrored + row, load(window, t, row))


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
def _waits(waiting, ids, came, whose):
    """The newest sample that waits for its target under that id, or −1."""
    for i in range(waiting - 1, -1, -1):
        if ids[i] == whose and came[i] == 0:
            return np.int64(i)
    return np.int64(-1)


@device
def _ripe(told, chunk, later, delay, came):
    """Whether the oldest chunk that waits has been told of, and waits for no target any more."""
    missing = 0
    for t in range(chunk if later else 0):
        missing += came[t] == 0
    return told > delay or (told > 0 and missing == 0)


@device
def _let_go(chunk, left, xs, ys, numbers, present, counted, ids, came, said, states):
    """The first ``chunk`` samples are done; ``left`` go on waiting."""
    for i in range(left):
        xs[i], ys[i] = xs[i + chunk], ys[i + chunk]
        numbers[i], present[i], counted[i] = numbers[i + chunk], present[i + chunk], counted[i + chunk]
        if ids.size > 0:
            ids[i], came[i], said[i] = ids[i + chunk], came[i + chunk], said[i + chunk]
    for k in range(states.shape[0] - 1):
        states[k] = states[k + 1]


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
    "i8(f4[:,::1], f4[:,::1], i8[::1], b1[::1], i8[::1], b1, b1, b1, f4[::1], i8, i8, b1, i8,"
    " i8[::1], i8[:,::1], f4[:,::1], f4[:,::1], f4[:,::1], f8[::1],"
    " i8[::1], i8[::1], f4[:,:,::1], f4[:,:,::1], i8[:,::1], i4[:,::1], u1[:,::1], f4[:,:,:,::1],"
    " f4[:,:,::1], i8[:,::1], u1[:,::1], f4[:,:,::1],"
    " f4[:,:,::1], f4[:,:,::1], f4[:,::1], f4[:,:,::1], f4[:,::1], f4[:,::1],"
    " i8, f4, f8, f4, i8, i8, f8, f8,"
    " f8[:,::1], f8[:,::1], f8[::1], f8[::1], i8[::1], f8[:,::1], i8[::1], f8[:,::1],"
    " i8[::1], f4[:,::1], f4[::1], f4[::1], i4[::1], b1[::1])"
)
def run(
    x,  # (n, dim); (0, dim) where targets of earlier samples come
    y,  # (n, GOALS)
    place,  # (n,): the slot of each sample; of targets −1 where there is none
    fresh,  # (n,): whether the slot begins anew with it
    whose,  # (n,): ids, or (0,) unless targets come later
    arrived,  # whether samples have, else targets
    following,  # whether these samples count: they join the scaler, their targets all that is learned of them
    learning,  # whether there are updates
    rate,  # (n,): of the optimizer
    chunk,  # N_c
    context,  # N_r; steps = N_c + N_r
    later,  # whether targets may come later
    delay,  # how many samples that have been told of may wait, 0 unless later; room = steps + delay
    net,  # see memory_layout.py
    matrices,
    parameters,  # (PARAMETER_ROWS, 16)
    mean,  # as parameters, or empty where the optimizer has none
    square,  # as mean
    clock,  # (3,)
    waiting,  # (slots,): how many samples wait
    told_of,  # (slots,): how many of them, whole chunks, have been told of
    waiting_x,  # (slots, room, dim): as the net takes them, scaled and filled
    waiting_y,  # (slots, room, GOALS): as they came, and once they are judged, scaled
    waiting_sample,  # (slots, room): their numbers
    present,  # (slots, room): how many of their values had come
    counted,  # (slots, room): 1 if they count
    states,  # (slots, chunks + 1, rows of the forward cells' states, 16): before each chunk, and the next
    last,  # (slots, 1, GOALS): the last target, NaN before there is one
    ids,  # (slots, room), or (slots, 0) unless targets come later
    came,  # as ids: 1 if the target has come
    said,  # (slots, room, outputs), or (slots, 0, outputs) likewise: what was said of them
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
    tree,  # (3072,)
    head,  # (2,)
    samples,  # (1,)
    quality,  # (5, GOALS)
    counters,  # (4,): those of optimizers.py and evaluation.py
    means,  # (2, dim): of the inputs, see evaluation.py
    sample,  # (m,): of the outputs, with room for as many as the samples may complete
    prediction,  # (m, outputs)
    error,  # (m,)
    score,  # (m,)
    channels,  # (m,)
    frozen,  # (m,): whether it does not count
):
    """Take the samples in order and run each chunk that is complete; returns how many outputs there are. Or
    take targets ``y`` that come later, with an output for each."""
    flat = window.reshape(window.shape[0], -1)
    scaled, filled = np.empty(net[DIM], np.float32), np.empty(net[DIM], np.float32)
    goal = np.empty(net[GOALS], np.float32)
    told, truth = np.empty(net[OUTPUTS], np.float32), np.empty((1, net[GOALS]), np.float32)
    steps = chunk + context
    mirrored = matrices[2, SOURCE]
    row = 0
    for n in range(y.shape[0]):
        slot = max(place[n], np.int64(0))
        xs, ys, numbers = row_of(waiting_x, slot), row_of(waiting_y, slot), row_of(waiting_sample, slot)
        there_are, counting = row_of(present, slot), row_of(counted, slot)
        kept, before = row_of(states, slot), row_of(last, slot)
        names, there, told_then = row_of(ids, slot), row_of(came, slot), row_of(said, slot)
        if arrived:
            if fresh[n]:
                waiting[slot] = told_of[slot] = 0
                clear(row_of(kept, 0))
                before[0, :] = _NAN
            i = waiting[slot]
            there_are[i] = scaling.transform(method, statistics, scale_clip, x, n, scaled)
            evaluation.fill(net, scaled, False, flat, 0, 0, means, filled)
            evaluation.put(filled, xs, i, 0)
            if following:
                scaling.update(method, statistics, decay, x, n)
                evaluation.follow_inputs(method, scaled, decay, means)
            evaluation.put(row_of(y, n), ys, i, 0)
            numbers[i], counting[i] = samples[0], 1 if following else 0
            if later:
                names[i], there[i] = whose[n], 1 if evaluation.count_present(y, n) > 0 else 0
            waiting[slot] += 1
            samples[0] += 1
            first = told_of[slot]
            end = first + chunk if waiting[slot] - first == steps else first
            if first < end:
                _enter(net, xs, first, mirrored, steps, window, flat, filled)
                _put_states(net, window, row_of(kept, first // chunk))
                _forward(net, matrices, parameters, window, flat, steps, chunk, trace)
                _keep_states(net, window, chunk, row_of(kept, first // chunk + 1))
        else:
            first = _waits(waiting[slot], names, there, whose[n]) if place[n] >= 0 else np.int64(-1)
            end = first + 1
            if learning and first < 0:
                counters[evaluation.UNMATCHED] += 1
            elif learning and evaluation.count_present(y, n) > 0:
                there[first] = 1
                if first >= told_of[slot]:  # judged with its chunk
                    evaluation.put(row_of(y, n), ys, first, 0)
        for i in range(first, end):
            known, spoken = i >= 0, arrived or 0 <= i < told_of[slot]
            counts = spoken and following and counting[i] == 1
            if arrived:
                evaluation.tell(True, method_y, statistics_y, flat, i - first, net[FORECAST] * WIDTH, told)
                if later:
                    evaluation.put(told, told_then, i, 0)
                evaluation.put(row_of(ys, i), truth, 0, 0)
            else:
                told[:] = _NAN
                if spoken:
                    evaluation.take(told_then, i, told)
                evaluation.put(row_of(y, n), truth, 0, 0)
            evaluation.put(told, prediction, row, 0)
            sample[row] = numbers[i] if known else -1
            channels[row] = there_are[i] if known else 0
            frozen[row] = known and counting[i] == 0
            error[row] = evaluation.misses(net, told, truth, 0)
            score[row] = scores.rank(tree, head, error[row])
            scaling.transform(method_y, statistics_y, scale_clip, truth, 0, goal)
            if counts:
                scores.observe(tree, head, error[row], decay)
                if net[CLASSES] == 1:
                    evaluation.follow_class(told, error[row], truth, 0, decay, quality)
                else:
                    evaluation.follow(told, 0, truth, 0, decay, before, 0, quality)
                scaling.update(method_y, statistics_y, decay, truth, 0)
            if spoken and (arrived or learning):
                if not counts:
                    goal[:] = _NAN
                evaluation.put(goal, ys, i, 0)
                evaluation.remember(truth, 0, before)
            row += 1
        if arrived:
            told_of[slot] = end
        while (arrived or learning) and _ripe(told_of[slot], chunk, later, delay, there):
            if learning:
                if not arrived or first > 0 or first == end:  # else it has just been run
                    _enter(net, xs, 0, mirrored, steps, window, flat, filled)
                    _put_states(net, window, row_of(kept, 0))
                    _forward(net, matrices, parameters, window, flat, steps, chunk, trace)
                for t in range(chunk):
                    evaluation.take(ys, t, goal)
                    evaluation.aim(net, flat, t, 0, goal)
                count = _backward(
                    net, matrices, parameters, window, flat, steps, chunk, trace, transposed, back, flow,
                    gradient, huber,
                )  # fmt: skip
                if count > _0:
                    optimizers.update(
                        optimizer,
                        parameters,
                        gradient,
                        mean,
                        square,
                        clock,
                        counters,
                        rate[n],
                        momentum,
                        clip,
                    )
            for t in range(chunk if later else 0):
                counters[evaluation.EXPIRED] += there[t] == 0
            told_of[slot] -= chunk
            waiting[slot] -= chunk
            _let_go(chunk, waiting[slot], xs, ys, numbers, there_are, counting, names, there, told_then, kept)
    return row
