"""``sl.RNN``: recurrent nets that forecast a stream, trained by truncated backpropagation through time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from streamlearn_client.outputs import Outputs

from ..errors import BadValue
from ..kernels import compiler, optim, plan, rng, scale, tbptt
from ..kernels.lanes import WIDTH
from . import base, layout, schedule, state_dict
from .base import Model
from .batch import Batch, Float32
from .schedule import Decay, Positive, Schedule

Steps = Annotated[int, Field(ge=1, le=1 << 16)]
Count = Annotated[int, Field(ge=2, le=1 << 16)]

_MOMENTS = {"mean": "moments.mean", "square": "moments.square"}  # m and v of kernels/optim.py
_HAS_MEAN, _HAS_SQUARE = ("momentum", "adam"), ("rmsprop", "adam")


class RNNSpec(base.Spec):
    hidden: int = Field(ge=1, le=1 << 14, description="units of a layer")
    cell: Literal["elman", "lstm", "gru"] = Field("lstm", description="what a unit is")
    layers: int = Field(1, ge=1, le=64, description="layers of units, each on the one before")
    tbptt: tuple[Steps, Steps] = Field((16, 16), description="update every k1 pairs, through the last k2")
    optimizer: Literal["sgd", "momentum", "rmsprop", "adam"] = "adam"
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum: what a step keeps of the one before")
    learning_rate: Schedule = Field(Decay(0.02, 0.003, 5000.0), description="ε(t) of the optimizer")
    loss: Literal["mse", "huber", "cross_entropy"] = "mse"
    delta: Positive = Field(1.0, description="huber: errors beyond it count in proportion, not squared")
    target: Literal["next", "given"] = Field("next", description="forecast the next sample, or a given y")
    outputs: int | None = Field(None, ge=1, le=1 << 20, description="columns of y; dim for target='next'")
    residual: bool = Field(False, description="next: the read-out is the change from the last sample")
    symbols: Count | None = Field(None, description="a sample is one number, a symbol 0 … symbols − 1")
    classes: Count | None = Field(None, description="cross_entropy, given: y is a class 0 … classes − 1")
    clip: Positive | None = Field(None, description="the gradient's norm is cut to this")
    lags: bool = Field(False, description="keep the gradient's norm by lag, at the cost of one more way back")

    @model_validator(mode="after")
    def _fits(self) -> RNNSpec:
        k1, k2 = self.tbptt
        if k2 < k1:
            raise ValueError(
                f"tbptt=(k1, k2) needs k2 ≥ k1, or pairs would never be learned; got ({k1}, {k2})"
            )
        if schedule.bounds(self.learning_rate)[0] < 0:
            raise ValueError("learning_rate must not be negative")
        if self.target == "next" and self.outputs not in (None, self.dim):
            raise ValueError(f"with target='next' the outputs are the {self.dim} channels: leave outputs out")
        if self.target != "next" and self.residual:
            raise ValueError("residual is for target='next': a change needs a last value to start from")
        self._fits_symbols()
        net, _ = self.plan
        rows = 3 * net[plan.PARAMETER_ROWS]
        rows += (k2 + 1) * (net[plan.WINDOW_ROWS] + net[plan.TRACE_ROWS])
        if rows * WIDTH > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the net needs more than {base.MAX_STATE_VALUES} values; take a smaller hidden, layers or k2"
            )
        return self

    def _fits_symbols(self) -> None:
        probable = self.loss == "cross_entropy"
        if self.symbols is not None and (self.dim != 1 or self.scale is not None or self.residual):
            raise ValueError("a symbol is a name: symbols needs dim=1, and neither scale nor residual")
        if self.target == "next" and probable != (self.symbols is not None):
            raise ValueError("with target='next', loss='cross_entropy' and symbols=… go together")
        if (self.classes is not None) != (probable and self.target == "given"):
            raise ValueError("classes=… is for loss='cross_entropy' with target='given', which needs it")
        if self.classes is not None and self.outputs is not None:
            raise ValueError("with classes there is one probability for each: leave outputs out")

    @property
    def kinds(self) -> int | None:
        """How many classes a forecast tells apart; None where it is numbers."""
        if self.loss != "cross_entropy":
            return None
        return self.classes if self.target == "given" else self.symbols

    @property
    def plan(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The network as kernels see it."""
        outputs = self.kinds or (self.dim if self.target == "next" else self.outputs or 1)
        return plan.plan(
            self.cell,
            self.dim,
            self.hidden,
            self.layers,
            outputs,
            residual=self.residual,
            symbols=self.symbols,
            classes=self.kinds is not None,
        )


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
    """

    kind: ClassVar[str] = "rnn"
    Spec: ClassVar[type[base.Spec]] = RNNSpec
    spec: RNNSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(rng, tbptt)
        net, matrices = self.spec.plan
        self.outputs = int(net[plan.OUTPUTS])
        self._goals = int(net[plan.GOALS])
        self._given = self.spec.target == "given"
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
        state["counters"] = np.zeros(5, np.int64)
        state["window"] = rows(plan.WINDOW_ROWS, k2 + 1)
        trace = rows(plan.TRACE_ROWS, k2)
        if k1 == k2:
            state["trace"] = trace
        if self._given:
            state["scale.targets"] = np.zeros((3, self._goals))
        state["last"] = np.full(self._goals, np.nan, np.float32)
        state["quality"] = np.zeros((5, self._goals))
        if self.spec.lags:
            state["lags"] = np.zeros((3, k2))
        self._start()

        # The kernels' arguments: the state's arrays, constants of the spec, and scratch.
        none = np.zeros((0, WIDTH), np.float32)
        network = net, matrices, state["parameters"]
        moments = *(state.get(name, none) for name in _MOMENTS.values()), state["clock"]
        memory = state["counters"], state["window"]
        replay = rows(plan.WINDOW_ROWS, k2 + 1 if k1 < k2 else 0)
        back = replay, rows(plan.TRANSPOSED_ROWS), rows(plan.WINDOW_ROWS), rows(plan.PARAMETER_ROWS)
        probe = rows(plan.TRACE_ROWS, k2 if self.spec.lags else 0)
        lags = state.get("lags", np.zeros((3, 0))), base.decay_per_sample(self.spec.half_life / k1)
        rate = optim.OPTIMIZERS[self.spec.optimizer], schedule.as_array(self.spec.learning_rate)
        momentum = np.float32(self.spec.momentum)
        clip = math.inf if self.spec.clip is None else self.spec.clip
        huber = np.float32(self.spec.delta if self.spec.loss == "huber" else math.inf)
        method_y = scale.NONE if self.spec.kinds else self.method
        rule = tbptt.TARGETS[self.spec.target], self.method, method_y, self.spec.scale_clip, self.decay
        statistics = state["scale.statistics"], state.get("scale.targets", state["scale.statistics"])
        judged = *rule, *statistics, state["score.tree"], state["score.head"]
        live = state["samples"], state["last"], state["quality"]
        self._learns_with = (
            *network,
            *moments,
            *memory,
            trace,
            *back,
            probe,
            *lags,
            k1,
            k2,
            *rate,
            momentum,
            clip,
            huber,
            *judged,
            *live,
        )
        self._predicts_with = *network, *memory, *judged

    # -- learning ----------------------------------------------------------------------------------------

    @property
    def target_dim(self) -> int:
        return self._goals if self._given else 0

    def read(self, X: ArrayLike) -> Float32:
        rows = super().read(X)
        return rows if self.spec.symbols is None else _codes("x", rows, self.spec.symbols)

    def read_targets(self, y: ArrayLike) -> Float32:
        rows = super().read_targets(y)
        return rows if self.spec.classes is None else _codes("y", rows, self.spec.classes)

    def _learn(self, batch: Batch) -> Outputs:
        out = self._room(batch.rows)
        tbptt.learn(
            batch.x, batch.x if batch.y is None else batch.y, *self._learns_with, *out.arrays.values()
        )
        return out

    def predict_validated(self, batch: Batch) -> Outputs:
        out = self._room(batch.rows)
        tbptt.predict(batch.x, *self._predicts_with, 0, _ONE, _UNUSED, *out.arrays.values())
        return out

    def forecast(self, steps: int) -> Float32:
        """The next ``steps`` samples, (steps, dim), as the net goes on from the live state with its own
        forecasts for samples (symbols: their probabilities, the most probable one taken). Changes nothing.

        Raises BadValue if the target is not the next sample, or before there is any forecast.
        """
        return self._run_free(steps, 0.0, 0)[1]

    def sample(self, n: int, temperature: float = 1.0, seed: int = 0) -> NDArray[np.int32]:
        """``n`` symbols (n,) drawn as the net goes on from the live state, each fed back. ``temperature``:
        below 1 prefers the probable, 0 takes the most probable, above 1 evens out. Changes nothing.

        Raises BadValue if the net does not forecast symbols, or before there is any forecast.
        """
        if self.spec.symbols is None:
            raise BadValue("symbols can be drawn where a net forecasts them: symbols=…, target='next'")
        if not 0 <= temperature < math.inf:
            raise BadValue(f"temperature is {temperature}; 0 or a positive number was expected")
        return self._run_free(n, temperature, seed)[0][:, 0].astype(np.int32)

    def _run_free(self, n: int, temperature: float, seed: int) -> tuple[Float32, Float32]:
        if self._given or not self.state["counters"][tbptt.PENDING]:
            raise BadValue(
                "there is no forecast to go on from: this takes target='next', and a sample learned before"
            )
        x, out = np.full((n, self.dim), np.nan, np.float32), self._room(n)
        random = np.array([seed], np.uint64)
        tbptt.predict(x, *self._predicts_with, 1, np.float32(temperature), random, *out.arrays.values())
        return x, out.arrays["prediction"]

    def _room(self, n: int) -> Outputs:
        """Room for what is said of ``n`` samples, in the kernels' order."""
        return Outputs(
            prediction=np.empty((n, self.outputs), np.float32),
            error=np.empty(n, np.float32),
            score=np.empty(n, np.float32),
            channels=np.empty(n, np.int32),
        )

    def _quality(self) -> dict[str, Any]:
        """In the stream's own units: ``mae`` and ``rmse`` over all outputs. ``mase``: the mean over outputs
        of the absolute error as a share of persistence's (the last value again). Of classes instead
        ``log_loss``, the mean of −log p in nats, and ``accuracy``, the share of samples whose class was the
        most probable one. ``updates``, ``skipped_updates`` (gradient not finite) and the last
        ``gradient_norm``, before clipping. With ``lags`` also ``gradient_by_lag``."""
        quality, counters = self.state["quality"], self.state["counters"]
        told = quality[:, quality[tbptt.COUNT] > 0]
        varied = quality[:, quality[tbptt.PERSISTENCE] > 0]
        first, second = (_mean(told[row] / told[tbptt.COUNT]) for row in (tbptt.ABSOLUTE, tbptt.SQUARED))
        judged: dict[str, Any] = (
            {"log_loss": first, "accuracy": second}
            if self.spec.kinds
            else {
                "mae": first,
                "rmse": math.sqrt(second),
                "mase": _mean(varied[tbptt.OURS] / varied[tbptt.PERSISTENCE]),
            }
        )
        if self.spec.lags:
            judged["gradient_by_lag"] = self.gradient_by_lag.tolist()
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
        self.state["counters"][[tbptt.PAIRS, tbptt.SINCE, tbptt.PENDING]] = 0
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


_ONE, _UNUSED = np.float32(1), np.zeros(1, np.uint64)


def _codes(name: str, rows: Float32, count: int) -> Float32:
    """``rows``, if they are whole numbers from 0 on, fewer than ``count``, or NaN; raises BadValue."""
    with np.errstate(invalid="ignore"):
        wrong = ~(np.isnan(rows) | ((rows >= 0) & (rows < count) & (rows == np.floor(rows))))
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        raise BadValue(
            f"{name}[{row}, {column}] is {rows[row, column]}; a whole number from 0 to {count - 1} was"
            " expected, or NaN where it is missing",
            row=row,
            column=column,
        )
    return rows


def _mean(values: NDArray[np.float64]) -> float:
    """NaN where there is nothing to take the mean of."""
    return float(values.mean()) if values.size else math.nan
