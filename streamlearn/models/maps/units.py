"""What SOM and competitive nets share: units with a place in the space of the samples."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from streamlearn_client.outputs import Outputs

from ...errors import BadDtype, BadShape, BadValue
from ...kernels import compiler
from ...kernels.maps import units as kernels
from ...kernels.maps.winner import MEASURES
from ...kernels.simd import splitmix
from .. import base, lane_layout
from ..base import Model, Spec
from ..batch import Batch, Float32, joined_outputs, part
from ..signature import Accepts
from . import initial_weights


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

    ways: ClassVar[tuple[str, ...]] = ("random", "range", "samples")

    @property
    def arrangement(self) -> tuple[int, ...]:
        """Shape of the initial weights without ``dim``."""
        raise AssertionError("every model arranges its units")

    @model_validator(mode="after")
    def _can_start(self) -> UnitSpec:
        shape = (*self.arrangement, self.dim)
        initial_weights.check(self.init, self.init_samples, self.ways, shape, base.MAX_STATE_VALUES)
        return self


class UnitModel(Model):
    """A model of ``units`` weight vectors, in the scaled space if the model scales."""

    units: int

    def _place_units(self, units: int, plane: NDArray[np.float64] | None = None) -> None:
        """Allocate ``units`` and set the initial ones as ``init`` says. ``plane``: grid places for 'pca'."""
        compiler.ready(splitmix, kernels)
        spec = self.spec
        weights = np.zeros((units, self.dim), np.float32)
        self._first: initial_weights.FirstSamples | None = None
        if spec.init == "random":
            generator = np.array([spec.seed], np.uint64)
            splitmix.fill_uniform(generator, np.float32(-1), np.float32(1), weights.reshape(-1))
        elif isinstance(spec.init, str):
            there = math.prod(spec.arrangement)
            wanted = spec.init_samples or initial_weights.usual_samples(spec.init, there, self.dim)
            self._first = initial_weights.FirstSamples(spec.init, wanted, self.dim, there, plane)
            self.state |= self._first.state
        else:
            given = np.array(spec.init, np.float32).reshape(-1, self.dim)
            weights[: len(given)] = given
        self.units = units
        self._measure = MEASURES[self.spec.distance]
        self.pad = lane_layout.pad(units)
        self.state["weights"] = lane_layout.to_lanes(weights)
        self.state["hits"] = np.append(np.zeros(units), 1.0)

    @property
    @abstractmethod
    def weights(self) -> Float32:
        """Weights, one row per unit, ``(…, dim)``, in the scaled space if the model scales."""

    @property
    def prototypes(self) -> Float32:
        """Weights in the stream's own units, by the current scaling.

        The shape is that of ``weights``. A read-only copy.
        """
        values = np.array(self.weights, order="C")
        kernels.restore(values.reshape(-1, self.dim), self.state["scale.statistics"], self.method)
        values.flags.writeable = False
        return values

    @property
    def hits(self) -> NDArray[np.float64]:
        """Recent wins of each unit, float64 of shape (units,), forgotten with ``half_life``."""
        return np.asarray(self.state["hits"][:-1] / self.state["hits"][-1])

    @property
    def dead_units(self) -> NDArray[np.int64]:
        """Numbers of the units that hardly win, int64.

        Their recent wins are at most a hundredth of an equal share. Before the first sample that is every
        unit.
        """
        hits = self.hits
        return np.flatnonzero(hits <= 0.01 * hits.mean())

    @abstractmethod
    def _adapt(self, batch: Batch) -> Outputs:
        """Call the kernel that learns, once the initial weights are set."""

    def _learn(self, batch: Batch) -> Outputs:
        if self._first is None or not self._first.wanted:
            return self._adapt(batch)
        scaling = self.method, self.spec.scale_clip, self.decay
        held = self._first.hold(batch.x, self.state, *scaling, self.spec.seed)
        said = [self._nothing(batch.x[:held]), self._adapt(part(batch, held, batch.rows))]
        return joined_outputs(said)

    def predict_validated(self, batch: Batch) -> Outputs:
        """Return the outputs for a batch that ``validate`` returned. Does not change the model."""
        if self._first is not None and self._first.wanted:
            return self._nothing(batch.x)
        out = self._outputs(batch.rows)
        kernels.predict(batch.x, *self._what_locates(), *out.arrays.values())
        return out

    def _outputs(self, n: int) -> Outputs:
        """Room for what is said of ``n`` samples, in the kernels' order."""
        return Outputs(
            winner=np.empty(n, np.int32),
            distance=np.empty(n, np.float32),
            score=np.empty(n, np.float32),
            present=np.empty(n, np.int32),
        )

    def _nothing(self, x: Float32) -> Outputs:
        """Return the outputs while the initial weights are not set: no winner."""
        out = self._outputs(len(x))
        out.winner[:], out.distance[:], out.score[:] = -1, np.nan, np.nan
        out.present[:] = (~np.isnan(x)).sum(axis=1)
        return out

    def _what_locates(self) -> tuple[Any, ...]:
        """Return the arguments of ``kernels.units.locate`` after the samples, in its order."""
        state = self.state
        scores = state["score.tree"], state["score.head"]
        scaling = self.method, self.spec.scale_clip
        return state["weights"], self.pad, self._measure, state["scale.statistics"], *scores, *scaling

    def _rows(self) -> Float32:
        """Return the weights, one row per unit; a read-only copy."""
        rows = lane_layout.from_lanes(self.state["weights"], self.units)
        rows.flags.writeable = False
        return rows

    def _set_weights(self, values: ArrayLike, shape: tuple[int, ...]) -> None:
        try:
            with np.errstate(over="ignore"):
                given = np.asarray(values).astype(np.float32)
        except (TypeError, ValueError):
            raise BadDtype(f"weights must be numbers in an array of shape {shape}") from None
        if given.shape != shape:
            raise BadShape(f"weights have shape {given.shape}; {shape} was expected", expected=list(shape))
        if not np.isfinite(given).all():
            raise BadValue("weights must be finite, as float32 too")
        self.state["weights"][...] = lane_layout.to_lanes(given.reshape(self.units, self.dim))
        if self._first is not None:
            self._first.stop()
