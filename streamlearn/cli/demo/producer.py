"""One sensor: pushes a model's samples, and survives whatever happens to the daemon."""

from __future__ import annotations

import threading
import time

from streamlearn.cli.demo.cast import Role
from streamlearn_client import Client, Stream, StreamlearnError

STEP_SECONDS = 0.02
PATIENCE = 60.0
PACED = (
    64,
    16,
)  # samples in a batch, batches under way: what waits while the daemon is away is a sensor's small buffer
AT_FULL_SPEED = 256, 64


class Producer(threading.Thread):
    """Streams ``role.x`` to the model ``role.name``, evenly over ``seconds`` and outages, with durable acks.

    With ``seconds`` = 0 as fast as it goes.
    """

    def __init__(self, role: Role, endpoint: str, seconds: float) -> None:
        super().__init__(name=f"producer of {role.name}", daemon=True)
        self.role = role
        self.sent = 0
        self.took = 0.0
        """seconds from the first sample to the last acknowledgement"""
        self.error: StreamlearnError | None = None
        self._endpoint = endpoint
        self._seconds = seconds
        self._stream: Stream | None = None

    @property
    def acknowledged(self) -> int:
        return self._stream.acknowledged if self._stream is not None else 0

    @property
    def resent(self) -> int:
        """Batches that were sent more than once."""
        return self._stream.resent if self._stream is not None else 0

    @property
    def under_way(self) -> int:
        """Samples that were pushed and are not acknowledged."""
        return self._stream.pending if self._stream is not None else 0

    def run(self) -> None:
        try:
            batch, window = PACED if self._seconds else AT_FULL_SPEED
            with (
                Client(self._endpoint, timeout=PATIENCE) as client,
                client.stream(
                    self.role.name, interval=STEP_SECONDS, timeout=PATIENCE, batch=batch, window=window
                ) as stream,
            ):
                self._stream = stream
                began = time.monotonic()
                self._push(stream)
                stream.flush()
                self.took = time.monotonic() - began
        except StreamlearnError as error:
            self.error = error

    def _push(self, stream: Stream) -> None:
        x, total = self.role.x, len(self.role.x)
        steps = max(1, round(self._seconds / STEP_SECONDS))
        for step in range(1, steps + 1):
            end = total * step // steps
            stream.push_many(x[self.sent : end])  # waits while the daemon is away and the window is full
            self.sent = end
            if self._seconds:
                time.sleep(STEP_SECONDS)
