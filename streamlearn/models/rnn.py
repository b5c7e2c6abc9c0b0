"""``sl.RNN``: recurrent nets that forecast a stream, trained by truncated backpropagation through time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from streamlearn_client.outputs import Outputs

from ..errors import BadShape, BadSpec, BadValue
from ..kernels import compiler, optim, plan, rng, tbptt
from ..kernels.lanes import WIDTH
from . import base, layout, schedule
from .base import Float32, Model
from .layout import blocks
from .schedule import Decay, Positive, Schedule

Steps = Annotated[int, Field(ge=1, le=1 << 16)]


class RNNSpec(base.Spec):
    hidden: int = Field(ge=1, le=1 << 14, description="units of a layer")
    cell: Literal["elman", "lstm"] = Field("lstm", description="what a unit is")
    layers: int = Field(1, ge=1, le=64, description="layers of units, each on the one before")
    tbptt: tuple[Steps, Steps] = Field((16, 16), description="update every k1 pairs, through the last k2")
    optimizer: Literal["sgd", "adam"] = "adam"
    learning_rate: Schedule = Field(Decay(0.02, 0.003, 5000.0), description="ε(t) of the optimizer")
    loss: Literal["mse", "huber"] = "mse"
    delta: Positive = Field(1.0, description="huber: errors beyond it count in proportion, not squared")
    target: Literal["next", "given"] = Field("next", description="forecast the next sample, or a given y")
    outputs: int | None = Field(None, ge=1, le=1 << 20, description="columns of y; dim for target='next'")
    residual: bool = Field(False, description="next: the read-out is the change from the last sample")
    clip: Positive | None = Field(None, description="the gradient's norm is cut to this")

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
        net, _ = self.plan
        rows = 3 * net[plan.PARAMETER_ROWS]
        rows += (k2 + 1) * (net[plan.WINDOW_ROWS] + net[plan.TRACE_ROWS])
        if rows * WIDTH > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the net needs more than {base.MAX_STATE_VALUES} values; take a smaller hidden, layers or k2"
            )
        return self

    @property
    def plan(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The network as kernels see it."""
        outputs = self.dim if self.target == "next" else self.outputs or 1
        return plan.plan(self.cell, self.dim, self.hidden, self.layers, outputs, self.residual)


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
        self._given = self.spec.target == "given"
        self._places = _places(self.spec, matrices, self.outputs)
        k1, k2 = self.spec.tbptt

        def rows(which: int, *slots: int) -> Float32:
            room = layout.empty(*slots, int(net[which]), WIDTH)
            room[...] = 0
            return room

        state = self.state
        state["parameters"] = rows(plan.PARAMETER_ROWS)
        if self.spec.optimizer == "adam":
            state["adam.mean"] = rows(plan.PARAMETER_ROWS)
            state["adam.square"] = rows(plan.PARAMETER_ROWS)
        state["clock"] = np.array([1.0, 1.0, 0.0])
        state["counters"] = np.zeros(5, np.int64)
        state["window"] = rows(plan.WINDOW_ROWS, k2 + 1)
        trace = rows(plan.TRACE_ROWS, k2)
        if k1 == k2:
            state["trace"] = trace
        if self._given:
            state["scale.targets"] = np.zeros((3, self.outputs))
        state["last"] = np.full(self.outputs, np.nan, np.float32)
        state["quality"] = np.zeros((5, self.outputs))
        self._start()

        # The kernels' arguments: the state's arrays, constants of the spec, and scratch.
        none = np.zeros((0, WIDTH), np.float32)
        network = net, matrices, state["parameters"]
        moments = state.get("adam.mean", none), state.get("adam.square", none), state["clock"]
        memory = state["counters"], state["window"]
        replay = rows(plan.WINDOW_ROWS, k2 + 1 if k1 < k2 else 0)
        back = replay, rows(plan.TRANSPOSED_ROWS), rows(plan.WINDOW_ROWS), rows(plan.PARAMETER_ROWS)
        rate = optim.OPTIMIZERS[self.spec.optimizer], schedule.as_array(self.spec.learning_rate)
        clip = math.inf if self.spec.clip is None else self.spec.clip
        huber = np.float32(self.spec.delta if self.spec.loss == "huber" else math.inf)
        rule = tbptt.TARGETS[self.spec.target], self.method, self.spec.scale_clip, self.decay
        statistics = state["scale.statistics"], state.get("scale.targets", state["scale.statistics"])
        judged = *rule, *statistics, state["score.tree"], state["score.head"]
        live = state["samples"], state["last"], state["quality"]
        self._learns_with = (
            *network,
            *moments,
            *memory,
            trace,
            *back,
            k1,
            k2,
            *rate,
            clip,
            huber,
            *judged,
            *live,
        )
        self._predicts_with = *network, *memory, *judged

    # -- learning ----------------------------------------------------------------------------------------

    @property
    def target_dim(self) -> int:
        return self.outputs if self._given else 0

    def _learn(self, x: Float32, y: Float32 | None = None) -> Outputs:
        out = self._room(len(x))
        tbptt.learn(x, x if y is None else y, *self._learns_with, *out.arrays.values())
        return out

    def predict_validated(self, x: Float32) -> Outputs:
        out = self._room(len(x))
        tbptt.predict(x, *self._predicts_with, *out.arrays.values())
        return out

    def _room(self, n: int) -> Outputs:
        """Room for what is said of ``n`` samples, in the kernels' order."""
        return Outputs(
            prediction=np.empty((n, self.outputs), np.float32),
            error=np.empty(n, np.float32),
            score=np.empty(n, np.float32),
            channels=np.empty(n, np.int32),
        )

    def _quality(self) -> dict[str, float]:
        """In the stream's own units: ``mae`` and ``rmse`` over all outputs. ``mase``: the mean over outputs
        of the absolute error as a share of persistence's (the last value again). ``updates``,
        ``skipped_updates`` (gradient not finite) and the last ``gradient_norm``, before clipping."""
        quality, counters = self.state["quality"], self.state["counters"]
        told = quality[:, quality[tbptt.COUNT] > 0]
        varied = quality[:, quality[tbptt.PERSISTENCE] > 0]
        return {
            "mae": _mean(told[tbptt.ABSOLUTE] / told[tbptt.COUNT]),
            "rmse": math.sqrt(_mean(told[tbptt.SQUARED] / told[tbptt.COUNT])),
            "mase": _mean(varied[tbptt.OURS] / varied[tbptt.PERSISTENCE]),
            "updates": int(counters[tbptt.UPDATES]),
            "skipped_updates": int(counters[tbptt.SKIPPED]),
            "gradient_norm": float(self.state["clock"][optim.NORM]),
        }

    # -- parameters, as PyTorch names and shapes them ----------------------------------------------------

    @property
    def parameters(self) -> Mapping[str, Float32]:
        """Every parameter by its name in PyTorch, in its shape there; read-only copies. Inputs and outputs
        are scaled ones if the net scales."""
        found = {name: place.values(self.state["parameters"]) for name, place in self._places.items()}
        for values in found.values():
            values.flags.writeable = False
        return MappingProxyType(found)

    def load_parameters(self, mapping: Mapping[str, ArrayLike]) -> None:
        """Take over parameters by their names in PyTorch; ``parameters`` lists the names and shapes.

        The net's memory starts anew, for it means nothing to other parameters: hidden state, window and
        optimizer moments. What it knows of the stream stays: scaling, score, quality and counts.

        Raises BadSpec (names), BadShape or BadValue (not finite), whichever comes first, telling every
        problem, and then changes nothing.
        """
        shapes = {name: place.shape for name, place in self._places.items()}
        names = [f"'{name}' is missing" for name in shapes if name not in mapping]
        names += [f"'{name}' is unknown" for name in mapping if name not in shapes]
        given = {name: np.asarray(mapping[name], np.float32) for name in shapes if name in mapping}
        wrong = [
            f"'{n}' has shape {a.shape}, not {shapes[n]}" for n, a in given.items() if a.shape != shapes[n]
        ]
        values = [f"'{name}' is not finite" for name, array in given.items() if not np.isfinite(array).all()]
        problems = names + wrong + values
        if problems:
            kind = BadSpec if names else BadShape if wrong else BadValue
            raise kind(f"not the parameters of this net: {'; '.join(problems)}", problems=problems)
        for name in ("window", "trace", "adam.mean", "adam.square"):
            if name in self.state:
                self.state[name][...] = 0
        self.state["clock"][...] = 1.0, 1.0, 0.0
        self.state["counters"][[tbptt.PAIRS, tbptt.SINCE, tbptt.PENDING]] = 0
        for name, place in self._places.items():
            place.put(given[name], self.state["parameters"])

    def _start(self) -> None:
        """Initial parameters: uniform in ±1/√hidden, as PyTorch's."""
        generator = np.array([self.spec.seed], np.uint64)
        bound = np.float32(1 / math.sqrt(self.spec.hidden))
        for place in self._places.values():
            values = np.empty(place.shape, np.float32)
            rng.fill_uniform(generator, -bound, bound, values.reshape(-1))
            place.put(values, self.state["parameters"])


@dataclass(frozen=True)
class _Place:
    """Where a parameter has its rows: ``(blocks, inputs, gates, 16)`` from row ``first`` on."""

    first: int
    gates: int
    units: int
    inputs: int | None  # None for a bias

    @property
    def shape(self) -> tuple[int, ...]:
        """As PyTorch has it: gate after gate."""
        sums = self.gates * self.units
        return (sums,) if self.inputs is None else (sums, self.inputs)

    @property
    def end(self) -> int:
        return self.first + blocks(self.units) * (self.inputs or 1) * self.gates

    def put(self, values: Float32, rows: Float32) -> None:
        """Lay ``values`` out in their rows; lanes without a unit are 0."""
        lanes = np.zeros((self.gates, blocks(self.units) * WIDTH, self.inputs or 1), np.float32)
        lanes[:, : self.units] = values.reshape(self.gates, self.units, -1)
        folded = lanes.reshape(self.gates, -1, WIDTH, self.inputs or 1).transpose(1, 3, 0, 2)
        rows[self.first : self.end] = folded.reshape(-1, WIDTH)

    def values(self, rows: Float32) -> Float32:
        """A copy of what ``put`` laid out."""
        folded = rows[self.first : self.end].reshape(-1, self.inputs or 1, self.gates, WIDTH)
        lanes = folded.transpose(2, 0, 3, 1).reshape(self.gates, -1, self.inputs or 1)
        return lanes[:, : self.units].reshape(self.shape).copy()


def _places(spec: RNNSpec, matrices: NDArray[np.int64], outputs: int) -> dict[str, _Place]:
    """Every parameter by its name in PyTorch, in PyTorch's order."""
    found: dict[str, _Place] = {}
    for layer in range(spec.layers):
        pair = list(zip(("ih", "hh"), matrices[2 * layer : 2 * layer + 2].tolist(), strict=True))
        for name, m in pair:
            place = m[plan.FIRST], m[plan.GATES], spec.hidden, m[plan.INPUTS]
            found[f"weight_{name}_l{layer}"] = _Place(*place)
        for name, m in pair:
            found[f"bias_{name}_l{layer}"] = _Place(m[plan.BIAS], m[plan.GATES], spec.hidden, None)
    head = matrices[-1].tolist()
    found["head.weight"] = _Place(head[plan.FIRST], 1, outputs, spec.hidden)
    found["head.bias"] = _Place(head[plan.BIAS], 1, outputs, None)
    return found


def _mean(values: NDArray[np.float64]) -> float:
    """NaN where there is nothing to take the mean of."""
    return float(values.mean()) if values.size else math.nan
