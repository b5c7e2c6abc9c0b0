"""``sl.RNN``: recurrent nets that forecast a stream, trained by truncated backpropagation through time."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.json_conversion import as_number, as_whole_number
from streamlearn_client.outputs import Outputs

from ...errors import BadValue
from ...kernels import compiler
from ...kernels.recurrent import evaluation, memory_layout, rollout, tbptt
from ...kernels.simd import splitmix
from .. import base
from ..batch import Batch, Float32, Integers, Targets, joined_outputs
from ..outputs import RNNOutputs
from .base import NOBODY, Recurrent, mean
from .rnn_spec import RNNSpec


class RNN(Recurrent):
    """Recurrent network trained by truncated backpropagation through time (TBPTT).

    It forecasts the next samples, or predicts a target from a sample and all samples before it. Layers
    of ``hidden`` units are followed by a linear read-out. Use it if the order of the samples matters.

    Notes
    -----
    - cells: 'elman' h_t = tanh(W_x·x_t + W_h·h_{t−1} + b); 'lstm' and 'gru' with PyTorch's gates and
      names
    - training: every k₁ samples, one update on the mean loss of the last k₂ pairs of input and target.
      The hidden state is carried and never restarted; the gradient stops k₂ steps back

    ``learn`` gives in ``prediction[i]`` what was forecast for sample i before it came (NaN for the
    first), or for its target. ``predict`` runs on from the live state and gives the forecast that
    follows sample i. ``error`` and ``score`` compare sample i, or its target, with the prediction made
    before it. With ``horizon=H``, ``prediction`` has shape (n, H, dim) and ``error`` compares the first
    step.

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
    >>> net = sl.RNN(dim=1, hidden=8, seed=1)
    >>> out = net.learn(wave)
    >>> bool(out.error[-100:].mean() < 0.1 < out.error[1:100].mean())
    True
    >>> net.forecast(3).shape
    (3, 1)
    """

    kind: ClassVar[str] = "rnn"
    Spec: ClassVar[type[base.Spec]] = RNNSpec
    outputs_class = RNNOutputs
    spec: RNNSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(splitmix, tbptt, rollout)
        k1, k2 = self.spec.tbptt
        state, rows = self.state, self._rows
        slots, room = self._slots.count, self.spec.room
        state["progress"] = np.zeros((slots, 3), np.int64)
        state["window"] = rows(memory_layout.WINDOW_ROWS, slots, room)
        trace = rows(memory_layout.TRACE_ROWS, room if self.spec.replays else k2)
        if not self.spec.replays:
            state["trace"] = trace
        if self._forecasts:
            columns, ahead = self.dim, self.spec.horizon or 1
        else:
            columns, ahead = self._goals, 1
            state["scale.targets"] = np.zeros((3, self._goals))
        state["last"] = np.full((slots, ahead, columns), np.nan, np.float32)
        if self.accepts_late_targets:
            state["waiting.ids"] = np.zeros((slots, room), np.int64)
            state["waiting.numbers"] = np.zeros((slots, room), np.int64)
        if self.accepts_late_targets or ahead > 1:
            state["said"] = np.zeros((slots, room, self.outputs), np.float32)
        if self.spec.lags:
            state["lags"] = np.zeros((3, k2))
        self._start()

        # The kernels' arguments: the state's arrays, constants of the spec, and scratch.
        network = self._net, self._matrices, state["parameters"]
        nobody = np.zeros((slots, 0), np.int64)
        waiting = state.get("waiting.ids", nobody), state.get("waiting.numbers", nobody)
        said = state.get("said", np.zeros((slots, 0, self.outputs), np.float32))
        replay = rows(memory_layout.WINDOW_ROWS, k2 + 1 if self.spec.replays else 0)
        back = (
            replay,
            rows(memory_layout.TRANSPOSED_ROWS),
            rows(memory_layout.WINDOW_ROWS),
            rows(memory_layout.PARAMETER_ROWS),
        )
        probe = rows(memory_layout.TRACE_ROWS, k2 if self.spec.lags else 0)
        lags = state.get("lags", np.zeros((3, 0))), base.decay_per_sample(self.spec.half_life, k1)
        target, methods = tbptt.TARGETS[self.spec.target], (self.method, self._method_y)
        optimizer, *step = self._rule()
        rule = np.array([target, *methods, k1, k2, ahead, self.spec.wait, optimizer], np.int64)
        statistics = state["scale.statistics"], state.get("scale.targets", state["scale.statistics"])
        scaling = self.spec.scale_clip, self.decay, *statistics
        scores = state["score.tree"], state["score.head"]
        memory = state["progress"], state["window"]
        values = state["window"].reshape(slots, room, -1)
        learned = rule, *network, *self._moments(), state["counters"], *memory, values, *waiting, said
        steps = trace, *back, probe, *lags, *step
        live = state["samples"], state["last"], state["quality"], state["means"]
        self._learns_with = *learned, *steps, *scaling, *scores, *live
        self._predicts_with = *network, *memory, target, *methods, *scaling, *scores, state["means"]

    # -- learning ----------------------------------------------------------------------------------------

    @property
    def _forecasts(self) -> bool:
        return self.spec.target == "next"

    @property
    def target_dim(self) -> int:
        """Columns of ``y``; 0 if the net forecasts the next sample."""
        return 0 if self._forecasts else self._goals

    def _learn(self, batch: Batch) -> Outputs:
        rate = self._schedules.advance(batch)["learning_rate"]
        return self._step_through(batch, rate, _LEARN)

    def _skip(self, batch: Batch) -> Outputs:
        """Advance the hidden state only."""
        return self._step_through(batch, np.zeros(batch.rows, np.float32), _PASS_BY)

    def _step_through(self, batch: Batch, rate: Float32, mode: Integers) -> Outputs:
        out = self._room(batch.rows)
        place = self._slots.assign(batch.keys, batch.rows)
        goals = batch.x if batch.y is None else batch.y
        ids = NOBODY if batch.ids is None else batch.ids
        sample = np.empty(batch.rows, np.int64)
        said = out.arrays.values()
        tbptt.learn(batch.x, goals, *place, ids, mode, rate, *self._learns_with, *said, sample)
        return self._shaped(out)

    def _learn_late_targets(self, targets: Targets, learning: bool) -> Outputs:
        rows, mode = targets.rows, _LATER if learning else _ANSWER
        out, sample = self._room(rows), np.empty(rows, np.int64)
        place = self._slots.find(targets.keys, rows)
        none, fresh = np.empty((0, self.dim), np.float32), np.zeros(rows, np.bool_)
        rate = np.full(rows, self._schedules.current()["learning_rate"], np.float32)
        tbptt.learn(
            none,
            targets.y,
            place,
            fresh,
            targets.ids,
            mode,
            rate,
            *self._learns_with,
            *out.arrays.values(),
            sample,
        )
        del out.arrays["present"]
        out.arrays["sample"] = sample
        return out

    def predict_validated(self, batch: Batch) -> Outputs:
        """Return the outputs for a batch, run on from the live state. Does not change the model."""
        if batch.keys is None:
            return self._shaped(self._rollout(batch.x, 0))
        # Each key's samples on their own, then all in their order again.
        keys, inverse = np.unique(batch.keys, return_inverse=True)
        slots = self._slots.find(keys, len(keys))
        order = np.argsort(inverse, kind="stable")
        parts = [self._rollout(batch.x[inverse == k], slots[k]) for k in range(len(keys))]
        out = joined_outputs(parts) if parts else self._room(0)
        for array in out.arrays.values():
            array[order] = array.copy()
        return self._shaped(out)

    def _rollout(self, x: Float32, slot: int) -> Outputs:
        out = self._room(len(x))
        rollout.predict(x, slot, *self._predicts_with, 0, _ONE, _UNUSED, *out.arrays.values())
        return out

    def forecast(self, steps: int, key: int | str | None = None) -> Float32:
        """Forecast the next samples from the live state. Does not change the model.

        Steps within ``horizon`` are forecast at once. For later steps the net takes its own forecasts as
        samples.

        Parameters
        ----------
        steps : int
            Number of samples to forecast. Range: at least 1.
        key : int or str, optional
            The stream, for models with ``keys``.

        Returns
        -------
        ndarray of float32, shape (steps, dim) or (steps, symbols)
            The forecast in the stream's own units; for symbols their probabilities.

        Raises
        ------
        BadValue
            If ``target`` is not ``"next"``, before the first sample of the stream, or if ``steps`` is out of
            range.
        """
        told = self._run_free(as_whole_number(steps, "steps"), 0.0, 0, key)[1]
        ahead = told[:, : self.spec.symbols or self.dim].copy()
        at_once = told[:1].reshape(-1, ahead.shape[1])[:steps]
        ahead[: len(at_once)] = at_once
        return ahead

    def sample(
        self, n: int, temperature: float = 1.0, seed: int = 0, key: int | str | None = None
    ) -> NDArray[np.int32]:
        """Draw a continuation of symbols from the live state. Does not change the model.

        Each symbol that is drawn is the next input.

        Parameters
        ----------
        n : int
            Number of symbols to draw. Range: at least 1.
        temperature : float, default 1.0
            Below 1 prefers probable symbols, 0 takes the most probable one, above 1 evens out. Range: at
            least 0.
        seed : int, default 0
            Seed of the draw. Range: 0 to 2⁶³ − 1.
        key : int or str, optional
            The stream, for models with ``keys``.

        Returns
        -------
        ndarray of int32, shape (n,)
            The symbols.

        Raises
        ------
        BadValue
            If the net does not forecast symbols, before the first sample of the stream, or if a number is out
            of range.
        """
        if self.spec.symbols is None or not self._forecasts:
            raise BadValue("symbols can be drawn where a net forecasts them: symbols=…, target='next'")
        if not 0 <= as_number(temperature, "temperature") < math.inf:
            raise BadValue(f"temperature is {temperature}; 0 or a positive number was expected")
        temperature = min(temperature, _HOTTEST)
        return self._run_free(as_whole_number(n, "n"), temperature, as_whole_number(seed, "seed"), key)[0][
            :, 0
        ].astype(np.int32)

    def _run_free(
        self, n: int, temperature: float, seed: int, key: int | str | None
    ) -> tuple[Float32, Float32]:
        keys = self._read_keys(key, 1)
        slot = int(self._slots.find(keys, 1)[0])
        if not self._forecasts or slot < 0 or not self.state["progress"][slot, tbptt.WAITING]:
            raise BadValue(
                "there is no forecast to go on from: this takes target='next', and a sample learned before"
            )
        x, out = np.full((n, self.dim), np.nan, np.float32), self._room(n)
        random = np.array([seed], np.uint64)
        drawn = 1, np.float32(temperature), random
        rollout.predict(x, slot, *self._predicts_with, *drawn, *out.arrays.values())
        return x, out.prediction

    def _room(self, n: int) -> Outputs:
        """Room for what is said of ``n`` samples, in the kernels' order."""
        return Outputs(
            prediction=np.empty((n, self.outputs), np.float32),
            error=np.empty(n, np.float32),
            score=np.empty(n, np.float32),
            present=np.empty(n, np.int32),
        )

    def _shaped(self, out: Outputs) -> Outputs:
        """Of a horizon, every step's forecast by itself."""
        if self.spec.horizon is not None:
            out.arrays["prediction"] = out.prediction.reshape(-1, self.spec.horizon, self.dim)
        return out

    def _quality(self) -> dict[str, Any]:
        """Return the quality of a recurrent network, with errors by step, gradients and waiting samples."""
        judged = super()._quality()
        if self.spec.horizon is not None:
            steps = self.state["quality"].reshape(5, self.spec.horizon, self.dim)
            judged["mae_by_step"] = [
                mean(step[evaluation.ABSOLUTE, there] / step[evaluation.COUNT, there])
                for step in steps.swapaxes(0, 1)
                for there in [step[evaluation.COUNT] > 0]
            ]
        if self.spec.lags:
            judged["gradient_by_lag"] = self.gradient_by_lag.tolist()
        if self.accepts_late_targets:
            judged["waiting"] = int(self.state["progress"][:, tbptt.WAITING].sum())
        return judged

    @property
    def gradient_by_lag(self) -> NDArray[np.float64]:
        """Norm of the loss gradient by lag, float64 of shape (k₂,): how far back the net learns.

        Entry j is ‖∂L_t/∂s_{t−j}‖, the mean over recent updates (``half_life``). L_t is the loss of the last
        step of a window, s the state: h, and c of an LSTM. Empty before the first update and without
        ``lags``.
        """
        lags = self.state.get("lags", np.zeros((3, 0)))
        seen = lags[tbptt.WEIGHT] > 0
        return np.asarray(lags[tbptt.NORMS, seen] / lags[tbptt.WEIGHT, seen])

    def _forget(self) -> None:
        for name in ("window", "trace", "progress"):
            if name in self.state:
                self.state[name][...] = 0


_LEARN, _PASS_BY = np.array([1, 1]), np.array([1, 0])  # kernels/tbptt.py: mode
_LATER, _ANSWER = np.array([0, 1]), np.array([0, 0])  # of targets
_HOTTEST = float(np.finfo(np.float32).max)
_ONE, _UNUSED = np.float32(1), np.zeros(1, np.uint64)
