"""The result of one step of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamlearn.models.batch import Batch, Targets
from streamlearn.shard.origin import Columns, Origin
from streamlearn.store.record import RecordKind
from streamlearn_client.outputs import NamedArrays

if TYPE_CHECKING:
    from streamlearn.shard.hosted_model import HostedModel


class Applied(NamedTuple):
    """One applied slice: a change, or `rows` samples or late targets, up to or into record `lsn`.

    `first` is the number of the first sample, from 0. `outputs` may have more or fewer rows than `rows`.
    `interrupted`: the slice had more rows. `batch` has the rows, and `arrived` and `counts` say when they
    came (see `Origin`); for a model with look-ahead, `late_columns` does.
    """

    hosted: HostedModel
    kind: RecordKind
    lsn: int
    time: int
    first: int = 0
    rows: int = 0
    outputs: NamedArrays | None = None
    interrupted: bool = False
    batch: Batch | Targets | None = None
    arrived: Sequence[int] = ()
    counts: Sequence[int] = ()
    late_columns: Columns | None = None

    def columns(self) -> Columns:
        """Return key, id and time of each row of the outputs, as far as they have them."""
        if self.late_columns is not None:
            return self.late_columns
        assert self.batch is not None
        assert self.outputs is not None
        return Origin(self.batch, self.arrived, self.counts, self.first).columns(len(self.outputs))

    def samples(self) -> dict[str, NDArray[np.float32]]:
        """Return the samples that the rows of the outputs belong to, unless they came earlier."""
        if self.late_columns is not None or not isinstance(self.batch, Batch):
            return {}
        assert self.outputs is not None
        return {"x": self.batch.x[: len(self.outputs)]}
