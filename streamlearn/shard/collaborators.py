"""What a shard needs of its host: a source of models, and what watches and interrupts their slices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamlearn.kernels.stream.interrupt_words import NEVER
from streamlearn.store.record import Place

if TYPE_CHECKING:
    from streamlearn.models.base import Model


class ModelSource(Protocol):
    """Creates models: `streamlearn.models`, or a fake of it in tests."""

    def create(self, kind: str, spec: Mapping[str, Any], max_row_cost: int | None = None) -> Model:
        """Create a new model. Raises `BadSpec`, also if a row may cost more multiply-adds than the limit."""

    def from_arrays(self, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> Model:
        """Create a model from all arrays of a checkpoint."""


class Watch(Protocol):
    """Records which part of the journal is being applied, in case that the process dies."""

    def enter(self, create_lsn: int, place: Place) -> None:
        """The model that record `create_lsn` created begins to apply `place`."""

    def leave(self) -> None:
        """It has applied it."""


class NoWatch:
    """Records nothing."""

    def enter(self, create_lsn: int, place: Place) -> None:
        """Do nothing."""

    def leave(self) -> None:
        """Do nothing."""


class Interrupts(Protocol):
    """Ends slices early."""

    def begin_slice(self, rows: int, nanoseconds_per_row: float) -> NDArray[np.uint8]:
        """Return the interrupt of a slice that begins now, see `kernels/stream/interrupt.py`."""


class NoInterrupts:
    """Lets every slice end by itself."""

    def begin_slice(self, rows: int, nanoseconds_per_row: float) -> NDArray[np.uint8]:
        """Return a flag that nobody sets."""
        return NEVER
