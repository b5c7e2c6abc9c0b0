"""``sl.HammingNet``: a Hamming net with a MaxNet (Lippmann 1987)."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from pydantic import BeforeValidator, Field, model_validator

from ...errors import BadValue
from ...kernels import compiler
from ...kernels.classic import hamming as kernels
from ...kernels.simd import splitmix
from .. import base, lane_layout
from ..accepts import Accepts
from ..batch import Float32
from ..locking import locked
from ..outputs import HammingNetOutputs
from ..readable import Part, array_part
from ..row_cost import SCALAR, Cost, lanes
from ..stream.schedules import Decay, Schedule, within
from ..validation import as_weights
from .binary import BinaryModel, BinarySpec


def _listed(values: Any) -> Any:
    return values.tolist() if isinstance(values, np.ndarray) else values


_ITERATION = 100  # multiply-adds of an iteration of the MaxNet that do not depend on its size


class HammingSpec(BinarySpec):
    """Parameters of ``HammingNet``."""

    size_parameters: ClassVar[tuple[str, ...]] = ("units", "dim")

    patterns: Annotated[
        Annotated[tuple[tuple[float, ...], ...] | None, BeforeValidator(_listed)],
        Accepts("NDArray[Any] | Sequence[Sequence[float]] | None", "array_like of shape (M, dim) or None"),
    ] = Field(
        None,
        min_length=1,
        description="Patterns to recognize, shape (M, dim), of −1 and 1. None: units patterns are learned.",
    )
    units: int | None = Field(
        None,
        ge=1,
        le=1 << 20,
        description="Number of patterns to learn, in place of patterns. They start at random within ±1.",
    )
    learning_rate: Annotated[Schedule, within(0, 1)] | None = Field(
        None,
        description=(
            "ε(t) of the winner. None: 0 if patterns are given, because they are known, else "
            "Decay(0.5, 0.02, tau=5000)."
        ),
    )
    inhibition: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description=(
            "ε of the MaxNet, below 1/M for M patterns. None: 1/(M + 1). Values closer to 1/M need "
            "fewer iterations."
        ),
    )
    max_iterations: int = Field(
        10_000,
        ge=1,
        le=1 << 31,
        description=(
            "Largest number of iterations of the MaxNet for one sample. About ½M·ln(2y/d) are needed "
            "if two outputs near y differ by d. Raise it if capped is often true."
        ),
    )

    @property
    def winning_units(self) -> int:
        """Number of units of which one wins each sample."""
        return self.count

    def row_costs(self) -> list[Cost]:
        """Add the Hamming net, and the MaxNet with all its iterations."""
        names = ("units",) if self.patterns is None else ("patterns",)
        units = lanes(self.count)
        return [
            *super().row_costs(),
            Cost(units * self.inputs + self.inputs * SCALAR, (*names, "dim")),
            Cost((self.max_iterations + 2) * (units + _ITERATION), ("max_iterations", *names)),
        ]

    @model_validator(mode="after")
    def _consistent(self) -> HammingSpec:
        if (self.patterns is None) == (self.units is None):
            raise ValueError("give either patterns, or units: the number of patterns to learn")
        for i, pattern in enumerate(self.patterns or ()):
            if len(pattern) != self.inputs:
                raise ValueError(f"patterns[{i}] has {len(pattern)} lines; dim is {self.inputs}")
            if any(value not in (-1, 1) for value in pattern):
                raise ValueError(f"patterns[{i}] must consist of −1 and 1")
        if self.count * self.inputs > base.MAX_STATE_VALUES:
            raise ValueError(f"the net has more than {base.MAX_STATE_VALUES} weights; take fewer units")
        if not np.float32(self.epsilon) < 1 / self.count:
            raise ValueError(
                f"inhibition must be below 1/{self.count}, or the best of {self.count} patterns might lose"
            )
        return self

    @property
    def state_values(self) -> int:
        """Number of values in the large arrays of the state: the weights."""
        return self.count * self.inputs

    @property
    def count(self) -> int:
        """Number of patterns."""
        return len(self.patterns) if self.patterns is not None else self.units or 1

    @property
    def rate(self) -> Schedule:
        """ε(t): the given ``learning_rate``, or the default."""
        if self.learning_rate is not None:
            return self.learning_rate
        return Decay(0.5, 0.02, 5000.0) if self.patterns is None else 0.0

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream, in the kernel's order."""
        return {"learning_rate": self.rate}

    @property
    def epsilon(self) -> float:
        """ε of the MaxNet: the given ``inhibition``, or the default."""
        return 1 / (self.count + 1) if self.inhibition is None else self.inhibition


class HammingNet(BinaryModel):
    """Hamming net with MaxNet: the nearest of known binary patterns.

    Use it to recognize codes, states or symptoms of which some lines may be wrong or missing. Give
    ``patterns``, or ``units`` to learn them. Samples are −1 and 1 unless ``threshold`` is set.

    Notes
    -----
    With M patterns w_j and N lines present:

    - Hamming net: y_j = ½Σ_l w_jl·x_l + N/2, which is N minus the Hamming distance
    - MaxNet: y_j ← max(0, y_j − ε·Σ_{k≠j} y_k), all at once, until one is positive. It also stops if
      all that are positive are equal (``tie``; the lowest index wins) or after ``max_iterations``
      (``capped``)
    - update of the winner i: w_i ← w_i + ε(t)·(x − w_i)

    Quality: mean ``distance`` and ``iterations``, shares of ``ties`` and ``capped``.

    References
    ----------
    R. P. Lippmann, An introduction to computing with neural nets, IEEE ASSP Magazine 4(2), 4–22, 1987:
    the Hamming net and the MaxNet.

    Examples
    --------
    >>> import streamlearn as sl
    >>> net = sl.HammingNet(dim=4, patterns=[[1, 1, -1, -1], [-1, 1, -1, 1]])
    >>> out = net.predict([[1, 1, 1, -1]])
    >>> int(out.winner[0]), float(out.distance[0])
    (0, 1.0)
    """

    kind: ClassVar[str] = "hamming"
    Spec: ClassVar[type[base.Spec]] = HammingSpec
    outputs_class = HammingNetOutputs
    OFF: ClassVar[int] = -1
    kernels: ClassVar[ModuleType] = kernels
    spec: HammingSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(splitmix, kernels)
        self.units = self.spec.count
        self._pad = lane_layout.pad(self.units)
        weights = np.empty((self.units, self.inputs), np.float32)
        if self.spec.patterns is not None:
            weights[...] = self.spec.patterns
        else:
            generator = np.array([self.spec.seed], np.uint64)
            splitmix.fill_uniform(generator, np.float32(-1), np.float32(1), weights.reshape(-1))
        self.state["weights"] = lane_layout.to_lanes(weights)
        self.state["quality"] = np.zeros(5)

    @property
    @locked
    def weights(self) -> Float32:
        """Patterns, given or learned, shape (units, dim), values within −1 … 1.

        The array is a copy. Assign the attribute to set the patterns.

        Raises
        ------
        BadShape, BadDtype
            If the assigned array does not fit.
        BadValue
            If a value is outside −1 … 1.
        """
        rows = lane_layout.from_lanes(self.state["weights"], self.units)
        rows.flags.writeable = False
        return rows

    @weights.setter
    @locked
    def weights(self, values: ArrayLike) -> None:
        given = as_weights(values, (self.units, self.inputs), dtype=np.float64)
        if not (np.abs(given) <= 1).all():
            raise BadValue("weights must lie within −1 … 1")
        self.state["weights"][...] = lane_layout.to_lanes(given)

    def _allocate_outputs(self, n: int) -> HammingNetOutputs:
        return HammingNetOutputs(
            winner=np.empty(n, np.int32),
            distance=np.empty(n, np.float32),
            score=np.empty(n, np.float32),
            present=np.empty(n, np.int32),
            iterations=np.empty(n, np.int32),
            tie=np.empty(n, np.bool_),
            capped=np.empty(n, np.bool_),
        )

    def _parts(self) -> dict[str, Part]:
        """Add the weights."""
        values = self.units * self.inputs
        return super()._parts() | {"weights": array_part("weights", values, np.float32, lambda: self.weights)}

    def _network(self) -> dict[str, Any]:
        return {
            "weights": self.state["weights"],
            "pad": self._pad,
            "threshold": self._threshold,
            "inhibition": self.spec.epsilon,
            "max_iterations": self.spec.max_iterations,
            **self._score.arguments,
        }

    def _quality(self) -> dict[str, float]:
        count, *sums = self.state["quality"].tolist()
        names = ("distance", "iterations", "ties", "capped")
        return {
            name: total / count if count else float("nan") for name, total in zip(names, sums, strict=True)
        }
