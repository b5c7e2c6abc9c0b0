"""What the lock of a model costs: one sample at a time, with a small map.

python -m benchmarks.lock            the time of the lock, and of learn and predict with it
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable

import numpy as np

import streamlearn as sl

ROUNDS = 30


def nanoseconds(call: Callable[[], object], calls: int) -> float:
    """Return the CPU time of one call, which other programs do not change much: the best of many rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.thread_time_ns()
        for _ in range(calls):
            call()
        best = min(best, (time.thread_time_ns() - began) / calls)
    return best


def lock_nanoseconds(calls: int) -> float:
    """Return the time of one ``with lock:`` without other threads."""
    lock = threading.RLock()

    def locked() -> None:
        with lock:
            pass

    def unlocked() -> None:
        pass

    return nanoseconds(locked, calls) - nanoseconds(unlocked, calls)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lock", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000, help="calls per round")
    calls = parser.parse_args().calls
    som = sl.SOM(dim=4, grid=(4, 4), scale="standard")
    row = np.random.default_rng(1).normal(size=(1, 4)).astype(np.float32)
    cost = lock_nanoseconds(calls)
    print(f"lock     {cost:8,.0f} ns")
    for name, call in (("learn", lambda: som.learn(row)), ("predict", lambda: som.predict(row))):
        whole = nanoseconds(call, calls)
        print(f"{name:8} {whole:8,.0f} ns; the lock is {cost / whole:.1%} of it")


if __name__ == "__main__":
    main()
