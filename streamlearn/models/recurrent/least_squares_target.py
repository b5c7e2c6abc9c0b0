"""``sl.RNN(target="given")`` with least squares: a target that comes with its sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import BadValue
from ...kernels import compiler
from ...kernels.forecast import mix, records, sizes, state_net, target
from ...kernels.recurrent import optimizers, windows
from ...kernels.simd import splitmix
from ...kernels.simd.blocks import WIDTH
from ...kernels.stream import error_scale
from .. import lane_layout
from ..base import Model
from ..batch import Float32, Integers
from ..one_sample import Learner
from ..state_checks import COUNT, LARGEST_FLOAT, Range, State
from ..stream.keys import Slots
from . import forecaster_sizes, one_sample, target_sizes
from .forecaster_sizes import K1, K2
from .keyed_queries import Arrays
from .least_squares import REPLAY_RANGES, SHARED, LeastSquaresRNN

# State arrays by the kernel's names of them: what all streams share, and what each has
_SHARED = SHARED | {
    "counts": "scale.counts",
    "feature_scale": "scale.features",
    "target_scale": "scale.targets",
    "ranges": "scale.ranges",
}
_OF_A_STREAM = {
    "position": "stream.position",
    "history": "stream.history",
    "averages": "stream.averages",
    "seen": "stream.seen",
    "raw": "stream.raw",
    "targets": "stream.targets",
    "naive": "stream.naive",
    "forecasts": "stream.forecasts",
    "progress": "net.progress",
    "window": "net.window",
}


class LeastSquaresTarget(LeastSquaresRNN, readout="rls target"):
    """An ``RNN`` that predicts a given target by recursive least squares."""

    may_hold_nan: ClassVar[tuple[str, ...]] = ("stream.forecasts", "stream.targets")  # not made; missing
    _of_a_stream: ClassVar[dict[str, str]] = _OF_A_STREAM

    def __init__(self, /, **parameters: Any) -> None:
        Model.__init__(self, **parameters)
        compiler.ready(splitmix, target)
        spec, state = self.spec, self.state
        self._sizes = own = target_sizes.sizes(spec)  # type: ignore[assignment]
        self._blocks = {}  # parameters of PyTorch
        self._target_columns = own.outputs
        self.outputs = own.columns
        for name, (dtype, shape) in target_sizes.shapes(spec).items():
            state[name] = np.zeros(shape, dtype)
        state["readout.covariance"][...] = np.eye(own.features) / spec.strength
        state["mix.losses"][:, -1] = mix.START_LOSS
        state["mix.weights"][...] = 1.0 / sizes.TARGET_EXPERTS
        state["bands.miss"][...] = self._constants()[records.MISS]
        state["stream.targets"][...] = np.nan
        state["stream.forecasts"][...] = np.nan
        state["quality"] = np.zeros((5, self.outputs))
        state["error_scale"] = np.zeros((error_scale.ROWS, own.outputs))
        self._add_networks(1)
        self._slots = Slots(state, spec.keys)
        self.ranges |= self._slots.ranges | {
            "readout.pairs": COUNT,
            "bands.counts": COUNT,
            "bands.miss": Range(0, 1),
            "bands.levels": Range(0, LARGEST_FLOAT),
            "scale.counts": COUNT,
            "stream.position": COUNT,
            "stream.seen": COUNT,
            "net.progress": Range(0, (K2 - 1, K1 - 1, own.horizon - 1)),
            "net.counters": COUNT,
            **REPLAY_RANGES,
            "quality": Range(0, LARGEST_FLOAT),
            "error_scale": Range(0, LARGEST_FLOAT),
        }
        rule = [own.horizon, own.lags, own.features, own.hidden, K1, K2, 0, own.extra, int(spec.mix)]
        rule.append(spec.replay)
        layout, matrices = target_sizes.layout(spec)
        vectors = target.vector_values(own.columns, own.features, target_sizes.net_inputs(spec))
        arguments = {
            "rule": np.array(rule, np.int64),
            "constants": self._constants(),
            "time_constants": forecaster_sizes.time_constants(own.lags, own.averages),
            **{argument: state[name] for argument, name in (_SHARED | _OF_A_STREAM).items()},
            **self._replay,
            "layout": layout,
            "matrices": matrices,
            **self._score.arguments,
            "quality": state["quality"],
            "error_scale": state["error_scale"],
            "samples": state["samples"],
            "scratch": lane_layout.zeros(state_net.scratch_rows(layout, K2), WIDTH),
            "vectors": np.zeros(vectors),
        }
        self._order_arguments(target.learn.py_func, arguments)

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe keys, numbers of samples and numbers of pairs that do not fit each other."""
        yield from Model.inconsistencies(self, state)
        yield from self._slots.inconsistencies(state)
        progress, position = state["net.progress"], state["stream.position"]
        earlier = progress[:, windows.PAIRS] - progress[:, windows.SINCE]
        waiting = np.minimum(position, self._sizes.horizon - 1) if self._sizes.hidden else 0 * position
        if ((earlier < 0) | (earlier > K2 - K1)).any() or (progress[:, windows.WAITING] != waiting).any():
            yield "'net.progress' has numbers of pairs that do not fit each other"

    @property
    def target_dim(self) -> int:
        """Columns of ``y``."""
        return self._target_columns

    def _empty_outputs(self, n: int) -> dict[str, NDArray[Any]]:
        """Return the arrays of ``RNNOutputs``, in the order of the kernel's parameters."""
        outputs = super()._empty_outputs(n)
        del outputs["distance"]
        return outputs

    def _call(
        self,
        x: Float32,
        y: Float32,
        slots: Integers,
        new_stream: NDArray[np.bool_],
        mode: Integers,
        arguments: Sequence[Any],
        interrupt: NDArray[np.uint8],
        gate: NDArray[np.float64],
        contribution: Float32,
    ) -> tuple[int, dict[str, NDArray[Any]]]:
        """Call the kernel. Return the number of rows done, and their outputs by name."""
        outputs = self._empty_outputs(len(x))
        outputs["watched"] = np.empty(len(x), np.bool_)
        extra = np.ascontiguousarray(x[:, self.dim :])
        if len(y) < len(x):
            y = np.full((len(x), self.target_dim), np.nan, np.float32)
        rows = target.learn(
            *(self.channels_of(x), y, slots, new_stream, extra, mode, *arguments, interrupt, gate),
            *(*outputs.values(), contribution),
        )
        return rows, outputs if rows == len(x) else {name: array[:rows] for name, array in outputs.items()}

    def _single_learner(self) -> Learner | None:
        return one_sample.least_squares_target(self) if one_sample.fits(self) else None

    def _forecast(self, steps: int, key: int | str | None, times: Integers | None) -> Arrays:
        raise BadValue("a network with target='given' predicts y for a sample: use predict")

    def _mixed_forecasts(self) -> tuple[str, ...]:
        """Return the names of the forecasts that have weights."""
        return "last target", "mean target", "read-out"

    def _mix_weights(self) -> Float32:
        """Return the weights of the mix, ``(horizon, columns, forecasts)``."""
        shape = self._sizes.horizon, self._target_columns, sizes.TARGET_EXPERTS
        return self.state["mix.weights"].reshape(shape).astype(np.float32)

    def _quality(self) -> dict[str, Any]:
        """Return errors, the weights of the mix by column, and what the read-out has learned."""
        counters = self.state["net.counters"].sum(axis=0)
        return self._errors() | {
            "mix": self.state["mix.weights"].tolist(),
            "mix_of": list(self._mixed_forecasts()),
            "pairs": int(self.state["readout.pairs"][records.LEARNED]),
            "restarts": int(self.state["readout.pairs"][records.RESTARTS]),
            "updates": int(counters[optimizers.UPDATES]),
            "skipped_updates": int(counters[optimizers.SKIPPED]),
            **self._replay_quality(),
            **self._slots.quality(),
        }
