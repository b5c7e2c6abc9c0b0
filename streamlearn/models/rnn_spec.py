"""The parameters of ``sl.RNN``."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ..kernels import plan
from ..kernels.lanes import WIDTH
from . import base
from .schedule import Decay, Positive, Schedule, bounds

Steps = Annotated[int, Field(ge=1, le=1 << 16)]
Count = Annotated[int, Field(ge=2, le=1 << 16)]


class RNNSpec(base.Spec):
    hidden: int = Field(ge=1, le=1 << 14, description="units of a layer")
    cell: Literal["elman", "lstm", "gru"] = Field("lstm", description="what a unit is")
    layers: int = Field(1, ge=1, le=64, description="layers of units, each on the one before")
    tbptt: tuple[Steps, Steps] = Field((16, 16), description="update every k1 pairs, through the last k2")
    optimizer: Literal["sgd", "momentum", "rmsprop", "adam"] = "adam"
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum: what a step keeps of the one before")
    learning_rate: Schedule = Field(Decay(0.02, 0.003, 5000.0), description="ε(t) of the optimizer")
    loss: Literal["mse", "huber", "cross_entropy"] = "mse"
    delta: Positive = Field(1.0, description="huber: errors beyond it count in proportion, not squared")
    target: Literal["next", "given", "later"] = Field(
        "next", description="forecast the next samples, or a y given with the sample, or one that comes later"
    )
    horizon: Steps | None = Field(None, description="next: how many samples are forecast at once")
    delay: Steps | None = Field(
        None, description="later: how many samples may wait for their y; 256 by default"
    )
    keys: Steps | None = Field(
        None, description="every sample has a key, and of so many keys each has a hidden state of its own"
    )
    outputs: int | None = Field(None, ge=1, le=1 << 20, description="columns of y; dim for target='next'")
    residual: bool = Field(False, description="next: the read-out is the change from the last sample")
    symbols: Count | None = Field(None, description="a sample is one number, a symbol 0 … symbols − 1")
    classes: Count | None = Field(None, description="cross_entropy, given: y is a class 0 … classes − 1")
    clip: Positive | None = Field(None, description="the gradient's norm is cut to this")
    lags: bool = Field(False, description="keep the gradient's norm by lag, at the cost of one more way back")

    @model_validator(mode="after")
    def _fits(self) -> RNNSpec:
        k1, k2 = self.tbptt
        if k2 < k1:
            raise ValueError(
                f"tbptt=(k1, k2) needs k2 ≥ k1, or pairs would never be learned; got ({k1}, {k2})"
            )
        if bounds(self.learning_rate)[0] < 0:
            raise ValueError("learning_rate must not be negative")
        if self.target == "next" and self.outputs not in (None, self.dim):
            raise ValueError(f"with target='next' the outputs are the {self.dim} channels: leave outputs out")
        if self.horizon is not None and (self.target != "next" or self.symbols is not None):
            raise ValueError("horizon is for target='next' and samples that are numbers")
        if self.delay is not None and self.target != "later":
            raise ValueError("delay is for target='later'")
        if self.target != "next" and self.residual:
            raise ValueError("residual is for target='next': a change needs a last value to start from")
        self._fits_symbols()
        net, _ = self.plan
        rows = 3 * int(net[plan.PARAMETER_ROWS])
        rows += self.room * int((self.keys or 1) * net[plan.WINDOW_ROWS] + net[plan.TRACE_ROWS])
        if rows * WIDTH > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the net needs more than {base.MAX_STATE_VALUES} values; take a smaller hidden, layers, k2,"
                " keys, horizon or delay"
            )
        return self

    def _fits_symbols(self) -> None:
        probable = self.loss == "cross_entropy"
        if self.symbols is not None and (self.dim != 1 or self.scale is not None or self.residual):
            raise ValueError("a symbol is a name: symbols needs dim=1, and neither scale nor residual")
        if self.target == "next" and probable != (self.symbols is not None):
            raise ValueError("with target='next', loss='cross_entropy' and symbols=… go together")
        if (self.classes is not None) != (probable and self.target != "next"):
            raise ValueError("classes=… is for loss='cross_entropy' with a given target, which needs it")
        if self.classes is not None and self.outputs is not None:
            raise ValueError("with classes there is one probability for each: leave outputs out")

    @property
    def schedules(self) -> dict[str, Schedule]:
        return {"learning_rate": self.learning_rate}

    @property
    def kinds(self) -> int | None:
        """How many classes a forecast tells apart; None where it is numbers."""
        if self.loss != "cross_entropy":
            return None
        return self.symbols if self.target == "next" else self.classes

    @property
    def plan(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The network as kernels see it."""
        forecast = self.dim * (self.horizon or 1)
        outputs = self.kinds or (forecast if self.target == "next" else self.outputs or 1)
        return plan.plan(
            self.cell,
            self.dim,
            self.hidden,
            self.layers,
            outputs,
            residual=self.residual,
            symbols=self.symbols,
            classes=self.kinds is not None,
        )

    @property
    def wait(self) -> int:
        """How many samples may wait for their target."""
        return (self.delay or 256) if self.target == "later" else 0

    @property
    def room(self) -> int:
        """Slots of a window: k2 pairs, what waits, and the state after all."""
        return self.tbptt[1] + (self.horizon or 1) + self.wait

    @property
    def replays(self) -> bool:
        """Whether some steps of a window ran with other parameters than those that an update starts from."""
        k1, k2 = self.tbptt
        return k1 < k2 or self.wait > 0 or (self.horizon or 1) > 1 or self.keys is not None
