"""Sending without being answered."""

from __future__ import annotations

import secrets
import threading
import time
from types import TracebackType
from typing import Any, Final, Self

import zmq
from numpy.typing import ArrayLike

from streamlearn_client.errors import NoAnswer
from streamlearn_client.protocol import Learn, as_batch, check_producer, encode_request
from streamlearn_client.sockets import blocking, connect, send

__all__ = ["Firehose"]

LINGER_MS: Final = 1000


class Firehose:
    """Sends samples to a model and hears nothing back: for streams where speed matters and a loss does not.

    What is refused, or lost on the way when a connection breaks, is gone; the daemon's ``stats`` count
    both, the losses from the numbers that the batches carry. Threads may share one.
    """

    def __init__(self, model: str, endpoint: str, producer: str | None, timeout: float) -> None:
        self.model = model
        self.endpoint = endpoint
        self.producer = check_producer(secrets.token_hex(8) if producer is None else producer)
        self.sent = 0
        """batches handed to the connection"""
        self._epoch = time.time_ns()
        self._timeout = timeout
        self._lock = threading.Lock()
        self._socket = connect(blocking(), zmq.PUSH, endpoint, LINGER_MS)

    def push(self, x: ArrayLike, y: ArrayLike | None = None, *, keys: Any = None, ids: Any = None) -> None:
        """Send samples (n, dim) with targets (n, targets), keys (n,) and ids (n,), in one message.

        Waits while no connection stands or its queue is full; raises ``NoAnswer`` after the client's timeout,
        with nothing sent. Raises ``BadShape``, ``BadDtype`` and ``BadValue`` as `Client.learn` does.
        """
        self._send(as_batch(self.model, x, y, keys, ids))

    def push_targets(self, ids: Any, y: ArrayLike, *, keys: Any = None) -> None:
        """Send targets of earlier samples, as `Client.learn_targets` takes them, in one message.

        Waits and raises as `push` does.
        """
        self._send(as_batch(self.model, None, y, keys, ids))

    def _send(self, batch: Learn) -> None:
        with self._lock:
            message = batch._replace(producer=self.producer, epoch=self._epoch, seq=self.sent, ack="none")
            frames = encode_request(message)
            deadline = time.monotonic() + self._timeout
            while not send(self._socket, frames):
                left = deadline - time.monotonic()
                # A connection that could be written to may be gone by the time that it is.
                if left <= 0 or not self._socket.poll(int(left * 1000) + 1, zmq.POLLOUT):
                    raise NoAnswer(
                        f"nobody takes messages at {self.endpoint} (tried for {self._timeout:g} s): is "
                        "`streamlearn serve` running, and is this its firehose endpoint?",
                        endpoint=self.endpoint,
                    )
            self.sent += 1

    def close(self) -> None:
        """Close, after up to a second for what is on its way out."""
        with self._lock:
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
