"""The demo's clients of a stream: a producer that sends one, and a subscriber that receives its events."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from streamlearn.cli.demo.models import DemoModel
from streamlearn_client import Client, Stream, StreamlearnError

if TYPE_CHECKING:
    from streamlearn.models.outputs import ModelOutputs

STEP_SECONDS = 0.02
TIMEOUT_SECONDS = 60.0
# Rows in a batch, and batches in the window. A paced producer has the small buffer of a sensor.
PACED = 64, 16
FULL_SPEED = 256, 64
POLL_SECONDS = 0.1


class Producer(threading.Thread):
    """Stream ``model.x`` with durable acks, evenly over ``seconds`` and through outages of the daemon.

    ``seconds`` = 0 streams at full speed.
    """

    def __init__(self, model: DemoModel, endpoint: str, seconds: float) -> None:
        super().__init__(name=f"producer of {model.name}", daemon=True)
        self.model = model
        self.sent = 0
        self.elapsed = 0.0
        """seconds from the first sample to the last acknowledgement"""
        self.error: StreamlearnError | None = None
        self._endpoint = endpoint
        self._seconds = seconds
        self._stream: Stream | None = None

    @property
    def acknowledged(self) -> int:
        """Samples with an ack."""
        return self._stream.acknowledged if self._stream is not None else 0

    @property
    def resent(self) -> int:
        """Batches that were sent more than once."""
        return self._stream.resent if self._stream is not None else 0

    @property
    def in_flight(self) -> int:
        """Samples that were pushed and are not acknowledged."""
        return self._stream.pending if self._stream is not None else 0

    def run(self) -> None:
        """Send the whole stream. An error ends it and is stored in ``error``."""
        try:
            batch, window = PACED if self._seconds else FULL_SPEED
            with (
                Client(self._endpoint, timeout=TIMEOUT_SECONDS) as client,
                client.stream(
                    self.model.name,
                    interval=STEP_SECONDS,
                    timeout=TIMEOUT_SECONDS,
                    batch=batch,
                    window=window,
                ) as stream,
            ):
                self._stream = stream
                began = time.monotonic()
                self._push(stream)
                stream.flush()
                self.elapsed = time.monotonic() - began
        except StreamlearnError as error:
            self.error = error

    def _push(self, stream: Stream) -> None:
        x, total = self.model.x, len(self.model.x)
        steps = max(1, round(self._seconds / STEP_SECONDS))
        for step in range(1, steps + 1):
            end = total * step // steps
            stream.push_many(x[self.sent : end])  # blocks while the daemon is down and the window is full
            self.sent = end
            if self._seconds:
                time.sleep(STEP_SECONDS)


class ScoreSubscriber(threading.Thread):
    """Collect the scores in one model's output events, by the index of their samples in the stream."""

    def __init__(self, endpoint: str, model: str, samples: int) -> None:
        super().__init__(name=f"subscriber of {model}", daemon=True)
        self.scores: NDArray[np.float32] = np.full(samples, np.nan, np.float32)
        self.received: NDArray[np.bool_] = np.zeros(samples, np.bool_)
        self._done = threading.Event()
        with Client(endpoint) as client:
            self._events = client.subscribe(model, "output")

    def run(self) -> None:
        """Receive events until ``finish`` and an empty socket."""
        while True:
            event = self._events.next_event(POLL_SECONDS)
            if event is not None:
                rows = slice(event.first, event.first + event.rows)
                self.scores[rows] = event.outputs.score
                self.received[rows] = True
            elif self._done.is_set():
                return

    def finish(self) -> None:
        """Receive the events that are still in flight, then stop."""
        self._done.set()
        self.join()
        self._events.close()

    def equals(self, outputs: ModelOutputs) -> bool:
        """Whether every received score equals, bit for bit, the score in ``outputs``."""
        received = self.received
        return bool(np.array_equal(self.scores[received], outputs.score[received], equal_nan=True))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.is_alive():
            self.finish()
