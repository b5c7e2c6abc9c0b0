"""What the readers of all table formats share: selected columns, what was read, and rows of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn.tabular.columns import ColumnOptions, Columns
from streamlearn.tabular.errors import BadData
from streamlearn.tabular.formats import Missing
from streamlearn.tabular.rows import LineNumbers, Rows
from streamlearn.tabular.times import TimeColumn
from streamlearn_client.protocol import PrecisionMonitor


class Table:
    """Base of the readers of one format each.

    Parameters
    ----------
    name
        What messages call the table.
    options
        The columns of x, y, keys, ids and times (see ``columns.select``).
    missing
        What stands for a missing value.
    times
        Reads the times.
    labels
        Names of classes, which y may have instead of their numbers.
    from_line
        Rows before this line are not read.
    skip_bad
        How many rows that cannot be read are passed over.
    """

    def __init__(
        self,
        name: str,
        options: ColumnOptions,
        missing: Missing,
        times: TimeColumn | None,
        labels: Sequence[str],
        from_line: int,
        skip_bad: int,
    ) -> None:
        self.name = name
        self.header: list[str] | None = None
        self.columns = Columns((), ())
        self.lines = LineNumbers()
        """The lines of the rows; in a table without lines, their numbers from 1."""
        self.skipped: list[BadData] = []
        """The rows that were passed over."""
        self._options, self._missing = options, missing
        self._times = times or TimeColumn()
        self._labels = {label: float(number) for number, label in enumerate(labels)}
        self._from_line, self._skip_bad = from_line, skip_bad
        self._precision = PrecisionMonitor(name)

    def _rows(self, values: NDArray[np.float64], keys: Any, ids: Any, times: Any) -> Rows:
        """Return rows of numbers (n, x and y). Of the others, those that are not selected are left out."""
        columns, dim = self.columns, len(self.columns.x)
        numbers = values.astype(np.float32)
        if dim:
            self._precision.observe(values[:, :dim], numbers[:, :dim])
        return Rows(
            np.ascontiguousarray(numbers[:, :dim]) if dim else None,
            np.ascontiguousarray(numbers[:, dim:]) if columns.y else None,
            None if columns.key is None else keys,
            None if columns.id is None else ids,
            None if columns.time is None else np.asarray(times, np.int64),
        )
