"""``sl.GrowingNeuralGas``: units that grow where they are needed, joined by edges (Fritzke 1995)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ...kernels import compiler
from ...kernels.maps import gng as kernels
from ...kernels.maps import reseed
from .. import base
from ..batch import Batch, Float32
from ..locking import locked
from ..outputs import GrowingNeuralGasOutputs, WinnerOutputs
from ..row_cost import RANDOM_ACCESS, SCALAR, Cost
from ..state_checks import Range, State
from ..stream.schedules import Schedule, within
from .common import CommonUnits
from .hand_labels import GIVEN, HandLabelledModel
from .reseeding import Reseeding
from .units import UnitSpec


class GrowingNeuralGasSpec(UnitSpec):
    """Parameters of ``GrowingNeuralGas``."""

    max_units: int = Field(
        100,
        ge=2,
        le=1 << 13,
        description="Largest number of units. The net starts with two. Memory grows with its square.",
    )
    learning_rate: Annotated[Schedule, within(0, 1)] = Field(
        0.2,
        description=(
            "ε_b(t), rate of the winner. Constant as in the paper, so that the net follows the stream."
        ),
    )
    neighbour_rate: Annotated[Schedule, within(0, 1)] = Field(
        0.006,
        description=(
            "ε_n(t), rate of the units joined to the winner. At 0.006 some 33 wins of a neighbour "
            "move a unit as far as one win of its own at 0.2."
        ),
    )
    max_age: int = Field(
        50,
        ge=1,
        le=1 << 30,
        description=(
            "Age at which an edge is removed, in wins of its end. Smaller values remove units faster "
            "that the stream has left."
        ),
    )
    insert_every: int = Field(
        20,
        ge=1,
        le=1 << 62,
        description=(
            "Samples from one new unit to the next. The paper has 100; at 20 the net has 100 units after "
            "2,000 samples."
        ),
    )
    error_split: Annotated[float, Field(ge=0, le=1)] = Field(
        0.5,
        description=(
            "α: a new unit's two neighbours keep this share of their error. At 0.5 the largest error "
            "is split evenly with the new unit."
        ),
    )
    error_decay: Annotated[float, Field(ge=0, le=1)] = Field(
        0.995,
        description=(
            "d: all errors are multiplied by it at each sample. At 0.995 an error is half forgotten "
            "after 139 samples."
        ),
    )

    @model_validator(mode="after")
    def _is_bounded(self) -> GrowingNeuralGasSpec:
        if self.max_units * max(self.inputs, self.max_units) > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the net has more than {base.MAX_STATE_VALUES} weights; take a smaller max_units or dim"
            )
        return self

    size_parameters = ("max_units",)

    @property
    def state_values(self) -> int:
        """Number of values in the large arrays of the state, with the edges."""
        return super().state_values + self.max_units**2

    @property
    def most_units(self) -> int:
        """Largest number of units."""
        return self.max_units

    def row_costs(self) -> list[Cost]:
        """Add the update of all units as neighbours, and the removal of all of them with their edges."""
        units = self.max_units
        return [
            *super().row_costs(),
            Cost(units * (self.inputs + SCALAR) * RANDOM_ACCESS, ("max_units", "dim"), learning=True),
            Cost(units * (self.inputs + units) * RANDOM_ACCESS, ("max_units", "dim"), learning=True),
        ]

    @property
    def arrangement(self) -> tuple[int, ...]:
        """Shape of the first units."""
        return (2,)

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream, in the kernel's order."""
        return {"learning_rate": self.learning_rate, "neighbour_rate": self.neighbour_rate}


class GrowingNeuralGas(HandLabelledModel):
    """Growing neural gas: units that grow where the error is large, joined by edges.

    Use it if the number of clusters is unknown, or if their shape matters: units joined by edges belong
    together.

    Notes
    -----
    For each sample x, with i the nearest unit and s the second nearest:

    - error: e_i ← e_i + ‖x − w_i‖²
    - update: w_i ← w_i + ε_b(t)·(x − w_i), and w_j ← w_j + ε_n(t)·(x − w_j) for the units j joined to i
    - edges: those of i age by 1; the edge i – s gets age 0; an edge older than ``max_age`` is removed,
      and so is a unit without edges
    - insertion, every ``insert_every`` samples: a unit r at ½(w_q + w_f) between q, the unit of the
      largest error, and f, the one of the largest error joined to q; e_q and e_f are multiplied by α,
      then e_r = e_q
    - all errors are multiplied by d

    The net has ``len(net.weights)`` units. Row j of ``weights``, entry j of ``hits``, the j of an edge
    and the winner j are one unit until a unit is removed; then the last unit takes its number. Quality:
    ``quantization_error``, ``units``, ``edges``, ``dead_units``.

    References
    ----------
    B. Fritzke, A growing neural gas network learns topologies, NIPS 7, 625–632, 1995: the algorithm,
    and the default values. The bound ``max_units`` is ours.

    Examples
    --------
    >>> import numpy as np
    >>> import streamlearn as sl
    >>> angle = np.random.default_rng(1).uniform(0, 2 * np.pi, 2000)
    >>> ring = np.stack((np.cos(angle), np.sin(angle)), axis=1)
    >>> gas = sl.GrowingNeuralGas(dim=2, max_units=10, seed=1)
    >>> out = gas.learn(ring)
    >>> len(gas.weights)
    10
    """

    kind: ClassVar[str] = "gng"
    _grows = True
    may_hold_inf = ("pad", *CommonUnits.may_hold_inf)  # "pad" for every unit that does not exist yet
    Spec: ClassVar[type[base.Spec]] = GrowingNeuralGasSpec
    outputs_class = GrowingNeuralGasOutputs
    spec: GrowingNeuralGasSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(kernels)
        room = self.spec.max_units
        self._create_units(room)
        self.state["pad"] = self.pad
        self.pad.reshape(-1)[2:] = np.inf
        self._common.begin_again()
        self.state["count"] = np.array([2], np.int64)
        self.state["edges"] = np.full((room, room), kernels.NO_EDGE, np.int32)
        self.state["errors"] = np.zeros(room)
        self.state["since"] = np.zeros(1, np.int64)
        self.ranges |= {
            "count": Range(2, room),
            "edges": Range(kernels.NO_EDGE, self.spec.max_age),
            "since": Range(0, self.spec.insert_every - 1),
        }
        self._learn_kernel = kernels.learn
        self._learn_arguments |= {
            "count": self.state["count"],
            "ages": self.state["edges"],
            "errors": self.state["errors"],
            "given": self._by_hand.given,
            "since": self.state["since"],
            "max_age": self.spec.max_age,
            "insert_every": self.spec.insert_every,
            "error_split": self.spec.error_split,
            "error_decay": self.spec.error_decay,
        }

    def _learn_units(self, batch: Batch) -> WinnerOutputs:
        label = np.empty(batch.rows if GIVEN in self.state else 0, np.int32)
        self._learn_arguments["label"] = label
        out = super()._learn_units(batch)
        if label.size:
            out.arrays["label"] = label[: len(out)]  # a unit may have another number after the batch
        return out

    def _reseed(self, window: Reseeding) -> None:
        """Remove as many dead units as the net will insert in the next window."""
        inserted = 1 + len(window.samples) // self.spec.insert_every
        names = "count", "ages", "errors", "common", "common_wins", "given"
        graph = {name: self._learn_arguments[name] for name in names}
        most = max(0, inserted - (self.units - self._count))
        reseed.remove_dead(**self._reseed_arguments(window), **graph, most=most)

    def _set_labelled(self, labelled: bool) -> None:
        super()._set_labelled(labelled)
        self._learn_arguments["given"] = self._by_hand.given

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe units beyond the count, and edges that are not those of a graph."""
        yield from super().inconsistencies(state)
        count, edges = int(state["count"][0]), state["edges"]
        expected = np.where(np.arange(self.pad.size) < count, 0, np.inf).reshape(self.pad.shape)
        if not np.array_equal(state["pad"], expected):
            yield f"'pad' does not mark the {count} units of 'count'"
        if not np.array_equal(edges, edges.T):
            yield "'edges' is not symmetric"
        if (edges.diagonal() != kernels.NO_EDGE).any() or (edges[count:] != kernels.NO_EDGE).any():
            yield f"'edges' has an edge of a unit to itself, or beyond the {count} units of 'count'"
        if GIVEN in state and (state[GIVEN][count:] != -1).any():
            yield f"{GIVEN!r} has a label of a unit beyond the {count} units of 'count'"

    @property
    @locked
    def weights(self) -> Float32:
        """Weights, float32 of shape (units, dim), in the scaled space if the net scales; a read-only copy."""
        return self._rows()[: self._count]

    @property
    @locked
    def edges(self) -> NDArray[np.int64]:
        """Pairs of joined units i < j, int64 of shape (m, 2).

        ``net.weights[net.edges]`` are lines to draw.
        """
        return np.argwhere(np.triu(self._adjacency))

    @property
    @locked
    def hits(self) -> NDArray[np.float64]:
        """Recent wins of each unit, float64 of shape (units,), forgotten with ``half_life``."""
        return super().hits[: self._count]

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self._count,)

    @property
    def _adjacency(self) -> NDArray[np.bool_]:
        """Symmetric adjacency matrix ``(units, units)``."""
        ages = self.state["edges"][: self._count, : self._count]
        return np.asarray(ages != kernels.NO_EDGE)

    @property
    def _count(self) -> int:
        return int(self.state["count"][0])

    def _quality(self) -> dict[str, float]:
        """Add ``units`` and ``edges``: their numbers."""
        return super()._quality() | {
            "units": self._count,
            "edges": int(np.count_nonzero(self._adjacency)) // 2,
        }
