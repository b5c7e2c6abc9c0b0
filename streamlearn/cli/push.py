"""``streamlearn push``: the rows of a CSV, samples or later targets, learned exactly once, in order."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from streamlearn.cli.identifiers import KeyOption
from streamlearn.cli.options import DEFAULT_ENDPOINT, Endpoint, Json, ModelOption, Timeout, connect

if TYPE_CHECKING:
    from streamlearn.cli.csvrows import CsvRows
    from streamlearn_client.stream import Stream

Told = Callable[[], None]

File = Annotated[str, typer.Argument(metavar="FILE", help="a CSV; - is standard input", show_default=False)]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--columns", help="those of the samples, by name or number: 1-8 or flow,3", show_default="all"
    ),
]
SkipHeader = Annotated[
    bool | None,
    typer.Option("--skip-header/--no-header", help="whether line 1 is a header", show_default="look at it"),
]
Delimiter = Annotated[str, typer.Option(metavar="CHAR", help="what stands between fields")]


def add_to(app: typer.Typer) -> None:
    app.command()(push)


def push(
    file: File,
    model: ModelOption,
    columns: ColumnsOption = None,
    target: Annotated[
        str | None,
        typer.Option(help="columns of y, for a model that learns from given targets", show_default="none"),
    ] = None,
    key: KeyOption = None,
    id: Annotated[
        str | None,
        typer.Option(
            "--id",
            metavar="COLUMN",
            help="what names a sample, so that targets may come later",
            show_default="none",
        ),
    ] = None,
    late: Annotated[
        bool, typer.Option("--targets", help="rows are targets of samples learned before, found by --id")
    ] = False,
    skip_header: SkipHeader = None,
    delimiter: Delimiter = ",",
    from_line: Annotated[int, typer.Option(min=1, metavar="LINE", help="begin at this line")] = 1,
    ack: Annotated[
        Literal["received", "written", "durable"], typer.Option(help="when a sample counts as taken")
    ] = "durable",
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    timeout: Timeout = 60.0,
    as_json: Json = False,
) -> None:
    """Have a model learn the rows of a CSV.

    An empty field is a missing value. A row that can't be read ends it, and says which and why; the rows
    before it are learned, and --from-line goes on behind it. Standard input is sent row by row as it comes.

    Targets may come later than their samples, if these came with an id:

        streamlearn push samples.csv -m oven --id batch

        streamlearn push labels.csv -m oven --id batch --targets
    """
    from streamlearn.cli import report
    from streamlearn.cli.columns import Chosen
    from streamlearn.cli.csvrows import CsvRows
    from streamlearn.cli.errors import BadUsage
    from streamlearn.errors import StreamlearnError

    if late and (id is None or columns is not None):
        raise BadUsage("--targets are found by --id, and have no --columns: their columns are --target's")
    chosen = Chosen(columns, target, key, id, late)
    what = "target" if late else "sample"
    with (
        connect(endpoint, timeout) as client,
        CsvRows(file, chosen, header=skip_header, delimiter=delimiter, from_line=from_line) as rows,
    ):
        found = client.describe(model)
        stream = client.stream(model, ack=ack, timeout=timeout)
        try:
            with stream, _progress(model, rows, stream, what) as told:
                for number, batch in enumerate(rows):
                    if number == 0:
                        _check_fit(rows, found, late)
                    if batch.x is not None:
                        stream.push_many(batch.x, batch.y, keys=batch.keys, ids=batch.ids)
                    elif batch.y is not None:
                        stream.push_targets(batch.ids, batch.y, keys=batch.keys)
                    told()
                stream.flush()
                told()
        except (StreamlearnError, KeyboardInterrupt) as error:
            _say_how_far(error, rows, stream, what)
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
    many = report.many(stream.acknowledged, what)
    report.show(facts, as_json, f"{model}: {many} acknowledged ({ack}), up to lsn {lsn}")


def _check_fit(rows: CsvRows, found: dict[str, Any], late: bool) -> None:
    """Refuse a file whose columns are not the model's before anything is sent."""
    from streamlearn.cli.errors import BadData

    names = f" ({', '.join(rows.header)})" if rows.header is not None else ""
    model, dim, targets = found["name"], found["dim"], found["target_dim"]
    x, y, key, id = rows.picked
    told = None
    if not found["accepts_late_targets"] and (late or id is not None):
        told = f"{model} takes no targets later: leave out --id and --targets"
    elif (key is not None) != found["needs_keys"]:
        told = f"{model} needs a key for each row: say where with --key{names}"
        if key is not None:
            told = f"{model} has no keys: leave out --key"
    elif len(y) != targets and (y or not found["accepts_late_targets"]):
        wants = (
            f"learns from given targets, {targets} of them: say which with"
            if targets
            else "takes no targets: leave out"
        )
        told = f"{model} {wants} --target{names}"
    elif len(x) != dim and not late:
        told = f"{rows.name} has samples of {len(x)} values{names} and {model} takes {dim}: choose --columns"
    if told is not None:
        raise BadData(told, file=rows.name, columns=[len(x), len(y)], expected=[dim, targets])


def _say_how_far(error: BaseException, rows: CsvRows, stream: Stream, what: str) -> None:
    """After an error: what is safe, and where to go on."""
    done = stream.acknowledged
    if not done:
        told = "nothing was learned"
    else:
        told = (
            f"{done:,} {what}s before it are acknowledged; go on with --from-line {rows.lines[done - 1] + 1}"
        )
    if isinstance(error, KeyboardInterrupt):
        print(f"streamlearn: {told}", file=sys.stderr)
    else:
        error.add_note(told)


@contextmanager
def _progress(model: str, rows: CsvRows, stream: Stream, what: str) -> Iterator[Told]:
    """A bar of the file's bytes, or a count where their number is not known; on a terminal only."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from streamlearn.cli import report

    columns = (
        TextColumn("{task.fields[model]}", style="bold", markup=False),
        BarColumn(),
        TextColumn(f"{{task.fields[acknowledged]:,}} {what}s acknowledged"),
        TimeElapsedColumn(),
    )
    console = report.console(err=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=rows.bytes, model=model, acknowledged=0)

        def told() -> None:
            progress.update(task, completed=rows.bytes_read, acknowledged=stream.acknowledged)

        yield told
