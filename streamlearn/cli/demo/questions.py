"""The asking process as the demo sees it: started, watched, stopped, and what it found."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streamlearn.cli.demo import asker
from streamlearn.cli.demo.cast import Role
from streamlearn.cli.errors import CommandError

START_SECONDS = 90.0
STOP_SECONDS = 90.0  # it may be waiting for one last answer


@dataclass(frozen=True, slots=True)
class Outage:
    """From kill -9 until the next daemon was ready, in seconds of the monotonic clock."""

    killed: float
    ready: float


@dataclass(frozen=True, slots=True)
class Answers:
    """What the asking process found. Seconds; quantiles are of the questions that no outage fell into."""

    asked: int
    answered: int
    p50: float
    p99: float
    longest: float
    over_kill: int
    """questions that an outage fell into; they were answered afterwards"""
    longest_over_kill: float
    phases: tuple[int, ...]
    """answers before the first outage, between the first and the second, …, after the last"""
    went_back: int
    """how often a model knew less than an answer before had said"""
    states: int
    """of how many different states of the models the answers were"""


class Asker:
    """The asking process; ``count`` grows while it runs."""

    def __init__(self, endpoint: str, roles: Sequence[Role], out: Path) -> None:
        self.count = 0
        self._out = out
        self._told = threading.Event()
        models = [f"{role.name}:{role.x.shape[1]}" for role in roles]
        command = [sys.executable, "-m", asker.__name__, endpoint, str(out), *models]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        self._reader = threading.Thread(target=self._read, name="answers", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.count = int(line)
            self._told.set()
        self._told.set()

    def begin(self) -> None:
        """Wait for the first answer: a process takes a while to start, and is to ask all along the way."""
        self._told.wait(START_SECONDS)
        if not self.count:
            raise CommandError("the process that asks the models had no answer")

    def stop(self, outages: Sequence[Outage]) -> Answers:
        self._process.terminate()
        if code := self._process.wait(STOP_SECONDS):
            raise CommandError(f"the process that asks the models failed (exit code {code})")
        return digest(np.load(self._out), outages)

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


def digest(seen: NDArray[np.float64], outages: Sequence[Outage]) -> Answers:
    """``Answers`` of the rows that ``asker`` wrote."""
    answered = seen[:, asker.ANSWERED] == 1
    seen_well = seen[answered]
    began, seconds = seen_well[:, asker.BEGAN], seen_well[:, asker.SECONDS]
    hit = np.zeros(len(seen_well), np.bool_)
    for outage in outages:
        hit |= (began <= outage.ready) & (began + seconds >= outage.killed)
    clear, waited = seconds[~hit], seconds[hit]
    phase = np.searchsorted([outage.ready for outage in outages], began[~hit])
    steps = [
        np.diff(seen_well[seen_well[:, asker.MODEL] == model, asker.LSN]) for model in np.unique(seen[:, 2])
    ]
    return Answers(
        asked=len(seen),
        answered=len(seen_well),
        p50=_quantile(clear, 0.50),
        p99=_quantile(clear, 0.99),
        longest=_quantile(clear, 1.0),
        over_kill=len(waited),
        longest_over_kill=_quantile(waited, 1.0),
        phases=tuple(int(count) for count in np.bincount(phase, minlength=len(outages) + 1)),
        went_back=sum(int((step < 0).sum()) for step in steps),
        states=len(np.unique(seen_well[:, [asker.MODEL, asker.LSN]], axis=0)),
    )


def _quantile(seconds: NDArray[np.float64], share: float) -> float:
    return float(np.quantile(seconds, share)) if len(seconds) else float("nan")
