"""Sizes, memory and work of least squares on a given target, see ``kernels/forecast/target.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels.forecast import sizes as constants
from ...kernels.recurrent import memory_layout as memory
from ...kernels.simd.blocks import WIDTH
from ..row_cost import EXPONENTIAL, SCALAR, SCALING, Cost
from . import costs
from .forecaster_sizes import DOUBLE, K2, replayed_slots

if TYPE_CHECKING:
    from .rnn_spec import RNNSpec

_LAGS, _ALL_LAGS = 16, 48  # by default: of a channel at most, and of all channels
_AVERAGES, _ALL_AVERAGES = 9, 72


class Sizes(NamedTuple):
    """Sizes of the arrays."""

    horizon: int
    outputs: int  # columns of the target
    lags: int  # values of a channel among the features
    averages: int  # running averages of a channel
    scaled: int  # features without the GRU's state
    features: int  # length of z
    hidden: int
    extra: int  # features that the spec adds

    @property
    def columns(self) -> int:
        """Columns of the read-out: the targets of all steps."""
        return self.horizon * self.outputs


def sizes(spec: RNNSpec) -> Sizes:
    """Return the sizes that a spec asks for."""
    lags = max(1, min(_LAGS, _ALL_LAGS // spec.dim)) if spec.lags == "auto" else spec.lags
    averages = min(_AVERAGES, _ALL_AVERAGES // spec.dim) if spec.memory == "auto" else spec.memory
    extra = spec.inputs - spec.dim
    scaled = 1 + spec.dim * (lags + averages) + extra
    outputs, horizon = spec.outputs or 1, spec.horizon or 1
    return Sizes(horizon, outputs, lags, averages, scaled, scaled + spec.units, spec.units, extra)


def net_inputs(spec: RNNSpec) -> int:
    """Return the number of inputs of the GRU: change and level of each channel, and further features."""
    return spec.dim + spec.inputs


def layout(spec: RNNSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``layout`` and ``matrices`` of the GRU. Its targets are the gradients of its state."""
    hidden = max(spec.units, 1)
    return memory.network_layout("gru", net_inputs(spec), hidden, 1, hidden)


def window_slots(spec: RNNSpec) -> int:
    """Return the number of slots of a window: pairs, waiting samples, and the state after the last one."""
    return K2 + (spec.horizon or 1) + 1 if spec.units else 0


def shapes(spec: RNNSpec) -> dict[str, tuple[type[Any], tuple[int, ...]]]:
    """Return dtype and shape of the state arrays."""
    own, streams = sizes(spec), spec.keys or 1
    columns = own.columns
    return {
        "readout.weights": (np.float64, (own.features, columns)),
        "readout.covariance": (np.float64, (own.features, own.features)),
        "readout.error_size": (np.float64, (columns,)),
        "readout.pairs": (np.int64, (2,)),
        "mix.losses": (np.float64, (columns, constants.TARGET_EXPERTS)),
        "mix.weights": (np.float64, (columns, constants.TARGET_EXPERTS)),
        "mix.errors": (np.float64, (columns, 2)),
        "bands.errors": (np.float32, (columns, constants.RING)),
        "bands.ordered": (np.float32, (columns, constants.RING)),
        "bands.counts": (np.int64, (columns,)),
        "bands.levels": (np.float64, (columns, constants.LEVELS)),
        "bands.miss": (np.float64, (columns,)),
        "scale.counts": (np.int64, (1 + own.outputs,)),
        "scale.features": (np.float64, (own.scaled, constants.SCALE_VALUES)),
        "scale.targets": (np.float64, (own.outputs, constants.SCALE_VALUES)),
        "scale.ranges": (np.float64, (spec.dim, 3)),
        "stream.position": (np.int64, (streams,)),
        "stream.history": (np.float64, (streams, spec.dim, own.lags)),
        "stream.averages": (np.float64, (streams, spec.dim, own.averages)),
        "stream.seen": (np.int64, (streams, spec.dim)),
        "stream.raw": (np.float64, (streams, own.horizon, own.features)),
        "stream.targets": (np.float64, (streams, own.horizon, own.outputs)),
        "stream.naive": (np.float64, (streams, 3, own.outputs)),
        "stream.forecasts": (np.float64, (streams, own.horizon, 6, columns)),
    }


def state_values(spec: RNNSpec) -> int:
    """Return the number of values in the large arrays, in units of float32."""
    values = 0
    for dtype, shape in shapes(spec).values():
        count = 1
        for length in shape:
            count *= length
        values += count * np.dtype(dtype).itemsize // 4
    rows, _ = layout(spec)
    slots = (spec.keys or 1) * window_slots(spec) + replayed_slots(spec)
    window = slots * int(rows[memory.WINDOW_ROWS])
    network = 3 * int(rows[memory.PARAMETER_ROWS]) if spec.units else 0
    return values + WIDTH * (window + network)


def row_costs(spec: RNNSpec) -> list[Cost]:
    """Return the work of one sample, and of the updates that it completes."""
    own = sizes(spec)
    m, columns = own.features, own.columns
    names = ("dim", "lags", "memory", "outputs", "horizon")
    forecast = DOUBLE * m * columns + SCALING * m + SCALAR * columns * 16
    learning = DOUBLE * (2 * m * m + 3 * m * columns) + 2 * SCALING * m
    evaluation = columns * (SCALAR * (20 + constants.RING // 8) + EXPONENTIAL * constants.TARGET_EXPERTS)
    found = [
        Cost((spec.keys or 0) * SCALAR, ("keys",)),
        Cost(forecast, names),
        Cost(learning + evaluation, names, learning=True),
    ]
    if spec.units:
        net = layout(spec)
        step = costs.forward(net)
        update = K2 * (step + costs.backward(net)) + costs.update(net)
        replay = ("replay",) if spec.replay else ()
        slots = 2 * WIDTH * int(net[0][memory.WINDOW_ROWS]) * window_slots(spec)
        found += [
            Cost(step, ("hidden", "dim")),
            Cost(slots, ("hidden", "dim", "horizon"), learning=True),
            Cost(update * (1 + spec.replay), ("hidden", "dim", *replay), learning=True),
        ]
    return found
