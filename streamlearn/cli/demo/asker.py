"""Another process that asks the models while they learn: ``python -m … ENDPOINT OUT NAME:DIM…``.

It prints how many answers it has had, until SIGTERM. Then it writes to OUT what it saw, one row for each
question: when it was asked (of the monotonic clock, which all processes share), how many seconds the answer
took, which model it was, up to which lsn that had learned, and whether there was an answer.
"""

from __future__ import annotations

import itertools
import signal
import sys
import time

import numpy as np

from streamlearn_client import Client, StreamlearnError

PAUSE = 0.002
REPORT_SECONDS = 0.1
PATIENCE = 60.0
BEGAN, SECONDS, MODEL, LSN, ANSWERED = range(5)


def main(endpoint: str, out: str, *models: str) -> None:
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the demo's, which stops us in its own way
    names = [model.rpartition(":")[0] for model in models]
    dims = [int(model.rpartition(":")[2]) for model in models]
    random = np.random.default_rng(0)
    seen: list[tuple[float, float, int, int, bool]] = []
    told = 0.0
    with Client(endpoint, timeout=PATIENCE) as client:
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
            seen.append((began, now - began, index, lsn, answered))
            if now - told > REPORT_SECONDS:
                told = now
                print(len(seen), flush=True)
            time.sleep(PAUSE)
    np.save(out, np.array(seen, np.float64).reshape(-1, ANSWERED + 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
