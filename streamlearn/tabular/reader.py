"""The samples of a file: CSV, lines of JSON, Arrow or Parquet, perhaps compressed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from types import TracebackType
from typing import Any, BinaryIO, Final, Self, cast

from streamlearn.errors import TooLarge
from streamlearn.tabular.arrow import ArrowTable, record_batches
from streamlearn.tabular.bytestreams import ARROW_FILE, ARROW_STREAM, PARQUET, ByteStream, Exactly
from streamlearn.tabular.columns import ColumnOptions, Columns
from streamlearn.tabular.csvtable import CsvTable
from streamlearn.tabular.errors import BadData
from streamlearn.tabular.formats import DEFAULT, CsvFormat, TableFormat
from streamlearn.tabular.ndjson import RESERVED, NdjsonTable
from streamlearn.tabular.rows import LineNumbers, Rows
from streamlearn.tabular.times import TimeColumn

LONGEST_ROW: Final = 64 * 1024 * 1024
"""Bytes of a row; more means that a quote was not closed."""
DEFAULT_OPTIONS: Final = ColumnOptions()


class TableReader:
    """An iterator of ``Rows`` in ``source``: a path, ``-`` for standard input, or an open binary file.

    A file is read in parts of some thousand rows. Of a pipe, what it has is one part. At a row that cannot be
    read, iteration yields all rows before it and then raises ``BadData``.

    Parameters
    ----------
    source
        The file. Its first bytes decide how it is compressed, and its format unless it is given.
    options
        The columns of x, y, keys, ids and times.
    form
        How a CSV is written; ``missing`` holds for all formats.
    table_format
        The format; ``None`` detects it.
    times, labels, from_line, skip_bad
        See `Table`. Arrow and Parquet have rows instead of lines.
    dim
        See `CsvTable`.
    accepts, channels
        See `NdjsonTable`.
    """

    def __init__(
        self,
        source: str | BinaryIO | ByteStream,
        options: ColumnOptions = DEFAULT_OPTIONS,
        form: CsvFormat = DEFAULT,
        *,
        table_format: TableFormat | None = None,
        times: TimeColumn | None = None,
        labels: Sequence[str] = (),
        dim: int | None = None,
        from_line: int = 1,
        skip_bad: int = 0,
        accepts: Collection[str] = tuple(RESERVED),
        channels: Sequence[str] | None = None,
    ) -> None:
        self._stream = source if isinstance(source, ByteStream) else ByteStream(source)
        self.name = self._stream.name
        self.format = table_format or detected_format(self._stream.head)
        common: dict[str, Any] = {
            "times": times,
            "labels": labels,
            "from_line": from_line,
            "skip_bad": skip_bad,
        }
        self.table: CsvTable | NdjsonTable | ArrowTable
        if self.format == "csv":
            self.table = CsvTable(self.name, options, form, dim=dim, **common)
        elif self.format == "ndjson":
            known: dict[str, Any] = {"accepts": accepts, "channels": channels}
            self.table = NdjsonTable(self.name, options, form.missing, **known, **common)
        else:
            self.table = ArrowTable(self.name, options, form.missing, **common)

    @property
    def header(self) -> list[str] | None:
        """The names of the columns; ``None`` if they have none, or before the first row."""
        return self.table.header

    @property
    def columns(self) -> Columns:
        """The columns that were selected."""
        return self.table.columns

    @property
    def lines(self) -> LineNumbers:
        """The lines of the rows so far."""
        return self.table.lines

    @property
    def skipped(self) -> list[BadData]:
        """The rows that were passed over."""
        return self.table.skipped

    @property
    def bytes(self) -> int | None:
        """Size of the file; ``None`` if unknown."""
        return self._stream.size

    @property
    def bytes_read(self) -> int:
        """Bytes of the file that have been read."""
        return self._stream.consumed

    def __iter__(self) -> Iterator[Rows]:
        parts = self._batches() if isinstance(self.table, ArrowTable) else self._texts(self.table)
        for rows, problem in parts:
            if rows is not None:
                yield rows
            if problem is not None:
                raise problem
        self.table.end()

    def _texts(self, table: CsvTable | NdjsonTable) -> Iterator[tuple[Rows | None, BadData | None]]:
        cutter = table.cutter(LONGEST_ROW)
        try:
            while piece := self._stream.read():
                cutter.feed(piece)
                while (part := cutter.full()) is not None:
                    yield table.read_until_bad(part)
                if self._stream.live and (part := cutter.complete()) is not None:
                    yield table.read_until_bad(part)
        except TooLarge:
            raise BadData(
                f"{self.name}: a row after line {len(self.lines)} is larger than {LONGEST_ROW} bytes: a quote"
                " was opened and not closed, or this is no text",
                file=self.name,
            ) from None
        if (part := cutter.rest()) is not None:
            yield table.read_until_bad(part)

    def _batches(self) -> Iterator[tuple[Rows | None, BadData | None]]:
        assert isinstance(self.table, ArrowTable)
        kind: str = self.format
        if kind == "arrow" and self._stream.head.startswith(ARROW_STREAM):
            kind, file = "stream", cast("BinaryIO", Exactly(self._stream))
        elif (found := self._stream.whole()) is not None:
            file = found
        else:
            what = "Parquet" if kind == "parquet" else "an Arrow file"
            raise BadData(
                f"{self.name}: {what} is read from an uncompressed file, not from a pipe: its end says where"
                " its columns are",
                file=self.name,
            )
        for batch in record_batches(self.name, file, kind):
            yield self.table.read_batch(batch)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()


def detected_format(head: bytes) -> TableFormat:
    """Return the format of a table by its first bytes."""
    if head.startswith(PARQUET) and not head[4:8].decode("latin-1").isprintable():
        return "parquet"
    if head.startswith((ARROW_FILE, ARROW_STREAM)):
        return "arrow"
    return "ndjson" if head.lstrip()[:1] in (b"{", b"[") and head.lstrip() else "csv"
