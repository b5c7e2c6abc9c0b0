"""``streamlearn push``: send the rows of a file, samples or late targets, exactly once and in order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

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
    from streamlearn.tabular.bytestreams import ByteStream
    from streamlearn.tabular.reader import TableReader
    from streamlearn_client import Client
    from streamlearn_client.protocol import AnsweredLevel

Update = Callable[[int], None]

_SHOWN = 20  # skipped rows


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
    once: Annotated[
        bool, typer.Option("--once", help="send only rows that this model did not learn of this file before")
    ] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="wait for further rows, also after the file is rotated")
    ] = False,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="what rows of --once and --follow are counted for",
            show_default="--once: the first rows; --follow: this host and the path",
        ),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="position of --follow", show_default="in the user's state folder"),
    ] = None,
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

    A file that is pushed again with --once sends only its new rows. With --follow the command sends the rows
    of a log as they come, each once, also after it or the daemon was killed.

    Targets can arrive later than their samples if the samples have ids. If no target of a file has a sample,
    the exit code is 1:

        streamlearn push samples.csv -m oven --id batch

        streamlearn push labels.csv -m oven --id batch --targets
    """
    from streamlearn.cli import report
    from streamlearn.cli.errors import BadUsage, NothingMatched
    from streamlearn.tabular.bytestreams import ByteStream
    from streamlearn.tabular.columns import ColumnOptions
    from streamlearn.tabular.formats import CsvFormat, Missing
    from streamlearn.tabular.times import TimeColumn

    if late_targets and (id is None or columns is not None):
        raise BadUsage("--targets needs --id and takes no --columns; select the columns of y with --target")
    if late_targets and time is not None:
        raise BadUsage("--targets takes no --time: times belong to samples")
    options = ColumnOptions(columns, target, key, id, late_targets, time)
    noun = "target" if late_targets else "sample"
    _check_numbered(file, once, follow, source, state, from_line, ack)

    def open_rows(stream: ByteStream, found: Mapping[str, Any]) -> TableReader:
        words = Missing.parsed(missing)
        form = CsvFormat(skip_header, delimiter, decimal, words, skip_lines, comment, encoding)
        times = TimeColumn(time_format, utc_offset)
        return open_table(stream, options, found, form, times, format, from_line, skip_bad)

    if follow:
        from streamlearn.cli.following import follow_file

        with connect(endpoint, timeout, server_key, key_file) as client:
            found = client.describe(model)

            def check(table: Any) -> None:
                _check_fit(table, found, late_targets)

            path = Path(file)
            follow_file(client, model, path, ack, source, state, lambda data: open_rows(data, found), check)
    with ByteStream(file) as data, connect(endpoint, timeout, server_key, key_file) as client:
        found = client.describe(model)
        rows = open_rows(data, found)
        send = _send_once if once else _send_all
        sent = send(client, model, rows, ack, source, lambda: _check_fit(rows, found, late_targets), noun)
    facts = {
        "model": model,
        "file": rows.name,
        "acknowledged": sent.acknowledged,
        "known": sent.known,
        "ack": ack,
        "resent_batches": sent.resent,
        "lsn": sent.lsn,
        "skipped": [{"line": each.detail.get("line"), "problem": each.message} for each in rows.skipped],
    }
    text = f"{model}: {report.many(sent.acknowledged, noun)} acknowledged ({ack})"
    text += f", last lsn {sent.lsn}" if sent.lsn is not None or not once else ""
    if once:
        text += f"; {sent.known:,} were known"
    if late_targets:
        facts |= {"matched": sent.matched, "unmatched": sent.unmatched}
        text += f"; {_describe_matches(sent)}"
    _report_skipped(rows)
    report.show(facts, as_json, text)
    if late_targets and sent.unmatched and not sent.matched:
        raise NothingMatched(
            f"no target of {rows.name} had a sample: no sample waits under these ids, or its target came "
            "before; compare the ids with those of the samples, which must be sent before their targets"
        )


class _Sent(NamedTuple):
    """What a push sent. ``known``: rows that were learned before."""

    acknowledged: int
    lsn: int | None
    resent: int = 0
    known: int = 0
    matched: int = 0
    unmatched: int = 0


def _check_numbered(
    file: str,
    once: bool,
    follow: bool,
    source: str | None,
    state: Path | None,
    from_line: int,
    ack: str,
) -> None:
    """Refuse options that contradict --once and --follow."""
    from streamlearn.cli.errors import BadUsage

    if once and follow:
        raise BadUsage("--once and --follow: choose one; --follow sends each row once anyway")
    if source is not None and not (once or follow):
        raise BadUsage("--source needs --once or --follow")
    if state is not None and not follow:
        raise BadUsage("--state needs --follow")
    if (once or follow) and from_line > 1:
        raise BadUsage(
            f"--from-line contradicts --{'once' if once else 'follow'}, which knows where to go on"
        )
    if follow and file == "-":
        raise BadUsage("--follow needs a file; standard input is read to its end anyway")
    if follow and ack == "received":
        raise BadUsage(
            "--follow needs --ack written or durable: rows in memory are lost if the daemon is killed"
        )


def _send_all(
    client: Client,
    model: str,
    rows: TableReader,
    ack: AnsweredLevel,
    _: str | None,
    check: Callable[[], None],
    noun: str,
) -> _Sent:
    """Send all rows by a stream."""
    from streamlearn.cli.errors import BadData
    from streamlearn.errors import StreamlearnError

    stream = client.stream(model, ack=ack, timeout=client.timeout)
    try:
        with stream, _progress(model, rows, noun) as update:
            try:
                for number, batch in enumerate(rows):
                    if number == 0:
                        check()
                    if batch.x is not None:
                        stream.push_many(batch.x, batch.y, keys=batch.keys, ids=batch.ids, times=batch.times)
                    elif batch.y is not None and batch.ids is not None:
                        stream.push_targets(batch.ids, batch.y, keys=batch.keys)
                    rows.lines.discard_before(stream.acknowledged - 1)
                    update(stream.acknowledged)
            except BadData:
                stream.flush()  # the rows before the bad one are learned
                raise
            stream.flush()
            update(stream.acknowledged)
    except (StreamlearnError, KeyboardInterrupt) as error:
        done = stream.acknowledged
        position = f"continue with --from-line {rows.lines[done - 1] + 1}" if done else ""
        _add_position(error, done, position, noun)
        raise
    lsn = None if stream.last_ack is None else stream.last_ack.lsn
    return _Sent(stream.acknowledged, lsn, stream.resent, 0, stream.matched, stream.unmatched)


def _send_once(
    client: Client,
    model: str,
    rows: TableReader,
    ack: AnsweredLevel,
    source: str | None,
    check: Callable[[], None],
    noun: str,
) -> _Sent:
    """Send the rows that the model did not learn of this source before."""
    from streamlearn.cli.errors import BadData
    from streamlearn.cli.numbered import BLOCK, Blocks, NumberedRows, identified, resumed
    from streamlearn.errors import StreamlearnError

    blocks = Blocks(iter(rows))
    first = blocks.peek(BLOCK)
    if first is None:
        list(blocks.take_rest())  # raises the error of the first row
        return _Sent(0, None)
    check()
    if source is None:
        sender = identified(client, model, ack, rows.name, first)
    else:
        sender = NumberedRows(client, model, source, ack, rows.name)
    try:
        known = resumed(sender, blocks, rows.name)
        with _progress(model, rows, noun) as update:
            try:
                for batch in blocks.take_rest():
                    sender.add(batch)
                    rows.lines.discard_before(len(rows.lines))
                    update(sender.sent)
            except BadData:
                sender.flush()  # the rows before the bad one are learned
                raise
            sender.flush()
            update(sender.sent)
    except (StreamlearnError, KeyboardInterrupt) as error:
        _add_position(error, sender.sent, "repeat the command, which goes on after them", noun)
        raise
    lsn = None if sender.last_ack is None else sender.last_ack.lsn
    return _Sent(sender.sent, lsn, 0, known, sender.matched, sender.unmatched)


def _describe_matches(sent: _Sent) -> str:
    """A resent batch, or one that the model is slow to learn, has no counts in its ack."""
    unknown = sent.acknowledged - sent.matched - sent.unmatched
    text = f"{sent.matched:,} had a sample, {sent.unmatched:,} had none"
    return f"{text}, {unknown:,} not known" if unknown else text


def _check_fit(rows: TableReader, found: Mapping[str, Any], late_targets: bool) -> None:
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


def _add_position(error: BaseException, done: int, action: str, noun: str) -> None:
    """Add to an error how many rows are acknowledged, and what continues after them."""
    position = f"{done:,} {noun}s before it are acknowledged; {action}" if done else "nothing was learned"
    if isinstance(error, KeyboardInterrupt):
        print(f"streamlearn: {position}", file=sys.stderr)
    else:
        error.add_note(position)


@contextmanager
def _progress(model: str, rows: TableReader, noun: str) -> Iterator[Update]:
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

        def update(acknowledged: int) -> None:
            progress.update(task, completed=rows.bytes_read, acknowledged=acknowledged)

        yield update
