"""The result of one step of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamlearn.models.batch import Targets
from streamlearn.shard.origin import Columns, Origin
from streamlearn.store.record import RecordKind
from streamlearn_client.outputs import NamedArrays

if TYPE_CHECKING:
    from streamlearn.shard.hosted_model import HostedModel


class Applied(NamedTuple):
    """One applied slice: a change, or `rows` samples or late targets, up to or into record `lsn`.

    `first` is the number of the first sample, from 0. `outputs` may have more or fewer rows than `rows`.
    `interrupted`: the slice had more rows. `origin` says where the rows come from; for a model with
    look-ahead, `late_columns` does.
    """

    hosted: HostedModel
    kind: RecordKind
    lsn: int
    time: int
    first: int = 0
    rows: int = 0
    outputs: NamedArrays | None = None
    interrupted: bool = False
    origin: Origin | None = None
    late_columns: Columns | None = None

    def columns(self) -> Columns:
        """Return key, id and time of each row of the outputs, as far as they have them."""
        if self.late_columns is not None:
            return self.late_columns
        assert self.origin is not None
        assert self.outputs is not None
        return self.origin.columns(len(self.outputs))

    def samples(self) -> dict[str, NDArray[np.float32]]:
        """Return the samples that the rows of the outputs belong to, unless they came earlier."""
        if self.origin is None or self.late_columns is not None or isinstance(self.origin.batch, Targets):
            return {}
        assert self.outputs is not None
        return {"x": self.origin.batch.x[: len(self.outputs)]}
