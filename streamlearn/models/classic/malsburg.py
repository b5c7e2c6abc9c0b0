"""``sl.Malsburg``: orientation columns that organize themselves (von der Malsburg 1973)."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from streamlearn_client.outputs import Outputs

from ...kernels import compiler
from ...kernels.classic import malsburg as kernels
from ...kernels.simd import splitmix
from ...kernels.simd.lanes import WIDTH
from .. import base
from ..batch import Batch, Float32
from ..outputs import MalsburgOutputs
from ..stream.schedules import Positive, Schedule, within
from .activity import ActivityModel, ActivitySpec
from .plane import Cells, Plane, hexagon, positions, ring_offsets, shifted_rows

Side = Annotated[int, Field(ge=1, le=1024)]
Strength = Annotated[float, Field(ge=0, le=1000)]
Ring = Annotated[int, Field(ge=0, le=16)]
Rings = tuple[Ring, Ring]


class MalsburgSpec(ActivitySpec):
    """Parameters of ``Malsburg``."""

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
    s: Annotated[float, Field(gt=0, le=1000)] = Field(
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
        if rows * columns * self.dim > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the sheet has more than {base.MAX_STATE_VALUES} afferents; take a smaller sheet or dim"
            )
        return self

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream, in the kernel's order."""
        return {"h": self.h}

    @property
    def places(self) -> Cells:
        """Axial rows and columns of the sheet's places, in the order of its cells."""
        return hexagon(self.sheet) if isinstance(self.sheet, int) else shifted_rows(*self.sheet)


class Malsburg(ActivityModel):
    """Orientation columns: a sheet of cells whose neighbours learn to prefer similar stimuli.

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
    spec: MalsburgSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(splitmix, kernels)
        spec = self.spec
        rings = spec.p_rings, spec.r_rings, spec.q_rings
        self._plane = plane = Plane(spec.places, reach=max(farthest for _, farthest in rings))
        self.cells = plane.cells
        live = plane.to_lanes(np.ones((self.cells, 1))).reshape(-1, WIDTH)
        steps = [plane.steps(ring_offsets(*each)) for each in rings]
        total = self.dim * spec.s / 2
        rule = np.array([spec.p, spec.q, spec.r, spec.theta, spec.delta, total], np.float32)
        self._wiring = live, plane.margin, plane.margin + plane.places, *steps, rule, spec.steps
        generator = np.array([spec.seed], np.uint64)
        afferents = np.empty((self.cells, self.dim), np.float32)
        splitmix.fill_uniform(generator, np.float32(0), np.float32(spec.s), afferents.reshape(-1))
        afferents += np.float32(spec.s * 2.0**-24)  # above 0: no cell is without any
        exact = afferents.astype(np.float64)
        exact *= total / _row_sums(exact)
        self.state["afferents"] = plane.to_lanes(exact)
        self.state["quality"] = np.zeros(3)

    @property
    def weights(self) -> Float32:
        """Afferents s of the E cells, float32 of shape (cells, dim). Each row sums to dim·s/2. A copy."""
        return self._plane.from_lanes(self.state["afferents"])

    @property
    def positions(self) -> NDArray[np.float64]:
        """Places of the cells, float64 of shape (cells, 2): x and y in grid steps, the middle at (0, 0)."""
        return positions(self.spec.places)

    @staticmethod
    def bars(count: int = 9, rings: int = 2) -> Float32:
        """Return stimuli: bars of light through the middle of a hexagonal retina.

        The defaults give the nine stimuli of the paper, of seven lines each.

        Parameters
        ----------
        count : int, default 9
            Number of bars. Bar k has the angle (k + ½)·180°/count.
        rings : int, default 2
            Rings of the retina around its middle point; 2: 19 lines.

        Returns
        -------
        ndarray of float32, shape (count, lines)
            1 for lines within ⅔ of a grid step of the bar, else 0.
        """
        x, y = positions(hexagon(rings)).T
        angle = (np.arange(count)[:, None] + 0.5) * np.pi / count
        return np.asarray(np.abs(x * np.sin(angle) - y * np.cos(angle)) < 2 / 3, np.float32)

    def _learn(self, batch: Batch) -> Outputs:
        out = self._outputs(batch.rows)
        clock = self.state["samples"], self.state["quality"], self.decay
        rate = self._schedules.advance(batch).values()
        kernels.learn(batch.x, *self._what_responds(), *clock, *rate, *out.arrays.values())
        return out

    def predict_validated(self, batch: Batch) -> Outputs:
        """Return the outputs for a batch that ``validate`` returned. Does not change the model."""
        out = self._outputs(batch.rows)
        kernels.predict(batch.x, *self._what_responds(), *out.arrays.values())
        return out

    def _what_responds(self) -> tuple[Any, ...]:
        return self.state["afferents"], *self._wiring, *self._scores()

    def _quality(self) -> dict[str, float]:
        """Return mean share of E cells that fire, and mean largest change in the last settling step."""
        count, firing, unsettled = self.state["quality"].tolist()
        return {
            "firing": firing / count if count else float("nan"),
            "unsettled": unsettled / count if count else float("nan"),
        }


def _row_sums(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(n, 1)``: the sum of each row, added up in plain order on every machine."""
    return np.add.accumulate(rows, axis=1)[:, -1:]
