"""A recurrent network: layers of cells and a linear read-out. One step forward; the gradient of a window.

A read-out of classes ends in a softmax. ``memory_layout.py`` defines the arrays. Sums run in the order
written here and in the cells; the order is part of the model (R3).
"""

from __future__ import annotations

import math

import numpy as np

from ..compiler import device
from ..simd.elementary import exp
from ..simd.lanes import WIDTH, canonical_nan, fma, iota, lane, load, select, store, zero
from ..simd.sums import add_up
from . import elman, gru, lstm
from .memory_layout import (
    BIAS,
    BLOCKS,
    CELL,
    CLASSES,
    DELTA,
    DIM,
    FORECAST,
    GATES,
    GRU,
    HAS_BIAS,
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
    TARGET_COLUMNS,
    TRANSPOSED,
    UNITS,
    WEIGHT,
)

_0, _1, _2, _INF = np.float32(0), np.float32(1), np.float32(2), np.float32(np.inf)
_HUGE = np.float32(1e30)

# lag_norms, float64 (3, k2), by lag: the weight and the weighted sum of the gradient's norms; scratch
LAG_WEIGHT, LAG_SUM, LAG_SCRATCH = range(3)


@device
def forward(layout, matrices, parameters, window, flat, t, activations):
    """Run step ``t``: from x_t and the states in slot t to the forecast in slot t and the states in slot
    t + 1."""
    for layer in range(layout[LAYERS]):
        step_cell(layout, matrices, parameters, layer, window, flat, t, activations)
    read_out(layout, matrices, parameters, window, flat, t)


@device
def step_cell(layout, matrices, parameters, layer, window, flat, t, activations):
    """Run step ``t`` of one layer; write its states to slot t + 1."""
    if layout[CELL] == LSTM:
        lstm.forward(parameters, matrices, layer, window, flat, t, activations)
    elif layout[CELL] == GRU:
        gru.forward(parameters, matrices, layer, window, flat, t, activations)
    else:
        elman.forward(parameters, matrices, layer, window, flat, t, activations)


@device
def step_cell_back(layout, matrices, layer, window, t, activations, state_gradient):
    """Write ∂L/∂z of step ``t`` of one layer to the activations, from ∂L/∂(its states)."""
    if layout[CELL] == LSTM:
        lstm.backward(matrices, layer, window, t, activations, state_gradient)
    elif layout[CELL] == GRU:
        gru.backward(matrices, layer, window, t, activations, state_gradient)
    else:
        elman.backward(matrices, layer, window, t, activations, state_gradient)


@device
def read_out(layout, matrices, parameters, window, flat, t):
    """Write the forecast of slot ``t``."""
    head = matrices.shape[0] - 1
    first = layout[FORECAST]
    for b in range(matrices[head, BLOCKS]):
        y = load(parameters, matrices[head, BIAS] + b)
        y = elman.add_products(parameters, matrices, head, b, flat, t, y)
        store(window, t, first + b, canonical_nan(y))
    if layout[RESIDUAL] == 1:
        for o in range(layout[OUTPUTS]):  # every step of a horizon starts from the same sample
            y = flat[t, first * WIDTH + o] + flat[t, o % layout[DIM]]
            flat[t, first * WIDTH + o] = canonical_nan(y)
    if layout[CLASSES] == 1:
        _softmax(window, t, first, layout[OUTPUTS])


@device
def _softmax(window, t, first, classes):
    """p_k = e^{y_k − max y} / Σ, in place. Lanes without a class stay 0."""
    blocks = (classes + WIDTH - 1) // WIDTH
    top = zero() - _HUGE
    for b in range(blocks):
        y = elman.zero_if_nan(load(window, t, first + b))
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
    layout, matrices, parameters, window, flat, steps, activations, transposed, state_gradient, gradient,
    huber_delta, lag_activations, lag_norms, lag_decay,
):  # fmt: skip
    """Write the gradient of the loss over the first ``steps`` slots, laid out as the parameters.

    The loss is the mean of e² or, if ``huber_delta`` is finite, the mean of ½e² for |e| ≤ δ and of
    δ·(|e| − ½δ) beyond (Huber 1964), as PyTorch's ``mse_loss`` and ``huber_loss``. For classes it is the mean
    of −log p, as ``cross_entropy``.

    If ``lag_norms`` has columns, ‖∂L_T/∂s_{T−j}‖ is added to it by lag j. L_T is the last step's share of the
    loss; s are the states (h, and c of an LSTM). This takes a backward pass of its own, which comes first and
    uses ``lag_activations``, of the shape of the activations.

    Return the number of values in the mean. If it is 0, the gradient is not written.
    """
    head = 2 * layout[LAYERS]
    output_delta = matrices[head, DELTA]
    count = write_loss_gradient(layout, matrices, window, flat, steps, activations, huber_delta)
    if count > _0:
        for m in range(head + 1):
            if matrices[m, TRANSPOSED] >= 0:
                transpose_weights(parameters, matrices, m, transposed)
        # One loop over both passes, so that the backward pass is compiled once.
        for backward_pass in range(0 if lag_norms.shape[1] > 0 else 1, 2):
            values, norms = activations, lag_norms[LAG_SCRATCH]
            if backward_pass == 0:
                values = lag_activations
                _copy_last_loss(activations, steps, output_delta, lag_activations)
            else:
                norms = lag_norms[LAG_SCRATCH][:0]
            deltas = values.reshape(values.shape[0], -1)
            _backward_through_time(
                layout, matrices, window, steps, values, deltas, transposed, state_gradient, norms
            )
            if backward_pass == 0:
                _update_lag_norms(lag_norms, steps, lag_decay)
        for m in range(head + 1):
            accumulate_gradient(matrices, m, steps, activations, flat, gradient)
    return count


@device
def write_loss_gradient(layout, matrices, window, flat, steps, activations, huber_delta):
    """Write ∂L/∂(sums of the read-out) of the first ``steps`` slots to the activations.

    Return the number of values in the mean L.
    """
    head = matrices.shape[0] - 1
    delta = matrices[head, DELTA]
    if layout[CLASSES] == 1:
        return _class_loss_gradient(layout, window, flat, steps, activations, delta)
    blocks = matrices[head, BLOCKS]
    return _value_loss_gradient(layout, window, steps, activations, delta, blocks, huber_delta)


@device
def _class_loss_gradient(layout, window, flat, steps, activations, delta):
    """∂L/∂y = (p − one-hot target)/count for known classes, else 0. Return the number of known classes."""
    count = _0
    for t in range(steps):
        count += flat[t, layout[PRESENT] * WIDTH]
    factor = _1 / max(count, _1)
    for t in range(steps):
        weight, code = flat[t, layout[PRESENT] * WIDTH] * factor, flat[t, layout[TARGET] * WIDTH]
        for b in range((layout[OUTPUTS] + WIDTH - 1) // WIDTH):
            target = select(iota() == code - np.float32(b * WIDTH), _1, zero())
            store(activations, t, delta + b, (load(window, t, layout[FORECAST] + b) - target) * weight)
    return count


@device
def _copy_last_loss(activations, steps, output_delta, lag_activations):
    """Copy the activations, with the loss of the last step only."""
    for t in range(steps):
        for row in range(activations.shape[1]):
            other_loss = row >= output_delta and t < steps - 1
            store(lag_activations, t, row, zero() if other_loss else load(activations, t, row))


@device
def _update_lag_norms(lag_norms, steps, decay):
    """Add the squared norms in the scratch row to the running sums, if they are finite and not all 0."""
    total = 0.0
    for j in range(steps):
        total += lag_norms[LAG_SCRATCH, j]
    if total > 0.0 and total < np.inf:
        for j in range(steps):
            lag_norms[LAG_WEIGHT, j] = lag_norms[LAG_WEIGHT, j] * decay + 1.0
            lag_norms[LAG_SUM, j] = lag_norms[LAG_SUM, j] * decay + math.sqrt(lag_norms[LAG_SCRATCH, j])
    for j in range(lag_norms.shape[1]):
        lag_norms[LAG_SCRATCH, j] = 0.0  # NaN and ∞ must not stay in the state


@device
def _value_loss_gradient(layout, window, steps, activations, delta, blocks, huber_delta):
    """∂L/∂forecast where the target is present, else 0. Return the number of targets present."""
    total = zero()
    for t in range(steps):
        for b in range((layout[TARGET_COLUMNS] + WIDTH - 1) // WIDTH):
            total = total + load(window, t, layout[PRESENT] + b)
    count = _0
    for l in range(WIDTH):
        count += lane(total, l)
    factor = (_1 if huber_delta < _INF else _2) / max(count, _1)
    for t in range(steps):
        for b in range(blocks):
            error = load(window, t, layout[FORECAST] + b) - load(window, t, layout[TARGET] + b)
            error = select(
                error > huber_delta, huber_delta, select(error < -huber_delta, -huber_delta, error)
            )
            d = error * load(window, t, layout[PRESENT] + b) * factor
            store(activations, t, delta + b, canonical_nan(d))  # ∞·0, if the forecast overflowed
    return count


@device
def transpose_weights(parameters, matrices, m, transposed):
    """Write matrix ``m`` to ``transposed``, with inputs as lanes."""
    gates, inputs = matrices[m, GATES], matrices[m, INPUTS]
    unit_blocks = matrices[m, BLOCKS]
    first, target_row = matrices[m, WEIGHT], matrices[m, TRANSPOSED]
    for start in range(0, inputs, WIDTH):
        for b in range(unit_blocks):
            for g in range(gates):
                for k in range(start, min(start + WIDTH, inputs)):
                    row = first + (b * inputs + k) * gates + g
                    for l in range(WIDTH):
                        transposed[target_row + l, k - start] = parameters[row, l]
                target_row += WIDTH


@device
def _backward_through_time(
    layout, matrices, window, steps, activations, deltas, transposed, state_gradient, norms
):
    """Write ∂L/∂z of every step and layer to the activations, last step first.

    The states before the first step are constants. If ``norms`` has room, add ‖∂L/∂states‖² by lag to it.
    """
    clear_rows(state_gradient)
    for t in range(steps - 1, -1, -1):
        backpropagate(matrices, 2 * layout[LAYERS], deltas, t, transposed, state_gradient)
        for layer in range(layout[LAYERS] - 1, -1, -1):
            if norms.size > 0:
                rows = matrices[2 * layer + 1, BLOCKS] * (2 if layout[CELL] == LSTM else 1)
                norms[steps - 1 - t] += _squared_norm(state_gradient, matrices[2 * layer + 1, SOURCE], rows)
            step_cell_back(layout, matrices, layer, window, t, activations, state_gradient)
            backpropagate(matrices, 2 * layer + 1, deltas, t, transposed, state_gradient)
            if layer > 0:
                backpropagate(matrices, 2 * layer, deltas, t, transposed, state_gradient)


@device
def clear_rows(rows):
    """Set rows (n, 16) to 0."""
    for row in range(rows.shape[0]):
        store(rows, row, zero())


@device
def _squared_norm(values, first, rows):
    """‖·‖² of some rows, in float64: the squares of vanishing gradients underflow in float32."""
    total = 0.0
    for row in range(first, first + rows):
        for l in range(WIDTH):
            total += np.float64(values[row, l]) * np.float64(values[row, l])
    return total


@device
def backpropagate(matrices, m, deltas, t, transposed, state_gradient):
    """Add Σ_r transposed[r]·∂L/∂z_r of matrix ``m`` to the gradient of its inputs.

    Four independent sums run in parallel.
    """
    lanes = matrices[m, BLOCKS] * WIDTH
    rows = matrices[m, GATES] * lanes
    used = rows - (lanes - matrices[m, UNITS])  # the last block may have lanes without a unit
    first, column, target_row = matrices[m, TRANSPOSED], matrices[m, DELTA] * WIDTH, matrices[m, SOURCE]
    for b in range((matrices[m, INPUTS] + WIDTH - 1) // WIDTH):
        p, q, r, s = zero(), zero(), zero(), zero()
        for k in range(0, used, 4):
            row, d = first + k, column + k
            p = fma(load(transposed, row), deltas[t, d], p)
            q = fma(load(transposed, row + 1), deltas[t, d + 1], q)
            r = fma(load(transposed, row + 2), deltas[t, d + 2], r)
            s = fma(load(transposed, row + 3), deltas[t, d + 3], s)
        store(state_gradient, target_row + b, load(state_gradient, target_row + b) + ((p + q) + (r + s)))
        first += rows


@device
def accumulate_gradient(matrices, m, steps, activations, flat, gradient):
    """Write the gradient of matrix ``m``, Σ_t ∂L/∂z_t·v_t, and of its bias, Σ_t ∂L/∂z_t, in the order of the
    steps. The gradient of an absent bias is 0, so its rows stay 0 and do not change the norm."""
    gates, inputs = matrices[m, GATES], matrices[m, INPUTS]
    column = matrices[m, SOURCE] * WIDTH
    shift = matrices[m, SHIFT]
    whole = inputs - inputs % 4
    for n in range(matrices[m, BLOCKS] * gates):
        delta = matrices[m, DELTA] + n
        first = matrices[m, WEIGHT] + n // gates * inputs * gates + n % gates
        total = zero()
        if matrices[m, HAS_BIAS] == 1:
            for t in range(steps):
                total = total + load(activations, t, delta)
        store(gradient, matrices[m, BIAS] + n, total)
        if matrices[m, LOOKUP] == 1:
            _accumulate_symbols(first, gates, inputs, delta, steps, activations, flat, column, gradient)
            continue
        for k in range(0, whole, 4):  # four sums share one load of ∂L/∂z
            v, row = column + k, first + k * gates
            p, q, r, s = zero(), zero(), zero(), zero()
            for t in range(steps):
                d = load(activations, t, delta)
                p = fma(d, flat[t + shift, v], p)
                q = fma(d, flat[t + shift, v + 1], q)
                r = fma(d, flat[t + shift, v + 2], r)
                s = fma(d, flat[t + shift, v + 3], s)
            store(gradient, row, p)
            store(gradient, row + gates, q)
            store(gradient, row + 2 * gates, r)
            store(gradient, row + 3 * gates, s)
        for k in range(whole, inputs):
            total = zero()
            for t in range(steps):
                total = fma(load(activations, t, delta), flat[t + shift, column + k], total)
            store(gradient, first + k * gates, total)


@device
def _accumulate_symbols(first, gates, inputs, delta, steps, activations, flat, column, gradient):
    """The same for one-hot inputs: a step adds to the row of its symbol only."""
    for k in range(inputs):
        store(gradient, first + k * gates, zero())
    for t in range(steps):
        row = first + np.int64(flat[t, column + 1]) * gates
        store(gradient, row, fma(load(activations, t, delta), flat[t, column], load(gradient, row)))
