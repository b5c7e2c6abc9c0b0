"""The memory of models: checked before a model is created."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from streamlearn import models as model_kinds
from streamlearn.daemon.limits.budget import Budget
from streamlearn.errors import TooLarge
from streamlearn.registry import KINDS
from streamlearn.shard import HostedModel, Shard

if TYPE_CHECKING:
    from streamlearn.models.base import Model

HEADER_BYTES = 1 << 20  # of a model's file, at most
VALUE_BYTES = 4  # of most state arrays
WRITE_COPIES = 4  # states in memory while a checkpoint is written: copy, file, read-back, an older one
RESTORE_COPIES = 4  # states in memory while a restore runs: file, arrays, model, record
QUERY_COPIES = 2  # of a long query: the copy, and the worker's model


def state_bytes(model: Model) -> int:
    """Return the memory of a model's state, with the arrays that it may get later."""
    return sum(array.nbytes for array in model.state.values()) + model.optional_bytes


class ModelMemory:
    """The account of the models. A model has a fixed size from its creation on."""

    def __init__(self, budget: Budget, shard: Shard) -> None:
        self._account = budget.models
        # A checkpoint, a restore and a long query of the largest model must always be possible.
        self.largest = min(
            budget.checkpoints.limit // (WRITE_COPIES + RESTORE_COPIES), budget.queries.limit // QUERY_COPIES
        )
        shard.check_new = self._check
        self._account.add(sum(state_bytes(hosted.model) for hosted in shard))

    @property
    def largest_file(self) -> int:
        """Bytes of the largest file of a model: its state and a header."""
        return self.largest + HEADER_BYTES

    def created(self, hosted: HostedModel) -> None:
        """Count a new model."""
        self._account.add(state_bytes(hosted.model))

    def deleted(self, hosted: HostedModel) -> None:
        """Count a deleted model no more."""
        self._account.release(state_bytes(hosted.model))

    def check_spec(self, kind: str, spec: Mapping[str, Any]) -> None:
        """Raise `TooLarge` for a model that does not fit, before its arrays are allocated."""
        if kind in KINDS:
            self._check_size(VALUE_BYTES * model_kinds.valid_spec(kind, spec).state_values)

    def _check(self, model: Model) -> None:
        """Raise `TooLarge` unless one more such model fits."""
        self._check_size(state_bytes(model))

    def _check_size(self, size: int) -> None:
        if size > self.largest or not self._account.fits(size):
            self._account.refused += 1
            raise TooLarge(
                f"the state of this model has {size} bytes; limits.memory_bytes allows {self.largest} bytes "
                f"for one model and {self._account.limit} for all, of which {self._account.used} are in use. "
                "Take a smaller model, delete another one, or raise limits.memory_bytes",
                limit="limits.memory_bytes",
                account=self._account.name,
                bytes=size,
                most=self.largest,
            )
