"""``sl.RNN``: recurrent nets that forecast a stream, trained by truncated backpropagation through time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.outputs import Outputs

from ..errors import BadSpec, BadValue
from ..kernels import compiler, judge, optim, plan, rng, run_on, scale, tbptt
from ..kernels.lanes import WIDTH
from . import base, layout, state_dict
from .base import Model
from .batch import Batch, Float32, Integers, Targets, joined_outputs
from .keys import Slots
from .rnn_spec import RNNSpec
from .rows import as_codes

_MOMENTS = {"mean": "moments.mean", "square": "moments.square"}  # m and v of kernels/optim.py
_HAS_MEAN, _HAS_SQUARE = ("momentum", "adam"), ("rmsprop", "adam")


class RNN(Model):
    """A recurrent net: ``layers`` of ``hidden`` units, then a linear read-out.

    ``RNN(dim=, hidden=, cell=, layers=, tbptt=(k1, k2), optimizer=, learning_rate=, loss=, target=, outputs=,
    clip=, scale=, seed=)``; see ``docs/models.md``, and ``kernels/tbptt.py`` for the rule.

    With ``target="next"``, ``learn(X)`` says in ``prediction[i]`` what was forecast *for* X[i] before it came
    (NaN for the first sample ever); with ``target="given"``, what was predicted for y[i] from X[i].
    With ``residual`` the read-out is the change from the last sample: an untrained net forecasts about what
    persistence does.
    ``predict(X)`` runs on from the live state: ``prediction[i]`` is the forecast *after* X[i], of the sample
    that follows (or of y[i]). ``error[i]`` and ``score[i]`` judge X[i] by the forecast made before it, in
    ``learn`` and ``predict`` alike (or y[i]; NaN without one). Both speak in the stream's own units.

    With ``loss="cross_entropy"`` a prediction is the probabilities of all classes and the error −log of that
    of the one that came, in nats. ``symbols`` makes samples symbols; with ``target="next"`` the net forecasts
    the next one, and ``sample`` draws a continuation.

    So ``predict(x)`` just before ``learn(x, y)`` gives the same prediction, bit for bit, if the target is
    given. If it is the next sample, ``predict(x)`` before ``learn(x)`` gives what ``learn`` will report for
    the sample after x, unless x completes the pair that an update waits for: the update comes first.

    With ``horizon=H`` a forecast is of H samples, ``(n, H, dim)``: prediction[i] of learn is what was
    forecast for X[i] and the H − 1 samples after it; ``error`` and ``score`` judge the first step.
    With ``target="later"`` a y may come with its sample or later, through ``learn_targets``, whose
    ``prediction`` is what was said when the sample came.
    With ``keys=K`` every sample has a key, and each of up to K keys a hidden state and window of its own, the
    parameters being shared. The key heard of longest ago is forgotten for a new one. ``predict`` runs each
    key's samples on from that key's state, as if there were no others.
    """

    kind: ClassVar[str] = "rnn"
    Spec: ClassVar[type[base.Spec]] = RNNSpec
    spec: RNNSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(rng, tbptt, run_on)
        net, matrices = self.spec.plan
        self.outputs = int(net[plan.OUTPUTS])
        self._goals = int(net[plan.GOALS])
        self._places = state_dict.places(net, matrices)
        k1, k2 = self.spec.tbptt

        def rows(which: int, *slots: int) -> Float32:
            room = layout.empty(*slots, int(net[which]), WIDTH)
            room[...] = 0
            return room

        state = self.state
        state["parameters"] = rows(plan.PARAMETER_ROWS)
        if self.spec.optimizer in _HAS_MEAN:
            state[_MOMENTS["mean"]] = rows(plan.PARAMETER_ROWS)
        if self.spec.optimizer in _HAS_SQUARE:
            state[_MOMENTS["square"]] = rows(plan.PARAMETER_ROWS)
        state["clock"] = np.array([1.0, 1.0, 0.0])
        state["counters"] = np.zeros(4, np.int64)
        self._slots = Slots(state, self.spec.keys)
        slots, room = self._slots.count, self.spec.room
        state["progress"] = np.zeros((slots, 3), np.int64)
        state["window"] = rows(plan.WINDOW_ROWS, slots, room)
        trace = rows(plan.TRACE_ROWS, room if self.spec.replays else k2)
        if not self.spec.replays:
            state["trace"] = trace
        if self._forecasts:
            columns, ahead = self.dim, self.spec.horizon or 1
        else:
            columns, ahead = self._goals, 1
            state["scale.targets"] = np.zeros((3, self._goals))
        state["last"] = np.full((slots, ahead, columns), np.nan, np.float32)
        state["quality"] = np.zeros((5, self._goals))
        if self.late:
            state["waiting.ids"] = np.zeros((slots, room), np.int64)
            state["waiting.numbers"] = np.zeros((slots, room), np.int64)
        if self.late or ahead > 1:
            state["said"] = np.zeros((slots, room, self.outputs), np.float32)
        if self.spec.lags:
            state["lags"] = np.zeros((3, k2))
        self._start()

        # The kernels' arguments: the state's arrays, constants of the spec, and scratch.
        none = np.zeros((0, WIDTH), np.float32)
        network = net, matrices, state["parameters"]
        moments = *(state.get(name, none) for name in _MOMENTS.values()), state["clock"]
        nobody = np.zeros((slots, 0), np.int64)
        waiting = state.get("waiting.ids", nobody), state.get("waiting.numbers", nobody)
        said = state.get("said", np.zeros((slots, 0, self.outputs), np.float32))
        replay = rows(plan.WINDOW_ROWS, k2 + 1 if self.spec.replays else 0)
        back = replay, rows(plan.TRANSPOSED_ROWS), rows(plan.WINDOW_ROWS), rows(plan.PARAMETER_ROWS)
        probe = rows(plan.TRACE_ROWS, k2 if self.spec.lags else 0)
        lags = state.get("lags", np.zeros((3, 0))), base.decay_per_sample(self.spec.half_life / k1)
        momentum = np.float32(self.spec.momentum)
        clip = math.inf if self.spec.clip is None else self.spec.clip
        huber = np.float32(self.spec.delta if self.spec.loss == "huber" else math.inf)
        target, methods = (
            tbptt.TARGETS[self.spec.target],
            (self.method, scale.NONE if self.spec.kinds else self.method),
        )
        optimizer = optim.OPTIMIZERS[self.spec.optimizer]
        rule = np.array([target, *methods, k1, k2, ahead, self.spec.wait, optimizer], np.int64)
        statistics = state["scale.statistics"], state.get("scale.targets", state["scale.statistics"])
        scaling = self.spec.scale_clip, self.decay, *statistics
        scores = state["score.tree"], state["score.head"]
        memory = state["progress"], state["window"]
        values = state["window"].reshape(slots, room, -1)
        learned = rule, *network, *moments, state["counters"], *memory, values, *waiting, said
        steps = trace, *back, probe, *lags, momentum, clip, huber
        live = state["samples"], state["last"], state["quality"]
        self._learns_with = *learned, *steps, *scaling, *scores, *live
        self._predicts_with = *network, *memory, target, *methods, *scaling, *scores

    # -- learning ----------------------------------------------------------------------------------------

    @property
    def _forecasts(self) -> bool:
        return self.spec.target == "next"

    @property
    def target_dim(self) -> int:
        return 0 if self._forecasts else self._goals

    @property
    def late(self) -> bool:
        return self.spec.target == "later"

    @property
    def keyed(self) -> bool:
        return self.spec.keys is not None

    def read(self, X: ArrayLike) -> Float32:
        rows = super().read(X)
        return rows if self.spec.symbols is None else as_codes("x", rows, self.spec.symbols)

    def read_targets(self, y: ArrayLike) -> Float32:
        rows = super().read_targets(y)
        return rows if self.spec.classes is None else as_codes("y", rows, self.spec.classes)

    def _learn(self, batch: Batch) -> Outputs:
        rate = self._schedules.follow(batch)[0]
        return self._step_through(batch, rate, _LEARN)

    def _pass_by(self, batch: Batch) -> Outputs:
        """The hidden state goes on, and that is all."""
        return self._step_through(batch, np.zeros(batch.rows, np.float32), _PASS_BY)

    def _step_through(self, batch: Batch, rate: Float32, mode: Integers) -> Outputs:
        out = self._room(batch.rows)
        place = self._slots.assign(batch.keys, batch.rows)
        goals = batch.x if batch.y is None else batch.y
        ids = _NOBODY if batch.ids is None else batch.ids
        sample = np.empty(batch.rows, np.int64)
        said = out.arrays.values()
        tbptt.learn(batch.x, goals, *place, ids, mode, rate, *self._learns_with, *said, sample)
        return self._shaped(out)

    def _learn_targets(self, targets: Targets) -> Outputs:
        rows = targets.rows
        out, sample = self._room(rows), np.empty(rows, np.int64)
        place = self._slots.find(targets.keys, rows)
        none, fresh = np.empty((0, self.dim), np.float32), np.zeros(rows, np.bool_)
        given = none, targets.y, place, fresh, targets.ids, _LATER, np.repeat(self._schedules.now()[0], rows)
        tbptt.learn(*given, *self._learns_with, *out.arrays.values(), sample)
        del out.arrays["channels"]
        out.arrays["sample"] = sample
        return out

    def predict_validated(self, batch: Batch) -> Outputs:
        if batch.keys is None:
            return self._shaped(self._run_on(batch.x, 0))
        # Each key's samples on their own, then all in their order again.
        keys, inverse = np.unique(batch.keys, return_inverse=True)
        slots = self._slots.find(keys, len(keys))
        order = np.argsort(inverse, kind="stable")
        parts = [self._run_on(batch.x[inverse == k], slots[k]) for k in range(len(keys))]
        out = joined_outputs(parts) if parts else self._room(0)
        for array in out.arrays.values():
            array[order] = array.copy()
        return self._shaped(out)

    def _run_on(self, x: Float32, slot: int) -> Outputs:
        out = self._room(len(x))
        run_on.predict(x, slot, *self._predicts_with, 0, _ONE, _UNUSED, *out.arrays.values())
        return out

    def forecast(self, steps: int, key: int | str | None = None) -> Float32:
        """The next ``steps`` samples, (steps, dim), as the net goes on from the live state (of ``key``) with
        its own forecasts for samples (symbols: their probabilities, the most probable one taken). Changes
        nothing.

        Raises BadValue if the target is not the next sample, or before there is any forecast.
        """
        return self._run_free(steps, 0.0, 0, key)[1]

    def sample(
        self, n: int, temperature: float = 1.0, seed: int = 0, key: int | str | None = None
    ) -> NDArray[np.int32]:
        """``n`` symbols (n,) drawn as the net goes on from the live state (of ``key``), each fed back.
        ``temperature``: below 1 prefers the probable, 0 takes the most probable, above 1 evens out. Changes
        nothing.

        Raises BadValue if the net does not forecast symbols, or before there is any forecast.
        """
        if self.spec.symbols is None or not self._forecasts:
            raise BadValue("symbols can be drawn where a net forecasts them: symbols=…, target='next'")
        if not 0 <= temperature < math.inf:
            raise BadValue(f"temperature is {temperature}; 0 or a positive number was expected")
        return self._run_free(n, temperature, seed, key)[0][:, 0].astype(np.int32)

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
        run_on.predict(x, slot, *self._predicts_with, *drawn, *out.arrays.values())
        return x, out.arrays["prediction"][:, : self.spec.symbols or self.dim]

    def _room(self, n: int) -> Outputs:
        """Room for what is said of ``n`` samples, in the kernels' order."""
        return Outputs(
            prediction=np.empty((n, self.outputs), np.float32),
            error=np.empty(n, np.float32),
            score=np.empty(n, np.float32),
            channels=np.empty(n, np.int32),
        )

    def _shaped(self, out: Outputs) -> Outputs:
        """Of a horizon, every step's forecast by itself."""
        if self.spec.horizon is not None:
            out.arrays["prediction"] = out.prediction.reshape(-1, self.spec.horizon, self.dim)
        return out

    def _quality(self) -> dict[str, Any]:
        """In the stream's own units: ``mae`` and ``rmse`` over all outputs. ``mase``: the mean over outputs
        of the absolute error as a share of persistence's (the last value again). Of classes instead
        ``log_loss``, the mean of −log p in nats, and ``accuracy``, the share of samples whose class was the
        most probable one. With ``horizon`` also ``mae_by_step``. ``updates``, ``skipped_updates`` (gradient
        not finite) and the last ``gradient_norm``, before clipping. With ``lags`` also ``gradient_by_lag``.
        With ``target="later"``: how many samples wait, went on without a target (``expired_targets``), and
        how many targets no sample waited for (``unmatched_targets``). With ``keys``: how many there are, and
        how many were forgotten."""
        quality, counters = self.state["quality"], self.state["counters"]
        told = quality[:, quality[judge.COUNT] > 0]
        varied = quality[:, quality[judge.PERSISTENCE] > 0]
        first, second = (_mean(told[row] / told[judge.COUNT]) for row in (judge.ABSOLUTE, judge.SQUARED))
        judged: dict[str, Any] = (
            {"log_loss": first, "accuracy": second}
            if self.spec.kinds
            else {
                "mae": first,
                "rmse": math.sqrt(second),
                "mase": _mean(varied[judge.OURS] / varied[judge.PERSISTENCE]),
            }
        )
        if self.spec.horizon is not None:
            steps = quality.reshape(5, self.spec.horizon, self.dim)
            judged["mae_by_step"] = [
                _mean(step[judge.ABSOLUTE, there] / step[judge.COUNT, there])
                for step in steps.swapaxes(0, 1)
                for there in [step[judge.COUNT] > 0]
            ]
        if self.spec.lags:
            judged["gradient_by_lag"] = self.gradient_by_lag.tolist()
        if self.late:
            judged["waiting"] = int(self.state["progress"][:, tbptt.WAITING].sum())
            judged["expired_targets"] = int(counters[tbptt.EXPIRED])
            judged["unmatched_targets"] = int(counters[tbptt.UNMATCHED])
        judged |= self._slots.quality()
        return judged | {
            "updates": int(counters[tbptt.UPDATES]),
            "skipped_updates": int(counters[tbptt.SKIPPED]),
            "gradient_norm": float(self.state["clock"][optim.NORM]),
        }

    @property
    def gradient_by_lag(self) -> NDArray[np.float64]:
        """How far back the net learns, (k2,): ‖∂L_t/∂s_{t−j}‖ by lag j, where L_t is the last step's share of
        a window's loss and s is what goes on to the next step, h and of an LSTM c; the mean over recent
        updates (``half_life``). Empty before there is any, and without ``lags``."""
        lags = self.state.get("lags", np.zeros((3, 0)))
        seen = lags[tbptt.WEIGHT] > 0
        return np.asarray(lags[tbptt.NORMS, seen] / lags[tbptt.WEIGHT, seen])

    # -- parameters, as PyTorch names and shapes them ----------------------------------------------------

    @property
    def parameters(self) -> Mapping[str, Float32]:
        """Every parameter by its name in PyTorch, in its shape there; read-only copies. Inputs and outputs
        are scaled ones if the net scales."""
        found = {name: place.values(self.state["parameters"]) for name, place in self._places.items()}
        for values in found.values():
            values.flags.writeable = False
        return MappingProxyType(found)

    def load_parameters(self, source: state_dict.Source) -> None:
        """Take over parameters by their names in PyTorch, from a mapping or from a ``.safetensors`` or
        ``.npz`` file; ``parameters`` lists the names and shapes.

        The net's memory starts anew, for it means nothing to other parameters: hidden state, window and
        optimizer moments. What it knows of the stream stays: scaling, score, quality and counts.

        Raises BadSpec (names), BadShape or BadValue (not finite), whichever comes first, telling every
        problem, or BadCheckpoint for a file that is none, and then changes nothing.
        """
        shapes = {name: place.shape for name, place in self._places.items()}
        given = state_dict.check(state_dict.read(source), shapes)
        for name in ("window", "trace", *_MOMENTS.values()):
            if name in self.state:
                self.state[name][...] = 0
        self.state["clock"][...] = 1.0, 1.0, 0.0
        self.state["progress"][...] = 0
        for name, place in self._places.items():
            place.put(given[name], self.state["parameters"])

    def save_parameters(self, path: str | Path) -> None:
        """Write ``parameters`` to a ``.safetensors`` or ``.npz`` file; it is there whole or not at all."""
        state_dict.write(path, self.parameters)

    @classmethod
    def from_state_dict(cls, source: state_dict.Source, **spec: Any) -> Self:
        """A net of the size and parameters of a PyTorch ``state_dict``, a mapping or a ``.safetensors`` or
        ``.npz`` file: of ``nn.RNN`` (tanh), ``nn.GRU`` or ``nn.LSTM``, alone or in a module with a linear
        read-out, which may have any name. Without one the read-out starts as any new net's.

        ``spec`` says the rest. Raises BadSpec for what is no such thing, and as ``load_parameters`` does.
        """
        given, told = state_dict.recognise(state_dict.read(source))
        if told.pop("directions") != 1:
            raise BadSpec("this state_dict is of a net in both directions: sl.BidirectionalRNN takes it")
        outputs = told.pop("outputs", None)
        if spec.get("symbols") is not None:
            told["dim"] = 1
        if spec.get("target") == "given" and spec.get("classes") is None and outputs is not None:
            told["outputs"] = outputs
        net = cls(**{**told, **spec})
        head = {
            name: values for name, values in net.parameters.items() if outputs is None and "head." in name
        }
        net.load_parameters({**given, **head})
        return net

    def _start(self) -> None:
        """Initial parameters: uniform in ±1/√hidden."""
        generator = np.array([self.spec.seed], np.uint64)
        bound = np.float32(1 / math.sqrt(self.spec.hidden))  # as PyTorch's
        for place in self._places.values():
            values = np.empty(place.shape, np.float32)
            rng.fill_uniform(generator, -bound, bound, values.reshape(-1))
            place.put(values, self.state["parameters"])


_LEARN, _PASS_BY, _LATER = np.array([1, 1]), np.array([1, 0]), np.array([0, 1])  # kernels/tbptt.py: mode
_ONE, _UNUSED, _NOBODY = np.float32(1), np.zeros(1, np.uint64), np.zeros(0, np.int64)


def _mean(values: NDArray[np.float64]) -> float:
    """NaN where there is nothing to take the mean of."""
    return float(values.mean()) if values.size else math.nan
