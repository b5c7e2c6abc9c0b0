"""A recurrent network, cells in layers with a linear read-out: one step forward; backward through a window.

``plan.py`` says how everything is laid out. Sums run in the order written here and in the cells, which is
part of the model (R3).
"""

from __future__ import annotations

import numpy as np

from . import lstm, rnn
from .compiler import device
from .lanes import WIDTH, fma, lane, load, select, store, zero
from .plan import (
    BIAS,
    BLOCKS,
    CELL,
    DELTA,
    FIRST,
    FORECAST,
    GATES,
    INPUTS,
    LAYERS,
    LSTM,
    PRESENT,
    RESIDUAL,
    SHIFT,
    SOURCE,
    TARGET,
    TRANSPOSED,
    UNITS,
)

_0, _1, _2, _INF = np.float32(0), np.float32(1), np.float32(2), np.float32(np.inf)


@device
def forward(net, matrices, parameters, window, flat, t, trace):
    """Step ``t``: from x_t and the states in slot t, the forecast in slot t and the states in slot t + 1."""
    for layer in range(net[LAYERS]):
        if net[CELL] == LSTM:
            lstm.forward(parameters, matrices, layer, window, flat, t, trace)
        else:
            rnn.forward(parameters, matrices, layer, window, flat, t, trace)
    head = 2 * net[LAYERS]
    for b in range(matrices[head, BLOCKS]):
        y = load(parameters, matrices[head, BIAS] + b)
        y = rnn.add_products(parameters, matrices, head, b, flat, t, y)
        if net[RESIDUAL] == 1:
            y = y + load(window, t, b)
        store(window, t, net[FORECAST] + b, y)


@device
def backward(
    net, matrices, parameters, window, flat, steps, trace, deltas, transposed, flow, gradient, huber
):
    """The gradient of the loss over the first ``steps`` slots, laid out as the parameters.

    The loss is the mean of e² or, where ``huber`` is finite, of ½e² up to |e| = ``huber`` and of a straight
    line beyond (Huber 1964), as in PyTorch's ``mse_loss`` and ``huber_loss``.

    Returns over how many values the mean runs; where there are none there is no gradient either.
    """
    head = 2 * net[LAYERS]
    count = _compare(net, window, steps, trace, matrices[head, DELTA], matrices[head, BLOCKS], huber)
    if count > _0:
        for m in range(head + 1):
            if matrices[m, TRANSPOSED] >= 0:
                _transpose(parameters, matrices, m, transposed)
        _back_in_time(net, matrices, window, steps, trace, deltas, transposed, flow)
        for m in range(head + 1):
            _sum_up(matrices, m, steps, trace, flat, gradient)
    return count


@device
def _compare(net, window, steps, trace, delta, blocks, huber):
    """∂L/∂forecast where the target is present, else 0; returns how many are."""
    total = zero()
    for t in range(steps):
        for b in range(blocks):
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
def _transpose(parameters, matrices, m, transposed):
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
def _back_in_time(net, matrices, window, steps, trace, deltas, transposed, flow):
    """∂L/∂z of every step and layer into the trace, the last step first. The states before the window's first
    step are constants: nothing flows past them."""
    for row in range(flow.shape[0]):
        store(flow, row, zero())
    for t in range(steps - 1, -1, -1):
        _pull(matrices, 2 * net[LAYERS], deltas, t, transposed, flow)
        for layer in range(net[LAYERS] - 1, -1, -1):
            if net[CELL] == LSTM:
                lstm.backward(matrices, layer, window, t, trace, flow)
            else:
                rnn.backward(matrices, layer, window, t, trace, flow)
            _pull(matrices, 2 * layer + 1, deltas, t, transposed, flow)
            if layer > 0:
                _pull(matrices, 2 * layer, deltas, t, transposed, flow)


@device
def _pull(matrices, m, deltas, t, transposed, flow):
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
def _sum_up(matrices, m, steps, trace, flat, gradient):
    """The gradient of matrix ``m``, Σ_t ∂L/∂z_t·v_t, and of its bias, Σ_t ∂L/∂z_t, in the steps' order."""
    gates, inputs = matrices[m, GATES], matrices[m, INPUTS]
    column = matrices[m, SOURCE] * WIDTH
    shift = matrices[m, SHIFT]
    whole = inputs - inputs % 4
    for n in range(matrices[m, BLOCKS] * gates):
        delta = matrices[m, DELTA] + n
        row = matrices[m, FIRST] + n // gates * inputs * gates + n % gates
        total = zero()
        for t in range(steps):
            total = total + load(trace, t, delta)
        store(gradient, matrices[m, BIAS] + n, total)
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
