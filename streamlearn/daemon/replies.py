"""Replies on the ROUTER socket, and the fields that several replies share."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import zmq
from numpy.typing import NDArray

from streamlearn.daemon.identity import LOCAL, Identity
from streamlearn.daemon.metrics import Metrics
from streamlearn.errors import FatalError, Internal, StreamlearnError, UnknownModel
from streamlearn.shard import HostedModel
from streamlearn.store.checkpoint import CheckpointInfo
from streamlearn_client.protocol import Frame, Id, encode_error, encode_reply

log = logging.getLogger(__name__)

ZERO_COPY_BYTES = 1 << 18  # larger frames are not copied: the copy would cost more than the rest of the reply


class ReplyAddress(NamedTuple):
    """Where a reply goes: the routing frames of the client, its id of the request, and who it is."""

    envelope: list[Frame]
    id: Id
    identity: Identity = LOCAL


class Replies:
    """Send replies. A client that has left, or does not read, costs one dropped reply and no delay."""

    def __init__(self, socket: zmq.Socket[bytes], metrics: Metrics) -> None:
        self._socket = socket
        self._metrics = metrics

    def ok(
        self,
        reply_to: ReplyAddress,
        fields: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Send a successful reply."""
        self._send(reply_to.envelope + encode_reply(reply_to.id, fields, arrays))

    def error(self, reply_to: ReplyAddress, error: StreamlearnError) -> None:
        """Send an error reply and count it."""
        self._metrics.count_error(error.code)
        self._send(reply_to.envelope + encode_error(reply_to.id, reply_to.identity.visible(error)))

    def exception(self, reply_to: ReplyAddress, error: Exception) -> None:
        """Send any exception as an error reply. Raises a `FatalError`, since it concerns the whole daemon."""
        if isinstance(error, FatalError):
            raise error
        if not isinstance(error, StreamlearnError):
            log.error("a request failed with an unexpected error", exc_info=error)
            error = Internal("the daemon failed to serve this request; its log has the details")
        self.error(reply_to, error)

    def _send(self, frames: list[Frame]) -> None:
        try:
            for frame in frames[:-1]:
                self._socket.send(frame, zmq.NOBLOCK | zmq.SNDMORE, len(frame) < ZERO_COPY_BYTES)
            self._socket.send(frames[-1], zmq.NOBLOCK, len(frames[-1]) < ZERO_COPY_BYTES)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EAGAIN, errno.EHOSTUNREACH):
                raise
            self._metrics.replies_dropped += 1


def model_fields(hosted: HostedModel) -> dict[str, Any]:
    """A model as `models` lists it."""
    return {
        "name": hosted.name,
        "kind": hosted.model.kind,
        "dim": hosted.model.dim,
        "samples": hosted.model.samples,
        "applied_lsn": hosted.applied_lsn,
        "create_lsn": hosted.create_lsn,
        "quarantined": quarantine_fields(hosted),
    }


def quarantine_fields(hosted: HostedModel) -> dict[str, Any] | None:
    """Why a model is set aside; `None` if it is not."""
    aside = hosted.set_aside
    return None if aside is None else {"lsn": aside.lsn, "reason": aside.reason, "time": aside.time}


def checkpoint_fields(info: CheckpointInfo, now: int) -> dict[str, Any]:
    """A checkpoint as `checkpoints` lists it. `now` is the time in ns since 1970."""
    return {
        "lsn": info.lsn,
        "name": info.name or None,
        "pinned": info.pinned,
        "bytes": info.bytes,
        "time": info.time,
        "age_seconds": max(0.0, (now - info.time) / 1e9),
    }


def deleted_while_waiting() -> UnknownModel:
    """The error for a request that was waiting when its model was deleted."""
    return UnknownModel("the model was deleted while this request waited")
