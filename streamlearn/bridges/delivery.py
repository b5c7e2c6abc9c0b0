"""Delivery to the daemon: all lanes share one connection. One thread calls all methods but `wake`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import count
from typing import Final

import zmq

from streamlearn.bridges.lane import Counts, Lane, Parcel
from streamlearn.bridges.models import Stopped
from streamlearn.bridges.numbering import Numbers
from streamlearn.logs import get_logger
from streamlearn_client.errors import StreamlearnError
from streamlearn_client.keys import ClientKeys
from streamlearn_client.protocol import Request, encode_request
from streamlearn_client.replies import read_reply
from streamlearn_client.sockets import Connection, blocking_context, receive_all, try_send
from streamlearn_client.wakeup import Wakeup

_HELLO: Final = encode_request(Request("hello", "hello", fields={"cumulative_acks": True}))
_ID_BITS: Final = 40  # requests of one window
IDLE_LANES: Final = 1000
"""Most lanes without parcels that are kept, with their positions."""
DRAIN_SECONDS: Final = 10.0

log = get_logger(__name__)


class Delivery:
    """Sends parcels to the daemon until they are durable.

    Parameters
    ----------
    endpoint, keys
        The daemon.
    position
        See `Lane`.
    refused
        Called with the model and the error when the daemon refuses a parcel.
    """

    def __init__(
        self,
        endpoint: str,
        keys: ClientKeys | None,
        position: Callable[[str, str], Numbers],
        refused: Callable[[str, StreamlearnError], None],
    ) -> None:
        self.counts = Counts()
        self._endpoint = endpoint
        self._position, self._refused = position, refused
        self._lanes: dict[tuple[str, str | None], Lane] = {}
        self._busy: dict[tuple[str, str | None], Lane] = {}
        self._windows: dict[int, Lane] = {}  # by the id of the first request, shifted
        self._ids = count()
        self._greeted = False
        self._wakeup = Wakeup()
        self._connection = Connection(blocking_context(), zmq.DEALER, endpoint, keys)
        self._poller = zmq.Poller()
        self._poller.register(self._connection.monitor, zmq.POLLIN)
        self._poller.register(self._wakeup.reader, zmq.POLLIN)

    def wake(self) -> None:
        """End `step` in another thread."""
        self._wakeup.wake()

    @property
    def pending(self) -> int:
        """Number of parcels that are not durable."""
        return sum(map(len, self._busy.values()))

    def add(self, model: str, producer: str | None, parcel: Parcel) -> None:
        """Send a parcel after all others of this producer to this model."""
        name = (model, producer)
        lane = self._lanes.pop(name, None)
        if lane is None:
            lane = Lane(model, producer, self._position, self._new_id, self._refused, self.counts)
        self._lanes[name] = self._busy[name] = lane  # the last used one is the last one
        lane.add(parcel)

    def step(self, until: float) -> None:
        """Send what is due, and process answers, waiting for at most one until ``until`` or `wake`.

        Raise the error of a refused connection.
        """
        self._wakeup.clear()
        wait, blocked = self._send(time.monotonic())
        socket = self._connection.socket
        self._poller.register(socket, zmq.POLLIN | (zmq.POLLOUT if blocked else 0))
        wait = min(wait, until) - time.monotonic()
        ready = dict(self._poller.poll(math.ceil(max(wait, 0.0) * 1000)))
        if self._connection.monitor in ready and self._connection.process_events():
            self._lost()
        self._receive(time.monotonic())
        self._connection.check()
        self._forget()

    def drain(self) -> None:
        """Wait for what a connected daemon has got. What is not acknowledged then is delivered again."""
        deadline = time.monotonic() + DRAIN_SECONDS
        try:
            while self.pending and self._connection.connected and (now := time.monotonic()) < deadline:
                self.step(min(deadline, now + 0.1))
        except (Stopped, StreamlearnError):
            pass

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
        self._wakeup.close()

    def _send(self, now: float) -> tuple[float, bool]:
        """Send due batches. Return when the next one is due, and whether the queue of the socket is full."""
        if not self._connection.connected:
            return math.inf, False
        if not self._greeted:
            self._greeted = try_send(self._connection.socket, _HELLO)
        due = math.inf
        for lane in list(self._busy.values()):
            batches = lane.to_send(now)
            sent = 0
            while sent < len(batches) and try_send(self._connection.socket, batches[sent].frames):
                sent += 1
            lane.sent(sent, now)
            if sent < len(batches):
                return math.inf, True
            due = min(due, lane.next_send_time())
        return due, False

    def _lost(self) -> None:
        log.warning("the connection to the daemon is lost", daemon=self._endpoint)
        self._greeted = False
        for lane in self._busy.values():
            lane.disconnected()

    def _receive(self, now: float) -> None:
        for frames in receive_all(self._connection.socket):
            reply = read_reply(frames, self._endpoint)
            lane = self._windows.get(reply.id >> _ID_BITS) if type(reply.id) is int else None
            if lane is not None:
                lane.receive(reply, now)

    def _new_id(self, lane: Lane) -> int:
        self._windows.pop(lane.id >> _ID_BITS, None) if lane.id else None
        number = next(self._ids) + 1
        self._windows[number] = lane
        return number << _ID_BITS

    def _forget(self) -> None:
        """Forget lanes without parcels: the daemon has their positions."""
        self._busy = {name: lane for name, lane in self._busy.items() if len(lane)}
        for name in list(self._lanes) if len(self._lanes) > IDLE_LANES + len(self._busy) else ():
            if name not in self._busy:
                self._windows.pop(self._lanes.pop(name).id >> _ID_BITS, None)
                if len(self._lanes) <= IDLE_LANES:
                    break
