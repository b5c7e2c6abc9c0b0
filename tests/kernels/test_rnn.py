"""Recurrent kernels: memory layout; gradients and optimizers against float64 references."""

from __future__ import annotations

import numba as nb
import numpy as np
import pytest

from streamlearn.kernels.recurrent import memory_layout, network, optimizers
from streamlearn.kernels.recurrent.records import Gradients, Lags, Net, Steps
from tests.naive.rnn import Net as Reference
from tests.naive.rnn import Optimizer


@nb.njit
def run_forward(layout, matrices, parameters, window, activations):
    for t in range(activations.shape[0]):
        network.forward(Net(layout, matrices, parameters), Steps(window, activations), t)


@nb.njit
def run_backward(layout, matrices, parameters, window, activations, states, gradient, copy, lag_norms):
    return network.backward(
        Net(layout, matrices, parameters),
        Steps(window, activations),
        activations.shape[0],
        np.float32(np.inf),
        Gradients(states, gradient),
        Lags(copy, lag_norms, 0.5),
    )


@nb.njit
def update(kind, parameters, gradient, squares, mean, square, clock, counters, rate, momentum, clip):
    optimizer = optimizers.Optimizer(kind, mean, square, clock, counters, momentum, clip)
    return optimizers.update(optimizer, parameters, gradient, squares, rate)


SHAPES = [(1, 1, 1, 1), (3, 16, 1, 2), (5, 20, 2, 17), (17, 33, 3, 1)]  # dim, hidden, layers, outputs
STEPS = 6


TBPTT_CELLS = [cell for cell, kind in memory_layout.CELLS.items() if not kind.traces]


def matrices_by_name(cell, dim, hidden, layers, outputs):
    """Yield (weight name, bias name, row of ``matrices``, gates, units) of every matrix."""
    _, matrices = memory_layout.network_layout(cell, dim, hidden, layers, outputs)
    gates = {"elman": 1, "gru": 3, "lstm": 4}[cell]
    names = [(f"{part}_l{layer}", gates, hidden) for layer in range(layers) for part in ("ih", "hh")]
    for (name, gates, units), m in zip(names, matrices, strict=False):
        yield f"weight_{name}", f"bias_{name}", m, gates, units
    yield "head.weight", "head.bias", matrices[-1], 1, outputs


def random_parameters(cell, dim, hidden, layers, outputs, seed=0):
    random = np.random.default_rng(seed)
    found = {}
    for weight, bias, m, gates, units in matrices_by_name(cell, dim, hidden, layers, outputs):
        bound = 1.5 / np.sqrt(hidden)
        found[weight] = random.uniform(-bound, bound, (gates * units, int(m[memory_layout.INPUTS])))
        found[bias] = random.uniform(-bound, bound, gates * units)
    return found


def pack(parameters, shape, cell):
    """Return the parameters (rows, 16) and the number of parameters in each lane (rows, 16)."""
    layout, _ = memory_layout.network_layout(cell, *shape)
    rows = np.zeros((layout[memory_layout.PARAMETER_ROWS], 16), np.float32)
    used = np.zeros(rows.shape, int)
    for weight, bias, m, gates, units in matrices_by_name(cell, *shape):
        inputs = int(m[memory_layout.INPUTS])
        for g in range(gates):
            for u in range(units):
                b, lane = divmod(u, 16)
                row = m[memory_layout.BIAS] + b * gates + g
                rows[row, lane] = parameters[bias][g * units + u]
                used[row, lane] += 1
                for k in range(inputs):
                    row = m[memory_layout.WEIGHT] + (b * int(m[memory_layout.INPUT_ROWS]) + k) * gates + g
                    rows[row, lane] = parameters[weight][g * units + u, k]
                    used[row, lane] += 1
    return rows, used


@pytest.mark.parametrize("cell", TBPTT_CELLS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_parameter_has_its_own_lane(cell, shape):
    parameters = random_parameters(cell, *shape)
    _, used = pack(parameters, shape, cell)
    assert used.max() == 1
    assert used.sum() == sum(values.size for values in parameters.values())
    _, matrices = memory_layout.network_layout(cell, *shape)
    rounded = matrices[:, memory_layout.INPUT_ROWS] - matrices[:, memory_layout.INPUTS]
    assert ((rounded >= 0) & (rounded < 4)).all()
    without_input = rounded * matrices[:, memory_layout.BLOCKS] * matrices[:, memory_layout.GATES]
    end = np.flatnonzero(used[:, 0])[-1] + 1
    assert np.count_nonzero(used[:end, 0] == 0) == without_input.sum()  # every other row has a unit
    for m in matrices[
        matrices[:, memory_layout.BACKWARD] == 1
    ]:  # the last read of a product with a transpose
        blocks, gates, inputs, rows = m[
            [memory_layout.BLOCKS, memory_layout.GATES, memory_layout.INPUTS, memory_layout.INPUT_ROWS]
        ]
        assert m[memory_layout.WEIGHT] + ((blocks - 1) * rows + -(-inputs // 16) * 16) * gates <= len(used)


@pytest.mark.parametrize("without", [(), ("bias_",), ("head.bias",)], ids=str)
@pytest.mark.parametrize("missing", [0.0, 0.3])
@pytest.mark.parametrize("cell", TBPTT_CELLS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_gradient_equals_the_float64_reference(cell, shape, missing, without):
    dim, _, layers, outputs = shape
    random = np.random.default_rng(sum(shape))
    parameters = random_parameters(cell, *shape)
    absent = {name: 0 * values for name, values in parameters.items() if name.startswith(without)}
    parameters |= absent
    reference = Reference(parameters, cell, layers)
    inputs = list(random.normal(size=(STEPS, dim)))
    targets = random.normal(size=(STEPS, outputs))
    targets[random.random(targets.shape) < missing] = np.nan
    targets[0] = 1.0
    states = [
        (random.uniform(-1, 1, h.shape), random.uniform(-1, 1, c.shape))
        for h, c in reference.initial_states()
    ]

    biases = {"bias": without != ("bias_",), "head_bias": without != ("head.bias",)}
    layout, matrices = memory_layout.network_layout(cell, *shape, **biases)
    rows, used = pack(parameters, shape, cell)
    window = np.zeros((STEPS + 1, layout[memory_layout.WINDOW_ROWS], 16), np.float32)
    flat = window.reshape(STEPS + 1, -1)
    activations = np.zeros((STEPS, layout[memory_layout.ACTIVATION_ROWS], 16), np.float32)
    blocks = -(-shape[1] // 16)
    for layer, parts in enumerate(states):
        for part, values in enumerate(parts[: memory_layout.CELLS[cell].states]):
            state = layer * memory_layout.CELLS[cell].states + part
            at = (layout[memory_layout.STATE] + state * blocks) * 16
            flat[0, at : at + values.size] = values
    for t in range(STEPS):
        flat[t, :dim] = inputs[t]
        for start, values in (
            (memory_layout.TARGET, np.nan_to_num(targets[t])),
            (memory_layout.PRESENT, ~np.isnan(targets[t])),
        ):
            flat[t, layout[start] * 16 : layout[start] * 16 + outputs] = values

    run_forward(layout, matrices, rows, window, activations)
    current = states
    for t in range(STEPS):
        forecast, current, _ = reference.step(inputs[t], current)
        at = layout[memory_layout.FORECAST] * 16
        assert np.allclose(flat[t, at : at + outputs], forecast, rtol=1e-5, atol=1e-6)

    gradient = np.full_like(rows, np.nan)
    end = np.flatnonzero(used[:, 0])[-1] + 1
    gradient[end:] = 0  # rows that are only read
    lag_norms = np.zeros((3, STEPS))
    scratch, copy = np.zeros(window.shape[1:], np.float32), np.zeros_like(activations)
    count, squares = run_backward(
        layout, matrices, rows, window, activations, scratch, gradient, copy, lag_norms
    )
    assert count == np.count_nonzero(~np.isnan(targets))
    expected, _ = pack(reference.gradient(inputs, list(targets), states) | absent, shape, cell)
    assert np.allclose(gradient, expected, rtol=1e-4, atol=1e-6)
    assert not gradient[used == 0].any()  # lanes without a unit have no gradient
    assert np.isclose(squares, np.sum(gradient.astype(float) ** 2), rtol=1e-5)

    norms = reference.gradient_by_lag(inputs, list(targets), states)
    counted = lag_norms[0] > 0
    assert counted.all() == (np.count_nonzero(~np.isnan(targets[-1])) > 0)
    assert np.allclose(lag_norms[1, counted], norms[counted], rtol=1e-4, atol=1e-9)


def squared(gradient):
    """‖gradient‖² in float32."""
    with np.errstate(over="ignore"):
        return np.sum(gradient * gradient, dtype=np.float32)


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("kind", ["sgd", "momentum", "rmsprop", "adam"])
def test_optimizer_equals_the_float64_reference(kind, clip):
    random = np.random.default_rng(7)
    rows = random.normal(size=(9, 16)).astype(np.float32)
    reference, parameters = Optimizer(kind, 0.03, clip), {"all": rows.astype(float)}
    momentum = np.float32(0.9)
    mean, square, clock = np.zeros_like(rows), np.zeros_like(rows), np.array([1.0, 1.0, 0.0])
    counters, rate = np.zeros(2, np.int64), np.float32(0.03)
    limit = np.inf if clip is None else clip
    code = optimizers.OPTIMIZERS[kind]
    for t in range(300):
        gradient = (random.normal(size=rows.shape) * 10.0 ** random.uniform(-4, 1)).astype(np.float32)
        reference.update(parameters, {"all": gradient.astype(float)})
        finite = update(
            code, rows, gradient, squared(gradient), mean, square, clock, counters, rate, momentum, limit
        )
        assert finite
        assert np.isclose(clock[optimizers.NORM], np.linalg.norm(gradient), rtol=1e-5)
        assert np.allclose(rows, parameters["all"], rtol=1e-4, atol=1e-5), t
    assert counters.tolist() == [300, 0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e19])
def test_a_gradient_that_is_not_finite_changes_nothing(value):
    rows = np.ones((3, 16), np.float32)
    gradient = np.ones_like(rows)
    gradient[1, 3] = value
    state = rows.copy(), np.zeros_like(rows), np.zeros_like(rows), np.array([1.0, 1.0, 0.0])
    before = [array.copy() for array in state]
    parameters, mean, square, clock = state
    counters, rule = np.zeros(2, np.int64), (np.float32(0.1), np.float32(0.9), 1.0)
    for kind in optimizers.OPTIMIZERS.values():
        assert not update(kind, parameters, gradient, squared(gradient), mean, square, clock, counters, *rule)
    assert counters.tolist() == [0, 4]
    assert all(np.array_equal(array, copy) for array, copy in zip(state, before, strict=True))
