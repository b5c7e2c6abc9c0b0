"""What is to be seen while the streams run: a bar for each, the questions, and what happens to the daemon."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from streamlearn.cli.demo.producer import Producer
from streamlearn.cli.demo.questions import Asker

if TYPE_CHECKING:
    from rich.console import Console

LOOK_SECONDS = 0.1


class Stage:
    def __init__(self, producers: Sequence[Producer], asker: Asker, console: Console) -> None:
        self._producers = producers
        self._asker = asker
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
            self._progress.add_task(each.role.name, total=len(each.role.x), counted="") for each in producers
        ]
        self._questions: TaskID = self._progress.add_task("questions", total=None, counted="")
        self._over = threading.Event()
        self._watcher = threading.Thread(target=self._watch, name="stage", daemon=True)

    def say(self, line: str) -> None:
        """A line above the bars."""
        self._progress.console.print(line)

    def _watch(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        for task, each in zip(self._tasks, self._producers, strict=True):
            counted = f"{each.acknowledged:,} of {len(each.role.x):,} acknowledged"
            self._progress.update(task, completed=each.acknowledged, counted=counted)
        self._progress.update(self._questions, counted=f"{self._asker.count:,} answered meanwhile")

    def __enter__(self) -> Self:
        self._progress.start()
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._watcher.join()
        self._look()
        self._progress.update(self._questions, total=1, completed=1)
        self._progress.stop()
