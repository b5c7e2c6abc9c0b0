"""``sl.RNN``: recurrent nets that forecast a stream, trained by truncated backpropagation through time."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from types import MappingProxyType, ModuleType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from ...errors import BadValue
from ...kernels import compiler
from ...kernels.arguments import in_order
from ...kernels.forecast import bands as band_kernels
from ...kernels.forecast import forecaster, target
from ...kernels.forecast import one_sample as least_squares_step
from ...kernels.recurrent import evaluation, lags, memory_layout, rollout, tbptt, windows
from ...kernels.recurrent import one_sample as adam_step
from ...kernels.simd import splitmix
from ...kernels.simd.blocks import WIDTH
from .. import base, lane_layout
from ..batch import Batch, Float32, Integers, Targets, part
from ..locking import locked
from ..one_sample import Learner, SingleSamples
from ..outputs import Explanation, RecurrentTargetOutputs, RNNOutputs
from ..state_checks import ANY_INTEGER, LARGEST_COUNT, Range, State, invalid_codes
from ..stream.scaling import Statistics
from . import one_sample, relations
from .bands import Bands
from .base import NO_IDS, Recurrent, mean_or_nan
from .continuing import Continuing
from .keyed_queries import Arrays, Run, by_key
from .rnn_spec import RNNSpec


class RNN(Continuing, SingleSamples, Recurrent):
    """Forecasts of the next samples, or predictions of a target from a sample and all samples before it.

    By default it forecasts each channel by recursive least squares on recent values and the state of a
    small GRU, mixed with the naive forecasts. With ``readout="adam"``, for other targets and for symbols,
    it is a recurrent network trained by truncated backpropagation through time (TBPTT).

    Notes
    -----
    Read-out 'rls': set ``period`` if the stream has a season, and ``horizon`` for more than one step.
    Nothing else is needed: it scales by itself. ``lower`` and ``upper`` are the bands of the forecasts.
    Read-out 'adam':

    - cells: 'elman' h_t = tanh(W_x·x_t + W_h·h_{t−1} + b); 'lstm' and 'gru' with PyTorch's gates and
      names; 'rtu', complex linear units h_t = λ∘h_{t−1} + γ∘B·x_t, λ = exp(e^ν(−1 + iφ)), γ = 1 − e^(−e^ν)
    - training: every k₁ samples, one update on the mean loss of the last k₂ pairs of input and target.
      The hidden state is carried and never restarted; the gradient stops k₂ steps back

    ``learn`` returns in ``prediction[i]`` the forecast of sample i made before it arrived (NaN for the
    first sample), or the prediction of its target. ``predict`` continues from the live state and returns
    the forecast after sample i. ``error`` and ``score`` compare sample i, or its target, with the
    prediction made before it. With ``horizon=H``, ``prediction`` has shape (n, H, dim) and ``error``
    compares the first step.

    A missing input is replaced by the net's own forecast, or by the channel's mean so far; a missing
    target has no loss. A gradient that is not finite skips its update. With ``keys``, parameters,
    scaling and quality are shared, and each key has a hidden state and window of its own. Quality:
    ``mae``, ``rmse`` (units of the target), ``mase`` (error relative to repeating the last value), or
    ``log_loss`` and ``accuracy`` for classes; ``updates``, ``skipped_updates``, ``gradient_norm``.

    References
    ----------
    J. L. Elman, Finding structure in time, Cognitive Science 14, 179–211, 1990. S. Hochreiter and J.
    Schmidhuber, Long short-term memory, Neural Computation 9, 1735–1780, 1997. K. Cho et al., Learning
    phrase representations using RNN encoder–decoder, EMNLP 2014 (GRU). TBPTT(k₁, k₂): R. J. Williams
    and J. Peng, An efficient gradient-based algorithm for on-line training of recurrent network
    trajectories, Neural Computation 2, 490–501, 1990.

    Examples
    --------
    >>> import numpy as np
    >>> import streamlearn as sl
    >>> wave = np.sin(np.arange(2000) / 5)[:, None]
    >>> forecaster = sl.RNN(dim=1, horizon=3)
    >>> forecaster.learn(wave).upper.shape
    (2000, 3, 1)
    >>> net = sl.RNN(readout="adam", dim=1, hidden=8, seed=1)
    >>> out = net.learn(wave)
    >>> bool(out.error[-100:].mean() < 0.1 < out.error[1:100].mean())
    True
    """

    kind: ClassVar[str] = "rnn"
    may_hold_nan: ClassVar[tuple[str, ...]] = (
        *("last_values", "predictions", relations.RECENT),
        *Bands.may_hold_nan,
    )
    may_hold_inf: ClassVar[tuple[str, ...]] = ("predictions", *Bands.may_hold_inf)  # forecasts may overflow
    Spec: ClassVar[type[RNNSpec]] = RNNSpec
    plain = MappingProxyType({"readout": "adam"})
    outputs_class = RNNOutputs
    spec: RNNSpec

    _by_readout: ClassVar[dict[str, type[RNN]]] = {}

    def __init_subclass__(cls, readout: str | None = None, **options: Any) -> None:
        """Register the subclass of a learner: ``RNN(…)`` creates an instance of it."""
        super().__init_subclass__(**options)
        if readout is not None:
            RNN._by_readout[readout] = cls

    def __new__(cls, /, **parameters: Any) -> Self:
        """Return an instance of the subclass that the read-out needs, as ``pathlib.Path`` does."""
        chosen = cls._by_readout.get(cls.valid_spec(parameters).learner, cls)
        return typing.cast("Self", super().__new__(chosen))

    @classmethod
    def unused_kernels(cls, spec: RNNSpec) -> set[ModuleType]:
        """Return kernel modules that the kind needs, and no model with this spec."""
        every = set().union(*_KERNELS.values())
        return super().unused_kernels(spec) | (every - _KERNELS[spec.learner])

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(splitmix, tbptt, rollout)
        k1, k2 = self.spec.tbptt
        state, zeros = self.state, self._zeros
        slots, room = self._slots.count, self.spec.window_slots
        state["progress"] = np.zeros((slots, 3), np.int64)
        state["window"] = zeros(memory_layout.WINDOW_ROWS, slots, room)
        activations = zeros(memory_layout.ACTIVATION_ROWS, room if self.spec.needs_replay else k2)
        if not self.spec.needs_replay:
            state["activations"] = activations
        if self._forecasts:
            columns, ahead = self.dim, self.spec.horizon or 1
        else:
            columns, ahead = self._target_columns, 1
            self._target_statistics = self._add(
                Statistics("targets", self._target_method, self._target_columns)
            )
        self._compares_channels = self.spec.compares_channels
        relations.add(state, self.dim if self._compares_channels else 0, slots)
        state["last_values"] = np.full((slots, ahead, columns), np.nan, np.float32)
        if self.accepts_late_targets:
            state["waiting.ids"] = np.zeros((slots, room), np.int64)
            state["waiting.numbers"] = np.zeros((slots, room), np.int64)
        if self.accepts_late_targets or ahead > 1:
            state["predictions"] = np.zeros((slots, room, self.outputs), np.float32)
        if self.spec.record_lags:
            state["lag_norms"] = np.zeros((3, k2))
        self._initialize()

        self._bands: Bands | None = None
        if self.spec.band_coverage is not None:
            self._bands = self._add(Bands(self.spec.band_coverage, slots, *self.spec.band_shape))
        delay = self.spec.max_waiting
        waiting = ahead if self._forecasts else delay
        self.ranges |= {
            "progress": Range(0, (k2 - 1, k1 - 1, waiting)),
            "waiting.ids": ANY_INTEGER,
            "waiting.numbers": Range(-1, LARGEST_COUNT),
            **relations.RANGES,
        }
        # The kernels' arguments that stay: arrays of the state, constants of the spec, scratch.
        target_kind, replay = windows.TARGETS[self.spec.target], self.spec.needs_replay
        lag_decay = base.decay_per_sample(self.spec.memory_samples, k1)
        none = np.zeros((slots, 0), np.int64)
        scratch_rows = tbptt.scratch_rows(self._layout, k2, replay, self.spec.record_lags)
        arguments = self._kernel_arguments((target_kind, k1, k2, ahead, delay, replay), (lag_decay,)) | {
            **relations.arguments(state),
            "progress": state["progress"],
            "window": state["window"],
            "waiting_ids": state.get("waiting.ids", none),
            "waiting_numbers": state.get("waiting.numbers", none),
            "predictions": state.get("predictions", np.zeros((slots, 0, self.outputs), np.float32)),
            "activations": activations,
            "lag_norms": state.get("lag_norms", np.zeros((3, 0))),
            "scratch": lane_layout.zeros(scratch_rows, WIDTH),
        }
        self._learn_arguments = in_order(tbptt.learn.py_func, arguments)
        self._predict_arguments = in_order(rollout.predict.py_func, arguments)

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe keys and numbers of pairs that do not fit, and symbols that do not exist."""
        yield from super().inconsistencies(state)
        k1, k2 = self.spec.tbptt
        earlier = state["progress"][:, windows.PAIRS] - state["progress"][:, windows.SINCE]
        if ((earlier < 0) | (earlier > k2 - k1)).any():
            yield "'progress' has numbers of pairs that do not fit each other"
        if self.spec.symbols is not None:  # an input is a 1, or 0 if it is missing, and the symbol's number
            inputs = state["window"][:, :, 0, :2]
            yield from invalid_codes("window", inputs[..., 0], 2)
            yield from invalid_codes("window", inputs[..., 1], self.spec.symbols)
            if np.isnan(inputs).any():
                yield "'window' has a NaN in place of a symbol"

    # -- learning ----------------------------------------------------------------------------------------

    @property
    def _forecasts(self) -> bool:
        return self.spec.target == "next"

    @property
    def target_dim(self) -> int:
        """Columns of ``y``; 0 if the net forecasts the next sample."""
        return 0 if self._forecasts else self._target_columns

    def _learn(self, batch: Batch) -> RNNOutputs:
        rate = self._schedules.advance(batch)["learning_rate"]
        out = self._step_through(batch, rate, _LEARN_SAMPLES)
        self._undo_rest(batch, len(out))
        return out

    def _step_through(self, batch: Batch, rate: Float32, mode: Integers) -> RNNOutputs:
        slots, new_stream = self._slots.assign(batch.keys, batch.rows)
        y = self.channels_of(batch.x) if batch.y is None else batch.y
        ids = NO_IDS if batch.ids is None else batch.ids
        rows, outputs = self._run(batch.x, y, slots, new_stream, ids, rate, mode)
        if self._bands is not None:
            done = y[:rows], slots[:rows], new_stream[:rows], outputs["watched"]
            outputs |= self._bands.observe(outputs["prediction"], *done)
        if rows < batch.rows:
            self._slots.correct(part(batch, 0, rows).keys)
        del outputs["sample"]
        return self._shaped(RNNOutputs.unchecked(outputs, rows))

    def _learn_late_targets(self, targets: Targets, learning: bool) -> RecurrentTargetOutputs:
        rows, mode = targets.rows, _LEARN_TARGETS if learning else _ANSWER_TARGETS
        slots, new_stream = self._slots.find(targets.keys, rows), np.zeros(rows, np.bool_)
        no_samples = np.empty((0, self.inputs), np.float32)
        rate = np.full(rows, self._schedules.current()["learning_rate"], np.float32)
        _, outputs = self._run(no_samples, targets.y, slots, new_stream, targets.ids, rate, mode)
        del outputs["present"]
        if self._bands is not None and learning:
            known = outputs["sample"] >= 0  # of the rows that were done
            found, no = np.flatnonzero(known), np.zeros(np.count_nonzero(known), np.bool_)
            self._bands.observe(outputs["prediction"][found], targets.y[found], slots[found], no, no)
        return RecurrentTargetOutputs(**outputs)

    def _run(
        self, x: Float32, y: Float32, slots: Integers, *others: NDArray[Any]
    ) -> tuple[int, dict[str, NDArray[Any]]]:
        """Call ``tbptt.learn``. Return the number of rows done, and their outputs by name."""
        n = len(y)
        outputs = self._empty_outputs(n)
        outputs["sample"] = np.empty(n, np.int64)
        outputs["watched"] = np.empty(n, np.bool_)
        contribution, distance = self._new_explanation(n, self.explained), self._new_distance(n)
        rows = tbptt.learn(
            *(x, y, slots, *others, *self._learn_arguments, self.interrupt, self._gate),
            *(*outputs.values(), contribution, distance),
        )
        if self.explains_learning:
            outputs["contribution"] = contribution
        if self._compares_channels:
            outputs["distance"] = distance
        if rows < n:
            outputs = {name: array[:rows] for name, array in outputs.items()}
        return rows, outputs

    def _single_learner(self) -> Learner | None:
        return one_sample.adam(self) if one_sample.fits(self) else None

    def predict_validated(self, batch: Batch) -> RNNOutputs:
        """Return the outputs for a batch, from the live state on. Does not change the model."""
        return self._shaped(RNNOutputs.unchecked(self._by_key(batch, self._rollout), batch.rows))

    def explain_validated(self, batch: Batch) -> Explanation:
        """Return the explanation of a batch, from the live state on. Does not change the model."""
        return Explanation(**self._by_key(batch, self._explained_rollout))

    def _by_key(self, batch: Batch, run: Run) -> Arrays:
        y = batch.y
        if y is None:
            y = self.channels_of(batch.x) if self._forecasts else _NO_TARGETS
        return by_key(run, batch.x, y, batch.keys, self._slots)

    def _rollout(self, x: Float32, y: Float32, slot: int) -> Arrays:
        none = np.empty((0, self.explained), np.float32)
        outputs = self._run_on(x, y, slot, _SAMPLES, none, none)
        return outputs if self._bands is None else outputs | self._bands.around(outputs["prediction"])

    def _explained_rollout(self, x: Float32, y: Float32, slot: int) -> Arrays:
        expected, contribution = (np.empty((len(x), self.explained), np.float32) for _ in range(2))
        outputs = self._run_on(x, y, slot, _SAMPLES, expected, contribution)
        return {"expected": expected, "contribution": contribution, "score": outputs["score"]}

    def _run_on(
        self, x: Float32, y: Float32, slot: int, mode: tuple[Any, ...], *explained: Float32
    ) -> Arrays:
        """Call ``rollout.predict``. Return its outputs by name."""
        outputs, distance = self._empty_outputs(len(x)), self._new_distance(len(x))
        arguments = *self._predict_arguments, *mode, *outputs.values(), *explained, distance
        rollout.predict(x, y, slot, *arguments)
        return outputs | {"distance": distance} if self._compares_channels else outputs

    def _run_free(
        self, field: str, n: int, temperature: float, seed: int, key: int | str | None
    ) -> tuple[Float32, Float32]:
        """Run ``n`` steps on the net's own forecasts. Return the inputs and the forecasts.

        ``field`` is the name of ``n`` for errors.
        """
        keys = self._read_keys(key, 1)
        slot = int(self._slots.find(keys, 1)[0])
        if not self._forecasts or slot < 0 or not self.state["progress"][slot, windows.WAITING]:
            raise BadValue(
                "the network has no forecast to continue: it needs target='next' and at least one learned"
                " sample of this stream"
            )
        self._check_size(field, n, max(self.inputs, self.outputs))
        x = np.full((n, self.inputs), np.nan, np.float32)
        none = np.empty((0, self._target_columns), np.float32)
        free = 1, np.float32(temperature), np.array([seed], np.uint64)
        return x, self._run_on(x, none, slot, free, none, none)["prediction"]

    def _forecast(self, steps: int, key: int | str | None, times: Integers | None) -> Arrays:
        horizon = self.spec.horizon or 1
        if self.spec.features is None or steps <= horizon:
            made = self._run_free("steps", steps, 0.0, 0, key)[1]
        else:
            made = self._run_on_features(steps, key, times)
        forecast = made[:, : self.spec.symbols or self.dim].copy()
        direct = made[:1].reshape(-1, forecast.shape[1])[:steps]
        forecast[: len(direct)] = direct
        found = {"forecast": forecast}
        if self._bands is not None:
            for name, bound in self._bands.around(made[:1]).items():
                found[name] = np.full_like(forecast, np.nan)
                found[name][: len(direct)] = bound.reshape(-1, self.dim)[:steps]
        return found

    def _run_on_features(self, steps: int, key: int | str | None, times: Integers | None) -> Float32:
        """Run on with the features of the forecasts: a copy of the net watches each as the next sample."""
        made = np.empty((steps, self.outputs), np.float32)
        made[0] = self._run_free("steps", 1, 0.0, 0, key)[1]
        if times is None:
            times = self._later_times(key, steps, needed=True)
        twin = self.from_spec(self.spec_dict())
        twin.replace_state(self.state)
        twin.pause()
        keys = self._read_keys(key, 1)
        for step in range(1, steps):
            at = None if times is None else times[step - 1 : step]
            twin.learn_validated(Batch(made[step - 1 : step, : self.dim].copy(), keys=keys, times=at))
            made[step] = twin._run_free("steps", 1, 0.0, 0, key)[1]
        return made

    def _empty_outputs(self, n: int) -> dict[str, NDArray[Any]]:
        """Return the arrays of ``RNNOutputs``, in the order of the kernels' parameters."""
        return {
            "prediction": np.empty((n, self.outputs), np.float32),
            "error": np.empty(n, np.float32),
            "score": np.empty(n, np.float32),
            "present": np.empty(n, np.int32),
        }

    def _new_distance(self, rows: int) -> Float32:
        """Return an array for the output ``distance``, with no rows if the net does not compare channels."""
        return np.empty(rows if self._compares_channels else 0, np.float32)

    def _shaped(self, out: RNNOutputs) -> RNNOutputs:
        """Shape predictions and bands of a horizon to (n, horizon, dim)."""
        if self.spec.horizon is not None:
            for name in {"prediction", "lower", "upper"} & out.arrays.keys():
                out.arrays[name] = out.arrays[name].reshape(-1, self.spec.horizon, self.dim)
        return out

    def _quality(self) -> dict[str, Any]:
        """Return the quality of a recurrent network, with errors by step, gradients and waiting samples."""
        found = super()._quality()
        if self.spec.horizon is not None:
            steps = self.state["quality"].reshape(5, self.spec.horizon, self.dim)
            found["mae_by_step"] = [
                mean_or_nan(step[evaluation.ABSOLUTE, seen] / step[evaluation.COUNT, seen])
                for step in steps.swapaxes(0, 1)
                for seen in [step[evaluation.COUNT] > 0]
            ]
        if self.spec.record_lags:
            found["gradient_by_lag"] = self.gradient_by_lag.tolist()
        if self.accepts_late_targets:
            found["waiting"] = int(self.state["progress"][:, windows.WAITING].sum())
        return found

    @property
    @locked
    def gradient_by_lag(self) -> NDArray[np.float64]:
        """Norm of the loss gradient by lag, float64 of shape (k₂,): how far back the net learns.

        Entry j is ‖∂L_t/∂s_{t−j}‖, the mean over recent updates (``half_life``). L_t is the loss of the last
        step of a window, s the state: h, and c of an LSTM. Empty before the first update and without
        ``record_lags``.
        """
        norms = self.state.get("lag_norms", np.zeros((3, 0)))
        seen = norms[lags.LAG_WEIGHT] > 0
        return np.asarray(norms[lags.LAG_SUM, seen] / norms[lags.LAG_WEIGHT, seen])

    def _reset_states(self) -> None:
        for name in ("window", "activations", "progress"):
            if name in self.state:
                self.state[name][...] = 0


_KERNELS = {  # by learner
    "adam": {tbptt, rollout, adam_step, band_kernels},
    "rls": {forecaster, least_squares_step},
    "rls target": {target, least_squares_step},
}

# Values of ``mode``, see kernels/recurrent/tbptt.py
_LEARN_SAMPLES = np.array([1, 1])
_LEARN_TARGETS, _ANSWER_TARGETS = np.array([0, 1]), np.array([0, 0])
_NO_TARGETS = np.empty((0, 1), np.float32)
_SAMPLES = 0, np.float32(1), np.zeros(1, np.uint64)  # of a rollout that does not run free

from . import least_squares_target  # noqa: E402, F401 (registers itself, and needs this module)
