"""``streamlearn push``: send the rows of a file, samples or late targets, exactly once and in order."""

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
    from streamlearn.tabular.reader import TableReader
    from streamlearn_client.stream import Stream

Update = Callable[[], None]

_SHOWN = 20  # skipped rows


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
    format: Format = None,
    missing: MissingOption = None,
    skip_header: SkipHeader = None,
    delimiter: Delimiter = ",",
    decimal: Decimal = ".",
    skip_lines: SkipLines = 0,
    comment: Comment = None,
    encoding: Encoding = "utf-8",
    skip_bad: Annotated[
        int,
        typer.Option(
            "--skip-bad",
            min=0,
            metavar="N",
            help="pass over up to N rows that cannot be read, and report them",
        ),
    ] = 0,
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
    """Send the rows of a file to a model, which learns them: CSV, lines of JSON, Arrow or Parquet.

    An empty field is a missing value; --missing names others. At a row that cannot be read the command stops
    and names the line and the reason. The rows before it are learned; continue after it with --from-line, or
    pass over such rows with --skip-bad. Standard input is sent as it comes.

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
    from streamlearn.tabular.bytestreams import ByteStream
    from streamlearn.tabular.columns import ColumnOptions

    if late_targets and (id is None or columns is not None):
        raise BadUsage("--targets needs --id and takes no --columns; select the columns of y with --target")
    if late_targets and time is not None:
        raise BadUsage("--targets takes no --time: times belong to samples")
    options = ColumnOptions(columns, target, key, id, late_targets, time)
    noun = "target" if late_targets else "sample"
    with (
        ByteStream(file) as source,
        connect(endpoint, timeout, server_key, key_file) as client,
        ExitStack() as opened,
    ):
        found = client.describe(model)
        rows = opened.enter_context(
            open_table(
                source,
                options,
                found,
                time_format=time_format,
                utc_offset=utc_offset,
                format=format,
                missing=missing,
                skip_header=skip_header,
                delimiter=delimiter,
                decimal=decimal,
                skip_lines=skip_lines,
                comment=comment,
                encoding=encoding,
                from_line=from_line,
                skip_bad=skip_bad,
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
        "skipped": [{"line": each.detail.get("line"), "problem": each.message} for each in rows.skipped],
    }
    count = report.many(stream.acknowledged, noun)
    text = f"{model}: {count} acknowledged ({ack}), last lsn {lsn}"
    if late_targets:
        facts |= {"matched": stream.matched, "unmatched": stream.unmatched}
        text += f"; {_describe_matches(stream)}"
    _report_skipped(rows)
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


def _check_fit(rows: TableReader, found: dict[str, Any], late_targets: bool) -> None:
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


def _report_skipped(rows: TableReader) -> None:
    """Print the rows that were passed over."""
    for problem in rows.skipped[:_SHOWN]:
        print(f"streamlearn: skipped {problem.message}", file=sys.stderr)
    if rows.skipped:
        more = f", of which {_SHOWN} are shown" if len(rows.skipped) > _SHOWN else ""
        print(f"streamlearn: {len(rows.skipped):,} of its rows skipped{more}", file=sys.stderr)


def _add_position(error: BaseException, rows: TableReader, stream: Stream, noun: str) -> None:
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
def _progress(model: str, rows: TableReader, stream: Stream, noun: str) -> Iterator[Update]:
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
