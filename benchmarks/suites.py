"""The suites of `python -m benchmarks`, in the order of the run."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import NamedTuple

from .timing import Row, Settings

Rows = Callable[[Settings], Iterator[Row]]


class Suite(NamedTuple):
    """``module`` is within this package. ``one_core``: it computes in this process only."""

    title: str
    module: str
    function: str = "rows"
    one_core: bool = True
    by_default: bool = True

    def load(self) -> Rows:
        """Import the suite."""
        module = importlib.import_module(f"{__package__}.{self.module}")
        rows: Rows = getattr(module, self.function)
        return rows


SUITES = {
    "roof": Suite("Limits of this machine, one core", "roof"),
    "som": Suite("Self-organizing maps", "som"),
    "competitive": Suite("Competitive learning", "competitive"),
    "recurrent": Suite("Recurrent networks, truncated backpropagation", "recurrent"),
    "steps": Suite("Recurrent networks, every sample", "recurrent", "steps"),
    "curves": Suite("How the time of a sample grows", "curves"),
    "anatomy": Suite("Where a sample's nanoseconds go", "anatomy"),
    "turn": Suite("Where a batch's microseconds go", "anatomy", "batch_through_the_daemon", one_core=False),
    "daemon": Suite("Through the daemon, TCP", "through_daemon", one_core=False),
    "queries": Suite("Query latency", "latency", one_core=False),
    "start": Suite("Start", "starting", "start", one_core=False),
    "compile": Suite("Compilation", "starting", "compilation", one_core=False),
    "replay": Suite("Recovery", "starting", "replay", one_core=False),
    "lock": Suite("The lock of a model", "lock"),
    "text": Suite("A text as a stream of characters", "text", by_default=False),
    "streams": Suite("Real streams, quality only", "streams", by_default=False),
    "many": Suite("Thousands of models", "many_models", one_core=False),
    "page": Suite("The page, 500 models", "page", one_core=False, by_default=False),
    "security": Suite("The cost of keys, two daemons on the loopback interface", "security", one_core=False),
}


def chosen(only: str | None) -> list[str]:
    """Return the names in ``only``, or those of `make bench`."""
    if only:
        return [name.strip() for name in only.split(",")]
    return [name for name, suite in SUITES.items() if suite.by_default]
