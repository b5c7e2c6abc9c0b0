"""Answers on the ROUTER socket. A client that is gone, or does not read, is nobody else's trouble."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import zmq
from numpy.typing import NDArray

from streamlearn.daemon.metrics import Metrics
from streamlearn.errors import FatalError, Internal, StreamlearnError
from streamlearn_client.protocol import Frame, Id, encode_error, encode_reply

log = logging.getLogger(__name__)

KEPT_BYTES = 1 << 18  # a frame from here on is not copied: that would take longer than all else of a reply


class Asker(NamedTuple):
    """Where an answer goes: the frames to put in front of it, and what the client calls its request."""

    envelope: list[Frame]
    id: Id


class Replies:
    def __init__(self, socket: zmq.Socket[bytes], metrics: Metrics) -> None:
        self._socket = socket
        self._metrics = metrics

    def ok(
        self, asker: Asker, ok: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None = None
    ) -> None:
        self._send(asker.envelope + encode_reply(asker.id, ok, arrays))

    def error(self, asker: Asker, error: StreamlearnError) -> None:
        self._metrics.count_error(error.code)
        self._send(asker.envelope + encode_error(asker.id, error))

    def failed(self, asker: Asker, error: Exception) -> None:
        """Answer with what went wrong, whatever it was. A `FatalError` is raised: it is not the asker's."""
        if isinstance(error, FatalError):
            raise error
        if not isinstance(error, StreamlearnError):
            log.error("a request could not be served", exc_info=error)
            error = Internal("the daemon failed at this request; its log has the particulars")
        self.error(asker, error)

    def _send(self, frames: list[Frame]) -> None:
        try:
            for frame in frames[:-1]:
                self._socket.send(frame, zmq.NOBLOCK | zmq.SNDMORE, len(frame) < KEPT_BYTES)
            self._socket.send(frames[-1], zmq.NOBLOCK, len(frames[-1]) < KEPT_BYTES)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, errno.EHOSTUNREACH):
                raise
            self._metrics.replies_dropped += 1
