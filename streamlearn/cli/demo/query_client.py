"""A client process that queries the models while they learn, and the statistics of its answers.

``python -m streamlearn.cli.demo.query_client ENDPOINT OUT NAME:DIM…`` is the process. It prints the number of
answers so far, until SIGTERM. Then it writes one row per query to OUT: start (monotonic clock, shared by all
processes), duration in seconds, index of the model, ``applied_lsn`` of the answer, and whether the query was
answered.
"""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streamlearn.cli.demo.models import DemoModel
from streamlearn.cli.errors import CommandError
from streamlearn_client import Client, StreamlearnError

START_SECONDS = 90.0
STOP_SECONDS = 90.0  # the process may be waiting for one last answer
PAUSE_SECONDS = 0.002
REPORT_SECONDS = 0.1
TIMEOUT_SECONDS = 60.0

BEGAN, SECONDS, MODEL, LSN, ANSWERED = range(5)  # columns of a row


@dataclass(frozen=True, slots=True)
class Outage:
    """From kill -9 until the next daemon was ready, in seconds of the monotonic clock."""

    killed: float
    ready: float


@dataclass(frozen=True, slots=True)
class QueryStatistics:
    """Statistics of all queries. Times are in seconds; quantiles exclude queries that met an outage."""

    sent: int
    answered: int
    p50: float
    p99: float
    longest: float
    over_outage: int
    """queries that met an outage; they were answered after it"""
    longest_over_outage: float
    phases: tuple[int, ...]
    """answers before the first outage, between the first and the second, …, after the last"""
    reversals: int
    """answers with a lower applied_lsn than an earlier answer of the same model"""
    states: int
    """different states of the models that were queried"""


class QueryClient:
    """The query process, seen from the demo. ``count`` is the number of answers so far."""

    def __init__(self, endpoint: str, models: Sequence[DemoModel], out: Path) -> None:
        self.count = 0
        self._out = out
        self._reported = threading.Event()
        arguments = [f"{model.name}:{model.x.shape[1]}" for model in models]
        command = [sys.executable, "-m", __name__, endpoint, str(out), *arguments]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self._reader = threading.Thread(target=self._read, name="query count", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.count = int(line)
            self._reported.set()
        self._reported.set()

    def wait_for_first_answer(self) -> None:
        """Block until the process has an answer, so that it queries during the whole run."""
        self._reported.wait(START_SECONDS)
        if not self.count:
            raise CommandError(f"the query process got no answer within {START_SECONDS:.0f} s")

    def stop(self, outages: Sequence[Outage]) -> QueryStatistics:
        """End the process and return the statistics of its queries."""
        self._process.terminate()
        if code := self._process.wait(STOP_SECONDS):
            raise CommandError(f"the query process failed (exit code {code})")
        return statistics(np.load(self._out), outages)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_SECONDS)
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


def statistics(rows: NDArray[np.float64], outages: Sequence[Outage]) -> QueryStatistics:
    """Return the statistics of the query process's ``rows`` (n, 5)."""
    answered = rows[rows[:, ANSWERED] == 1]
    began, seconds = answered[:, BEGAN], answered[:, SECONDS]
    met_outage = np.zeros(len(answered), np.bool_)
    for outage in outages:
        met_outage |= (began <= outage.ready) & (began + seconds >= outage.killed)
    regular, in_outage = seconds[~met_outage], seconds[met_outage]
    phase = np.searchsorted([outage.ready for outage in outages], began[~met_outage])
    steps = [np.diff(answered[answered[:, MODEL] == model, LSN]) for model in np.unique(rows[:, MODEL])]
    return QueryStatistics(
        sent=len(rows),
        answered=len(answered),
        p50=_quantile(regular, 0.50),
        p99=_quantile(regular, 0.99),
        longest=_quantile(regular, 1.0),
        over_outage=len(in_outage),
        longest_over_outage=_quantile(in_outage, 1.0),
        phases=tuple(int(count) for count in np.bincount(phase, minlength=len(outages) + 1)),
        reversals=sum(int((step < 0).sum()) for step in steps),
        states=len(np.unique(answered[:, [MODEL, LSN]], axis=0)),
    )


def _quantile(seconds: NDArray[np.float64], share: float) -> float:
    return float(np.quantile(seconds, share)) if len(seconds) else float("nan")


def main(endpoint: str, out: str, *models: str) -> None:
    """Query the models in turn until SIGTERM, then write the rows to ``out``."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the demo handles Ctrl-C and stops this process itself
    names = [model.rpartition(":")[0] for model in models]
    dims = [int(model.rpartition(":")[2]) for model in models]
    random = np.random.default_rng(0)
    rows: list[tuple[float, float, int, int, bool]] = []
    reported = 0.0
    with Client(endpoint, timeout=TIMEOUT_SECONDS) as client:
        for index in itertools.cycle(range(len(names))):
            if stopped:
                break
            sample = random.normal(size=(1, dims[index])).astype(np.float32)
            lsn, answered = 0, True
            began = time.monotonic()
            try:
                lsn = client.predict(names[index], sample).applied_lsn or 0
            except StreamlearnError:
                answered = False
            now = time.monotonic()
            rows.append((began, now - began, index, lsn, answered))
            if now - reported > REPORT_SECONDS:
                reported = now
                print(len(rows), flush=True)
            time.sleep(PAUSE_SECONDS)
    np.save(out, np.array(rows, np.float64).reshape(-1, ANSWERED + 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
