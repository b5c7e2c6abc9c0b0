"""``sl.Grossberg``: layers of inhibitory clusters (Grossberg 1976; Rumelhart & Zipser 1985)."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field, model_validator

from ...errors import BadShape, BadValue
from ...kernels import compiler
from ...kernels.classic import clusters as cluster_kernels
from ...kernels.classic import grossberg as kernels
from ...kernels.simd import splitmix
from ...kernels.simd.blocks import WIDTH
from .. import base, lane_layout
from ..batch import Float32
from ..locking import locked
from ..outputs import GrossbergOutputs
from ..readable import Part
from ..row_cost import SCALAR, Cost, lanes
from ..state_checks import COUNT, Range
from ..stream.schedules import Finite, Schedule, within
from ..validation import as_weights
from .binary import BinaryModel, BinarySpec

Cluster = Annotated[int, Field(ge=1, le=1 << 20)]
Layer = Annotated[tuple[Cluster, ...], Field(min_length=1, max_length=4096)]

_PER_WEIGHT = 12  # multiply-adds: sums with compensation, the winners' misfit, the update
_SUM_TOLERANCE = 1e-3  # of assigned weights; they are then divided by their sum


class GrossbergSpec(BinarySpec):
    """Parameters of ``Grossberg``."""

    size_parameters: ClassVar[tuple[str, ...]] = ("layers", "dim")

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

    def row_costs(self) -> list[Cost]:
        """Add competition, learning and renormalisation of all layers, with every line active or missing."""
        weights = sum(lanes(units) * lines for units, lines in self.shapes)
        units = sum(units for units, _ in self.shapes)
        return [
            *super().row_costs(),
            Cost(weights * _PER_WEIGHT, ("layers", "dim")),
            Cost(units * SCALAR * SCALAR, ("layers",)),
        ]

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream, in the kernel's order."""
        return {"learning_rate": self.learning_rate, "leak": self.leak}

    @property
    def state_values(self) -> int:
        """Number of values in the large arrays of the state: the weights."""
        return sum(units * lines for units, lines in self.shapes)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(units, lines) of each layer. The lines of a layer are the units of the layer below."""
        units = [sum(clusters) for clusters in self.layers]
        return list(zip(units, [self.inputs, *units], strict=False))


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
    kernels: ClassVar[ModuleType] = kernels
    spec: GrossbergSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(splitmix, kernels, cluster_kernels)
        self._layers, self._clusters = _memory_layout(self.spec)
        pads = [lane_layout.pad(units) for units, _ in self.spec.shapes]
        self._unit_mask = (np.concatenate(pads) == 0).astype(np.float32)
        rows = sum(lane_layout.blocks(units) * lines for units, lines in self.spec.shapes)
        self.state["weights"] = lane_layout.empty(rows, WIDTH)
        self.state["wins"] = np.zeros(self._unit_mask.shape, np.int64)
        self.state["since_renormalisation"] = np.zeros(1, np.int64)
        self.state["quality"] = np.zeros(2)
        self.ranges |= {"wins": COUNT, "since_renormalisation": Range(0, kernels.RENORMALISE - 1)}
        generator = np.array([self.spec.seed], np.uint64)
        initial = [np.empty(shape, np.float32) for shape in self.spec.shapes]
        for values in initial:
            splitmix.fill_uniform(generator, np.float32(0), np.float32(1), values.reshape(-1))
            values += np.float32(2.0**-24)  # above 0: every unit has weight
        self._store_weights(initial)

    @property
    def clusters(self) -> int:
        """Number of clusters in all layers."""
        return len(self._clusters)

    @property
    @locked
    def weights(self) -> tuple[Float32, ...]:
        """Weights of each layer, shape (units, lines). Every row sums to 1.

        The units are in the order of the clusters. The arrays are copies. Assign the attribute to set the
        weights.

        Raises
        ------
        BadShape, BadDtype
            If the assigned arrays do not fit.
        BadValue
            If a weight is negative or a row does not sum to 1 within 0.001. Accepted rows are divided by
            their sum.
        """
        layers = []
        for (units, lines), position in zip(self.spec.shapes, self._layers, strict=True):
            rows = self.state["weights"][position[cluster_kernels.FIRST_ROW] :][
                : position[cluster_kernels.BLOCKS] * lines
            ]
            layers.append(lane_layout.from_lanes(rows.reshape(-1, lines, WIDTH), units))
            layers[-1].flags.writeable = False
        return tuple(layers)

    @weights.setter
    @locked
    def weights(self, values: Sequence[ArrayLike]) -> None:
        shapes = self.spec.shapes
        if len(values) != len(shapes):
            raise BadShape(
                f"weights of {len(values)} layers; {len(shapes)} were expected", expected=len(shapes)
            )
        given = []
        for k, (layer, shape) in enumerate(zip(values, shapes, strict=True)):
            array = as_weights(layer, shape, f"weights[{k}]", np.float64)
            if not (array >= 0).all():
                raise BadValue(f"weights[{k}] must be 0 or more everywhere")
            sums = array.sum(axis=1)
            off = np.flatnonzero(~(np.abs(sums - 1) <= _SUM_TOLERANCE))
            if off.size:
                raise BadValue(f"weights[{k}][{off[0]}] sums to {sums[off[0]]:g}; every row must sum to 1")
            given.append(array)
        self._store_weights(given)

    def _store_weights(self, values: Sequence[NDArray[np.floating[Any]]]) -> None:
        """Store the weights of all layers, each row divided by its sum."""
        first = 0
        for rows in values:
            exact = rows.astype(np.float64)
            lanes = lane_layout.to_lanes(exact / exact.sum(axis=1, keepdims=True)).reshape(-1, WIDTH)
            self.state["weights"][first : first + len(lanes)] = lanes
            first += len(lanes)

    @property
    @locked
    def wins(self) -> tuple[NDArray[np.int64], ...]:
        """Wins of each unit since the net was created: shape (units,) for each layer."""
        layers = []
        for (units, _), position in zip(self.spec.shapes, self._layers, strict=True):
            blocks = self.state["wins"][position[cluster_kernels.FIRST_BLOCK] :][
                : position[cluster_kernels.BLOCKS]
            ]
            layers.append(blocks.reshape(-1)[:units].copy())
        return tuple(layers)

    def _parts(self) -> dict[str, Part]:
        """Add weights and wins, one array per layer."""
        shapes = self.spec.shapes
        weights = {f"weights/{k}": 4 * units * lines for k, (units, lines) in enumerate(shapes)}
        wins = {f"hits/{k}": 8 * units for k, (units, _) in enumerate(shapes)}
        work = sum(units * lines for units, lines in shapes)
        return super()._parts() | {
            "weights": Part(weights, lambda: dict(zip(weights, self.weights, strict=True)), work=work),
            "hits": Part(wins, lambda: dict(zip(wins, self.wins, strict=True)), work=work),
        }

    def _allocate_outputs(self, n: int) -> GrossbergOutputs:
        return GrossbergOutputs(
            winner=np.empty((n, len(self._clusters)), np.int32),
            distance=np.empty(n, np.float32),
            score=np.empty(n, np.float32),
            present=np.empty(n, np.int32),
        )

    @property
    def _explain_kernel(self) -> Any:
        return cluster_kernels.explain

    def _network(self) -> dict[str, Any]:
        return {
            "weights": self.state["weights"],
            "layers": self._layers,
            "clusters": self._clusters,
            "unit_mask": self._unit_mask,
            "wins": self.state["wins"],
            "threshold": self._threshold,
            "sensitivity": self.spec.sensitivity,
            **self._score.arguments,
        }

    def _learning(self) -> dict[str, Any]:
        return {"since_renormalisation": self.state["since_renormalisation"]}

    def _quality(self) -> dict[str, float]:
        count, distance = self.state["quality"].tolist()
        return {
            "distance": distance / count if count else float("nan"),
            "dead_units": sum(int((wins == 0).sum()) for wins in self.wins),
        }


def _memory_layout(spec: GrossbergSpec) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return ``layers`` and ``clusters`` as defined in ``kernels/classic/clusters.py``."""
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
