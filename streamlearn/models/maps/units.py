"""Common parts of SOM, Competitive and GrowingNeuralGas: units with weights in the space of the samples."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from functools import partial
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from ...kernels import compiler
from ...kernels.maps import explanation, reseed, winner
from ...kernels.maps import initial_weights as initial_kernels
from ...kernels.maps import units as kernels
from ...kernels.simd import splitmix
from .. import base, lane_layout
from ..accepts import Accepts
from ..base import Model, Spec
from ..batch import Batch, Float32, first_rows, joined_outputs, part
from ..locking import locked
from ..outputs import Explanation, WinnerOutputs
from ..readable import Part, array_part
from ..row_cost import SCALAR, Cost, lanes
from ..sharing import shared
from ..state_checks import State
from ..stream.alarm_spec import DESCRIPTION, Alarm, AlarmOrNone
from ..validation import as_weights
from . import initial_weights
from .common import CommonUnits
from .reseeding import WINDOW, Reseeding

_EXPLAIN_ARGUMENTS = ("weights", "pad", "measure", "method", "statistics", "scale_clip", "common")
# Multiply-adds per unit and channel
_DISTANCE = {"euclidean": 1, "manhattan": 1, "chebyshev": 1, "cosine": 3}


class UnitSpec(Spec):
    """Parameters of a model with units in the space of the samples."""

    distance: Literal["euclidean", "manhattan", "chebyshev", "cosine"] = Field(
        "euclidean",
        description=(
            "Distance between sample and unit. Winner, score and quality use it. 'cosine' compares "
            "directions and ignores sizes: use it for patterns, not for alarms."
        ),
    )
    init: Annotated[
        initial_weights.Init,
        Accepts(
            'Literal["random", "range", "samples"] | NDArray[Any] | Sequence[Sequence[float]]',
            '{"random", "range", "samples"} or array_like of shape (units, dim)',
        ),
    ] = Field(
        "random",
        description=(
            "Initial weights. 'random': uniform in ±1, which is one standard deviation if scaled. "
            "'range': uniform between the smallest and the largest value of each channel among the "
            "first samples. 'samples': first samples themselves. An array: these weights. With "
            "'range' and 'samples' the first init_samples samples are held and not learned; until "
            "then there is no winner (−1)."
        ),
    )
    init_samples: int | None = Field(
        None,
        ge=1,
        le=base.MAX_STATE_VALUES,
        description=(
            "First samples that decide the initial weights, for 'range', 'samples' and 'pca'. None: "
            "one per unit for 'samples', else max(100, 2·dim), at most 1000."
        ),
    )

    alarm: AlarmOrNone = Field(Alarm(), description=DESCRIPTION)
    rare_below: Annotated[float, Field(ge=0, le=1)] = Field(
        0.4,
        description=(
            "A unit is rare if it has won fewer samples than this share of those of an average sample's "
            "winner. The score compares a sample with the nearest unit that is not rare, so a state that is "
            "rare is unusual also if it has units of its own. 0: no unit is rare."
        ),
    )

    can_reseed = True
    adapts_by_reseeding = True
    init_rules: ClassVar[tuple[str, ...]] = ("random", "range", "samples")
    size_parameters: ClassVar[tuple[str, ...]] = ("units",)
    """Parameters that determine the number of units."""

    @property
    def arrangement(self) -> tuple[int, ...]:
        """Shape of the initial weights without the last axis, which is ``inputs``."""
        raise AssertionError("every subclass defines the arrangement of its units")

    @property
    def state_values(self) -> int:
        """Number of values in the large arrays of the state: the weights, the first samples, the window."""
        samples = (self.init_samples or 0) + (WINDOW if self.reseeds else 0)
        return (self.most_units + samples) * self.inputs

    @property
    def most_units(self) -> int:
        """Largest number of units."""
        return math.prod(self.arrangement)

    @property
    def winning_units(self) -> int:
        """Number of units of which one wins each sample."""
        return self.most_units

    def row_costs(self) -> list[Cost]:
        """Add the search for the winner, and the initial weights at the last one of the first samples."""
        units = lanes(self.most_units)
        names = self.size_parameters
        search = Cost(units * (self.inputs * _DISTANCE[self.distance] + SCALAR), (*names, "dim"))
        parts = [*super().row_costs(), search]
        if self.rare_below > 0:
            parts += [search, Cost(units * SCALAR, names, learning=True)]
        if self.reseeds:
            pairs = WINDOW * (units + WINDOW) * (self.inputs * _DISTANCE[self.distance] + SCALAR)
            moves = min(units, WINDOW) * WINDOW * WINDOW
            parts.append(Cost(pairs + moves, ("on_drift", "dim", *names), learning=True))
        if isinstance(self.init, str) and self.init in initial_weights.RULES:
            samples = self.init_samples or initial_weights.default_samples(
                self.init, math.prod(self.arrangement), self.inputs
            )
            work = initial_weights.cost(self.init, samples, math.prod(self.arrangement), self.inputs)
            parts.append(Cost(work, ("init_samples", *names, "dim"), learning=True))
        return parts

    @model_validator(mode="after")
    def _has_valid_init(self) -> UnitSpec:
        shape = (*self.arrangement, self.inputs)
        if math.prod(shape) > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the model has more than {base.MAX_STATE_VALUES} weights; take fewer units or a smaller dim"
            )
        initial_weights.check(self.init, self.init_samples, self.init_rules, shape, base.MAX_STATE_VALUES)
        return self


def _pad(units: int) -> Float32:
    """Return ``(blocks, 16)``: 0 for a unit, +inf for an unused lane, so that it never wins."""
    columns = lane_layout.group_columns(np.zeros((units, 1)))  # (1, blocks, 16)
    return columns.reshape(columns.shape[1:])


class UnitModel(Model):
    """A model of ``units`` weight vectors, in the scaled space if the model scales."""

    units: int
    may_hold_inf: ClassVar[tuple[str, ...]] = CommonUnits.may_hold_inf
    _learn_kernel: Callable[..., int]
    _quality_sums: ClassVar[int] = 2  # length of the kernel's ``quality``
    _grows: ClassVar[bool] = False  # whether units are added and removed; then ``pad`` is part of the state

    @classmethod
    def unused_kernels(cls, spec: UnitSpec) -> set[ModuleType]:
        """Return kernel modules that the kind needs, and no model with this spec."""
        unused = super().unused_kernels(spec) | (set() if spec.reseeds else {reseed})
        collects = isinstance(spec.init, str) and spec.init in initial_weights.RULES
        return unused | (set() if collects else {initial_kernels})

    def _create_units(self, units: int, plane: NDArray[np.float64] | None = None) -> None:
        """Create the arrays of ``units`` units and set the initial weights.

        'random' weights are uniform in [−1, 1): one standard deviation if scaled. ``plane`` ``(units, 2)``:
        the positions of the units on a grid, for 'pca'.
        """
        compiler.ready(splitmix, kernels, explanation)
        spec, state = self.spec, self.state
        weights = np.zeros((units, self.inputs), np.float32)
        self._first: initial_weights.FirstSamples | None = None
        if spec.init == "random":
            generator = np.array([spec.seed], np.uint64)
            splitmix.fill_uniform(generator, np.float32(-1), np.float32(1), weights.reshape(-1))
        elif isinstance(spec.init, str):
            initial = math.prod(spec.arrangement)
            samples = spec.init_samples or initial_weights.default_samples(spec.init, initial, self.inputs)
            self._first = initial_weights.FirstSamples(spec.init, samples, self.inputs, initial, plane)
            state |= self._first.state
            self.ranges |= self._first.ranges
        else:
            given = np.array(spec.init, np.float32).reshape(-1, self.inputs)
            weights[: len(given)] = given
        self.units = units
        self.pad = _pad(units) if self._grows else shared(("pad", units), partial(_pad, units))
        state["weights"] = lane_layout.to_groups(weights)
        self._reseeding: Reseeding | None = None
        if spec.reseeds:
            compiler.ready(reseed)
            self._reseeding = self._add(Reseeding(self.inputs))
        self._common = self._add(CommonUnits(spec.rare_below, units, self.pad))
        state["hits"] = np.zeros(units + 1)
        state["hits"][-1] = 1.0
        state["quality"] = np.zeros(self._quality_sums)
        # Arguments of the kernels by name. The arrays are the state's own: kernels change them in place.
        self._predict_arguments: dict[str, Any] = {
            "weights": state["weights"],
            "pad": self.pad,
            "measure": winner.MEASURES[spec.distance],
            "statistics": self._statistics.rows,
            **self._score.arguments,
            "method": self.method,
            "scale_clip": spec.scale_clip,
            **self._common.predict_arguments,
        }
        self._learn_arguments: dict[str, Any] = {
            **self._predict_arguments,
            **self._common.learn_arguments,
            "samples": state["samples"],
            "hits": state["hits"],
            "quality": state["quality"],
            "decay": self.decay,
            "gate": self._gate,
        }

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Add those of the common units and of the window after an alarm."""
        yield from super().inconsistencies(state)
        yield from self._common.inconsistencies(state)
        if self._reseeding is not None:
            yield from self._reseeding.inconsistencies(state)

    @property
    @abstractmethod
    def weights(self) -> Float32:
        """Weights, one row per unit, ``(…, dim)``, in the scaled space if the model scales."""

    @property
    @locked
    def prototypes(self) -> Float32:
        """Weights in the stream's own units, by the current scaling.

        The shape is that of ``weights``. A read-only copy.
        """
        values = np.array(self.weights, order="C")
        kernels.restore(values.reshape(-1, self.inputs), self._statistics.rows, self.method)
        values.flags.writeable = False
        return values

    @property
    @locked
    def hits(self) -> NDArray[np.float64]:
        """Recent wins of each unit, float64 of shape (units,), forgotten with ``half_life``."""
        return np.asarray(self.state["hits"][:-1] / self.state["hits"][-1])

    @property
    @locked
    def dead_units(self) -> NDArray[np.int64]:
        """Indices of the units that hardly win, int64.

        Their recent wins are at most 1 % of the mean of all units. Before the first sample that is every
        unit.
        """
        hits = self.hits
        return np.flatnonzero(hits <= 0.01 * hits.mean())

    def _learn(self, batch: Batch) -> WinnerOutputs:
        if self._first is None or self._first.complete:
            return self._learn_units(batch)
        if self._watching.shut:
            self.state["samples"] += batch.rows
            self._schedules.advance(batch)
            return self._before_initial_weights(batch.x, watched=True)
        scale = self.method, self._statistics.rows, self.spec.scale_clip
        stored = self._first.store(batch.x, self.state, scale, self.decay, self.spec.seed)
        parts = [self._before_initial_weights(batch.x[:stored], watched=False)]
        return joined_outputs([*parts, self._learn_units(part(batch, stored, batch.rows))])

    def _learn_units(self, batch: Batch) -> WinnerOutputs:
        """Learn the batch; only its first rows if ``interrupt`` is set. The units have initial weights."""
        rows = batch.rows
        out = self._outputs(rows)
        out.arrays["watched"] = np.empty(rows, np.bool_)
        values = self._schedules.advance(batch)
        arguments = self._learn_arguments | values | out.arrays
        expected = self._new_explanation(rows, self.inputs)
        arguments["expected"] = expected
        done = self._learn_kernel(x=batch.x, interrupt=self.interrupt, **arguments)
        if self.explains_learning:
            out.arrays["expected"] = self.channels_of(expected)
        if done < rows:
            self._undo_rest(batch, done)
        if self._reseeding is not None:
            self._reseeding.add(batch.x[:done])
        return out if done == rows else first_rows(out, done)

    def _rows_to_reaction(self) -> int:
        rows = super()._rows_to_reaction()
        return rows if self._reseeding is None else min(rows, self._reseeding.rows_left)

    def _react(self) -> None:
        if self._reseeding is not None and self._reseeding.take_window():
            self._reseed(self._reseeding)
        super()._react()

    def _begin_reseeding(self, level: float) -> None:
        assert self._reseeding is not None
        self._reseeding.begin(level)

    def _reseed(self, window: Reseeding) -> None:
        """Move dead units to where the error in the window is."""
        moved = np.empty(len(window.samples), np.int64)
        count = reseed.reseed(**self._reseed_arguments(window), moved=moved)
        self._forget_units(moved[:count])

    def _reseed_arguments(self, window: Reseeding) -> dict[str, Any]:
        names = "method", "statistics", "scale_clip", "weights", "pad", "measure", "hits"
        return {
            "x": window.samples,
            **{name: self._learn_arguments[name] for name in names},
            "goal": window.goal,
        }

    def _forget_units(self, units: NDArray[np.int64]) -> None:
        """Reset what is known of units that have moved."""
        self._common.forget(units)

    def _restart_score(self) -> None:
        super()._restart_score()
        self._common.begin_again()

    def predict_validated(self, batch: Batch) -> WinnerOutputs:
        """Return the outputs for a batch that ``validate`` returned. Does not change the model."""
        if self._first is not None and not self._first.complete:
            return self._outputs_without_winner(batch.x)
        out = self._outputs(batch.rows)
        kernels.predict(x=batch.x, **self._predict_arguments, **out.arrays)
        return out

    def explain_validated(self, batch: Batch) -> Explanation:
        """Return the explanation of a batch that ``validate`` returned, by the compared units."""
        out = self.predict_validated(batch)
        expected, contribution = np.empty(batch.x.shape, np.float32), np.empty(batch.x.shape, np.float32)
        arguments = {name: self._predict_arguments[name] for name in _EXPLAIN_ARGUMENTS}
        arguments |= {"expected": expected, "contribution": contribution}
        explanation.explain(x=batch.x, winner=out.winner, **arguments)
        return Explanation(
            expected=self.channels_of(expected),
            contribution=self._by_channel(contribution, batch.x),
            score=out.score,
        )

    def _outputs(self, n: int) -> WinnerOutputs:
        """Arrays for the outputs of ``n`` samples."""
        arrays = {
            "winner": np.empty(n, np.int32),
            "distance": np.empty(n, np.float32),
            "score": np.empty(n, np.float32),
            "present": np.empty(n, np.int32),
        }
        return WinnerOutputs.unchecked(arrays, n)

    def _before_initial_weights(self, x: Float32, watched: bool) -> WinnerOutputs:
        """Return the outputs of ``learn`` while the units have no initial weights yet."""
        out = self._outputs_without_winner(x)
        out.arrays["watched"] = np.full(len(x), watched)
        if self.explains_learning:
            out.arrays["expected"] = np.full((len(x), self.dim), np.nan, np.float32)
        return out

    def _outputs_without_winner(self, x: Float32) -> WinnerOutputs:
        """Return the outputs while the units have no initial weights yet."""
        out = self._outputs(len(x))
        out.winner[:], out.distance[:], out.score[:] = -1, np.nan, np.nan
        out.present[:] = (~np.isnan(x)).sum(axis=1)
        return out

    @property
    def _shape(self) -> tuple[int, ...]:
        """The shape of the units now."""
        return tuple(self.spec.arrangement)

    def _parts(self) -> dict[str, Part]:
        """Add weights, prototypes, component planes and hits."""
        shape, inputs = self._shape, self.inputs
        units = math.prod(shape)

        def planes() -> Float32:
            return np.moveaxis(self.prototypes, -1, 0)

        return super()._parts() | {
            "weights": array_part("weights", units * inputs, np.float32, lambda: self.weights),
            "prototypes": array_part("prototypes", units * inputs, np.float32, lambda: self.prototypes),
            "planes": array_part("planes", units * inputs, np.float32, planes),
            "hits": array_part("hits", units, np.float64, lambda: self.hits.reshape(shape)),
        }

    def _quality(self) -> dict[str, float]:
        """Return mean distance to the winner (scaled) and the number of units that hardly win."""
        return {
            "quantization_error": self._mean_quality(kernels.QUANTIZATION),
            "dead_units": len(self.dead_units),
        }

    def _mean_quality(self, index: int) -> float:
        """Weighted mean of one quantity of the live quality; NaN before the first sample."""
        sums = self.state["quality"].tolist()
        return sums[index] / sums[kernels.COUNT] if sums[kernels.COUNT] else math.nan

    def _rows(self) -> Float32:
        """Return the weights ``(units, dim)``; a read-only copy."""
        rows = lane_layout.from_lanes(self.state["weights"], self.units)
        rows.flags.writeable = False
        return rows


class FixedUnitModel(UnitModel):
    """A model with a fixed number of units. Its weights can be set."""

    @property
    @locked
    def weights(self) -> Float32:
        """Weights, float32 of shape (units, dim) or (*grid, dim), in the scaled space if the model scales.

        Assign to set them. The array is a read-only copy.
        """
        return self._rows().reshape(*self.spec.arrangement, self.inputs)

    @weights.setter
    @locked
    def weights(self, values: ArrayLike) -> None:
        given = as_weights(values, (*self.spec.arrangement, self.inputs))
        self.state["weights"][...] = lane_layout.to_groups(given.reshape(self.units, self.inputs))
        if self._first is not None:
            self._first.cancel()
        self._common.begin_again()
