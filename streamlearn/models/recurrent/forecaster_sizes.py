"""Sizes, memory and work of the forecaster that learns by least squares, see ``kernels/forecast/``."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels.forecast import sizes as constants
from ...kernels.recurrent import memory_layout as memory
from ...kernels.simd.blocks import WIDTH
from ..row_cost import EXPONENTIAL, SCALAR, SCALING, Cost
from . import costs, relations

if TYPE_CHECKING:
    from .rnn_spec import RNNSpec

UNITS = 16  # of the GRU, by default
K1, K2 = 4, 12  # TBPTT of the GRU
_LAGS, _LONGEST_PERIOD = 48, 96  # lags by default; seasons up to this length lie within the lags
_INPUTS = 2  # of the GRU: change and level
DOUBLE = 2  # multiply-adds in float64 take twice the time


class Sizes(NamedTuple):
    """Sizes of the arrays of one channel."""

    horizon: int
    lags: int
    features: int  # length of z
    experts: int  # forecasts that are mixed
    depth: int  # values that are kept
    hidden: int
    averages: int  # running averages among the features
    extra: int  # features that the spec adds, which all channels share


def sizes(spec: RNNSpec) -> Sizes:
    """Return the sizes that a spec asks for."""
    horizon, longest = spec.horizon or 1, max(spec.period, default=0)
    if spec.lags == "auto":
        within = [period + 4 for period in spec.period if _LAGS - 4 < period <= _LONGEST_PERIOD]
        lags = max([_LAGS, *within])
    else:
        lags = spec.lags
    seasonal = horizon * sum(period > lags for period in spec.period)
    extra = spec.inputs - spec.dim
    averages = 0 if spec.memory == "auto" else spec.memory
    features = 1 + (lags - 1) + 1 + averages + seasonal + extra + spec.units
    mixed = constants.GENERAL + constants.PER_SEASON * len(spec.period) + 1
    depth = max(lags, constants.SEASONS * longest + horizon) + 1
    return Sizes(horizon, lags, features, mixed, depth, spec.units, averages, extra)


def time_constants(lags: int, count: int) -> NDArray[np.float64]:
    """Return the time constants of the running averages: ``count`` from ``lags`` to 10⁴, at equal ratios."""
    first, exact = Decimal(lags), Context(prec=40)
    ratio = max(Decimal(constants.SLOWEST) / first, Decimal(1))
    steps = [Decimal(k) / max(count - 1, 1) for k in range(count)]
    return np.array([float(round(first * exact.power(ratio, step), 1)) for step in steps])


def layout(spec: RNNSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``layout`` and ``matrices`` of the GRU. Its targets are the gradients of its state."""
    inputs, hidden = _INPUTS + spec.inputs - spec.dim, max(spec.units, 1)
    return memory.network_layout("gru", inputs, hidden, 1, hidden)


def window_slots(spec: RNNSpec) -> int:
    """Return the number of slots of a window: pairs, waiting samples, and the state after the last one."""
    return K2 + (spec.horizon or 1) + 1 if spec.units else 0


def replayed_slots(spec: RNNSpec) -> int:
    """Return the number of slots of the windows that may be replayed."""
    return constants.REPLAYED * K2 if spec.replay else 0


def shapes(spec: RNNSpec) -> dict[str, tuple[type[Any], tuple[int, ...]]]:
    """Return dtype and shape of the state arrays."""
    own, streams, channels = sizes(spec), spec.keys or 1, spec.dim
    each, every = (channels, own.horizon), (streams, channels)
    return {
        "readout.weights": (np.float64, (channels, own.features, own.horizon)),
        "readout.covariance": (np.float64, (channels, own.features, own.features)),
        "readout.error_size": (np.float64, each),
        "readout.pairs": (np.int64, (channels, 2)),
        "mix.losses": (np.float64, (*each, own.experts)),
        "mix.weights": (np.float64, (*each, own.experts)),
        "mix.errors": (np.float64, (*each, 2)),
        "bands.errors": (np.float32, (*each, constants.RING)),
        "bands.ordered": (np.float32, (*each, constants.RING)),
        "bands.counts": (np.int64, each),
        "bands.levels": (np.float64, (*each, constants.LEVELS)),
        "bands.miss": (np.float64, each),
        "stream.position": (np.int64, (streams,)),
        "stream.history": (np.float64, (*every, own.depth)),
        "stream.first": (np.int64, (*every, 1)),
        "stream.statistics": (np.float64, (*every, 7)),
        "stream.averages": (np.float64, (*every, own.averages)),
        "stream.features": (np.float64, (*every, own.horizon, own.features)),
        "stream.origins": (np.float64, (*every, own.horizon, 4)),
        "stream.forecasts": (np.float32, (*every, own.horizon, 4, own.horizon)),
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
    return values + spec.dim * WIDTH * (window + network) + relations.state_values(spec.dim, spec.keys or 1)


def row_costs(spec: RNNSpec) -> list[Cost]:
    """Return the work of one sample: all channels, and the updates that it completes."""
    own, channels = sizes(spec), spec.dim
    m, horizon = own.features, own.horizon
    seasons = ("period",) if spec.period else ()
    forecast = DOUBLE * m * horizon + SCALAR * (horizon * (2 * own.experts + 4) + own.lags)
    learning = DOUBLE * (2 * m * m + 3 * m * horizon) + SCALING * m
    evaluation = horizon * (SCALAR * (2 * own.experts + 12 + constants.RING // 8) + EXPONENTIAL * own.experts)
    names = ("dim", "horizon", "lags", *seasons)
    found = [
        Cost((spec.keys or 0) * SCALAR, ("keys",)),
        *relations.row_costs(channels),
        Cost(channels * forecast, names),
        Cost(channels * (learning + evaluation), names, learning=True),
    ]
    if spec.units:
        net = layout(spec)
        step = costs.forward(net)
        update = K2 * (step + costs.backward(net)) + costs.update(net)
        replay = ("replay",) if spec.replay else ()
        slots = 2 * WIDTH * int(net[0][memory.WINDOW_ROWS]) * window_slots(spec)
        found += [
            Cost(channels * step, ("hidden", "dim")),
            Cost(channels * slots, ("hidden", "dim", "horizon"), learning=True),
            Cost(channels * update * (1 + spec.replay), ("hidden", "dim", *replay), learning=True),
        ]
    return found
