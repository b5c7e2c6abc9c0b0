"""The samples of one source to one model, in order, from the bridge to the daemon's durable ack."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from streamlearn.bridges.numbering import Numbers
from streamlearn_client.errors import (
    Conflict,
    Fenced,
    Gap,
    ProtocolError,
    StreamlearnError,
    UnknownProducer,
)
from streamlearn_client.protocol import Learn, Reply
from streamlearn_client.protocol.messages import RESEND_WINDOW
from streamlearn_client.protocol.names import generated_producer
from streamlearn_client.window import Batch, Window

REPEATED: Final = (Conflict, Fenced, Gap, ProtocolError, UnknownProducer)
"""Failures that concern the numbers, not the samples, which are sent again from the daemon's position."""

Done = Callable[[], None]


@dataclass(slots=True)
class Parcel:
    """Samples of one message, their number, and what to call when they are durable or refused."""

    batch: Learn
    number: int | None
    done: list[Done] = field(default_factory=list)

    def finish(self) -> None:
        """Call all of ``done``."""
        for each in self.done:
            each()


@dataclass(slots=True)
class Counts:
    """What became of the parcels of all lanes."""

    learned: int = 0
    known: int = 0  # numbers that the daemon had
    refused: int = 0


class Lane:
    """Parcels of one producer for one model.

    Parameters
    ----------
    model
        Name of the model.
    producer
        Name of the producer; ``None``: parcels have no numbers.
    position
        Returns the daemon's position of the producer, once everything before it is durable.
    first_id
        Returns the id of the first request of a new window.
    refused
        Called with the model and the error when the daemon refuses a parcel.
    counts
        The counters.
    """

    def __init__(
        self,
        model: str,
        producer: str | None,
        position: Callable[[str, str], Numbers],
        first_id: Callable[[Lane], int],
        refused: Callable[[str, StreamlearnError], None],
        counts: Counts,
    ) -> None:
        self.model, self.producer = model, producer
        self._position, self._first_id, self._refused = position, first_id, refused
        self._counts = counts
        self._waiting: deque[Parcel] = deque()
        self._sent: deque[Parcel] = deque()  # those in the window, in its order
        self._window: Window | None = None
        self._numbers = Numbers(0, 0, 0)
        self.id = 0
        """The id of the first request of the window."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent)

    def add(self, parcel: Parcel) -> None:
        """Add a parcel after all others."""
        self._waiting.append(parcel)

    def to_send(self, now: float) -> list[Batch]:
        """Return the batches to send now. Asks the daemon for the position first, if it is unknown."""
        window = self._filled()
        return [] if window is None else window.to_send(now)

    def sent(self, count: int, now: float) -> None:
        """Record that the first ``count`` batches of `to_send` were sent."""
        if self._window is not None:
            self._window.sent(count, now)

    def next_send_time(self) -> float:
        """Return the time at which there is more to send."""
        return self._window.next_send_time() if self._window is not None and self._sent else float("inf")

    def disconnected(self) -> None:
        """Record that the connection to the daemon was lost."""
        if self._window is not None:
            self._window.disconnected()

    def receive(self, reply: Reply, now: float) -> None:
        """Process an answer of the daemon."""
        window = self._window
        if window is None:
            return
        window.receive(reply, now)
        while len(self._sent) > len(window):
            self._counts.learned += 1
            self._sent.popleft().finish()
        if window.failure is not None:
            self._recover(window.failure.__cause__)

    def _filled(self) -> Window | None:
        """Return the window with as many parcels as it takes."""
        while self._waiting:
            if self._window is None:
                self._window = self._opened()
            parcel = self._waiting[0]
            if self.producer is not None and not self._takes(parcel.number):
                if parcel.number is not None and parcel.number > self._numbers.next:
                    break  # after a gap: when everything before it is acknowledged
                self._counts.known += 1
                self._finish_after_sent(self._waiting.popleft())
                continue
            if self._window.full:
                break
            self._waiting.popleft()
            self._window.add(parcel.batch)
            self._sent.append(parcel)
            self._numbers = self._numbers._replace(next=self._numbers.next + 1)
        return self._window

    def _takes(self, number: int | None) -> bool:
        """Whether a number is the next one, if necessary in a new epoch."""
        if number is None or number < self._numbers.next:
            return False
        if number > self._numbers.next:
            if self._sent:
                return False
            self._numbers = self._numbers.beginning_at(number)
            self._window = self._new_window()
        return True

    def _finish_after_sent(self, parcel: Parcel) -> None:
        """Finish a parcel that the daemon has, once the ones before it are durable."""
        if self._sent:
            self._sent[-1].done += parcel.done
        else:
            parcel.finish()

    def _opened(self) -> Window:
        if self.producer is not None:
            self._numbers = self._position(self.model, self.producer)
        return self._new_window()

    def _new_window(self) -> Window:
        self.id = self._first_id(self)
        numbers = self._numbers
        if self.producer is None:
            return Window(
                self.model, generated_producer(), time.time_ns(), "durable", RESEND_WINDOW, first_id=self.id
            )
        return Window(
            self.model,
            self.producer,
            numbers.epoch,
            "durable",
            RESEND_WINDOW,
            first_seq=numbers.seq,
            first_id=self.id,
            renews=False,
        )

    def _recover(self, cause: BaseException | None) -> None:
        """Begin again after a failure: without the oldest parcel, if the daemon refuses it."""
        self._waiting.extendleft(reversed(self._sent))
        self._sent.clear()
        self._window = None
        if isinstance(cause, StreamlearnError) and not isinstance(cause, REPEATED) and self._waiting:
            self._counts.refused += 1
            self._refused(self.model, cause)
            self._waiting.popleft().finish()
