"""``sl.Template``: what it is, in one line."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from ...kernels import compiler
from ...kernels.maps import template as kernels
from .. import base
from ..outputs import CompetitiveOutputs, LabelTargetOutputs
from ..stream.schedules import Decay, Schedule, within
from .labels import LabelledModel, LabelledSpec


class TemplateSpec(LabelledSpec):
    """Parameters of ``Template``."""

    units: int = Field(ge=1, le=1 << 24, description="Number of prototypes.")
    learning_rate: Annotated[Schedule, within(0, 1)] = Field(
        Decay(0.5, 0.02, 5000.0), description="ε(t), the share of the distance that the winner moves."
    )

    @property
    def arrangement(self) -> tuple[int, ...]:
        """Shape of the units."""
        return (self.units,)

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream, by the names of the kernel's arguments."""
        return {"learning_rate": self.learning_rate}


class Template(LabelledModel):
    """Name of the method: what it does, in one sentence.

    Use it to do what.

    Notes
    -----
    For each sample x, with w_j the weights of unit j: w_i ← w_i + ε(t)·(x − w_i) for the winner i.
    Quality: ``quantization_error`` (mean distance to the winner), ``dead_units``.

    References
    ----------
    Author, title, journal, year.

    Examples
    --------
    >>> import numpy as np
    >>> import streamlearn as sl
    >>> net = sl.Template(dim=3, units=4)
    >>> net.learn(np.random.default_rng(1).normal(size=(500, 3))).winner.shape
    (500,)
    """

    kind: ClassVar[str] = "template"
    Spec: ClassVar[type[base.Spec]] = TemplateSpec
    outputs_class = CompetitiveOutputs
    target_outputs_class = LabelTargetOutputs
    spec: TemplateSpec

    def __init__(self, /, **parameters: Any) -> None:
        super().__init__(**parameters)
        compiler.ready(kernels)
        self._create_units(self.spec.units)
        self._learn_kernel = kernels.learn
