"""``push --follow``: what a user gives, made into a `Follower`."""

from __future__ import annotations

import hashlib
import socket
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import NoReturn

from streamlearn.cli.follow import Follower, TextTable
from streamlearn.cli.numbered import NumberedRows
from streamlearn.cli.places import StateFile, default_state
from streamlearn.errors import StreamlearnError
from streamlearn.tabular.arrow import ArrowTable
from streamlearn.tabular.bytestreams import ByteStream
from streamlearn.tabular.errors import BadUsage
from streamlearn.tabular.reader import TableReader
from streamlearn_client import Client
from streamlearn_client.protocol import AnsweredLevel


def follow_file(
    client: Client,
    model: str,
    path: Path,
    ack: AnsweredLevel,
    source: str | None,
    state: Path | None,
    open_rows: Callable[[ByteStream], TableReader],
    check: Callable[[TextTable], None],
) -> NoReturn:
    """Send the rows of a growing file without end.

    Raises ``BadData`` at a row that cannot be read, and ``KeyboardInterrupt`` when the user ends it.
    """

    def new_table() -> TextTable:
        stream = ByteStream(str(path)) if path.exists() else ByteStream(BytesIO())
        with stream:
            stream.name = str(path)
            table = open_rows(stream).table
            if stream.compression is not None or isinstance(table, ArrowTable):
                raise BadUsage(
                    f"--follow reads CSV or lines of JSON, and {path} is another file or compressed: push it"
                    " without --follow"
                )
        return table

    def report(text: str) -> None:
        print(f"streamlearn: {text}", file=sys.stderr, flush=True)

    place = state or default_state(client.endpoint, model, path)
    with StateFile(place, source or _source(path)) as kept:
        if source is not None and kept.producer != source:
            raise BadUsage(
                f"{place} belongs to the source {kept.producer}: give another --state, or no --source"
            )
        sender = NumberedRows(client, model, kept.producer, ack, str(path))
        client.timeout = None  # from here on it waits for the daemon
        report(f"following {path} for {model}: {sender.rows:,} of its rows are learned; position in {place}")
        try:
            Follower(path, new_table, sender, kept, check, report).run()
        except (StreamlearnError, KeyboardInterrupt) as error:
            position = f"{sender.rows:,} rows are acknowledged; the same command goes on after them"
            if isinstance(error, KeyboardInterrupt):
                report(position)
            else:
                error.add_note(position)
            raise
    raise AssertionError("a follower has no end")


def _source(path: Path) -> str:
    """Return the name of a followed file in the producer table: one host, one path."""
    digest = hashlib.sha256(f"{socket.gethostname()}\n{path.resolve()}".encode()).hexdigest()
    return f"follow:{digest[:48]}"
