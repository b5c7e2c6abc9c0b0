"""Options of commands that read tables, and the reader made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streamlearn.tabular.bytestreams import ByteStream
    from streamlearn.tabular.columns import ColumnOptions
    from streamlearn.tabular.formats import CsvFormat, TableFormat
    from streamlearn.tabular.reader import TableReader
    from streamlearn.tabular.times import TimeColumn

File = Annotated[
    str,
    typer.Argument(
        metavar="FILE",
        help="CSV, lines of JSON, Arrow or Parquet, perhaps compressed by gzip or zstd; - is standard input",
        show_default=False,
    ),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns", help="columns of the samples, by name or number: 1-8 or flow,3", show_default="all"
    ),
]
SkipHeader = Annotated[
    bool | None,
    typer.Option("--skip-header/--no-header", help="whether line 1 is a header", show_default="detected"),
]
TimeOption = Annotated[
    str | None,
    typer.Option("--time", metavar="COLUMN", help="column of the samples' times", show_default="arrival"),
]
TimeFormat = Annotated[
    str | None,
    typer.Option(
        "--time-format",
        metavar="FORM",
        help="form of the times: iso; seconds, milliseconds, microseconds or nanoseconds since 1970;"
        " day-first, month-first; or a pattern such as %d.%m.%y",
        show_default="detected",
    ),
]
UtcOffset = Annotated[
    float, typer.Option("--utc-offset", metavar="HOURS", help="zone of times without one: hours ahead of UTC")
]
Format = Annotated[
    Literal["csv", "ndjson", "arrow", "parquet"] | None,
    typer.Option("--format", help="format of the file", show_default="detected"),
]
MissingOption = Annotated[
    str | None,
    typer.Option(
        "--missing",
        metavar="WORD,…",
        help="what stands for a missing value, beside an empty field and nan: NA,null,?,-999",
        show_default="none",
    ),
]
Delimiter = Annotated[str, typer.Option(metavar="CHAR", help=r"field separator of CSV; '\t' is a tab")]
Decimal = Annotated[str, typer.Option(metavar="CHAR", help="decimal mark of CSV: . or ,")]
SkipLines = Annotated[
    int, typer.Option("--skip-lines", min=0, metavar="N", help="lines of CSV before the header")
]
Comment = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="begin of lines of CSV that are not read", show_default="none"),
]
Encoding = Annotated[str, typer.Option(metavar="NAME", help="encoding of CSV: utf-8, latin-1, cp1252, …")]


def open_table(
    file: ByteStream,
    columns: ColumnOptions,
    found: Mapping[str, Any],
    form: CsvFormat,
    times: TimeColumn,
    table_format: TableFormat | None,
    from_line: int = 1,
    skip_bad: int = 0,
) -> TableReader:
    """Return the reader of a file for a model. ``found``: its description."""
    from streamlearn.tabular.reader import TableReader

    takes = {"key": "needs_keys", "id": "accepts_late_targets", "y": "target_dim"}
    return TableReader(
        file,
        columns,
        form,
        table_format=table_format,
        times=times,
        labels=found.get("label_names") or (),
        dim=None if columns.late_targets else found["dim"],
        from_line=from_line,
        skip_bad=skip_bad,
        accepts=["time", *(name for name, fact in takes.items() if found[fact])],
        channels=found["spec"].get("channels"),
    )


def check_names(rows: TableReader, channels: list[str] | None, model: str) -> None:
    """Raise ``BadData`` unless the selected columns have the names of the channels, if both have names."""
    from streamlearn.cli.errors import BadData
    from streamlearn_client.errors import BadShape
    from streamlearn_client.protocol import check_channels

    if rows.header is None:
        return
    try:
        check_channels(
            [rows.header[index] for index in rows.columns.x], channels, f"the columns of {rows.name}"
        )
    except BadShape as problem:
        raise BadData(
            f"{problem}: --columns {','.join(channels or ())}", file=rows.name, model=model, **problem.detail
        ) from None
