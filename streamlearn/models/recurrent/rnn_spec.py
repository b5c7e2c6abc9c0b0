"""The parameters of ``sl.RNN``."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ...kernels.recurrent import memory_layout
from ...kernels.simd.lanes import WIDTH
from .. import base
from ..row_cost import Cost
from . import costs
from .base import RecurrentSpec, Steps


class RNNSpec(RecurrentSpec):
    """Parameters of ``RNN``."""

    readout: Literal["adam"] = Field(
        "adam",
        description=(
            "How the read-out learns: 'adam', by backpropagation, together with the cells and with the "
            "same optimizer."
        ),
    )
    tbptt: tuple[Steps, Steps] = Field(
        (16, 16),
        description=(
            "(k₁, k₂) of truncated backpropagation through time: one update every k₁ samples, through "
            "the last k₂ ≥ k₁. Equal values are cheapest. Raise k₂ if the net must remember for "
            "longer than 16 samples."
        ),
    )
    target: Literal["next", "given", "later"] = Field(
        "next",
        description=(
            "What is predicted: 'next', the next sample; 'given', a y that comes with its sample; "
            "'later', a y that may also come later by the sample's id."
        ),
    )
    horizon: Steps | None = Field(
        None,
        description=(
            "Target 'next': samples that are forecast at once, each with its own rows of the "
            "read-out. None: one, without an axis for the step."
        ),
    )
    residual: bool = Field(
        False,
        description=(
            "Target 'next': the read-out is the change from the last sample, so that an untrained net "
            "forecasts about the last value."
        ),
    )
    record_lags: bool = Field(
        False,
        description=(
            "Whether to record the gradient's norm by lag (gradient_by_lag). Costs one more backward "
            "pass per update."
        ),
    )

    @model_validator(mode="after")
    def _check(self) -> RNNSpec:
        k1, k2 = self.tbptt
        if k2 < k1:
            raise ValueError(
                f"tbptt=(k1, k2) needs k2 ≥ k1, or some samples are never learned; got ({k1}, {k2})"
            )
        if self.target == "next" and self.outputs not in (None, self.dim):
            raise ValueError(
                f"with target='next', outputs must equal dim={self.dim}; got outputs={self.outputs}."
                " Remove outputs"
            )
        if self.horizon is not None and (self.target != "next" or self.symbols is not None):
            raise ValueError(
                "horizon needs target='next' and symbols=None;"
                f" got target={self.target!r}, symbols={self.symbols}. Remove horizon"
            )
        if self.target != "next" and self.residual:
            raise ValueError(
                "residual=True needs target='next', because it adds to the last sample;"
                f" got target={self.target!r}. Remove residual"
            )
        self._check_symbols_and_classes()
        if self.state_values > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the state of the network has more than {base.MAX_STATE_VALUES} values;"
                " use a smaller hidden, layers, k2, keys, horizon or delay"
            )
        return self

    def _check_symbols_and_classes(self) -> None:
        cross_entropy = self.loss == "cross_entropy"
        if self.symbols is not None and self.residual:
            raise ValueError(
                "residual=True cannot be used with symbols, because symbol numbers cannot be added."
                " Remove residual"
            )
        if self.target == "next" and cross_entropy != (self.symbols is not None):
            raise ValueError(
                "with target='next', symbols=… needs loss='cross_entropy' and loss='cross_entropy' needs"
                f" symbols=…; got symbols={self.symbols}, loss={self.loss!r}"
            )
        if (self.classes is not None) != (cross_entropy and self.target != "next"):
            raise ValueError(
                "classes=… needs loss='cross_entropy' and target='given' or 'later', and these need"
                f" classes=…; got classes={self.classes}, loss={self.loss!r}, target={self.target!r}"
            )

    @property
    def state_values(self) -> int:
        """Number of values in the large arrays of the state and of the scratch memory."""
        layout, _ = self.layout
        rows = 3 * int(layout[memory_layout.PARAMETER_ROWS])
        rows += self.window_slots * int(
            (self.keys or 1) * layout[memory_layout.WINDOW_ROWS] + layout[memory_layout.ACTIVATION_ROWS]
        )
        return rows * WIDTH

    def row_costs(self) -> list[Cost]:
        """Add one step forward, and as many updates as one row can complete.

        A late target completes its own pair and all that waited for it.
        """
        k1, k2 = self.tbptt
        layout = self.layout
        forward, backward = costs.forward(layout), costs.backward(layout)
        passes = (forward if self.needs_replay else 0) + backward * (2 if self.record_lags else 1)
        shift = self.window_slots * WIDTH * int(layout[0][memory_layout.WINDOW_ROWS])
        updates = 1 + self.max_waiting // k1
        delay = ("delay",) if self.max_waiting else ()
        names = ("hidden", "layers", "tbptt", *delay, *self.output_parameters)
        return [
            *super().row_costs(),
            Cost(forward, ("hidden", "layers", *self.output_parameters)),
            Cost(updates * (k2 * passes + shift), names, learning=True),
            Cost(updates * costs.update(layout), names, learning=True),
        ]

    @property
    def class_count(self) -> int | None:
        """Number of classes that a forecast has probabilities of; None if it consists of values."""
        if self.loss != "cross_entropy":
            return None
        return self.symbols if self.target == "next" else self.classes

    @property
    def layout(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``layout`` and ``matrices`` of the network, see ``kernels/recurrent/memory_layout.py``."""
        forecast = self.dim * (self.horizon or 1)
        outputs = self.class_count or (forecast if self.target == "next" else self.outputs or 1)
        return memory_layout.network_layout(
            self.cell,
            self.dim,
            self.hidden,
            self.layers,
            outputs,
            residual=self.residual,
            symbols=self.symbols,
            classes=self.class_count is not None,
            bias=self.bias,
            head_bias=self.head_bias,
        )

    @property
    def window_slots(self) -> int:
        """Slots of a window: k2 pairs, the waiting steps, and the state after the last one."""
        return self.tbptt[1] + (self.horizon or 1) + self.max_waiting

    @property
    def needs_replay(self) -> bool:
        """Whether some steps of a window may have run with parameters older than the current ones."""
        k1, k2 = self.tbptt
        return k1 < k2 or self.max_waiting > 0 or (self.horizon or 1) > 1 or self.keys is not None
