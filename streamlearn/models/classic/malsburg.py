"""``sl.Malsburg``: self-organizing orientation columns (von der Malsburg 1973)."""

from __future__ import annotations

from types import ModuleType
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ...kernels import compiler
from ...kernels.classic import malsburg as kernels
from ...kernels.simd import splitmix
from ...kernels.simd.blocks import WIDTH
from .. import base
from ..batch import Float32
from ..grids import Places, hexagon, positions, ring_offsets, shifted_rows
from ..locking import locked
from ..outputs import MalsburgOutputs
from ..readable import Part, array_part
from ..row_cost import SCALAR, Cost
from ..stream.schedules import Positive, Schedule, within
from .activity import ActivityModel, ActivitySpec
from .plane import Plane, lanes_of

Side = Annotated[int, Field(ge=1, le=1024)]
Strength = Annotated[float, Field(ge=0, le=1000)]
Ring = Annotated[int, Field(ge=0, le=16)]
Rings = tuple[Ring, Ring]


class MalsburgSpec(ActivitySpec):
    """Parameters of ``Malsburg``."""

    size_parameters: ClassVar[tuple[str, ...]] = ("sheet", "dim")

    sheet: Annotated[int, Field(ge=0, le=512)] | tuple[Side, Side] = Field(
        7,
        description=(
            "Size of the sheet: rings of cells around the middle one (7: 169 cells), or rows and "
            "columns, odd rows shifted right by half a step."
        ),
    )
    p: Strength = Field(0.4, description="Strength of E → E.")
    r: Strength = Field(0.286, description="Strength of E → I.")
    q: Strength = Field(0.3, description="Strength of I → E.")
    p_rings: Rings = Field(
        (1, 1), description="Nearest and farthest ring of E → E, in grid steps; 0 is the cell's own place."
    )
    r_rings: Rings = Field((0, 1), description="Nearest and farthest ring of E → I, in grid steps.")
    q_rings: Rings = Field(
        (2, 2),
        description=(
            "Nearest and farthest ring of I → E, in grid steps. Inhibition of rings 0 to 2 makes the "
            "activities oscillate."
        ),
    )
    theta: Strength = Field(1.0, description="θ: a cell sends max(0, H − θ).")
    s: Annotated[float, Field(ge=0.001, le=1000)] = Field(
        0.25, description="Afferents start in U(0, s). Their sum per cell is fixed at dim·s/2."
    )
    h: Annotated[Schedule, within(0, 1)] = Field(
        0.05,
        description=(
            "h(t), the learning rate. At 0.05 and dim=19 a cell that sends 1 adds 0.05 to each active "
            "line, of a sum of 2.4."
        ),
    )
    steps: int = Field(
        20,
        ge=1,
        le=1000,
        description="Settling steps per sample. Raise it if quality()['unsettled'] is not near 0.",
    )
    delta: Annotated[Positive, Field(le=1)] = Field(
        1.0,
        description=(
            "δ: share of the way to the sum of its inputs that a cell goes in one settling step. 0.5 "
            "with steps=40 settles sheets that oscillate at 1."
        ),
    )

    @model_validator(mode="after")
    def _makes_a_sheet(self) -> MalsburgSpec:
        for name in ("p_rings", "r_rings", "q_rings"):
            nearest, farthest = getattr(self, name)
            if nearest > farthest:
                raise ValueError(f"{name} are the nearest and the farthest ring, in this order")
        rows, columns = (2 * self.sheet + 1,) * 2 if isinstance(self.sheet, int) else self.sheet
        if rows * columns * self.inputs > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the sheet has more than {base.MAX_STATE_VALUES} afferents; take a smaller sheet or dim"
            )
        return self

    @property
    def winning_units(self) -> int:
        """Number of units of which one wins each sample."""
        return self.state_values // self.inputs

    def row_costs(self) -> list[Cost]:
        """Add the afferents, their update, and all settling steps."""
        rings = self.p_rings, self.r_rings, self.q_rings
        rows, columns = (2 * self.sheet + 1,) * 2 if isinstance(self.sheet, int) else self.sheet
        columns += 0 if isinstance(self.sheet, int) else rows // 2  # axial columns
        cells = lanes_of(rows, columns, max(farthest for _, farthest in rings))
        neighbours = sum(len(ring_offsets(*pair)) for pair in rings)
        return [
            *super().row_costs(),
            Cost(cells * self.inputs * 4, ("sheet", "dim")),
            Cost(
                self.steps * cells * (neighbours + SCALAR),
                ("steps", "sheet", "p_rings", "r_rings", "q_rings"),
            ),
            Cost(cells * SCALAR, ("sheet",)),
        ]

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream, in the kernel's order."""
        return {"h": self.h}

    @property
    def state_values(self) -> int:
        """Number of values in the large arrays of the state: the weights."""
        if isinstance(self.sheet, int):  # counted, not built: the sheet may be far too large
            return (1 + 3 * self.sheet * (self.sheet + 1)) * self.inputs
        rows, columns = self.sheet
        return rows * columns * self.inputs

    @property
    def places(self) -> Places:
        """Axial rows and columns of the cells, shape (cells, 2)."""
        return hexagon(self.sheet) if isinstance(self.sheet, int) else shifted_rows(*self.sheet)


class Malsburg(ActivityModel):
    """Orientation columns: a sheet of cells. Neighbouring cells learn to prefer similar stimuli.

    Samples are activities of ``dim`` lines, 0 or more; a missing value counts as 0. Use it to study how
    columns form; to map a stream, ``SOM`` is many times faster.

    Notes
    -----
    Each place of a hexagonal sheet has an excitatory (E) and an inhibitory (I) cell. H* = max(0, H −
    θ).

    - settling, ``steps`` times from H = 0: I cells H = r·Σ_E H*; E cells H ← H + δ·(−H + p·Σ_E H* −
      q·Σ_I H* + Σ_i s_ik·A_i)
    - update: s_ik ← s_ik + h(t)·A_i·H*_k, then the afferents of cell k are rescaled to the sum dim·s/2,
      after every sample

    Quality: ``firing`` (share of E cells that fire), ``unsettled`` (largest change in the last settling
    step).

    References
    ----------
    Chr. von der Malsburg, Self-organization of orientation sensitive cells in the striate cortex,
    Kybernetik 14, 85–100, 1973: cell equations, learning rule and the nine stimuli (``bars``).

    Examples
    --------
    >>> import numpy as np
    >>> import streamlearn as sl
    >>> bars = sl.Malsburg.bars()
    >>> bars.shape
    (9, 19)
    >>> sheet = sl.Malsburg(dim=19, sheet=3, seed=1)
    >>> sheet.learn(np.tile(bars, (5, 1))).activity.shape
    (45, 37)
    """

    kind: ClassVar[str] = "malsburg"
    Spec: ClassVar[type[base.Spec]] = MalsburgSpec
    outputs_class = MalsburgOutputs
    kernels: ClassVar[ModuleType] = kernels
    spec: MalsburgSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(splitmix, kernels)
        spec = self.spec
        rings = spec.p_rings, spec.r_rings, spec.q_rings
        self._plane = plane = Plane(spec.places, reach=max(farthest for _, farthest in rings))
        self.cells = plane.cells
        live = plane.to_lanes(np.ones((self.cells, 1))).reshape(-1, WIDTH)
        ee, ei, ie = (plane.array_offsets(ring_offsets(*pair)) for pair in rings)
        self._connections = {
            "live": live,
            "margin": plane.margin,
            "cell_index": plane.cell_index,
            "ee": ee,
            "ei": ei,
            "ie": ie,
        }
        self._strengths = {name: getattr(spec, name) for name in ("p", "q", "r", "theta", "delta", "steps")}
        self._afferent_sum = self.inputs * spec.s / 2
        generator = np.array([spec.seed], np.uint64)
        afferents = np.empty((self.cells, self.inputs), np.float32)
        splitmix.fill_uniform(generator, np.float32(0), np.float32(spec.s), afferents.reshape(-1))
        afferents += np.float32(spec.s * 2.0**-24)  # above 0: every cell has afferents
        exact = afferents.astype(np.float64)
        exact *= self._afferent_sum / _row_sums(exact)
        self.state["afferents"] = plane.to_lanes(exact)
        self.state["quality"] = np.zeros(3)

    @property
    @locked
    def weights(self) -> Float32:
        """Afferents s of the E cells, a copy of shape (cells, dim). Every row sums to dim·s/2."""
        return self._plane.from_lanes(self.state["afferents"])

    @property
    def positions(self) -> NDArray[np.float64]:
        """Positions x, y of the cells in grid steps, shape (cells, 2). The mean position is (0, 0)."""
        return positions(self.spec.places)

    @staticmethod
    def bars(count: int = 9, rings: int = 2) -> Float32:
        """Return bars of light through the middle of a hexagonal retina.

        With the defaults these are the nine stimuli of the paper, seven lines each.

        Parameters
        ----------
        count : int, default 9
            Number of bars. Bar k has the angle (k + ½)·180°/count.
        rings : int, default 2
            Rings of the retina around the middle point; 2: 19 lines.

        Returns
        -------
        ndarray of shape (count, lines)
            float32; 1 at lines within ⅔ of a grid step of the bar's axis, 0 elsewhere.
        """
        x, y = positions(hexagon(rings)).T
        angle = (np.arange(count)[:, None] + 0.5) * np.pi / count
        return np.asarray(np.abs(x * np.sin(angle) - y * np.cos(angle)) < 2 / 3, np.float32)

    def _parts(self) -> dict[str, Part]:
        """Add the weights."""
        values = len(self.spec.places) * self.inputs
        return super()._parts() | {"weights": array_part("weights", values, np.float32, lambda: self.weights)}

    def _network(self) -> dict[str, Any]:
        return {
            "afferents": self.state["afferents"],
            **self._connections,
            **self._strengths,
            **self._score.arguments,
        }

    def _learning(self) -> dict[str, Any]:
        return {"afferent_sum": self._afferent_sum}

    def _quality(self) -> dict[str, float]:
        count, firing, unsettled = self.state["quality"].tolist()
        return {
            "firing": firing / count if count else float("nan"),
            "unsettled": unsettled / count if count else float("nan"),
        }


def _row_sums(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sum of each row, shape (n, 1), added in a fixed order."""
    return np.add.accumulate(rows, axis=1)[:, -1:]
