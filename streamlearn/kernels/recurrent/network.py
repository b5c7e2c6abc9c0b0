"""A recurrent network, cells in layers with a linear read-out: one step forward; backward through a window.

A read-out of classes ends in a softmax. ``memory_layout.py`` is the layout of all arrays. Sums run in the
order written here and in the cells, which is part of the model (R3).
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device
from ..simd.elementary import exp
from ..simd.lanes import WIDTH, fma, iota, lane, load, select, store, zero
from ..simd.sums import add_up
from . import elman, gru, lstm
from .memory_layout import (
    BIAS,
    BIASED,
    BLOCKS,
    CELL,
    CLASSES,
    DELTA,
    DIM,
    FIRST,
    FORECAST,
    GATES,
    GOALS,
    GRU,
    INPUTS,
    LAYERS,
    LOOKUP,
    LSTM,
    OUTPUTS,
    PRESENT,
    RESIDUAL,
    SHIFT,
    SOURCE,
    TARGET,
    TRANSPOSED,
    UNITS,
)

_0, _1, _2, _INF = np.float32(0), np.float32(1), np.float32(2), np.float32(np.inf)
_HUGE = np.float32(1e30)


@device
def forward(net, matrices, parameters, window, flat, t, trace):
    """Step ``t``: from x_t and the states in slot t, the forecast in slot t and the states in slot t + 1."""
    for layer in range(net[LAYERS]):
        step(net, matrices, parameters, layer, window, flat, t, trace)
    read_out(net, matrices, parameters, window, flat, t)


@device
def step(net, matrices, parameters, layer, window, flat, t, trace):
    """Step ``t`` of one layer: its states into slot t + 1."""
    if net[CELL] == LSTM:
        lstm.forward(parameters, matrices, layer, window, flat, t, trace)
    elif net[CELL] == GRU:
        gru.forward(parameters, matrices, layer, window, flat, t, trace)
    else:
        elman.forward(parameters, matrices, layer, window, flat, t, trace)


@device
def step_back(net, matrices, layer, window, t, trace, flow):
    """∂L/∂z of step ``t`` of one layer into the trace, from ∂L/∂(its states) in the flow."""
    if net[CELL] == LSTM:
        lstm.backward(matrices, layer, window, t, trace, flow)
    elif net[CELL] == GRU:
        gru.backward(matrices, layer, window, t, trace, flow)
    else:
        elman.backward(matrices, layer, window, t, trace, flow)


@device
def read_out(net, matrices, parameters, window, flat, t):
    """The forecast in slot ``t``."""
    head = matrices.shape[0] - 1
    for b in range(matrices[head, BLOCKS]):
        y = load(parameters, matrices[head, BIAS] + b)
        y = elman.add_products(parameters, matrices, head, b, flat, t, y)
        store(window, t, net[FORECAST] + b, y)
    if net[RESIDUAL] == 1:
        for o in range(net[OUTPUTS]):  # of a horizon, every step from the same sample
            flat[t, net[FORECAST] * WIDTH + o] += flat[t, o % net[DIM]]
    if net[CLASSES] == 1:
        _softmax(window, t, net[FORECAST], net[OUTPUTS])


@device
def _softmax(window, t, first, classes):
    """p_k = e^{y_k − max y} / Σ, in place; lanes without a class stay 0."""
    blocks = (classes + WIDTH - 1) // WIDTH
    top = zero() - _HUGE
    for b in range(blocks):
        y = elman.number(load(window, t, first + b))
        y = select(y > _HUGE, _HUGE, select(y < -_HUGE, -_HUGE, y))
        y = select(iota() < np.float32(classes - b * WIDTH), y, -_HUGE)
        store(window, t, first + b, y)
        top = select(y > top, y, top)
    largest = lane(top, 0)
    for l in range(1, WIDTH):
        largest = max(largest, lane(top, l))
    total = zero()
    for b in range(blocks):
        e = exp(load(window, t, first + b) - largest)
        e = select(iota() < np.float32(classes - b * WIDTH), e, zero())
        store(window, t, first + b, e)
        total = total + e
    whole = add_up(total)
    for b in range(blocks):
        store(window, t, first + b, load(window, t, first + b) / whole)


@device
def backward(
    net, matrices, parameters, window, flat, steps, trace, transposed, flow, gradient, huber, probe, lags,
    lag_decay,
):  # fmt: skip
    """The gradient of the loss over the first ``steps`` slots, laid out as the parameters.

    The loss is the mean of e² or, where ``huber`` is finite, of ½e² up to |e| = ``huber`` and of a straight
    line beyond (Huber 1964), as in PyTorch's ``mse_loss`` and ``huber_loss``. For classes it is the mean of
    −log p of the class that came, as in ``cross_entropy``.

    Where ``lags`` has room, ‖∂L_T/∂s_{T−j}‖ joins it by lag j: L_T is the last step's share of the loss, s
    what goes on to the next step: h, and of an LSTM c. That way back is walked first, in ``probe``, which has
    the shape of the trace.

    Returns over how many values the mean runs; where there are none there is no gradient either.
    """
    head = 2 * net[LAYERS]
    outputs = matrices[head, DELTA]
    count = compare(net, matrices, window, flat, steps, trace, huber)
    if count > _0:
        for m in range(head + 1):
            if matrices[m, TRANSPOSED] >= 0:
                transpose(parameters, matrices, m, transposed)
        for walk in range(0 if lags.shape[1] > 0 else 1, 2):  # a loop, so that it is compiled once
            over, norms = trace, lags[2]
            if walk == 0:
                over = probe
                _keep_last(trace, steps, outputs, probe)
            else:
                norms = lags[2][:0]
            deltas = over.reshape(over.shape[0], -1)
            _back_in_time(net, matrices, window, steps, over, deltas, transposed, flow, norms)
            if walk == 0:
                _join(lags, steps, lag_decay)
        for m in range(head + 1):
            sum_up(matrices, m, steps, trace, flat, gradient)
    return count


@device
def compare(net, matrices, window, flat, steps, trace, huber):
    """∂L/∂(read-out's sums) of the first ``steps`` slots into the trace; returns over how many values L is
    the mean."""
    head = matrices.shape[0] - 1
    if net[CLASSES] == 1:
        return _compare_classes(net, window, flat, steps, trace, matrices[head, DELTA])
    return _compare_values(net, window, steps, trace, matrices[head, DELTA], matrices[head, BLOCKS], huber)


@device
def _compare_classes(net, window, flat, steps, trace, delta):
    """∂L/∂y where the class is known, else 0; returns in how many steps it is."""
    count = _0
    for t in range(steps):
        count += flat[t, net[PRESENT] * WIDTH]
    factor = _1 / max(count, _1)
    for t in range(steps):
        weight, code = flat[t, net[PRESENT] * WIDTH] * factor, flat[t, net[TARGET] * WIDTH]
        for b in range((net[OUTPUTS] + WIDTH - 1) // WIDTH):
            came = select(iota() == code - np.float32(b * WIDTH), _1, zero())
            store(trace, t, delta + b, (load(window, t, net[FORECAST] + b) - came) * weight)
    return count


@device
def _keep_last(trace, steps, outputs, probe):
    """The trace in ``probe``, without the losses of all steps but the last."""
    for t in range(steps):
        for row in range(trace.shape[1]):
            store(probe, t, row, zero() if row >= outputs and t < steps - 1 else load(trace, t, row))


@device
def _join(lags, steps, decay):
    """Let the norms of row 2 join the running ones, if there is anything to see and it is finite."""
    total = 0.0
    for j in range(steps):
        total += lags[2, j]
    if total > 0.0 and total < np.inf:
        for j in range(steps):
            lags[0, j] = lags[0, j] * decay + 1.0
            lags[1, j] = lags[1, j] * decay + math.sqrt(lags[2, j])
    for j in range(lags.shape[1]):
        lags[2, j] = 0.0  # what is not finite must not stay in the state


@device
def _compare_values(net, window, steps, trace, delta, blocks, huber):
    """∂L/∂forecast where the target is present, else 0; returns how many are."""
    total = zero()
    for t in range(steps):
        for b in range((net[GOALS] + WIDTH - 1) // WIDTH):
            total = total + load(window, t, net[PRESENT] + b)
    count = _0
    for l in range(WIDTH):
        count += lane(total, l)
    factor = (_1 if huber < _INF else _2) / max(count, _1)
    for t in range(steps):
        for b in range(blocks):
            difference = load(window, t, net[FORECAST] + b) - load(window, t, net[TARGET] + b)
            difference = select(difference > huber, huber, select(difference < -huber, -huber, difference))
            store(trace, t, delta + b, difference * load(window, t, net[PRESENT] + b) * factor)
    return count


@device
def transpose(parameters, matrices, m, transposed):
    """Lay matrix ``m`` out anew, its inputs as lanes: its values by unit become rows."""
    gates, inputs = matrices[m, GATES], matrices[m, INPUTS]
    receivers = matrices[m, BLOCKS]
    first, to = matrices[m, FIRST], matrices[m, TRANSPOSED]
    for start in range(0, inputs, WIDTH):
        for b in range(receivers):
            for g in range(gates):
                for k in range(start, min(start + WIDTH, inputs)):
                    row = first + (b * inputs + k) * gates + g
                    for l in range(WIDTH):
                        transposed[to + l, k - start] = parameters[row, l]
                to += WIDTH


@device
def _back_in_time(net, matrices, window, steps, trace, deltas, transposed, flow, norms):
    """∂L/∂z of every step and layer into the trace, the last step first. The states before the window's first
    step are constants: nothing flows past them. ``norms``, if it has room, gets ‖∂L/∂states‖² by lag."""
    clear(flow)
    for t in range(steps - 1, -1, -1):
        pull(matrices, 2 * net[LAYERS], deltas, t, transposed, flow)
        for layer in range(net[LAYERS] - 1, -1, -1):
            if norms.size > 0:
                rows = matrices[2 * layer + 1, BLOCKS] * (2 if net[CELL] == LSTM else 1)
                norms[steps - 1 - t] += _squares(flow, matrices[2 * layer + 1, SOURCE], rows)
            step_back(net, matrices, layer, window, t, trace, flow)
            pull(matrices, 2 * layer + 1, deltas, t, transposed, flow)
            if layer > 0:
                pull(matrices, 2 * layer, deltas, t, transposed, flow)


@device
def clear(rows):
    for row in range(rows.shape[0]):
        store(rows, row, zero())


@device
def _squares(flow, first, rows):
    """‖·‖² of some rows, in float64: what has vanished in float32's squares is still to be seen."""
    total = 0.0
    for row in range(first, first + rows):
        for l in range(WIDTH):
            total += np.float64(flow[row, l]) * np.float64(flow[row, l])
    return total


@device
def pull(matrices, m, deltas, t, transposed, flow):
    """What flows back through matrix ``m``: Σ_r transposed[r]·∂L/∂z_r, as four sums that can run at once."""
    lanes = matrices[m, BLOCKS] * WIDTH
    rows = matrices[m, GATES] * lanes
    used = rows - (lanes - matrices[m, UNITS])  # the last lanes may have no unit
    first, column, to = matrices[m, TRANSPOSED], matrices[m, DELTA] * WIDTH, matrices[m, SOURCE]
    for b in range((matrices[m, INPUTS] + WIDTH - 1) // WIDTH):
        p, q, r, s = zero(), zero(), zero(), zero()
        for k in range(0, used, 4):
            row, at = first + k, column + k
            p = fma(load(transposed, row), deltas[t, at], p)
            q = fma(load(transposed, row + 1), deltas[t, at + 1], q)
            r = fma(load(transposed, row + 2), deltas[t, at + 2], r)
            s = fma(load(transposed, row + 3), deltas[t, at + 3], s)
        store(flow, to + b, load(flow, to + b) + ((p + q) + (r + s)))
        first += rows


@device
def sum_up(matrices, m, steps, trace, flat, gradient):
    """The gradient of matrix ``m``, Σ_t ∂L/∂z_t·v_t, and of its bias, Σ_t ∂L/∂z_t, in the steps' order. Where
    there is no bias its gradient is 0, so that its rows stay 0 and add nothing to the norm."""
    gates, inputs = matrices[m, GATES], matrices[m, INPUTS]
    column = matrices[m, SOURCE] * WIDTH
    shift = matrices[m, SHIFT]
    whole = inputs - inputs % 4
    for n in range(matrices[m, BLOCKS] * gates):
        delta = matrices[m, DELTA] + n
        row = matrices[m, FIRST] + n // gates * inputs * gates + n % gates
        total = zero()
        if matrices[m, BIASED] == 1:
            for t in range(steps):
                total = total + load(trace, t, delta)
        store(gradient, matrices[m, BIAS] + n, total)
        if matrices[m, LOOKUP] == 1:
            _sum_up_symbols(row, gates, inputs, delta, steps, trace, flat, column, gradient)
            continue
        for k in range(0, whole, 4):  # four sums share each ∂L/∂z
            at, to = column + k, row + k * gates
            p, q, r, s = zero(), zero(), zero(), zero()
            for t in range(steps):
                d = load(trace, t, delta)
                p = fma(d, flat[t + shift, at], p)
                q = fma(d, flat[t + shift, at + 1], q)
                r = fma(d, flat[t + shift, at + 2], r)
                s = fma(d, flat[t + shift, at + 3], s)
            store(gradient, to, p)
            store(gradient, to + gates, q)
            store(gradient, to + 2 * gates, r)
            store(gradient, to + 3 * gates, s)
        for k in range(whole, inputs):
            total = zero()
            for t in range(steps):
                total = fma(load(trace, t, delta), flat[t + shift, column + k], total)
            store(gradient, row + k * gates, total)


@device
def _sum_up_symbols(first, gates, inputs, delta, steps, trace, flat, column, gradient):
    """The same for inputs of which a step uses one: only its row has anything to add."""
    for k in range(inputs):
        store(gradient, first + k * gates, zero())
    for t in range(steps):
        row = first + np.int64(flat[t, column + 1]) * gates
        store(gradient, row, fma(load(trace, t, delta), flat[t, column], load(gradient, row)))
