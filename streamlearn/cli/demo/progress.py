"""The demo's live display: a bar for each stream, the number of answered queries, and messages above them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from streamlearn.cli.demo.query_client import QueryClient
from streamlearn.cli.demo.streams import Producer

if TYPE_CHECKING:
    from rich.console import Console

REFRESH_SECONDS = 0.1


class DemoProgress:
    """Show the counters of ``producers`` and ``query_client`` while the block runs."""

    def __init__(self, producers: Sequence[Producer], query_client: QueryClient, console: Console) -> None:
        self._producers = producers
        self._query_client = query_client
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None if console.is_terminal else 40),
            TextColumn("{task.fields[counted]}", justify="right"),
            TimeElapsedColumn(),
            console=console,
            expand=console.is_terminal,
        )
        self._tasks = [
            self._progress.add_task(producer.model.name, total=len(producer.model.x), counted="")
            for producer in producers
        ]
        self._queries: TaskID = self._progress.add_task("queries", total=None, counted="")
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="demo progress", daemon=True)

    def print(self, line: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(line)

    def _refresh(self) -> None:
        while not self._done.wait(REFRESH_SECONDS):
            self._update()

    def _update(self) -> None:
        for task, producer in zip(self._tasks, self._producers, strict=True):
            counted = f"{producer.acknowledged:,} of {len(producer.model.x):,} acknowledged"
            self._progress.update(task, completed=producer.acknowledged, counted=counted)
        self._progress.update(self._queries, counted=f"{self._query_client.count:,} answered")

    def __enter__(self) -> Self:
        self._progress.start()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._update()
        self._progress.update(self._queries, total=1, completed=1)
        self._progress.stop()
