"""Samples from record batches of Arrow: IPC streams, IPC files (Feather) and Parquet. Needs pyarrow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from streamlearn.tabular.columns import ColumnOptions, select
from streamlearn.tabular.errors import BadData
from streamlearn.tabular.formats import NOTHING, Missing
from streamlearn.tabular.numbers import LARGEST, without
from streamlearn.tabular.rows import Rows
from streamlearn.tabular.table import Table
from streamlearn.tabular.times import TimeColumn

if TYPE_CHECKING:
    import pyarrow

BATCH = 4096
"""Rows that are read of a file together."""


class ArrowTable(Table):
    """Reads the record batches of a table, in order. The parameters are those of `Table`; lines are rows."""

    def __init__(
        self,
        name: str,
        options: ColumnOptions,
        missing: Missing = NOTHING,
        *,
        times: TimeColumn | None = None,
        labels: Sequence[str] = (),
        from_line: int = 1,
        skip_bad: int = 0,
    ) -> None:
        super().__init__(name, options, missing, times, labels, from_line, skip_bad)
        self._row = 0

    def read_batch(self, batch: Any) -> tuple[Rows | None, BadData | None]:
        """Read a record batch up to its first row that cannot be read. Return the rows, and the problem."""
        import pyarrow

        try:
            return self._read(batch)
        except (pyarrow.ArrowException, ValueError, TypeError) as error:
            raise BadData(f"{self.name} is damaged, or no Arrow: {error}", file=self.name) from None

    def _read(self, batch: Any) -> tuple[Rows | None, BadData | None]:
        names: list[str] = batch.schema.names
        if self.header is None:
            self.header = names
            self.columns = select(self._options, names, len(names))
        elif names != self.header:
            raise BadData(f"{self.name}: a record batch has other columns than the first", file=self.name)
        first, self._row = self._row + 1, self._row + batch.num_rows
        skip = min(max(self._from_line - first, 0), batch.num_rows)
        batch, first = batch.slice(skip), first + skip
        if not batch.num_rows:
            return None, None
        columns = self.columns
        values = np.column_stack(
            [self._numbers(batch, index) for index in columns.x]
            + [self._targets(batch, index) for index in columns.y]
        )
        keys, ids = (
            None if index is None else self._identifiers(batch, index) for index in (columns.key, columns.id)
        )
        times = None if columns.time is None else self._nanoseconds(batch, columns.time)
        bad = np.flatnonzero((np.abs(values) > LARGEST).any(axis=1))
        problems = [self._too_large(first + int(row), values[row]) for row in bad]
        allowed = self._skip_bad - len(self.skipped)
        problem = problems[allowed] if len(problems) > allowed else None
        self.skipped += problems[:allowed]
        end = len(values) if problem is None else int(bad[allowed])
        kept = np.setdiff1d(np.arange(end), bad)
        if not len(kept):
            return None, problem
        self.lines.extend(range(first, first + end) if len(kept) == end else (first + kept).tolist())
        keys, ids = (None if each is None else [each[row] for row in kept] for each in (keys, ids))
        return self._rows(values[kept], keys, ids, None if times is None else times[kept]), problem

    def end(self) -> None:
        """Raise ``BadData`` if the table has no row."""
        if self._row == 0:
            raise BadData(f"{self.name} is empty: it holds no samples", file=self.name)

    def _numbers(self, batch: Any, index: int) -> NDArray[np.float64]:
        import pyarrow

        column, kind = batch.column(index), batch.schema.types[index]
        is_number = pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind)
        if not (is_number or pyarrow.types.is_decimal(kind) or pyarrow.types.is_null(kind)):
            hint = "select it with --time" if pyarrow.types.is_temporal(kind) else "leave it out of --columns"
            raise self._wrong(
                index, f"holds {kind}, and numbers were expected: {hint}, or cast it to a number"
            )
        values = column.cast(pyarrow.float64()).to_numpy(zero_copy_only=False)
        return without(values, self._missing)

    def _targets(self, batch: Any, index: int) -> NDArray[np.float64]:
        """Return numbers, or those of the names of labels."""
        import pyarrow

        column, kind = batch.column(index), batch.schema.types[index]
        if pyarrow.types.is_dictionary(kind):
            kind = kind.value_type
        if not (pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind)):
            return self._numbers(batch, index)
        texts = column.to_pylist()
        unknown = next((each for each in texts if each is not None and each not in self._labels), None)
        if unknown is not None:
            known = (
                f"no label of the model ({', '.join(list(self._labels)[:50])})" if self._labels else "text"
            )
            raise self._wrong(index, f"has {unknown!r}, which is {known}")
        return np.array([float("nan") if each is None else self._labels[each] for each in texts])

    def _identifiers(self, batch: Any, index: int) -> list[Any]:
        values: list[Any] = batch.column(index).to_pylist()
        wrong = next(
            (each for each in values if isinstance(each, bool) or not isinstance(each, (int, str))), 0
        )
        if wrong != 0:
            raise self._wrong(
                index, f"has {wrong!r}, which is no key or id: text or whole numbers were expected"
            )
        return values

    def _nanoseconds(self, batch: Any, index: int) -> NDArray[np.int64]:
        import pyarrow

        column, kind = batch.column(index), batch.schema.types[index]
        if column.null_count:
            raise self._wrong(index, "has a missing time: every row needs one")
        if pyarrow.types.is_timestamp(kind) or pyarrow.types.is_date(kind):
            offset = 0 if getattr(kind, "tz", None) else self._times.offset
            try:
                exact = column.cast(pyarrow.timestamp("ns"))
            except pyarrow.ArrowInvalid as error:
                raise self._wrong(index, f"has a time beyond int64 nanoseconds ({error})") from None
            return np.asarray(exact.to_numpy(zero_copy_only=False).astype(np.int64) - offset)
        try:
            return np.array([self._times.read_value(each) for each in column.to_pylist()], np.int64)
        except ValueError as problem:
            raise self._wrong(index, f"has a time that {problem}") from None

    def _too_large(self, row: int, values: NDArray[np.float64]) -> BadData:
        place = int(np.flatnonzero(np.abs(values) > LARGEST)[0])
        index = (*self.columns.x, *self.columns.y)[place]
        assert self.header is not None
        return BadData(
            f"{self.name}, row {row}: {values[place]} in column {index + 1} ({self.header[index]}) is too"
            " large for float32: correct it, or make it null if the value is missing",
            file=self.name,
            line=row,
            column=index + 1,
        )

    def _wrong(self, index: int, problem: str) -> BadData:
        assert self.header is not None
        return BadData(
            f"{self.name}: column {index + 1} ({self.header[index]}) {problem}",
            file=self.name,
            column=index + 1,
        )


def record_batches(name: str, file: BinaryIO, form: str) -> Iterator[pyarrow.RecordBatch]:
    """Yield the record batches of an IPC stream (``stream``), an IPC file (``arrow``), or ``parquet``.

    Raises ``BadData`` if the file is damaged, or pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import ipc, parquet
    except ImportError:
        raise BadData(
            f"{name} is {'Parquet' if form == 'parquet' else 'Arrow'}, which needs pyarrow: install"
            " streamlearn[arrow], or write the table as CSV",
            file=name,
        ) from None
    try:
        if form == "parquet":
            yield from parquet.ParquetFile(file).iter_batches(BATCH)
        elif form == "stream":
            yield from ipc.open_stream(file)
        else:
            reader = ipc.open_file(file)
            yield from map(reader.get_batch, range(reader.num_record_batches))
    except (pyarrow.ArrowException, OSError) as error:
        kind = "Parquet" if form == "parquet" else "Arrow"
        raise BadData(f"{name} is damaged, or no {kind} file: {error}", file=name) from None
