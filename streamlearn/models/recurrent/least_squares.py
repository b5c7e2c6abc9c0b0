"""``sl.RNN(readout="rls")``: naive forecasts and least squares, mixed for each channel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import BadSpec, BadValue
from ...kernels import compiler
from ...kernels.arguments import in_order, names_in_order
from ...kernels.forecast import forecaster, mix, records, state_net
from ...kernels.forecast.sizes import REPLAYED
from ...kernels.recurrent import memory_layout, optimizers, windows
from ...kernels.simd import splitmix
from ...kernels.simd.blocks import WIDTH
from ...kernels.stream import gate
from ...kernels.stream.interrupt_words import NEVER
from .. import base, lane_layout
from ..base import Model
from ..batch import NO_CONTRIBUTION, Batch, Float32, Integers, part
from ..one_sample import Learner
from ..outputs import RNNOutputs
from ..readable import Part
from ..state_checks import ANY_INTEGER, COUNT, LARGEST_COUNT, LARGEST_FLOAT, Range, State
from ..stream.keys import Slots
from . import bands, forecaster_sizes, one_sample, relations, state_dict
from .forecaster_sizes import K1, K2
from .keyed_queries import Arrays
from .rnn import RNN

_RATE = 3e-4  # of Adam, for the GRU
# Of the naive forecasts but the last value. A drift or a season of a few samples is often chance. Where it is
# real, it makes up for that within tens of samples
_NAIVE_START_LOSS = 8.0
_SCALE_HALF_LIFE, _MIX_HALF_LIFE = 500.0, 50.0

# Values of ``mode``, see kernels/forecast/forecaster.py
_NO_TARGETS = np.empty((0, 0), np.float32)
_LEARN, _WATCH, _PREDICT = np.array([1, 0]), np.array([0, 0]), np.array([0, 1])

# State arrays by the kernel's names of them: what all streams share, and what each has
SHARED = {
    "weights": "readout.weights",
    "covariance": "readout.covariance",
    "error_size": "readout.error_size",
    "pairs": "readout.pairs",
    "losses": "mix.losses",
    "mix_weights": "mix.weights",
    "mix_errors": "mix.errors",
    "band_errors": "bands.errors",
    "band_ordered": "bands.ordered",
    "band_counts": "bands.counts",
    "band_levels": "bands.levels",
    "band_miss": "bands.miss",
    "parameters": "net.parameters",
    "mean": "net.mean",
    "square": "net.square",
    "clock": "net.clock",
    "counters": "net.counters",
}
# Those of replay, which a model has only if it replays
REPLAY = {
    "replay_windows": "replay.windows",
    "replay_count": "replay.count",
    "replay_random": "replay.random",
    "replay_counters": "replay.counters",
}
REPLAY_RANGES = {"replay.count": COUNT, "replay.random": ANY_INTEGER, "replay.counters": COUNT}
_OF_A_STREAM = {
    "position": "stream.position",
    "history": "stream.history",
    "first": "stream.first",
    "statistics": "stream.statistics",
    "averages": "stream.averages",
    "feature_rows": "stream.features",
    "origins": "stream.origins",
    "forecasts": "stream.forecasts",
    "progress": "net.progress",
    "window": "net.window",
    "relation_recent": relations.RECENT,
    "relation_usual": relations.USUAL,
}


class LeastSquaresRNN(RNN, readout="rls"):
    """An ``RNN`` whose read-out learns by recursive least squares."""

    # Forecasts and bands that were not made, and channels without a value so far
    may_hold_nan: ClassVar[tuple[str, ...]] = ("stream.forecasts", relations.RECENT)
    may_hold_inf: ClassVar[tuple[str, ...]] = ()
    _of_a_stream: ClassVar[dict[str, str]] = _OF_A_STREAM

    def __init__(self, /, **parameters: Any) -> None:
        Model.__init__(self, **parameters)
        compiler.ready(splitmix, forecaster)
        spec, state = self.spec, self.state
        self._sizes = own = forecaster_sizes.sizes(spec)
        self._blocks = {}  # parameters of PyTorch
        self.outputs = own.horizon * self.dim
        for name, (dtype, shape) in forecaster_sizes.shapes(spec).items():
            state[name] = np.zeros(shape, dtype)
        state["readout.covariance"][...] = np.eye(own.features) / spec.strength
        state["mix.losses"][..., 1:] = _NAIVE_START_LOSS
        state["mix.losses"][..., -1] = mix.START_LOSS
        state["mix.weights"][...] = 1.0 / own.experts
        state["bands.miss"][...] = self._constants()[records.MISS]
        state["stream.first"][...] = records.NONE
        state["stream.forecasts"][...] = np.nan
        state["quality"] = np.zeros((5, self.outputs))
        relations.add(state, self.dim, spec.keys or 1)
        self._add_networks(self.dim)
        self._slots = Slots(state, spec.keys)
        self.ranges |= self._slots.ranges | {
            "readout.pairs": COUNT,
            "bands.counts": COUNT,
            "bands.miss": Range(0, 1),
            "bands.levels": Range(0, LARGEST_FLOAT),
            "stream.position": COUNT,
            "stream.first": Range(records.NONE, LARGEST_COUNT),
            "net.progress": Range(0, (K2 - 1, K1 - 1, own.horizon)),
            "net.counters": COUNT,
            **REPLAY_RANGES,
            "quality": Range(0, LARGEST_FLOAT),
            **relations.RANGES,
        }
        residual = 0 if spec.residual is False else 1
        rule = [own.horizon, own.lags, own.features, own.hidden, K1, K2, residual, own.extra, int(spec.mix)]
        rule.append(spec.replay)
        layout, matrices = forecaster_sizes.layout(spec)
        arguments = {
            "rule": np.array(rule, np.int64),
            "constants": self._constants(),
            "periods": np.array(spec.period, np.int64),
            "time_constants": forecaster_sizes.time_constants(own.lags, own.averages),
            **{argument: state[name] for argument, name in (SHARED | _OF_A_STREAM).items()},
            **self._replay,
            "layout": layout,
            "matrices": matrices,
            **self._score.arguments,
            "quality": state["quality"],
            **relations.arguments(state),
            "samples": state["samples"],
            "scratch": lane_layout.zeros(state_net.scratch_rows(layout, K2), WIDTH),
            "vectors": np.zeros(forecaster.vector_values(own.horizon, own.features)),
        }
        self._order_arguments(forecaster.learn.py_func, arguments)

    def _order_arguments(self, kernel: Any, arguments: dict[str, NDArray[Any]]) -> None:
        """Put the arguments of ``kernel`` in order, and note the places of those that a query copies."""
        self._learn_arguments = in_order(kernel, arguments)
        order = names_in_order(kernel, arguments)
        self._stream_places = [(order.index(name), arguments[name]) for name in self._of_a_stream]
        self._other_places = [(order.index(name), arguments[name]) for name in ("quality", "samples")]

    def _constants(self) -> NDArray[np.float64]:
        """Return ``constants`` of the kernel, see kernels/forecast/records.py."""
        spec = self.spec
        scale_gain = 1.0 - base.decay_per_sample(_SCALE_HALF_LIFE)
        mix_decay, miss = base.decay_per_sample(_MIX_HALF_LIFE), 1.0 - (spec.band_coverage or 0.0)
        rule = self.decay, spec.strength, spec.error_limit, scale_gain, self.decay
        return np.array([*rule, miss, bands.GAIN, _RATE, mix_decay])

    def _add_networks(self, groups: int) -> None:
        """Add the GRUs to the state, with the initial parameters of PyTorch: uniform in ±1/√hidden."""
        hidden, state, sizes = self._sizes.hidden, self.state, self.spec.sizes_module
        layout, matrices = sizes.layout(self.spec)
        rows = int(layout[memory_layout.PARAMETER_ROWS]) if hidden else 0
        for name in ("net.parameters", "net.mean", "net.square"):
            state[name] = lane_layout.zeros(groups, rows, WIDTH)
        state["net.clock"] = np.tile([1.0, 1.0, 0.0], (groups, 1))
        state["net.counters"] = np.zeros((groups, 2), np.int64)
        state["net.progress"] = np.zeros((self.spec.keys or 1, 3), np.int64)
        slots = sizes.window_slots(self.spec)
        window = self.spec.keys or 1, groups, slots, int(layout[memory_layout.WINDOW_ROWS])
        state["net.window"] = lane_layout.zeros(*window, WIDTH)
        generator = np.array([self.spec.seed], np.uint64)
        if hidden:
            bound = np.float32(1 / np.sqrt(hidden))
            for parameters in state["net.parameters"]:
                for name, block in state_dict.parameter_blocks(layout, matrices).items():
                    if not name.startswith("head."):
                        values = np.empty(block.shape, np.float32)
                        splitmix.fill_uniform(generator, -bound, bound, values.reshape(-1))
                        block.pack(values, parameters)
        self._add_replay(groups, int(layout[memory_layout.WINDOW_ROWS]), generator)

    def _add_replay(self, groups: int, rows: int, generator: NDArray[np.uint64]) -> None:
        """Add the windows to replay, and the model's random numbers; to the state if it replays."""
        count = REPLAYED if self.spec.replay else 0
        arrays: dict[str, NDArray[Any]] = {
            "replay.windows": lane_layout.zeros(groups, count, K2, rows, WIDTH),
            "replay.count": np.zeros(1, np.int64),
            "replay.random": generator.view(np.int64),
            "replay.counters": np.zeros((groups, 2), np.int64),
        }
        if self.spec.replay:
            self.state.update(arrays)
        self._replay = {argument: arrays[name] for argument, name in REPLAY.items()}
        self._replay["replay_random"] = arrays["replay.random"].view(np.uint64)

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe keys, numbers of samples and numbers of pairs that do not fit each other."""
        yield from Model.inconsistencies(self, state)
        yield from self._slots.inconsistencies(state)
        progress, position = state["net.progress"], state["stream.position"]
        earlier = progress[:, windows.PAIRS] - progress[:, windows.SINCE]
        waiting = np.minimum(position, self._sizes.horizon) if self._sizes.hidden else 0 * position
        if ((earlier < 0) | (earlier > K2 - K1)).any() or (progress[:, windows.WAITING] != waiting).any():
            yield "'net.progress' has numbers of pairs that do not fit each other"
        if (state["stream.first"][..., 0] >= np.maximum(position, 0)[:, None]).any():
            yield "'stream.first' has the number of a sample that was not learned"

    # -- learning ----------------------------------------------------------------------------------------

    @property
    def target_dim(self) -> int:
        """Columns of ``y``: 0, because the next samples are forecast."""
        return 0

    def _learn(self, batch: Batch) -> RNNOutputs:
        self._schedules.advance(batch)
        out = self._step_through_samples(batch, _LEARN)
        self._undo_rest(batch, len(out))
        return out

    def _single_learner(self) -> Learner | None:
        return one_sample.least_squares(self) if one_sample.fits(self) else None

    def _step_through_samples(self, batch: Batch, mode: Integers) -> RNNOutputs:
        slots, new_stream = self._slots.assign(batch.keys, batch.rows)
        contribution = self._new_explanation(batch.rows, self.explained)
        live = self._learn_arguments, self.interrupt, self._gate, contribution
        y = _NO_TARGETS if batch.y is None else batch.y
        rows, outputs = self._call(batch.x, y, slots, new_stream, mode, *live)
        if self.explains_learning:
            outputs["contribution"] = contribution[:rows]
        if rows < batch.rows:
            self._slots.correct(part(batch, 0, rows).keys)
        return self._shaped(RNNOutputs.unchecked(outputs, rows))

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
        extra = x[:, self.dim :]
        if extra.size:
            extra = np.nan_to_num(extra)
        rows = forecaster.learn(
            *(self.channels_of(x), slots, new_stream, extra, mode, *arguments, interrupt, gate),
            *(*outputs.values(), contribution),
        )
        return rows, outputs if rows == len(x) else {name: array[:rows] for name, array in outputs.items()}

    def _empty_outputs(self, n: int) -> dict[str, NDArray[Any]]:
        """Return the arrays of ``RNNOutputs``, in the order of the kernel's parameters."""
        shape = n, self._sizes.horizon, self.explained
        return {
            "prediction": np.empty(shape, np.float32),
            "lower": np.empty(shape, np.float32),
            "upper": np.empty(shape, np.float32),
            "error": np.empty(n, np.float32),
            "distance": np.empty(n, np.float32),
            "score": np.empty(n, np.float32),
            "present": np.empty(n, np.int32),
        }

    def _shaped(self, out: RNNOutputs) -> RNNOutputs:
        """Without ``horizon``, shape predictions and bands to (n, outputs)."""
        if self.spec.horizon is None:
            for name in ("prediction", "lower", "upper"):
                out.arrays[name] = out.arrays[name].reshape(-1, self.outputs)
        return out

    # -- prediction --------------------------------------------------------------------------------------

    def _rollout(self, x: Float32, y: Float32, slot: int) -> Arrays:
        return self._watch(x, y, slot, _PREDICT)

    def _explained_rollout(self, x: Float32, y: Float32, slot: int) -> Arrays:
        contribution = np.empty((len(x), self.explained), np.float32)
        outputs = self._watch(x, y, slot, _WATCH, contribution)
        expected = np.ascontiguousarray(outputs["prediction"][:, 0])
        return {"expected": expected, "contribution": contribution, "score": outputs["score"]}

    def _watch(
        self, x: Float32, y: Float32, slot: int, mode: Integers, contribution: Float32 = NO_CONTRIBUTION
    ) -> Arrays:
        """Run over ``x`` on a copy of the stream ``slot``; −1 for a new stream."""
        arguments, known = list(self._learn_arguments), max(slot, 0)
        for place, array in self._stream_places:
            arguments[place] = array[known : known + 1].copy()
        for place, array in self._other_places:
            arguments[place] = array.copy()
        new_stream = np.zeros(len(x), np.bool_)
        new_stream[:1] = slot < 0
        slots = np.zeros(len(x), np.int64)
        outputs = self._call(x, y, slots, new_stream, mode, arguments, NEVER, gate.OPEN, contribution)[1]
        del outputs["watched"]
        return outputs

    def _forecast(self, steps: int, key: int | str | None, times: Integers | None) -> Arrays:
        """Return the forecasts of the horizon. Then each forecast is the next sample."""
        slot = int(self._slots.find(self._read_keys(key, 1), 1)[0])
        made = slot >= 0 and (self.state["stream.first"][slot] != records.NONE).any()
        if not made:
            raise BadValue(
                "the network has no forecast to continue: it needs one learned sample of this stream"
            )
        last = (self.state["stream.position"][slot] - 1) % self._sizes.horizon
        made = self.state["stream.forecasts"][slot, :, last, :, :steps]  # (dim, kinds, steps of the horizon)
        direct, half = made[:, records.MIXED].T, made[:, records.HALF_WIDTH].T
        forecast = np.full((steps, self.dim), np.nan, np.float32)
        forecast[: len(direct)] = direct
        if steps > len(direct):
            x = self._with_later_features(forecast, key, times)
            later = self._watch(x, _NO_TARGETS, slot, _PREDICT)["prediction"]
            forecast[len(direct) :] = later[len(direct) - 1 : -1, 0]
        found = {"forecast": forecast, "lower": np.full_like(forecast, np.nan)}
        found["upper"] = found["lower"].copy()
        found["lower"][: len(direct)], found["upper"][: len(direct)] = direct - half, direct + half
        if self.mix_of:
            found["mix"] = np.full((steps, self.dim, len(self.mix_of)), np.nan, np.float32)
            found["mix"][: len(direct)] = self._mix_weights()[:steps]
        return found

    def _with_later_features(self, x: Float32, key: int | str | None, times: Integers | None) -> Float32:
        """Add the features of the next samples: those of the calendar, which need no values."""
        if self._features is None:
            return x
        if times is None:
            times = self._later_times(key, len(x), needed=True)
        present = Batch(np.zeros_like(x), keys=self._read_keys(key, len(x)), times=times)
        return np.hstack([x, self._features.preview(present).x[:, self.dim :]])

    # -- quality -----------------------------------------------------------------------------------------

    def _quality(self) -> dict[str, Any]:
        """Return errors, coverage and weights of the mix, and what the read-out has learned."""
        found = self._errors()
        counters = self.state["net.counters"].sum(axis=0)
        return found | {
            "mix": self.state["mix.weights"].mean(axis=0).tolist(),
            "mix_of": list(self._mixed_forecasts()),
            "pairs": int(self.state["readout.pairs"][:, records.LEARNED].sum()),
            "restarts": int(self.state["readout.pairs"][:, records.RESTARTS].sum()),
            "updates": int(counters[optimizers.UPDATES]),
            "skipped_updates": int(counters[optimizers.SKIPPED]),
            **self._replay_quality(),
            **self._slots.quality(),
        }

    def _replay_quality(self) -> dict[str, int]:
        """Return the number of updates on replayed windows; nothing without replay."""
        if not self.spec.replay:
            return {}
        counters = self.state["replay.counters"].sum(axis=0)
        return {
            "replayed_updates": int(counters[optimizers.UPDATES]),
            "skipped_replayed_updates": int(counters[optimizers.SKIPPED]),
        }

    @property
    def mix_of(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the forecasts that are mixed, in the order of their weights; empty without a mix."""
        return self._mixed_forecasts() if self.spec.mix else ()

    def _mixed_forecasts(self) -> tuple[str, ...]:
        """Return the names of the forecasts that have weights."""
        seasonal = ("season {}", "season {} moved", "median of 3 seasons {}")
        seasons = [name.format(period) for period in self.spec.period for name in seasonal]
        return "last value", "last value with drift", *seasons, "read-out"

    def _parts(self) -> dict[str, Part]:
        """Add the weights of the mix."""
        parts, weights = super()._parts(), self.state["mix.weights"]
        if self.mix_of:
            parts["mix"] = Part(
                {"mix": weights.size * 4},
                lambda: {"mix": self._mix_weights()},
                lambda: {"mix_of": list(self.mix_of)},
                work=weights.size,
            )
        return parts

    def _mix_weights(self) -> Float32:
        """Return the weights of the mix, ``(horizon, columns, forecasts)``."""
        return np.ascontiguousarray(self.state["mix.weights"].swapaxes(0, 1), np.float32)

    def load_parameters(self, source: state_dict.Source) -> None:
        """Raise BadSpec: PyTorch has no such network."""
        raise BadSpec("readout='rls' has no parameters of PyTorch; set readout='adam' for a network that has")

    def _reset_states(self) -> None:
        raise AssertionError("there are no parameters to load")

    @property
    def gradient_by_lag(self) -> NDArray[np.float64]:
        """Empty: the norm of the gradient by lag is recorded with ``readout="adam"``."""
        return np.zeros(0)
