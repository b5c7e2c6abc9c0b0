"""Base of the classic models.

One ``learn`` and one ``predict`` pass all kernel arguments by name. ``UnscaledSpec`` checks that no scaling
is set.
"""

from __future__ import annotations

import inspect
from abc import abstractmethod
from functools import cached_property
from types import ModuleType
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from ...errors import BadValue
from .. import base
from ..accepts import Accepts
from ..base import Model
from ..batch import Batch, Float32, first_rows
from ..outputs import Explanation, ModelOutputs


class UnscaledSpec(base.Spec):
    """Parameters of a model that takes its samples unscaled."""

    scale: Annotated[Literal["standard", "ewma", "minmax"] | None, Accepts("None")] = Field(
        None, description="Not used: the values of the samples have a fixed meaning."
    )

    SCALE_ERROR: ClassVar[str]
    """Message of the error if ``scale`` is set."""
    VALUES: ClassVar[str]
    """What the values of a sample are, for the error if ``features`` has numbers."""

    @field_validator("scale", mode="before")
    @classmethod
    def _refuse_scale(cls, value: Any) -> Any:
        if value is not None:
            raise ValueError(cls.SCALE_ERROR)
        return value

    @model_validator(mode="after")
    def _has_only_lags(self) -> Self:
        if self.features is not None and not self.features.only_values:
            raise ValueError(
                f"differences, period and calendar are numbers of either sign, but samples are {self.VALUES}:"
                " select lags only"
            )
        return self


class ClassicModel(Model):
    """A model with two kernels, ``learn`` and ``predict``.

    The parameters of the kernels have the names of the spec's fields, of its schedules and of the outputs.
    """

    kernels: ClassVar[ModuleType]

    def _learn(self, batch: Batch) -> ModelOutputs:
        out = self._allocate_outputs(batch.rows)
        contribution = self._new_explanation(2 * batch.rows, self.inputs)
        out.arrays["watched"] = np.empty(batch.rows, np.bool_)
        rows = self.kernels.learn(
            x=batch.x,
            **self._network(),
            samples=self.state["samples"],
            quality=self.state["quality"],
            decay=self.decay,
            **self._learning(),
            **self._schedules.advance(batch),
            interrupt=self.interrupt,
            gate=self._gate,
            **out.arrays,
            contribution=contribution,
        )
        if self.explains_learning:
            out.arrays["contribution"] = self._by_channel(contribution[: batch.rows], batch.x)
            out.arrays["expected"] = self.channels_of(contribution[batch.rows :])
        self._undo_rest(batch, rows)
        return first_rows(out, rows)

    def predict_validated(self, batch: Batch) -> ModelOutputs:
        """Return the outputs for each sample of a validated batch."""
        out = self._allocate_outputs(batch.rows)
        self.kernels.predict(x=batch.x, **self._network(), **out.arrays)
        return out

    def explain_validated(self, batch: Batch) -> Explanation:
        """Return the explanation of each sample of a validated batch, by its winner."""
        out = self.predict_validated(batch)
        expected, contribution = np.empty(batch.x.shape, np.float32), np.empty(batch.x.shape, np.float32)
        self._explain_kernel(
            x=batch.x,
            winner=out.arrays["winner"],
            **{name: value for name, value in self._network().items() if name in self._explain_parameters},
            expected=expected,
            contribution=contribution,
        )
        return Explanation(
            expected=self.channels_of(expected),
            contribution=self._by_channel(contribution, batch.x),
            score=out.score,
        )

    @cached_property
    def _explain_parameters(self) -> frozenset[str]:
        return frozenset(inspect.signature(self._explain_kernel.py_func).parameters)

    @property
    def _explain_kernel(self) -> Any:
        return self.kernels.explain

    @abstractmethod
    def _network(self) -> dict[str, Any]:
        """Return the arguments of both kernels by name, without samples and outputs."""

    def _learning(self) -> dict[str, Any]:
        """Return further arguments of ``learn`` by name, without schedules."""
        return {}

    @abstractmethod
    def _allocate_outputs(self, n: int) -> ModelOutputs:
        """Return uninitialized outputs for ``n`` samples."""

    def _refuse_values(self, x: Float32, wrong: NDArray[np.bool_], requirement: str) -> None:
        """Raise BadValue for the first value of ``x`` ``(n, dim)`` that is marked in ``wrong``, if any is."""
        if wrong.any():
            row, column = (int(i) for i in np.argwhere(wrong)[0])
            message = f"x[{row}, {column}] is {x[row, column]:g}; this {self.kind} takes {requirement}"
            raise BadValue(message, row=row, column=column)
