"""``streamlearn explain``: which channels of samples deviate from what a model expects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamlearn.cli.identifiers import KeyOption
from streamlearn.cli.options import (
    DEFAULT_ENDPOINT,
    Endpoint,
    Json,
    KeyFile,
    ModelOption,
    ServerKey,
    Timeout,
    connect,
)
from streamlearn.cli.tables import (
    ColumnsOption,
    Comment,
    Decimal,
    Delimiter,
    Encoding,
    File,
    Format,
    MissingOption,
    SkipHeader,
    SkipLines,
    TimeFormat,
    TimeOption,
    UtcOffset,
    check_names,
    open_table,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.console import RenderableType

    from streamlearn_client import Outputs


def explain(
    file: File,
    model: ModelOption,
    columns: ColumnsOption = None,
    target: Annotated[
        str | None,
        typer.Option(help="columns of the targets y, for a model that predicts one", show_default="none"),
    ] = None,
    key: KeyOption = None,
    time: TimeOption = None,
    time_format: TimeFormat = None,
    utc_offset: UtcOffset = 0.0,
    format: Format = None,
    missing: MissingOption = None,
    skip_header: SkipHeader = None,
    delimiter: Delimiter = ",",
    decimal: Decimal = ".",
    skip_lines: SkipLines = 0,
    comment: Comment = None,
    encoding: Encoding = "utf-8",
    above: Annotated[
        float | None,
        typer.Option(metavar="SCORE", help="show only samples with a higher score", show_default="all"),
    ] = None,
    top: Annotated[int, typer.Option(min=1, metavar="N", help="channels to show of each sample")] = 1,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 60.0,
    as_json: Json = False,
) -> None:
    """Explain the rows of a file: what a model expects, and which channels deviate. The model does not learn.

        streamlearn explain today.csv --model pump --above 0.99 --top 3

    Each line has a channel of a sample, the largest contributions first. A contribution is the share of the
    channel in the deviation of the sample. The last table has its mean over the samples that are shown. For
    a recurrent net all rows are one sequence, which continues its stream.
    """
    from streamlearn.cli import report
    from streamlearn.tabular.bytestreams import ByteStream
    from streamlearn.tabular.columns import ColumnOptions
    from streamlearn.tabular.formats import CsvFormat, Missing
    from streamlearn.tabular.rows import Rows
    from streamlearn.tabular.times import TimeColumn

    options = ColumnOptions(columns, target, key, time=time)
    with ByteStream(file) as stream, connect(endpoint, timeout, server_key, key_file) as client:
        found = client.describe(model)
        words = Missing.parsed(missing)
        form = CsvFormat(skip_header, delimiter, decimal, words, skip_lines, comment, encoding)
        times = TimeColumn(time_format, utc_offset)
        with open_table(stream, options, found, form, times, format) as rows:
            batches = list(rows)
        if not batches:
            return
        x, y, keys, _, when = Rows.joined(batches)
        assert x is not None
        check_names(rows, found["spec"].get("channels"), model)
        out = client.explain(model, x, y, keys, times=when)
    samples = [sample for sample in _samples(out, x if y is None else y, found) if _is_above(sample, above)]
    if "sample" not in out.arrays:
        for sample in samples:
            row = sample.pop("row")
            sample["line"] = rows.lines[row]
            if when is not None:
                sample["time"] = str(when[row].astype("datetime64[ns]").astype("datetime64[s]"))
    means = _means(samples)
    report.show({"samples": samples, "channels": means}, as_json, *_tables(samples, means, top))


def _samples(out: Outputs, values: NDArray[np.float32], model: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield each sample with its channels, the largest contribution first.

    ``values`` are the values that the model compared. A bidirectional net answers for other samples, whose
    values are not known here.
    """
    names, units = _names(model, out.expected.shape[1])
    numbers = out.arrays.get("sample")
    for row, (score, expected, contribution) in enumerate(
        zip(out.score.tolist(), out.expected.tolist(), out.contribution.tolist(), strict=True)
    ):
        given = values[row].tolist() if numbers is None else [None] * len(expected)
        place = {"row": row} if numbers is None else {"sample": int(numbers[row])}
        channels = [
            dict(zip(("channel", "unit", "value", "expected", "contribution"), channel, strict=True))
            for channel in zip(names, units, given, expected, contribution, strict=True)
        ]
        channels.sort(key=lambda channel: -channel["contribution"] if channel["contribution"] > 0 else 0.0)
        yield {**place, "score": score, "channels": channels}


def _names(model: Mapping[str, Any], count: int) -> tuple[Sequence[str], Sequence[str]]:
    """Return the names and units of the columns of an explanation: those of the channels, or numbers."""
    channels, units = model["spec"].get("channels"), model["spec"].get("channel_units")
    if model["spec"].get("target", "next") != "next":  # the columns are those of the target
        channels = units = None
    return channels or [str(column) for column in range(count)], units or [""] * count


def _is_above(sample: Mapping[str, Any], limit: float | None) -> bool:
    return limit is None or sample["score"] > limit


def _means(samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the mean contribution of each channel over the samples with contributions, the largest first."""
    totals: dict[str, float] = {}
    known = [sample for sample in samples if sample["channels"][0]["contribution"] >= 0]
    for sample in known:
        for channel in sample["channels"]:
            totals[channel["channel"]] = totals.get(channel["channel"], 0.0) + channel["contribution"]
    means = [{"channel": name, "contribution": total / len(known)} for name, total in totals.items()]
    return sorted(means, key=lambda mean: -mean["contribution"])


def _tables(
    samples: Sequence[Mapping[str, Any]], means: Sequence[Mapping[str, Any]], top: int
) -> list[RenderableType]:
    from streamlearn.cli import report

    if not samples:
        return ["no sample has a score above the limit"]
    places = [name for name in ("sample", "line", "time") if name in samples[0]]
    table = report.table(
        *(f">{name}" for name in places), ">score", "channel", ">value", ">expected", ">contribution"
    )
    for sample in samples:
        first = [*(report.text(sample[name]) for name in places), f"{sample['score']:.4f}"]
        for channel in sample["channels"][:top]:
            value, expected = (_quantity(channel[field], channel["unit"]) for field in ("value", "expected"))
            table.add_row(*first, channel["channel"], value, expected, _percent(channel["contribution"]))
            first = [""] * len(first)
    if len(samples) == 1:
        return [table]
    ranking = report.table("channel", ">contribution", title=f"Mean of {report.many(len(samples), 'sample')}")
    for mean in means:
        ranking.add_row(mean["channel"], _percent(mean["contribution"]))
    return [table, ranking]


def _quantity(value: float | None, unit: str) -> str:
    from streamlearn.cli.report import text

    return text(value) if value is None or value != value or not unit else f"{text(value)} {unit}"


def _percent(share: float) -> str:
    return f"{share:.1%}" if share == share else "–"
