"""What the lock of a model costs: one sample at a time, with a small map."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np

import streamlearn as sl

from .timing import Row, Settings

UNIT = "ns/call"


def rows(settings: Settings) -> Iterator[Row]:
    calls = settings.choose(1000, 10)
    lock = threading.RLock()

    def locked() -> None:
        with lock:
            pass

    cost = nanoseconds(locked, calls) - nanoseconds(lambda: None, calls)
    yield Row("a lock that no other thread holds", cost, UNIT)
    som = sl.SOM(dim=4, grid=(4, 4), scale="standard")
    row = np.random.default_rng(settings.seed).normal(size=(1, 4)).astype(np.float32)
    for name, call in (("learn", lambda: som.learn(row)), ("predict", lambda: som.predict(row))):
        yield Row(f"SOM 4×4×4, {name} of 1 sample, with the lock", nanoseconds(call, calls), UNIT)


def nanoseconds(call: Callable[[], object], calls: int) -> float:
    """Return the CPU time of one call, which other programs do not change much: the best of many rounds."""
    best = float("inf")
    for _ in range(30):
        began = time.thread_time_ns()
        for _ in range(calls):
            call()
        best = min(best, (time.thread_time_ns() - began) / calls)
    return best
