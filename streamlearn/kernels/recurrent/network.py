"""A recurrent network: layers of cells and a linear read-out. One step forward; the gradient of a window.

A read-out of classes ends in a softmax. ``memory_layout.py`` defines the arrays. Sums run in the order
written here, in ``products.py`` and in the cells; the order is part of the model (R3).
"""

from __future__ import annotations

import numpy as np

from ..compiler import device
from ..simd.lanes import canonical_nan, store, zero
from ..simd.rows import fold, four_zeros, zeros
from ..simd.sums import add_up
from ..simd.views import values_of
from . import elman, gru, lstm, rtu
from .lags import LAG_SCRATCH, copy_last_loss, squared_norm, update_lag_norms
from .loss import softmax, write_loss_gradient
from .memory_layout import (
    BLOCKS,
    CELL,
    CHANNELS,
    CLASSES,
    FORECAST,
    GRU,
    LAYERS,
    LSTM,
    OUTPUTS,
    RESIDUAL,
    RTU,
    SOURCE,
)
from .products import add_gradient_of_state, weighted_sums, write_gradient
from .records import Steps, matrix_of

_0 = np.float32(0)


@device
def forward(net, steps, t):
    """Run step ``t``: from x_t and the states in slot t to the forecast in slot t and the states in slot
    t + 1."""
    if net.layout[CELL] == RTU:
        rtu.forward(net, steps, t)
    else:
        for layer in range(net.layout[LAYERS]):
            step_cell(net, layer, steps, t)
    read_out(net, steps.window, t)


@device
def step_cell(net, cell, steps, t):
    """Run step ``t`` of one cell; write its states to slot t + 1."""
    if net.layout[CELL] == LSTM:
        lstm.forward(net, cell, steps, t)
    elif net.layout[CELL] == GRU:
        gru.forward(net, cell, steps, t)
    else:
        elman.forward(net, cell, steps, t)


@device
def step_cell_back(net, cell, steps, t, state_gradient):
    """Write ∂L/∂z of step ``t`` of one cell to the activations, from ∂L/∂(its states)."""
    if net.layout[CELL] == LSTM:
        lstm.backward(net, cell, steps, t, state_gradient)
    elif net.layout[CELL] == GRU:
        gru.backward(net, cell, steps, t, state_gradient)
    else:
        elman.backward(net, cell, steps, t, state_gradient)


@device
def read_out(net, window, t):
    """Write the forecast of slot ``t``."""
    layout, head = net.layout, matrix_of(net, net.matrices.shape[0] - 1)
    first = layout[FORECAST]
    for b in range(head.blocks):
        y = fold(weighted_sums(zeros(4, 1), net, head, b, window, t))[0]
        store(window, t, first + b, canonical_nan(y))
    if layout[RESIDUAL] == 1:
        x, forecast = values_of(window, t, 0), values_of(window, t, first)
        for o in range(layout[OUTPUTS]):  # every step of a horizon starts from the same sample
            forecast[o] = canonical_nan(forecast[o] + x[o % layout[CHANNELS]])
    if layout[CLASSES] == 1:
        softmax(window, t, first, layout[OUTPUTS])


@device
def backward(net, steps, count, huber_delta, gradients, lags):
    """Write the gradient of the loss over the first ``count`` steps, laid out as the parameters.

    ``loss.py`` defines the loss. If ``lags.norms`` has columns, the norm by lag is updated (``lags.py``).

    Return the number of values in the loss, and the gradient's squared norm. If the number is 0, the gradient
    is not written.
    """
    head = 2 * net.layout[LAYERS]
    output_delta = matrix_of(net, head).delta
    values = write_loss_gradient(net.layout, steps, count, output_delta, huber_delta)
    norm = four_zeros()
    if values > _0 and net.layout[CELL] == RTU:
        norm = rtu.backward(net, steps, count, gradients, norm)
    elif values > _0:
        # One loop over both passes, so that the backward pass is compiled once
        for backward_pass in range(0 if lags.norms.shape[1] > 0 else 1, 2):
            for_lags = backward_pass == 0
            own = Steps(steps.window, lags.activations if for_lags else steps.activations)
            if for_lags:
                copy_last_loss(steps.activations, count, output_delta, lags.activations)
            _backward_through_time(net, own, count, gradients.states, lags.norms, for_lags)
            if for_lags:
                update_lag_norms(lags.norms, count, lags.decay)
        for i in range(head + 1):
            norm = write_gradient(net, i, steps, count, gradients.parameters, norm)
    return values, sum_of_squares(norm)


@device
def sum_of_squares(norm):
    """The sum of all lanes of ``norm``."""
    return add_up((norm[0] + norm[1]) + (norm[2] + norm[3]))


@device
def _backward_through_time(net, steps, count, state_gradient, norms, for_lags):
    """Write ∂L/∂z of every step and layer to the activations, last step first.

    The states before the first step are constants. With ``for_lags``, add ‖∂L/∂states‖² by lag to ``norms``.
    """
    states = 2 if net.layout[CELL] == LSTM else 1
    clear_rows(state_gradient)
    for t in range(count - 1, -1, -1):
        for layer in range(net.layout[LAYERS] - 1, -1, -1):
            add_gradient_of_state(net, layer, steps, count, t, state_gradient)
            if for_lags:
                i = 2 * layer + 1
                first, rows = net.matrices[i, SOURCE], states * net.matrices[i, BLOCKS]
                norms[LAG_SCRATCH, count - 1 - t] += squared_norm(state_gradient, first, rows)
            step_cell_back(net, layer, steps, t, state_gradient)


@device
def clear_rows(rows):
    """Set rows (n, 16) to 0."""
    for row in range(rows.shape[0]):
        store(rows, row, zero())
