"""What SOM and competitive nets share: units with a place in the space of the samples."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from streamlearn_client.outputs import Outputs

from ..errors import BadDtype, BadShape, BadValue
from ..kernels import compiler, rng
from ..kernels import units as kernels
from ..kernels.winner import MEASURES
from . import layout
from .base import Model, Spec
from .batch import Batch, Float32


class UnitSpec(Spec):
    distance: Literal["euclidean", "manhattan", "chebyshev", "cosine"] = Field(
        "euclidean", description="between sample and unit"
    )


class UnitModel(Model):
    """A model of ``units`` weight vectors, in the scaled space if the model scales."""

    units: int

    def _place_units(self, units: int) -> None:
        """Lay out ``units`` random weight vectors, uniform in [−1, 1): one standard deviation if scaled."""
        compiler.ready(rng, kernels)
        generator = np.array([self.spec.seed], np.uint64)
        weights = np.empty((units, self.dim), np.float32)
        rng.fill_uniform(generator, np.float32(-1), np.float32(1), weights.reshape(-1))
        self.units = units
        self._measure = MEASURES[self.spec.distance]
        self.pad = layout.pad(units)
        self.state["weights"] = layout.to_lanes(weights)
        self.state["hits"] = np.append(np.zeros(units), 1.0)

    @property
    def hits(self) -> NDArray[np.float64]:
        """``(units,)``: how often each unit has won lately, exponentially forgotten (``half_life``)."""
        return np.asarray(self.state["hits"][:-1] / self.state["hits"][-1])

    @property
    def dead_units(self) -> NDArray[np.int64]:
        """The units that won less than a hundredth of an equal share of what is remembered."""
        hits = self.hits
        return np.flatnonzero(hits < 0.01 * hits.sum() / self.units)

    def predict_validated(self, batch: Batch) -> Outputs:
        out = self._outputs(batch.rows)
        kernels.predict(batch.x, *self._what_locates(), *out.arrays.values())
        return out

    def _outputs(self, n: int) -> Outputs:
        """Room for what is said of ``n`` samples, in the kernels' order."""
        return Outputs(
            winner=np.empty(n, np.int32),
            distance=np.empty(n, np.float32),
            score=np.empty(n, np.float32),
            channels=np.empty(n, np.int32),
        )

    def _what_locates(self) -> tuple[Any, ...]:
        """What ``kernels.units.locate`` needs beside the samples, in its order."""
        state = self.state
        scores = state["score.tree"], state["score.head"]
        scaling = self.method, self.spec.scale_clip
        return state["weights"], self.pad, self._measure, state["scale.statistics"], *scores, *scaling

    def _rows(self) -> Float32:
        """The weights, one row a unit; read-only, for it is a copy."""
        rows = layout.from_lanes(self.state["weights"], self.units)
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
        self.state["weights"][...] = layout.to_lanes(given.reshape(self.units, self.dim))
