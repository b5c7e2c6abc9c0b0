"""``streamlearn push``: send the rows of a CSV, samples or late targets, exactly once and in order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

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

if TYPE_CHECKING:
    from streamlearn.tabular.csvrows import CsvRows
    from streamlearn_client.stream import Stream

Update = Callable[[], None]

File = Annotated[
    str, typer.Argument(metavar="FILE", help="CSV file; - is standard input", show_default=False)
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
Delimiter = Annotated[str, typer.Option(metavar="CHAR", help="field separator")]


def add_to(app: typer.Typer) -> None:
    """Add the command of this module to the program."""
    app.command()(push)


def push(
    file: File,
    model: ModelOption,
    columns: ColumnsOption = None,
    target: Annotated[
        str | None,
        typer.Option(help="columns of the targets y, or of the names of labels", show_default="none"),
    ] = None,
    key: KeyOption = None,
    id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="COLUMN",
            help="column of the sample ids, for late targets",
            show_default="none",
        ),
    ] = None,
    time: TimeOption = None,
    time_format: TimeFormat = None,
    utc_offset: UtcOffset = 0.0,
    late_targets: Annotated[
        bool, typer.Option("--targets", help="rows are late targets of earlier samples, matched by --id")
    ] = False,
    skip_header: SkipHeader = None,
    delimiter: Delimiter = ",",
    from_line: Annotated[int, typer.Option(min=1, metavar="LINE", help="first line to send")] = 1,
    ack: Annotated[
        Literal["received", "written", "durable"], typer.Option(help="level of the acks")
    ] = "durable",
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 60.0,
    as_json: Json = False,
) -> None:
    """Send the rows of a CSV to a model, which learns them.

    An empty field is a missing value. At a row that cannot be read the command stops and names the line and
    the reason. The rows before it are learned; continue after it with --from-line. Standard input is sent row
    by row.

    If the model has names of channels, the columns of a file with a header must be these, in their order;
    --columns selects them by name. Times are read in the usual forms; one that can be read in two ways is
    refused:

        streamlearn push flow.csv -m pump --columns flow,pressure --time timestamp

    Targets can arrive later than their samples if the samples have ids. If no target of a file has a sample,
    the exit code is 1:

        streamlearn push samples.csv -m oven --id batch

        streamlearn push labels.csv -m oven --id batch --targets
    """
    from streamlearn.cli import report
    from streamlearn.cli.errors import BadData, BadUsage, NothingMatched
    from streamlearn.errors import StreamlearnError
    from streamlearn.tabular.columns import ColumnOptions
    from streamlearn.tabular.csvrows import CsvRows
    from streamlearn.tabular.times import TimeColumn

    if late_targets and (id is None or columns is not None):
        raise BadUsage("--targets needs --id and takes no --columns; select the columns of y with --target")
    if late_targets and time is not None:
        raise BadUsage("--targets takes no --time: times belong to samples")
    options = ColumnOptions(columns, target, key, id, late_targets, time)
    times = TimeColumn(time_format, utc_offset)
    noun = "target" if late_targets else "sample"
    with connect(endpoint, timeout, server_key, key_file) as client, ExitStack() as opened:
        found = client.describe(model)
        rows = opened.enter_context(
            CsvRows(
                file,
                options,
                header=skip_header,
                delimiter=delimiter,
                from_line=from_line,
                times=times,
                labels=found.get("label_names") or (),
            )
        )
        stream = client.stream(model, ack=ack, timeout=timeout)
        try:
            with stream, _progress(model, rows, stream, noun) as update:
                try:
                    for number, batch in enumerate(rows):
                        if number == 0:
                            _check_fit(rows, found, late_targets)
                        if batch.x is not None:
                            stream.push_many(
                                batch.x, batch.y, keys=batch.keys, ids=batch.ids, times=batch.times
                            )
                        elif batch.y is not None and batch.ids is not None:
                            stream.push_targets(batch.ids, batch.y, keys=batch.keys)
                        rows.lines.discard_before(stream.acknowledged - 1)
                        update()
                except BadData:
                    stream.flush()  # the rows before the bad one are learned
                    raise
                stream.flush()
                update()
        except (StreamlearnError, KeyboardInterrupt) as error:
            _add_position(error, rows, stream, noun)
            raise
    lsn = stream.last_ack.lsn if stream.last_ack is not None else None
    facts = {
        "model": model,
        "file": rows.name,
        "acknowledged": stream.acknowledged,
        "ack": ack,
        "resent_batches": stream.resent,
        "lsn": lsn,
    }
    count = report.many(stream.acknowledged, noun)
    text = f"{model}: {count} acknowledged ({ack}), last lsn {lsn}"
    if late_targets:
        facts |= {"matched": stream.matched, "unmatched": stream.unmatched}
        text += f"; {_describe_matches(stream)}"
    report.show(facts, as_json, text)
    if late_targets and stream.unmatched and not stream.matched:
        raise NothingMatched(
            f"no target of {rows.name} had a sample: no sample waits under these ids, or its target came "
            "before; compare the ids with those of the samples, which must be sent before their targets"
        )


def _describe_matches(stream: Stream) -> str:
    """A resent batch, or one that the model is slow to learn, has no counts in its ack."""
    unknown = stream.acknowledged - stream.matched - stream.unmatched
    text = f"{stream.matched:,} had a sample, {stream.unmatched:,} had none"
    return f"{text}, {unknown:,} not known" if unknown else text


def _check_fit(rows: CsvRows, found: dict[str, Any], late_targets: bool) -> None:
    """Raise if the columns of the file do not fit the model. Called before the first batch is sent."""
    from streamlearn.cli.errors import BadData

    names = f" ({', '.join(rows.header)})" if rows.header is not None else ""
    model, dim, targets = found["name"], found["dim"], found["target_dim"]
    x, y, key, id, _ = rows.columns
    problem = None
    if not found["accepts_late_targets"] and (late_targets or id is not None):
        problem = f"{model} takes no late targets: remove --id and --targets"
    elif (key is not None) != found["needs_keys"]:
        problem = f"{model} needs a key for each row: select its column with --key{names}"
        if key is not None:
            problem = f"{model} takes no keys: remove --key"
    elif len(y) != targets and (y or not found["accepts_late_targets"]):
        action = (
            f"needs {targets} target columns: select them with" if targets else "takes no targets: remove"
        )
        problem = f"{model} {action} --target{names}"
    elif not late_targets:
        check_names(rows, found["spec"].get("channels"), model)
        if len(x) != dim:
            problem = (
                f"{rows.name} has samples of {len(x)} values{names}, but {model} takes {dim}: select them"
                " with --columns"
            )
    if problem is not None:
        raise BadData(problem, file=rows.name, columns=[len(x), len(y)], expected=[dim, targets])


def check_names(rows: CsvRows, channels: list[str] | None, model: str) -> None:
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


def _add_position(error: BaseException, rows: CsvRows, stream: Stream, noun: str) -> None:
    """Add to an error which rows are acknowledged and where to continue."""
    done = stream.acknowledged
    if not done:
        position = "nothing was learned"
    else:
        next_line = rows.lines[done - 1] + 1
        position = f"{done:,} {noun}s before it are acknowledged; continue with --from-line {next_line}"
    if isinstance(error, KeyboardInterrupt):
        print(f"streamlearn: {position}", file=sys.stderr)
    else:
        error.add_note(position)


@contextmanager
def _progress(model: str, rows: CsvRows, stream: Stream, noun: str) -> Iterator[Update]:
    """Show a bar of the file's bytes, or a count if the size is unknown. Only on a terminal."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from streamlearn.cli import report

    columns = (
        TextColumn("{task.fields[model]}", style="bold", markup=False),
        BarColumn(),
        TextColumn(f"{{task.fields[acknowledged]:,}} {noun}s acknowledged"),
        TimeElapsedColumn(),
    )
    console = report.console(err=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=rows.bytes, model=model, acknowledged=0)

        def update() -> None:
            progress.update(task, completed=rows.bytes_read, acknowledged=stream.acknowledged)

        yield update
