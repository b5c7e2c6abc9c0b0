"""``sl.Competitive``: competitive learning, hard (winner takes all), soft, or a neural gas."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ...kernels import compiler
from ...kernels.maps import competitive as kernels
from ...kernels.maps import fairness, one_sample
from ...kernels.simd.blocks import WIDTH
from .. import base, lane_layout
from ..one_sample import Learner
from ..outputs import CompetitiveOutputs, LabelTargetOutputs
from ..row_cost import EXPONENTIAL, Cost, lanes
from ..stream.schedules import Decay, Schedule, bounds, within
from .labels import LabelledSpec
from .one_sample import SingleMapSamples
from .unit_rates import NO_UNIT_RATES, UnitRates


class CompetitiveSpec(LabelledSpec):
    """Parameters of ``Competitive``."""

    units: int = Field(ge=1, le=1 << 24, description="Number of prototypes.")
    mode: Literal["hard", "soft", "gas"] = Field(
        "hard",
        description=(
            "Which units learn: 'hard' the winner only, which is fastest; 'soft' all, weighted by "
            "softmax(−β·squared distance); 'gas' all, weighted by rank (neural gas)."
        ),
    )
    learning_rate: Annotated[Schedule, within(0, 1)] | Literal["1/n"] | None = Field(
        None,
        description=(
            "ε(t), the share of the distance to the sample that the winner moves. '1/n': a rate for each "
            "unit, max(1/n, rate_floor), n the samples it has learned, each weighted by its share in it, so "
            "that a unit is the mean of its samples. None: '1/n' for 'hard' and 'soft', for 'gas' a Decay "
            "from 0.5 to 0.02 with tau=4·units (at most 5000) and form 'inverse'."
        ),
    )
    rate_floor: Annotated[float, Field(ge=0, le=1)] | None = Field(
        None,
        description=(
            "Smallest rate of learning_rate='1/n'. 0.03 follows drift within some 33 samples per unit. At 0 "
            "a unit is the mean of all its samples, and cannot follow a stream that changes. None: 0.03, and "
            "0.07 for 'soft', where several units share each step."
        ),
    )
    beta: Annotated[Schedule, within(0, 1e30)] = Field(
        1.0,
        description=(
            "β(t) of mode 'soft', per squared unit of the scaled space: at 1 a squared distance "
            "greater by 1 means 1/e of the learning. Large values approach 'hard'; at 0 all units "
            "learn equally. A Decay from small to large spreads the units first."
        ),
    )
    spread: Annotated[Schedule, within(0, 1e6)] | None = Field(
        None,
        description=(
            "λ(t) of mode 'gas', in ranks: unit of rank k learns at e^(−k/λ) of the winner's rate. "
            "None: Decay from a quarter of the units (at least 1) to 0.5, with tau=units/4 (at most 5000) "
            "and form 'inverse'."
        ),
    )
    leak: Annotated[Schedule, within(0, 1)] = Field(
        0.0,
        description=(
            "Mode 'hard': learning rate of the units that lose, much smaller than ε, 0.0001 for "
            "example. Units that never win then drift to the middle of the stream. 0: losers do not "
            "learn."
        ),
    )
    conscience: Annotated[float, Field(gt=0, le=1e30)] | None = Field(
        None,
        description=(
            "Mode 'hard': C of the conscience, in units of squared distance. The learner is argmin ‖x "
            "− w_j‖² − C·(1/N − p_j), so units that won too often stand back. Set it if units never "
            "win. None: off."
        ),
    )
    conscience_rate: Annotated[float, Field(gt=0, le=1)] = Field(
        1e-4,
        description=(
            "B of the conscience: p_j ← p_j + B·(z_j − p_j), z_j = 1 for the nearest unit, else 0. At "
            "10⁻⁴ p_j is the share of wins among the last 10,000 samples."
        ),
    )
    frequency_sensitive: bool = Field(
        False,
        description=(
            "Mode 'hard': the learner is argmin n_j·‖x − w_j‖, n_j the wins so far. An alternative to "
            "conscience that needs no constant."
        ),
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> CompetitiveSpec:
        fair = {"conscience": self.conscience is not None, "frequency_sensitive": self.frequency_sensitive}
        if all(fair.values()):
            raise ValueError("give conscience or frequency_sensitive, not both")
        hard_only = [name for name, given in {**fair, "leak": bounds(self.leak)[1] > 0}.items() if given]
        if self.mode != "hard" and hard_only:
            raise ValueError(f"{' and '.join(hard_only)} is for mode 'hard', where one unit learns")
        return self

    def row_costs(self) -> list[Cost]:
        """Add the update of the winner or of all units, and further searches."""
        units = lanes(self.units)
        work = units * self.inputs
        if self.mode != "hard" or self.fairness != "none":  # a second search
            work += units * (self.inputs + EXPONENTIAL)
        parts = [*super().row_costs(), Cost(work, ("units", "dim"), learning=True)]
        if self.mode == "gas":
            parts.append(Cost(units * self.units, ("units",), learning=True))
        return parts

    @property
    def arrangement(self) -> tuple[int, ...]:
        """Shape of the units."""
        return (self.units,)

    @property
    def softness(self) -> Schedule:
        """β of a soft net, λ of a neural gas."""
        if self.mode != "gas":
            return self.beta
        start = max(1.0, self.units / 4)
        tau = min(self.units / 4, 5000.0)
        return Decay(start, 0.5, tau, form="inverse") if self.spread is None else self.spread

    @property
    def rate(self) -> Schedule | Literal["1/n"]:
        """ε(t), given or by default."""
        if self.learning_rate is not None:
            return self.learning_rate
        tau = min(4.0 * self.units, 5000.0)
        return Decay(0.5, 0.02, tau, form="inverse") if self.mode == "gas" else "1/n"

    @property
    def floor(self) -> float:
        """The smallest rate of '1/n', given or by default."""
        if self.rate_floor is not None:
            return self.rate_floor
        return 0.07 if self.mode == "soft" else 0.03

    @property
    def places_units(self) -> bool:
        """Whether units get their first place from samples: their initial weights are no samples."""
        return self.init in ("random", "range")

    @property
    def can_reheat(self) -> bool:
        """Whether a rate can be raised again."""
        return self.rate == "1/n" or super().can_reheat

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream, in the kernel's order."""
        softness = "spread" if self.mode == "gas" else "beta"
        rate = self.floor if self.rate == "1/n" else self.rate
        return {"learning_rate": rate, softness: self.softness, "leak": self.leak}

    @property
    def fairness(self) -> Literal["none", "conscience", "frequency"]:
        """Remedy against units that never win."""
        if self.frequency_sensitive:
            return "frequency"
        return "none" if self.conscience is None else "conscience"


class Competitive(SingleMapSamples):
    """Competitive learning: prototypes that move towards the samples that they win.

    Use it to sort a stream into clusters if no map is needed.

    Notes
    -----
    For each sample x, with w_j the weights of unit j:

    - 'hard': w_i ← w_i + ε(t)·(x − w_i) for the winner i = argmin_j ‖x − w_j‖ only
    - 'soft': y = softmax(−β(t)·‖x − w_j‖²), w_j ← w_j + ε(t)·y_j·(x − w_j)
    - 'gas': w_j ← w_j + ε(t)·e^(−k_j/λ(t))·(x − w_j), k_j the number of units nearer than j
    - rate '1/n': ε_j = max(1/n_j, floor) in place of ε(t), n_j the sum of the shares of unit j: 1 for the
      winner, y_j or e^(−k_j/λ(t)). A unit whose initial weights are a sample begins with n_j = 1, another
      one with 0. A unit that moves after a drift alarm begins again with 1; ``reheat(h)`` limits n_j to 1/h.

    ``winner`` is the nearest unit in every mode; the lowest index wins a tie. Quality:
    ``quantization_error`` (mean distance to the winner), ``dead_units``.

    References
    ----------
    'hard': D. E. Rumelhart and D. Zipser, Feature discovery by competitive learning, Cognitive Science
    9, 75–112, 1985; J. MacQueen, Some methods for classification and analysis of multivariate
    observations, 1967. '1/n': L. Bottou and Y. Bengio, Convergence properties of the k-means algorithms,
    NIPS 7, 1995. 'gas': T. Martinetz and K. Schulten, A "neural-gas" network learns topologies,
    1991. ``conscience``: D. DeSieno, Adding a conscience to competitive learning, ICNN 1988.
    ``frequency_sensitive``: S. C. Ahalt et al., Competitive learning algorithms for vector
    quantization, Neural Networks 3, 1990.

    Examples
    --------
    >>> import numpy as np
    >>> import streamlearn as sl
    >>> stream = np.random.default_rng(1).normal(size=(500, 3))
    >>> net = sl.Competitive(dim=3, units=4, init="samples")
    >>> out = net.learn(stream)
    >>> out.winner[:4]  # the first samples decide the weights: no winner yet
    array([-1, -1, -1, -1], dtype=int32)
    >>> net.weights.shape
    (4, 3)
    """

    kind: ClassVar[str] = "competitive"
    Spec: ClassVar[type[base.Spec]] = CompetitiveSpec
    outputs_class = CompetitiveOutputs
    target_outputs_class = LabelTargetOutputs
    spec: CompetitiveSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(kernels)
        self._create_units(self.spec.units)
        start = 1.0 / self.units if self.spec.fairness == "conscience" else 1.0
        share = lane_layout.to_lanes(np.full((self.units, 1), start)).reshape(-1, WIDTH)
        if self.spec.fairness != "none":
            self.state["share"] = share
        self._own_rate = (
            self._add(UnitRates(self.units, self.spec.places_units)) if self.spec.rate == "1/n" else None
        )
        unused = np.empty(0, np.float32)  # a schedule of another mode
        self._learn_kernel = kernels.learn
        self._learn_arguments |= {
            "beta": unused,
            "spread": unused,
            **(NO_UNIT_RATES if self._own_rate is None else self._own_rate.arguments),
            "mode": kernels.MODES[self.spec.mode],
            "fairness": fairness.KINDS[self.spec.fairness],
            "conscience": np.float32(self.spec.conscience or 0.0),
            "conscience_rate": np.float32(self.spec.conscience_rate),
            "share": share,
        }

    def _single_learner(self) -> Learner | None:
        if not self._learns_single_samples:
            return None
        compiler.ready(one_sample)
        return self._learner(one_sample.COMPETITIVE, one_sample.competitive_step)

    def _raise_rates(self, heat: float) -> None:
        if self._own_rate is not None:
            self._own_rate.reheat(heat)

    def _forget_units(self, units: NDArray[np.int64]) -> None:
        super()._forget_units(units)
        if self._own_rate is not None:
            self._own_rate.begin_again(units)
