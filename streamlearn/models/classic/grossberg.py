"""``sl.Grossberg``: layers of inhibitory clusters (Grossberg 1976; Rumelhart & Zipser 1985)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from streamlearn_client.outputs import Outputs

from ...errors import BadDtype, BadShape, BadValue
from ...kernels import compiler
from ...kernels.classic import grossberg as kernels
from ...kernels.simd import splitmix
from ...kernels.simd.lanes import WIDTH
from .. import base, lane_layout
from ..batch import Batch, Float32
from ..outputs import GrossbergOutputs
from ..stream.schedules import Finite, Schedule, within
from .binary import BinaryModel, BinarySpec

Cluster = Annotated[int, Field(ge=1, le=1 << 20)]
Layer = Annotated[tuple[Cluster, ...], Field(min_length=1, max_length=4096)]

_SUM_TOLERANCE = 1e-3  # of given weights, which are then divided by their sum


class GrossbergSpec(BinarySpec):
    """Parameters of ``Grossberg``."""

    layers: tuple[Layer, ...] = Field(
        min_length=1,
        max_length=64,
        description=(
            "Sizes of the clusters of each layer, from the bottom: [[5, 5], [4]] is two clusters of "
            "five units, and above them one cluster of four."
        ),
    )
    learning_rate: Annotated[Schedule, within(0, 1)] = Field(
        0.05,
        description=(
            "ε(t) of the winners. At 0.05 weights are a mean over the last 20 stimuli won. Lower "
            "values give finer borders between units."
        ),
    )
    leak: Annotated[Schedule, within(0, 1)] = Field(
        0.0,
        description=(
            "ε_l(t) of the losers, much smaller than ε: 0.001 to 0.01. A unit that never wins then "
            "drifts towards the stimuli. 0: losers do not learn."
        ),
    )
    sensitivity: Annotated[Finite, Field(ge=0, le=1)] = Field(
        0.0,
        description=(
            "γ: bias γ·(mean wins of the cluster − wins of the unit) is added to the weighted sum, so "
            "that all units win equally often. Typical: 0.001 to 0.01. 0: off."
        ),
    )

    @model_validator(mode="after")
    def _not_too_large(self) -> GrossbergSpec:
        if sum(units * lines for units, lines in self.shapes) > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the net has more than {base.MAX_STATE_VALUES} weights; take fewer units or a smaller dim"
            )
        return self

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream, in the kernel's order."""
        return {"learning_rate": self.learning_rate, "leak": self.leak}

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(units, lines) of each layer: a layer's lines are the units of the one below."""
        units = [sum(clusters) for clusters in self.layers]
        return list(zip(units, [self.dim, *units], strict=False))


class Grossberg(BinaryModel):
    """Layers of inhibitory clusters: in each cluster one unit wins.

    Use it for events and states (switches, alarms, categories), and for several independent groupings
    of one stream: one per cluster, which the next layer combines. Samples are 0 and 1 unless
    ``threshold`` is set.

    Notes
    -----
    In each cluster, with x the stimulus of its layer, n its active lines and w_j the weights of unit j:

    - winner: i = argmax_j Σ_l w_jl·x_l; the lowest index wins a tie. It puts out 1, the others 0, and
      that pattern is the stimulus of the next layer
    - update of the winner: w_il ← w_il + ε(t)·(x_l/n − w_il). Losers do the same at ``leak``
    - each unit's weights sum to 1. Without an active line there is no winner (−1) and no learning

    A missing line is not active, is not counted in n, and keeps its weight. Quality: ``distance``
    (mean), ``dead_units`` (units that never won).

    References
    ----------
    S. Grossberg, Adaptive pattern classification and universal recoding, Biological Cybernetics 23,
    121–134, 1976. D. E. Rumelhart and D. Zipser, Feature discovery by competitive learning, Cognitive
    Science 9, 75–112, 1985 (Parallel Distributed Processing, volume 1, chapter 5): the update rule.

    Examples
    --------
    >>> import numpy as np
    >>> import streamlearn as sl
    >>> stimuli = np.array([[1, 1, 0, 0], [0, 0, 1, 1]])
    >>> net = sl.Grossberg(dim=4, layers=[[2]], leak=0.01, seed=1)
    >>> out = net.learn(np.tile(stimuli, (200, 1)))
    >>> first, second = net.predict(stimuli).winner[:, 0]
    >>> bool(first != second)
    True
    """

    kind: ClassVar[str] = "grossberg"
    Spec: ClassVar[type[base.Spec]] = GrossbergSpec
    outputs_class = GrossbergOutputs
    OFF: ClassVar[int] = 0
    spec: GrossbergSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(splitmix, kernels)
        self._layers, self._clusters = _plan(self.spec)
        pads = [lane_layout.pad(units) for units, _ in self.spec.shapes]
        self._full = (np.concatenate(pads) == 0).astype(np.float32)
        rows = sum(lane_layout.blocks(units) * lines for units, lines in self.spec.shapes)
        self.state["weights"] = lane_layout.empty(rows, WIDTH)
        self.state["wins"] = np.zeros(self._full.shape, np.int64)
        self.state["since"] = np.zeros(1, np.int64)
        self.state["quality"] = np.zeros(2)
        generator = np.array([self.spec.seed], np.uint64)
        initial = [np.empty(shape, np.float32) for shape in self.spec.shapes]
        for values in initial:
            splitmix.fill_uniform(generator, np.float32(0), np.float32(1), values.reshape(-1))
            values += np.float32(2.0**-24)  # above 0: no unit is without any weight
        self._put(initial)

    @property
    def weights(self) -> tuple[Float32, ...]:
        """Weights of each layer, a tuple of float32 arrays of shape (units, lines). Each row sums to 1.

        The units of a layer's clusters follow one another. Assign to set them; the arrays are read-only
        copies. Setting raises BadShape, BadDtype, or BadValue for a negative weight or a row that does not
        sum to 1 within 0.001; rows are then divided by their sum.
        """
        found = []
        for (units, lines), place in zip(self.spec.shapes, self._layers, strict=True):
            rows = self.state["weights"][place[kernels.FIRST_ROW] :][: place[kernels.BLOCKS] * lines]
            found.append(lane_layout.from_lanes(rows.reshape(-1, lines, WIDTH), units))
            found[-1].flags.writeable = False
        return tuple(found)

    @weights.setter
    def weights(self, values: Sequence[ArrayLike]) -> None:
        shapes = self.spec.shapes
        if len(values) != len(shapes):
            raise BadShape(
                f"weights of {len(values)} layers; {len(shapes)} were expected", expected=len(shapes)
            )
        given = []
        for k, (layer, shape) in enumerate(zip(values, shapes, strict=True)):
            try:
                array = np.asarray(layer, np.float64)
            except (TypeError, ValueError):
                raise BadDtype(f"weights[{k}] must be numbers in an array of shape {shape}") from None
            if array.shape != shape:
                raise BadShape(
                    f"weights[{k}] has shape {array.shape}; {shape} was expected", expected=list(shape)
                )
            if not (array >= 0).all():
                raise BadValue(f"weights[{k}] must be 0 or more everywhere")
            sums = array.sum(axis=1)
            off = np.flatnonzero(~(np.abs(sums - 1) <= _SUM_TOLERANCE))
            if off.size:
                raise BadValue(f"weights[{k}][{off[0]}] sums to {sums[off[0]]:g}; every row must sum to 1")
            given.append(array)
        self._put(given)

    def _put(self, values: Sequence[NDArray[np.floating[Any]]]) -> None:
        """Lay out the layers' weights, every row divided by its sum."""
        first = 0
        for rows in values:
            exact = rows.astype(np.float64)
            lanes = lane_layout.to_lanes(exact / exact.sum(axis=1, keepdims=True)).reshape(-1, WIDTH)
            self.state["weights"][first : first + len(lanes)] = lanes
            first += len(lanes)

    @property
    def wins(self) -> tuple[NDArray[np.int64], ...]:
        """Samples that each unit has won since the start, for each layer int64 of shape (units,)."""
        found = []
        for (units, _), place in zip(self.spec.shapes, self._layers, strict=True):
            blocks = self.state["wins"][place[kernels.FIRST_BLOCK] :][: place[kernels.BLOCKS]]
            found.append(blocks.reshape(-1)[:units].copy())
        return tuple(found)

    def _learn(self, batch: Batch) -> Outputs:
        out = self._outputs(batch.rows)
        clock = self.state["samples"], self.state["since"], self.state["quality"], self.decay
        rates = self._schedules.advance(batch).values()
        kernels.learn(batch.x, *self._net(), *clock, *rates, *out.arrays.values())
        return out

    def predict_validated(self, batch: Batch) -> Outputs:
        """Return the outputs for a batch that ``validate`` returned. Does not change the model."""
        out = self._outputs(batch.rows)
        kernels.predict(batch.x, *self._net(), *out.arrays.values())
        return out

    def _outputs(self, n: int) -> Outputs:
        """Room for what is said of ``n`` samples, in the kernels' order."""
        return Outputs(
            winner=np.empty((n, len(self._clusters)), np.int32),
            distance=np.empty(n, np.float32),
            score=np.empty(n, np.float32),
            present=np.empty(n, np.int32),
        )

    def _net(self) -> tuple[Any, ...]:
        """Return the net as both kernels take it."""
        state = self.state
        net = state["weights"], self._layers, self._clusters, self._full, state["wins"]
        return *net, self._threshold, self.spec.sensitivity, state["score.tree"], state["score.head"]

    def _quality(self) -> dict[str, float]:
        """Return the winners' mean share of weight on wrong lines, and the number of units that never won."""
        count, distance = self.state["quality"].tolist()
        return {
            "distance": distance / count if count else float("nan"),
            "dead_units": sum(int((wins == 0).sum()) for wins in self.wins),
        }


def _plan(spec: GrossbergSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``layers`` and ``clusters`` as kernels take them (see ``kernels/grossberg.py``)."""
    layers: list[list[int]] = []
    clusters: list[list[int]] = []
    block = row = 0
    for sizes, (units, lines) in zip(spec.layers, spec.shapes, strict=True):
        blocks = lane_layout.blocks(units)
        layers.append([lines, block, blocks, row, len(clusters), len(sizes)])
        ends = block * WIDTH + np.cumsum(sizes)
        clusters += [[end - size, end] for size, end in zip(sizes, ends, strict=True)]
        block += blocks
        row += blocks * lines
    return np.array(layers, np.int64), np.array(clusters, np.int64)
