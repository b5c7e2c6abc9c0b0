"""Follows one model's output events, to compare what the daemon published with what it should have been."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from streamlearn_client import Client, Outputs

POLL_SECONDS = 0.1


class Listener(threading.Thread):
    """Collects the scores that were published, by the place of their samples in the stream."""

    def __init__(self, endpoint: str, model: str, samples: int) -> None:
        super().__init__(name=f"listener to {model}", daemon=True)
        self.scores: NDArray[np.float32] = np.full(samples, np.nan, np.float32)
        self.seen: NDArray[np.bool_] = np.zeros(samples, np.bool_)
        self._done = threading.Event()
        with Client(endpoint) as client:
            self._events = client.subscribe(model, "output")

    def run(self) -> None:
        while True:
            event = self._events.next_event(POLL_SECONDS)
            if event is not None:
                place = slice(event.first, event.first + event.rows)
                self.scores[place] = event.outputs.score
                self.seen[place] = True
            elif self._done.is_set():
                return

    def finish(self) -> None:
        """Take what is still on its way, and stop."""
        self._done.set()
        self.join()
        self._events.close()

    def agrees(self, outputs: Outputs) -> bool:
        """Whether every score that was published is, bit for bit, the one in ``outputs``."""
        return bool(np.array_equal(self.scores[self.seen], outputs.score[self.seen], equal_nan=True))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_alive():
            self.finish()
